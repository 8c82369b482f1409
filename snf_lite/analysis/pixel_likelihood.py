"""Likelihood of integer pixels under a continuous density, and the log-determinant of their preprocessing."""

import math

import torch
from torch import Tensor

from snf_lite.flow import Flow
from snf_lite.linalg import dense_matrix
from snf_lite.runtime import checks
from snf_lite.runtime.rng import isolated_rng, require_seed


@torch.no_grad()
def log_prob_pixels(flow: Flow, pixels: Tensor, draws: int = 1, seed: int = 0) -> Tensor:
    """log of the mean of p(x + u) over ``draws`` noises u ~ U[0, 1)^D: (N,) in nats, float64 (eq-mass).

    A lower bound, in expectation, of log P(x), the log-probability that rounding down a sample of the flow gives x; it
    tightens with ``draws``. One draw gives the bound that ``evaluate`` reports. After Burda and others (2016),
    https://arxiv.org/abs/1509.00519.

    Args:
        flow: flow that begins with ``Dequantize``.
        pixels: uint8 (N, *event_shape).
        draws: number of noise samples, at least 1; each costs one ``flow.log_prob``.
        seed: seed of the noise.

    Raises:
        TypeError: pixels are not uint8; the flow would add no noise.
        ValueError: draws is not a positive integer, or seed is not an integer.
    """
    checks.positive_integer(draws, "draws", "log_prob_pixels")
    if pixels.dtype != torch.uint8:
        raise TypeError(f"log_prob_pixels: expected pixels as torch.uint8, got {pixels.dtype}.")
    with isolated_rng(flow.device, require_seed(seed, "log_prob_pixels"), "log_mass"):
        each = torch.stack([dense_matrix.precise(flow.log_prob(pixels)) for _ in range(draws)])
    return each.logsumexp(0) - math.log(draws)


def level_log_dets(levels: int = 256, alpha: float = 1e-6) -> Tensor:
    """Log-determinant of ``Dequantize`` and ``Logit`` for a pixel of each level, averaged over the noise: (levels,).

    In nats, float64: log(1-2α) - log L minus the mean of log p + log(1-p) over the values p of the level
    (eq-dequantise, eq-logit).
    """
    checks.integer(levels, "levels", "level_log_dets", at_least=2, at_most=256, wanted="from 2 to 256")
    alpha = checks.number_between(alpha, 0, 0.5, "alpha", "level_log_dets")
    edges = torch.arange(levels + 1, dtype=torch.float64) / levels
    p = alpha + (1 - 2 * alpha) * edges
    whole = p * p.log() - p  # its derivative is log p
    mean_log = whole.diff() / p.diff()  # of log p; that of log(1-p) follows by reversing the levels
    return math.log(1 - 2 * alpha) - math.log(levels) - mean_log - mean_log.flip(0)


def level_counts(pixels: Tensor, levels: int) -> Tensor:
    """Number of pixels of each level in uint8 pixels of any shape: (levels,), int64."""
    return torch.bincount(pixels.flatten().long(), minlength=levels)
