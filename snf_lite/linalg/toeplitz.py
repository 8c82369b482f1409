"""The exact algebra of a zero-padded convolution: its matrix T(w), log|det T(w)| and the solve T(w) x = z.

With the pixels ordered row by row, T(w) is block-banded: output row h depends on the input rows h-p … h+p, where
p = (k-1)/2. With p rows in a block the matrix is block-tridiagonal, with the same three blocks D, U, L in every row,

    | D U     |
    | L D U   |      so that   S_1 = D,  S_{i+1} = D - L S_i⁻¹ U,   log|det T| = Σ_i log|det S_i|   (eq-block-banded)
    |   L D   |

which costs H/p steps of O((p·C·W)³) where the dense matrix costs O((H·C·W)³). Because the blocks repeat, eliminating
every other row at once needs only about log₂(H/p) such steps (``cyclic_reduction``). Elimination without exchanges
between blocks can lose digits for kernels far from the identity; so the factors are float64, the residual of a solve is
measured, and where it is too large T(w) is factorized again with partial pivoting across adjacent blocks
(``block_tridiagonal``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from snf_lite.linalg import dense_matrix
from snf_lite.linalg.block_tridiagonal import PivotedElimination, bands, gather, layout
from snf_lite.linalg.cyclic_reduction import CyclicReduction
from snf_lite.runtime import checks

#: Largest relative residual of a solve at which the elimination without exchanges between blocks is accepted.
RESIDUAL_BOUND = 1e-11
#: The same where a device has no float64.
RESIDUAL_BOUND_FLOAT32 = 1e-4
#: If even the pivoted elimination leaves such a residual, no digit of a solve is right: T(w) is singular.
HOPELESS_RESIDUAL = 1e-3
#: A pivot of the pivoted elimination below this share of the largest tap is rounding noise: T(w) is singular.
NOISE_PIVOT = 3.5e-15


def matrix(weight: Tensor, height: int, width: int) -> Tensor:
    """T(w), (C·H·W, C·H·W), with vec(w ⋆ x) = T(w) vec(x): dense, for teaching and for checks (eq-conv-matrix).

    weight: (C, C, k, k), k odd; the convolution pads with (k-1)/2 zeros on each side.
    """
    channels = weight.shape[0]
    units = torch.eye(channels * height * width, dtype=weight.dtype, device=weight.device)
    images = units.reshape(-1, channels, height, width)
    return conv2d(images, weight, padding=weight.shape[-1] // 2).flatten(1).T


def tap_counts(weight: Tensor, height: int, width: int) -> Tensor:
    """m (k, k), the number of places of each tap of w (C, C, k, k) in T(w): (H - |a-p|)(W - |b-p|), at least 0."""
    kernel = weight.shape[-1]
    offsets = (torch.arange(kernel, device=weight.device) - kernel // 2).abs()
    rows, columns = (height - offsets).clamp_min(0), (width - offsets).clamp_min(0)
    return (rows[:, None] * columns[None, :]).to(weight.dtype)


def tap_sums(entries: Tensor, channels: int, kernel_size: int, height: int, width: int) -> Tensor:
    """For each tap the sum of a matrix's entries over its places in T(w): (C, C, k, k).

    The chain rule through T: it maps ∂L/∂T to ∂L/∂w, and T(w)⁻ᵀ to the exact gradient of log|det T(w)| (eq-tap-sums).
    Divided by ``tap_counts`` it is the kernel whose matrix is nearest to the given one. For teaching and for checks.

    Args:
        entries: Matrix (C·H·W, C·H·W).

    Raises:
        ValueError: a matrix of another shape.
    """
    features, reach = channels * height * width, kernel_size // 2
    if entries.shape != (features, features):
        raise ValueError(f"tap_sums: expected a matrix {(features, features)}, got {tuple(entries.shape)}.")
    # output channel, row, column, then those of the input, at the offset (a-p, b-p)
    six = entries.reshape(channels, height, width, channels, height, width)
    offsets = range(-reach, reach + 1)
    by_row = torch.stack([six.diagonal(offset, 1, 4).sum(-1) for offset in offsets], -1)
    return torch.stack([by_row.diagonal(offset, 1, 3).sum(-1) for offset in offsets], -1)


def flip(weight: Tensor) -> Tensor:
    """Swap input and output channels and mirror both spatial axes: T(flip(w)) = T(w)ᵀ."""
    return weight.transpose(0, 1).flip(2, 3)


# ---- log|det| and solves ---------------------------------------------------------------------------------------------


class Factors(Protocol):
    """A factorized T(w): log|det T(w)| () in nats, and the solve for images (B, C, H, W)."""

    @property
    def log_abs_det(self) -> Tensor: ...

    def solve(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class OnePixel:
    """T(w) of a 1×1 kernel, which repeats one C×C block for every pixel: one factorization is enough."""

    block: dense_matrix.Factor
    pixels: int

    @property
    def log_abs_det(self) -> Tensor:
        return self.pixels * self.block.log_abs_det

    def solve(self, images: Tensor) -> Tensor:
        pixels = images.movedim(1, -1)
        return self.block.solve(pixels.flatten(0, -2)).reshape(pixels.shape).movedim(-1, 1)


def eliminate(weight: Tensor, height: int, width: int, label: str = "toeplitz") -> Factors:
    """Factorize T(w) in float64, with pivoting across blocks only where the faster method loses digits.

    Raises:
        NotInvertibleError: T(w) is singular to working precision.
    """
    if weight.shape[-1] == 1:
        return OnePixel(dense_matrix.factor(dense_matrix.precise(weight[:, :, 0, 0]), label), height * width)
    plan = layout(weight, height, width)
    quick = CyclicReduction(bands(dense_matrix.precise(weight), plan), plan)
    if not checks.is_eager(weight) or _accepted(quick, weight[None], height, width):
        return quick
    return factorize_pivoted(weight, height, width, label)


def factorize_pivoted(weight: Tensor, height: int, width: int, label: str) -> PivotedElimination:
    """Factorize T(w) in float64 with pivoting across blocks, or raise NotInvertibleError."""
    plan = layout(weight, height, width)
    careful = PivotedElimination(bands(dense_matrix.precise(weight), plan), plan)
    pivots, scale = careful.pivots().detach().abs(), dense_matrix.precise(weight.detach()).abs().max()
    noise = NOISE_PIVOT * torch.finfo(pivots.dtype).eps / torch.finfo(torch.float64).eps
    regular = bool((pivots > noise * scale).all())
    if not regular or residual(careful, weight[None], height, width) > HOPELESS_RESIDUAL:
        raise dense_matrix.singular(
            label, f"a pivot of its matrix is {pivots.min():.1g} where its taps reach {scale:.1g}"
        )
    return careful


def _accepted(factors: Factors, weights: Tensor, height: int, width: int) -> bool:
    """Whether solves are as accurate as their dtype allows."""
    double = dense_matrix.precise(weights[:0]).dtype == torch.float64
    return residual(factors, weights, height, width) < (RESIDUAL_BOUND if double else RESIDUAL_BOUND_FLOAT32)


@torch.no_grad()
def residual(factors: Factors, weights: Tensor, height: int, width: int) -> float:
    """The largest ‖T(w) x − v‖ / ‖v‖ (maximum norms) of N solves T(w) x = v with a fixed v; infinite if not finite.

    weights: (N, C, C, k, k), whose matrices were factorized.
    """
    count, channels = weights.shape[:2]
    shape = (count, channels, height, width)
    weights = dense_matrix.precise(weights)
    probe = torch.arange(math.prod(shape), dtype=weights.dtype, device=weights.device).cos().reshape(shape)
    x = factors.solve(probe).reshape(1, -1, height, width)
    back = conv2d(x, weights.flatten(0, 1), padding=weights.shape[-1] // 2, groups=count)
    worst = float((back.reshape(shape) - probe).abs().max() / probe.abs().max())
    return worst if math.isfinite(worst) else math.inf


def log_abs_det(weight: Tensor, height: int, width: int, label: str = "toeplitz") -> Tensor:
    """log|det T(w)| in nats, a float64 scalar, differentiable in weight (eq-block-banded).

    For a 1×1 kernel it is H·W·log|det w|, one factorization of (C, C) for all pixels (eq-one-by-one).

    Args:
        weight: Kernel (C, C, k, k), k odd, of any float dtype; computed in float64.

    Raises:
        NotInvertibleError: T(w) is singular.
    """
    if weight.shape[-1] == 1:  # T(w) repeats one C×C block for every pixel
        return height * width * dense_matrix.log_abs_det(dense_matrix.precise(weight[:, :, 0, 0]), label)
    return log_abs_dets(weight[None], height, width, [label])[0]


def log_abs_dets(weights: Tensor, height: int, width: int, labels: Sequence[str]) -> Tensor:
    """log|det T(w)| in nats for N kernels in one batch, float64 (N,), differentiable in weights.

    Args:
        weights: Kernels (N, C, C, k, k), k odd, of any float dtype; computed in float64.
        labels: N names for the message of an error.

    Raises:
        NotInvertibleError: a T(w) is singular; the message names its label.
    """
    if weights.shape[-1] == 1:
        return torch.stack([log_abs_det(w, height, width, label) for w, label in zip(weights, labels, strict=True)])
    with torch.no_grad():
        factors, gradients = factors_and_gradient(dense_matrix.precise(weights), height, width)
    if checks.is_eager(weights) and not _accepted(factors, weights, height, width):
        if len(weights) == 1:
            return factorize_pivoted(weights[0], height, width, labels[0]).log_abs_det[None]
        pairs = zip(weights, labels, strict=True)  # one by one, because not all of them need pivoting
        return torch.stack([log_abs_det(weight, height, width, label) for weight, label in pairs])
    return cast(Tensor, _LogAbsDets.apply(dense_matrix.precise(weights), factors.log_abs_det, gradients, height, width))


def factors_and_gradient(weight: Tensor, height: int, width: int) -> tuple[CyclicReduction, Tensor]:
    """The factorized T(w), and ∂log|det T(w)|/∂w (..., C, C, k, k), itself differentiable in w."""
    plan = layout(weight, height, width)
    factors = CyclicReduction(bands(weight, plan), plan)
    return factors, gather(factors.gradient(), plan)


class _LogAbsDets(dense_matrix.AutogradFunction):
    """log|det T(w)| (N,) with its gradient for w (N, C, C, k, k), both computed before."""

    generate_vmap_rule = True

    @staticmethod
    def forward(weights: Tensor, values: Tensor, gradients: Tensor, height: int, width: int) -> Tensor:
        return values.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, int, int], output: Tensor) -> None:
        weights, _, gradients, ctx.height, ctx.width = inputs
        ctx.save_for_backward(weights, gradients)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, gradients = ctx.saved_tensors
        if torch.is_grad_enabled():  # second derivatives are needed: the saved gradients carry none
            gradients = factors_and_gradient(weights, ctx.height, ctx.width)[1]
        return grad[:, None, None, None, None] * gradients, None, None, None, None
