"""How a layer is called: hooks around its passes, and checks of what it returns."""
