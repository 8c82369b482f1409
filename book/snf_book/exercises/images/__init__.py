"""Checkers of the part *Images*."""
