"""Twins in the plane: an exact and a self-normalizing flow with the same settings, trained for thousands of steps.

``python -m snf_book.twins`` trains them, ``study.read`` gives the record with their densities.
"""
