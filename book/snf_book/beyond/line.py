"""The reconstruction penalty where everything can be solved: one weight, and several weights that share an inverse."""

import math

import torch
from torch import Tensor


def rates(mean_square: float, recon_weight: float) -> tuple[float, float]:
    """The slow and the fast rate at which z = w x, trained exactly but for a penalty on w and r, nears its optimum.

    With m = E[x²] and k = 2λ, the deviations a and b of w = (1 + a)/√m and r = (1 + b)√m follow, in steps so small
    that they flow, da/dt = −m a − k m² (a + b) and db/dt = −k (a + b). Both combinations of a and b that fall
    exponentially do so at the rates (eq-dragged)

        μ = ½ (T ± √(T² − 4 k m)),    T = m + k (1 + m²).

    Without the penalty on w it falls at the rate m.

    Args:
        mean_square: m > 0.
        recon_weight: λ ≥ 0.
    """
    m, k = mean_square, 2 * recon_weight
    total = m + k * (1 + m**2)
    root = math.sqrt(total**2 - 4 * k * m)
    return 2 * k * m / (total + root), (total + root) / 2


def shared_inverse(mean_squares: Tensor, recon_weight: float) -> tuple[Tensor, float]:
    """The weights w_i and the one r that all share, where exact training with the penalty comes to rest.

    Of features with the mean squares m_i, zero mean and independent, z_i = w_i x_i and x̂_i = r z_i. With p_i = r w_i
    the gradients vanish (eq-shared-inverse) where

        1 − w_i² m_i = 4λ m_i p_i (p_i − 1) for each i,    Σ_i m_i p_i (p_i − 1) = 0,

    of which the first is a quadratic equation for p_i, given r, and the second is solved for r by bisection.

    Args:
        mean_squares: m (D,), positive, float64.
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
