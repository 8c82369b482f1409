"""Longer runs of the compared flows: a budget for each, the command that resumes, and the record."""
