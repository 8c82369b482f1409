"""Exact algebra: log-determinants and inverses of dense and of block-banded matrices."""
