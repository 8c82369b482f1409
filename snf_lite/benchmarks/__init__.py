"""Timing and counting: layers, log-determinants, sampling and models, beside baselines of other libraries."""
