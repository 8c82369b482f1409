"""Checkers of the parts *The record* and *The field*."""
