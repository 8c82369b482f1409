"""How a chapter's stored outputs are compared with those of another run."""
