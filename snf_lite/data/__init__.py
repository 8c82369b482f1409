"""Data sets by name, from files and folders, as densities; and where a batch comes from."""
