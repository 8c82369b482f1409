"""Runs and their records: the paper's tables, reproduce, results, archive, manifest, ablations."""
