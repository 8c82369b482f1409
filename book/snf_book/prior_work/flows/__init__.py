"""Published flows without a correct implementation in a library, and root finders."""
