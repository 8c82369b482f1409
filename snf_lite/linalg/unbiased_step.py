"""The gradient of log|det T(w)| for the taps of w, without bias, from a learned inverse r and a few random images.

Of the exact gradient's matrix T(w)⁻ᵀ the learned inverse gives the part T(r)ᵀ, whose tap sums are flip(r) ⊙ m, and
only the remainder Δ is estimated. For random signs v, E[v vᵀ] = I, so that E[Δ v vᵀ] = Δ, and Δ v needs no matrix:

    T(w)⁻ᵀ = T(r)ᵀ + Δ,    Δ v = u − T(r)ᵀ v,    T(w)ᵀ u = v    (eq-control-variate).

The tap sums of an outer product are those of a convolution's gradient, so that for n probes v, with m of
``toeplitz.tap_counts``,

    ∂ log|det T(w)| / ∂w = E[flip(r) ⊙ m + (1/n) Σ_v (Δ v) ⋆ v]    (eq-unbiased-taps).

The solve is an iteration with convolutions by flip(w), preconditioned by flip(r). It starts from T(r)ᵀ v, which leaves
e = v − T(w)ᵀ T(r)ᵀ v, and this also teaches r without data:

    E‖e‖² = ‖I − T(r) T(w)‖²_F,    ∂‖e‖²/∂r = −2 v ⋆ (w ⋆ e)    (eq-noise-inverse).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from snf_lite.linalg import toeplitz
from snf_lite.linalg.convolution import as_channels_last, convolve, tap_gradient
from snf_lite.linalg.dense_matrix import AutogradFunction, product_dtype
from snf_lite.linalg.krylov import bicgstab, norms
from snf_lite.runtime import checks

#: Steps of minimal residual before BiCGStab takes over; inside a trace, which cannot look at residuals, all of them.
STEPS = 8


class Correction(NamedTuple):
    """What the probes give.

    Attributes:
        images: Δ v (n, C, H, W) for the probes v.
        defect: e = v − T(w)ᵀ T(r)ᵀ v, (n, C, H, W).
        iterations: Iterations of the probe that needed most.
        residual: The largest ‖v − T(w)ᵀ u‖ / ‖v‖ among the probes, a scalar.
    """

    images: Tensor
    defect: Tensor
    iterations: int
    residual: Tensor


def random_signs(count: int, like: Tensor, height: int, width: int) -> Tensor:
    """Probes (n, C, H, W) for a kernel (C, C, k, k): independent numbers ±1, from torch's global generator."""
    shape = (count, like.shape[0], height, width)
    signs = torch.randint(0, 2, shape, device=like.device).to(like.dtype).mul_(2).sub_(1)
    return as_channels_last(signs, checks.under_functorch())


@torch.no_grad()
def correction(w: Tensor, r: Tensor, probes: Tensor, tolerance: float, limit: int, solve: bool = True) -> Correction:
    """Solve T(w)ᵀ u = v of eq-control-variate for the probes v (n, C, H, W), to a residual of ``tolerance`` · ‖v‖.

    Steps of minimal residual come first: each takes two convolutions and cannot increase a residual. Where ``STEPS`` of
    them are not enough, BiCGStab continues for ``limit`` iterations. Inside a trace ``STEPS`` are all.

    Args:
        solve: Whether to solve at all; without, ``images`` are zero.
    """
    functorch, eager = checks.under_functorch(), checks.is_eager(w)
    w_flipped, r_flipped = toeplitz.flip(w), toeplitz.flip(r)

    def forward(y: Tensor) -> Tensor:
        return convolve(y, w_flipped, functorch)

    def precondition(y: Tensor) -> Tensor:
        return convolve(y, r_flipped, functorch)

    first = precondition(probes)
    defect = left = probes - forward(first)
    images = torch.zeros_like(probes)
    norm, iterations = probes[0].numel() ** 0.5, 0
    residual = norms(left).amax() / norm
    while solve and iterations < STEPS and not (eager and float(residual) <= tolerance):
        moved = precondition(left)
        change = forward(moved)
        length = ((change * left).sum((1, 2, 3)) / change.square().sum((1, 2, 3))).nan_to_num(0.0)[:, None, None, None]
        images, left = images + length * moved, left - length * change
        residual, iterations = norms(left).amax() / norm, iterations + 1
    if solve and eager and not float(residual) <= tolerance:
        found = bicgstab(forward, probes, precondition, tolerance, limit, start=first + images)
        images, residual, iterations = found.x - first, found.residuals.amax(), iterations + found.iterations
    return Correction(images, defect, iterations, residual)


def taps_of(r: Tensor, counts: Tensor, found: Correction, probes: Tensor) -> Tensor:
    """The estimate of eq-unbiased-taps, (C, C, k, k)."""
    noise = tap_gradient(probes, found.images, r, checks.under_functorch())
    return toeplitz.flip(r) * counts + noise / len(probes)


def recon_from_noise(w: Tensor, r: Tensor, found: Correction, probes: Tensor) -> Tensor:
    """The mean of ‖e‖² over the probes, a scalar, with the gradient of eq-noise-inverse for r and none for w."""
    with torch.no_grad():
        functorch = checks.under_functorch()
        slope = tap_gradient(convolve(found.defect, w, functorch), probes, r, functorch) * (-2 / len(probes))
        value = found.defect.square().sum() / len(probes)
    linear = (slope * r).sum()
    return value + (linear - linear.detach())


class UnbiasedConvStep(AutogradFunction):
    """z = w ⋆ x + b in three convolutions, and a (B,) term, zero in value, with the gradient ``taps`` for w.

    Under ``torch.autocast`` the convolutions are of lower precision; sums, and what is added to weights, are not.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor, taps: Tensor, functorch: bool) -> tuple[Tensor, Tensor]:
        dtype = product_dtype(x)
        wx = convolve(as_channels_last(x, functorch).to(dtype), w.to(dtype), functorch)
        return wx + b[:, None, None], x.new_zeros(len(x))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, w, _, taps, _ = inputs
        ctx.dtype = product_dtype(x)
        ctx.save_for_backward(x, w, taps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor) -> tuple[Tensor | None, ...]:
        x, w, taps = ctx.saved_tensors
        own, functorch = x.dtype, checks.under_functorch()
        delta = as_channels_last(grad_z, functorch).to(ctx.dtype)
        grad_x = convolve(delta, toeplitz.flip(w).to(ctx.dtype), functorch)
        grad_w = tap_gradient(x.to(ctx.dtype), delta, w, functorch).to(own).contiguous()
        return grad_x.to(own), grad_w.addcmul_(grad_log_det.sum(), taps), grad_z.sum((0, 2, 3)), None, None
