"""Samples of a flow of images at several temperatures, and the way between two images; stored for a trained run."""
