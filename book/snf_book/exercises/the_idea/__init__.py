"""Checkers of the part *The idea*."""
