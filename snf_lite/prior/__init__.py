"""Prior work: other families of normalizing flows, by hand in a few lines, to stand beside the package's own."""
