"""Published flows that no library has right, and the root finders that some of them need."""
