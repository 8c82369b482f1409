"""Convolutions with zero "same" padding in the memory layouts that are fastest, and the fused self-normalizing step.

On a CPU, images whose channels come last in memory are convolved in as little as half the time, and a batch of
one-channel images in a third of the time if the batch is treated as channels of groups. Transforms of torch.func
support neither layout; so callers ask once for each pass whether one is active (``checks.under_functorch``), and pass
the answer on.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear
from torch.nn.grad import conv2d_weight

from snf_lite.linalg import krylov, toeplitz
from snf_lite.linalg.dense_matrix import AutogradFunction, precise, product_dtype
from snf_lite.runtime import checks

#: Smallest C·H·W from which solves iterate. Measured on one thread: in float32 the iteration is faster than elimination
#: with its factorization from about here on, for a batch or a single image; in float64, where a CPU convolves slowly,
#: only where the factors take gigabytes.
ITERATED_SIZE = {torch.float32: 256, torch.float64: 2**17}
#: Largest residual of a solve, relative to its right-hand side: the one aimed at, and the one accepted.
AIM = {torch.float32: 1e-6, torch.float64: 1e-12}
ACCEPTED = {torch.float32: 1e-5, torch.float64: 1e-10}
#: Largest number of iterations of a solve.
LIMIT = 100


def as_channels_last(images: Tensor, functorch: bool) -> Tensor:
    """The same images (B, C, H, W), on a CPU with their channels last in memory."""
    if functorch or images.device.type != "cpu":
        return images
    return images.contiguous(memory_format=torch.channels_last)


def convolve(x: Tensor, weight: Tensor, functorch: bool) -> Tensor:
    """w ⋆ x with zero "same" padding, (B, C, H, W)."""
    padding = weight.shape[-1] // 2
    if functorch or not _one_channel_on_cpu(x):
        return conv2d(x, weight, padding=padding)
    each = weight.expand(len(x), -1, -1, -1)
    return conv2d(x.transpose(0, 1), each, padding=padding, groups=len(x)).transpose(0, 1)


def tap_gradient(x: Tensor, grad_z: Tensor, weight: Tensor, functorch: bool) -> Tensor:
    """δz ⋆ x, the gradient for the taps of ``weight``, (C, C, k, k)."""
    x, padding = as_channels_last(x, functorch), weight.shape[-1] // 2
    if functorch or not _one_channel_on_cpu(x):
        return conv2d_weight(x, weight.shape, grad_z, padding=padding)
    images, pulls, count = x.transpose(0, 1), grad_z.transpose(0, 1), len(x)
    each = conv2d_weight(images, (count, *weight.shape[1:]), pulls, padding=padding, groups=count)
    return each.sum(0, keepdim=True)


def _one_channel_on_cpu(x: Tensor) -> bool:
    return x.shape[1] == 1 < len(x) and x.device.type == "cpu"


def mix_channels(images: Tensor, matrix: Tensor) -> Tensor:
    """The convolution with the 1×1 kernel ``matrix`` (C, C) as one product: with channels last nothing is copied."""
    return linear(images.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2)


class SelfNormConvStep(AutogradFunction):
    """``reference_self_norm_conv2d`` in six convolutions: two forward, four backward.

    A transposed convolution with w is a convolution with flip(w), which libraries compute faster. Under
    ``torch.autocast`` the convolutions are of lower precision; sums, and what is added to weights, are not.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, w: Tensor, r: Tensor, b: Tensor, counts: Tensor, functorch: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        dtype = product_dtype(x)
        low = as_channels_last(x, functorch).to(dtype)
        wx = convolve(low, w.to(dtype), functorch)
        error = convolve(wx, r.to(dtype), functorch).sub_(low)
        recon = error.to(x.dtype).square().sum((1, 2, 3))
        return wx + b[:, None, None], x.new_zeros(len(x)), recon, wx, error

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, w, r, _, counts, _ = inputs
        *_, wx, error = output
        ctx.mark_non_differentiable(wx, error)
        ctx.save_for_backward(x, w, r, counts, wx, error)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad_z: Tensor, grad_log_det: Tensor, grad_recon: Tensor, *_: Any
    ) -> tuple[Tensor | None, ...]:
        x, w, r, counts, wx, error = ctx.saved_tensors
        own, dtype, functorch = x.dtype, wx.dtype, checks.under_functorch()
        delta = as_channels_last(grad_z, functorch).to(dtype)
        pull = (2 * grad_recon[:, None, None, None] * error).to(dtype)  # ∂loss/∂x̂
        w_flipped, r_flipped = toeplitz.flip(w), toeplitz.flip(r)
        grad_x = convolve(delta, w_flipped.to(dtype), functorch)
        grad_wx = convolve(pull, r_flipped.to(dtype), functorch).add_(delta, alpha=0.5)
        grad_rwx = pull.add_(grad_x, alpha=-0.5)
        counts = 0.5 * grad_log_det.sum() * counts
        grad_w = tap_gradient(x.to(dtype), grad_wx, w, functorch).to(own).contiguous().addcmul_(counts, r_flipped)
        grad_r = tap_gradient(wx, grad_rwx, r, functorch).to(own).contiguous().addcmul_(counts, w_flipped, value=-1)
        return grad_x.to(own), grad_w, grad_r, grad_z.sum((0, 2, 3)), None, None


def iterated(weight: Tensor, height: int, width: int) -> bool:
    """Whether solves with T(w) for images of height × width iterate where an approximate inverse is known.

    Not for a 1×1 kernel, whose C×C matrix is factorized once for all pixels.
    """
    size = weight.shape[0] * height * width
    return checks.is_eager(weight) and weight.shape[-1] > 1 and size >= ITERATED_SIZE.get(weight.dtype, math.inf)


@torch.no_grad()
def solve(images: Tensor, weight: Tensor, inverse_weight: Tensor) -> krylov.Solution:
    """x with T(w) x = images, (B, C, H, W), by convolutions alone: an iteration preconditioned with r.

    It needs no matrix and no factorization, for any size of image. Each image has its residual, relative to its own
    length; ``ACCEPTED`` is the largest that counts as solved.
    """
    return krylov.solve(
        lambda x: convolve(x, weight, False), images.contiguous(), lambda x: convolve(x, inverse_weight, False),
        AIM[images.dtype], LIMIT,
    )  # fmt: skip


class Solve(AutogradFunction):
    """x with T(w) x = b by ``solve``; its gradient is a solve with T(w)ᵀ = T(flip(w)), preconditioned with flip(r).

    With u = T(w)⁻ᵀ δ_x the gradient is u for b and, as T(w) dx = db − T(dw) x, −u ⋆ x for the taps of w. Where a solve
    does not reach the accepted residual, ``missed`` is called with its residual and T(w) is eliminated.
    """

    @staticmethod
    def forward(b: Tensor, w: Tensor, r: Tensor, missed: Callable[[float], None], label: str) -> Tensor:
        solution = solve(b, w, r)
        if bool((solution.residuals <= ACCEPTED[b.dtype]).all()):
            return solution.x
        missed(float(solution.residuals.max()))
        height, width = b.shape[2:]
        return toeplitz.eliminate(w, height, width, label).solve(precise(b)).to(b.device, b.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, w, r, ctx.missed, ctx.label = inputs
        ctx.save_for_backward(w, r, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        w, r, x = ctx.saved_tensors
        u = Solve.apply(grad, toeplitz.flip(w), toeplitz.flip(r), ctx.missed, ctx.label)
        grad_w = -conv2d_weight(x, w.shape, u, padding=w.shape[-1] // 2) if ctx.needs_input_grad[1] else None
        return u, grad_w, None, None, None
