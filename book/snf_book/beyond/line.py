"""The reconstruction penalty where everything can be solved: one weight, and several weights that share an inverse."""

import math

import torch
from torch import Tensor


def rates(mean_square: float, recon_weight: float) -> tuple[float, float]:
    """The slow and the fast rate at which z = w x, trained exactly but for a penalty on w and r, nears its optimum.

    With M = E[x²], the relative deviations a of w from 1/√M and c of r from √M follow, in the limit of small steps,
    da/dt = −M a − 2λ M² (a + c) and dc/dt = −2λ (a + c). Both combinations of a and c that decay exponentially do so
    at rates ρ that solve (eq-dragged)

        ρ² − (M + 2λ (1 + M²)) ρ + 2λ M = 0.

    Without the penalty on w the rate of w is M.

    Args:
        mean_square: M > 0.
        recon_weight: λ ≥ 0.
    """
    total = mean_square + 2 * recon_weight * (1 + mean_square**2)
    product = 2 * recon_weight * mean_square
    fast = (total + math.sqrt(total**2 - 4 * product)) / 2
    return product / fast, fast


def shared_inverse(mean_squares: Tensor, recon_weight: float) -> tuple[Tensor, float]:
    """The weights w_i and the one r that all share, where exact training with the penalty comes to rest.

    Of features with the mean squares M_i, zero mean and independent, z_i = w_i x_i and x̂_i = r z_i. The gradients
    vanish (eq-shared-inverse) where

        1 − w_i² M_i = 4λ M_i r w_i (r w_i − 1) for each i,    Σ_i M_i r w_i (r w_i − 1) = 0,

    of which the first is a quadratic equation for r w_i, given r, and the second is solved for r by bisection.

    Args:
        mean_squares: M (D,), positive, float64.
        recon_weight: λ > 0.

    Returns:
        w (D,) and r.
    """
    m, strength = mean_squares, 2 * recon_weight * mean_squares

    def products(r: float) -> Tensor:
        square = m / (2 * r**2) + strength
        return (strength + (strength.square() + 2 * square).sqrt()) / (2 * square)

    low, high = float(m.min().sqrt()), float(m.max().sqrt())
    for _ in range(100):
        r = (low + high) / 2
        p = products(r)
        low, high = (r, high) if float((m * p * (p - 1)).sum()) < 0 else (low, r)
    return products(r) / r, r


def excess(weights: Tensor, mean_squares: Tensor) -> Tensor:
    """Nats by which independent normal features are modeled worse by z_i = w_i x_i than by w_i = 1/√m_i."""
    variances = weights.square() * mean_squares
    return 0.5 * (variances - 1 - torch.log(variances)).sum(-1)
