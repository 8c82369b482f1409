"""The iteration of Newton and Schulz, which improves an approximate inverse by matrix products alone.

With the residual E = I − W R of an approximate inverse R = W⁻¹ (I − E), one step is

    R ← R (2I − W R) = R + R E    (eq-newton-schulz),

two products of D³. Then R = W⁻¹ (I − E)(I + E) = W⁻¹ (I − E²), so that the residual squares,

    I − W R ← (I − W R)²    (eq-error-squares),

and R converges to W⁻¹ if ‖E‖ < 1 (Schulz 1933; Ben-Israel & Cohen 1966). Rounding is corrected as any other error is.
"""

import torch
from torch import Tensor

#: Steps of the power iteration; more of them change the estimate by a few per cent at most.
POWER_STEPS = 8


def inverse_residual(W: Tensor, R: Tensor) -> Tensor:
    """The residual E = I − W R of eq-error-squares, (D, D); one product of D³."""
    E = (W @ R).neg_()
    E.diagonal().add_(1)
    return E


def newton_schulz(R: Tensor, E: Tensor) -> Tensor:
    """R + R E (D, D) (eq-newton-schulz), whose residual is E² (eq-error-squares); one product of D³."""
    return torch.addmm(R, R, E)


def start_vector(matrix: Tensor) -> Tensor:
    """A unit vector (D,) for power iterations that favors no direction and needs no random generator."""
    v = torch.cos(torch.arange(len(matrix), dtype=matrix.dtype, device=matrix.device))
    return v / v.norm()


def spectral_norm(E: Tensor) -> Tensor:
    """An estimate of ‖E‖₂ from below, a scalar, by a power iteration on EᵀE; O(D²)."""
    v = start_vector(E)
    for _ in range(POWER_STEPS):
        v = E.mT @ (E @ (v / v.norm().clamp_min(torch.finfo(E.dtype).tiny)))
    return v.norm().sqrt()


def residual_norm(W: Tensor, R: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """‖E v‖, at most ‖E‖₂, for E = I − W R and a unit vector v (D,), without E; O(D²).

    Returns:
        ‖E v‖, and the unit vector along EᵀE v for the next call, with which the estimate approaches ‖E‖₂ as R lags
        behind W.
    """
    error = v - W @ (R @ v)
    back = error - R.mT @ (W.mT @ error)
    length = back.norm()
    return error.norm(), torch.where(length > 0, back / length, v)
