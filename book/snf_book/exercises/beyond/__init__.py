"""Checkers of the part *Beyond the paper*."""
