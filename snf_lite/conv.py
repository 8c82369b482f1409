"""Convolutional layers z = w ⋆ x + b with zero "same" padding: self-normalising and exact."""

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear
from torch.nn.grad import conv2d_weight

from snf_lite import geco
from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix, toeplitz
from snf_lite.runtime import checks

#: Standard deviation of the noise that separates a fresh kernel from the identity, over √(C·k²).
INITIAL_NOISE = 0.05


class ImageConv(FlowLayer):
    """What every convolutional layer shares: events (C, H, W) with any H and W, and z of the shape of x."""

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.channels = checks.positive_integer(channels, "channels", self.label)
        self.kernel_size = checks.odd_integer(kernel_size, "kernel_size", self.label)

    @property
    def padding(self) -> int:
        return self.kernel_size // 2

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) != 3 or event_shape[0] != self.channels or 0 in event_shape:
            raise self.shape_error(f"({self.channels}, H, W)", event_shape)
        return event_shape

    def settings(self) -> dict[str, Any]:
        return {"channels": self.channels, "kernel_size": self.kernel_size}


def initial_noise(channels: int, kernel_size: int) -> Tensor:
    """The noise in a fresh kernel (C, C, k, k): every output gets the same amount of it, whatever C and k."""
    shape = (channels, channels, kernel_size, kernel_size)
    return torch.randn(shape) * (INITIAL_NOISE / (channels**0.5 * kernel_size))


class ConvLayer(ImageConv):
    """What the layers z = w ⋆ x + b share: the exact log-determinant log|det T(w)| and the exact inverse.

    The padding is (k-1)/2 zeros on each side.

    Attributes:
        weight: w (C, C, k, k), at first the identity with a little noise.
        bias: b (C,).
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__(channels, kernel_size)
        noise = initial_noise(channels, kernel_size)
        self.weight = nn.Parameter(nn.init.dirac_(torch.empty_like(noise)) + noise)
        self.bias = nn.Parameter(torch.zeros(channels))
        self._factor: dense_matrix.WeightCache[toeplitz.Factors] = dense_matrix.WeightCache()

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = self.log_abs_det(*x.shape[2:]).to(x.device, x.dtype)
        return conv2d(x, self.weight, self.bias, padding=self.padding), log_det.expand(len(x))

    def log_abs_det(self, height: int, width: int) -> Tensor:
        """log|det T(w)| in nats for images of height × width (eq-block-banded), float64."""
        if dense_matrix.gradient_wanted(self.weight) or not checks.is_eager(self.weight):
            return toeplitz.log_abs_det(self.weight, height, width, self.label)
        return self.elimination(height, width).log_abs_det

    @torch.no_grad()
    def elimination(self, height: int, width: int) -> toeplitz.Factors:
        """The factorised T(w), made anew when w or the image size has changed."""
        return self._factor.get(
            self.weight, lambda: toeplitz.eliminate(self.weight, height, width, self.label), key=(height, width)
        )

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        centred = dense_matrix.precise(z - self.bias[:, None, None])
        height, width = z.shape[2:]
        if dense_matrix.gradient_wanted(centred, self.weight):
            factors = toeplitz.eliminate(self.weight, height, width, self.label)
        else:
            factors = self.elimination(height, width)
        return factors.solve(centred).to(z.device, z.dtype)

    def clear_cache(self) -> None:
        self._factor.clear()


class ExactConv2d(ConvLayer):
    """Convolution trained with the exact gradient of log|det T(w)|, by block-banded elimination (eq-block-banded).

    A step factorises about log₂(H/p) blocks of (p·C·W)² numbers, p = (k-1)/2, by cyclic reduction; no dense T(w) is
    ever built. Where W > H the columns take the part of the rows.

    Args:
        channels: C.
        kernel_size: k, odd.
    """

    #: (H, W), told by the flow.
    image_size: tuple[int, int] | None = None

    def bind(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        z_shape = super().bind(event_shape)
        self.image_size = (event_shape[1], event_shape[2])
        return z_shape

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        return self.map(x), self.log_abs_det(*x.shape[2:]).to(x.device, x.dtype).expand(len(x)), None

    def map(self, x: Tensor) -> Tensor:
        """w ⋆ x + b, laid out in memory as is fastest."""
        images = as_channels_last(x)
        z = convolve(images, self.weight) if self.kernel_size > 1 else mix_channels(images, self.weight[:, :, 0, 0])
        return z + self.bias[:, None, None]

    def log_det_group(self) -> Hashable | None:
        """Layers of one shape of kernel and image: their matrices are eliminated in one batch."""
        return None if self.image_size is None else (self.image_size, self.weight.shape)

    @classmethod
    def grouped_log_dets(cls, layers: Sequence["ExactConv2d"], key: Any) -> Tensor:
        (height, width), _ = key  # of the flow that asks: its layers may stand in another one too, for other images
        owners = [layer.label for layer in layers]
        return toeplitz.log_abs_dets(torch.stack([layer.weight for layer in layers]), height, width, owners)


class SelfNormConv2d(ConvLayer):
    """Convolution with a learned inverse r, whose flipped taps stand for T(w)⁻ᵀ in the gradient (eq-conv-gradients).

    Trained through ``Flow.loss``: six convolutions, no matrix, determinant, inverse or solve. ``log_prob`` stays exact.

    Args:
        channels: C.
        kernel_size: k, odd.
        recon_weight: λ ≥ 0, the weight of ‖r ⋆ (w ⋆ x) − x‖², a sum over all numbers of an image.
        tolerance: let λ follow the mean of that error, so that it comes near this (``AdaptiveWeight``); None: λ fixed.

    Attributes:
        inverse_weight: r (C, C, k, k), at first flip(w).

    Source: Keller et al., Self Normalizing Flows, ICML 2021 (https://arxiv.org/abs/2011.07248).
    """

    learned_inverse = True

    def __init__(
        self, channels: int, kernel_size: int = 3, recon_weight: float = 1.0, tolerance: float | None = None
    ) -> None:
        super().__init__(channels, kernel_size)
        self.recon_weight = checks.non_negative(recon_weight, "recon_weight", self.label)
        self.adapted = geco.adapted(self.recon_weight, tolerance, self.label)
        self.inverse_weight = nn.Parameter(toeplitz.flip(self.weight.detach()).clone())
        self._counts: tuple[Any, Tensor] | None = None

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        counts = self.tap_counts(x.shape[2], x.shape[3])
        z, log_det, recon, _, _ = _SelfNormConvStep.apply(x, self.weight, self.inverse_weight, self.bias, counts)
        return z, log_det, geco.weighted(recon, self.recon_weight, self.adapted)

    def after_step(self) -> None:
        if self.adapted is not None:
            self.adapted.after_step()

    def tap_counts(self, height: int, width: int) -> Tensor:
        """m (k, k) of ``toeplitz.tap_counts``, computed once for a size of images."""
        # nothing is kept from inside a trace, nor what autograd could not use later
        if not checks.is_eager(self.weight) or torch.is_inference_mode_enabled():
            return toeplitz.tap_counts(self.weight, height, width)
        key = (height, width, self.weight.dtype, self.weight.device)
        if self._counts is None or self._counts[0] != key:
            self._counts = key, toeplitz.tap_counts(self.weight, height, width)
        return self._counts[1]

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        if exact:
            return super().invert(z, exact)
        return conv2d(z - self.bias[:, None, None], self.inverse_weight, padding=self.padding)

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), **geco.settings(self.recon_weight, self.adapted)}


def reference_self_norm_conv2d(x: Tensor, w: Tensor, r: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The self-normalising training pass of a convolution (eq-conv-gradients) in plain autograd, for reading.

    The layer uses the fused ``_SelfNormConvStep``, which gives the same gradients in six convolutions.

    Args:
        x: (B, C, H, W); w, r: (C, C, k, k); b: (C,).

    Returns:
        z (B, C, H, W); a (B,) term, zero in value, with gradients ½ flip(r)⊙m for w and -½ flip(w)⊙m for r;
        ‖r ⋆ (w ⋆ x) − x‖², (B,).
    """
    p, m = w.shape[-1] // 2, toeplitz.tap_counts(w, x.shape[2], x.shape[3])
    code = conv2d(x.detach(), w.detach(), padding=p)
    moved = x - 0.5 * conv2d(code, r - r.detach(), padding=p)  # x in value; sends -½ δx ⋆ (w ⋆ x) to r
    z = conv2d(moved, 0.5 * w + 0.5 * w.detach(), b, padding=p)
    traces = 0.5 * (toeplitz.flip(r).detach() * m * w).sum() - 0.5 * (toeplitz.flip(w).detach() * m * r).sum()
    recon = conv2d(conv2d(x.detach(), w, padding=p), r, padding=p) - x.detach()
    return z, (traces - traces.detach()).expand(len(x)), recon.square().flatten(1).sum(1)


class _SelfNormConvStep(torch.autograd.Function):
    """``reference_self_norm_conv2d`` in six convolutions: two forward, four backward.

    A transposed convolution with w is a convolution with flip(w), which libraries compute faster.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, w: Tensor, r: Tensor, b: Tensor, counts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        dtype = dense_matrix.product_dtype(x)
        low = as_channels_last(x).to(dtype)
        code = convolve(low, w.to(dtype))
        error = convolve(code, r.to(dtype)).sub_(low)
        recon = error.to(x.dtype).square().sum((1, 2, 3))
        return code + b[:, None, None], x.new_zeros(len(x)), recon, code, error

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        x, w, r, _, counts = inputs
        *_, code, error = output
        ctx.mark_non_differentiable(code, error)
        ctx.save_for_backward(x, w, r, counts, code, error)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad_z: Tensor, grad_log_det: Tensor, grad_recon: Tensor, *_: Any
    ) -> tuple[Tensor | None, ...]:
        x, w, r, counts, code, error = ctx.saved_tensors
        own, dtype = x.dtype, code.dtype
        delta, pull = as_channels_last(grad_z).to(dtype), (2 * grad_recon[:, None, None, None] * error).to(dtype)
        w_mirrored, r_mirrored = toeplitz.flip(w), toeplitz.flip(r)
        grad_x = convolve(delta, w_mirrored.to(dtype))
        to_code = convolve(pull, r_mirrored.to(dtype)).add_(delta, alpha=0.5)
        to_x = pull.add_(grad_x, alpha=-0.5)
        counts = 0.5 * grad_log_det.sum() * counts
        grad_w = tap_gradient(x.to(dtype), to_code, w).to(own).addcmul_(counts, r_mirrored)
        grad_r = tap_gradient(code, to_x, r).to(own).addcmul_(counts, w_mirrored, value=-1)
        return grad_x.to(own), grad_w, grad_r, grad_z.sum((0, 2, 3)), None


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """w ⋆ x with zero "same" padding."""
    padding = weight.shape[-1] // 2
    if not _one_channel_on_cpu(x):
        return conv2d(x, weight, padding=padding)
    each = weight.expand(len(x), -1, -1, -1)
    return conv2d(x.transpose(0, 1), each, padding=padding, groups=len(x)).transpose(0, 1)


def mix_channels(images: Tensor, matrix: Tensor) -> Tensor:
    """The convolution with the 1×1 kernel ``matrix`` (C, C) as one product: with channels last nothing is copied."""
    return linear(images.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2)


def tap_gradient(x: Tensor, grad_z: Tensor, weight: Tensor) -> Tensor:
    """δz ⋆ x for the taps of ``weight``."""
    x, padding = as_channels_last(x), weight.shape[-1] // 2
    if not _one_channel_on_cpu(x):
        return conv2d_weight(x, weight.shape, grad_z, padding=padding)
    images, pulls, count = x.transpose(0, 1), grad_z.transpose(0, 1), len(x)
    each = conv2d_weight(images, (count, *weight.shape[1:]), pulls, padding=padding, groups=count)
    return each.sum(0, keepdim=True)


def _one_channel_on_cpu(x: Tensor) -> bool:
    """Images of one channel then change places with the batch: as so many channels they take a third of the time."""
    return x.shape[1] == 1 < len(x) and x.device.type == "cpu" and not checks.under_functorch()


def as_channels_last(images: Tensor) -> Tensor:
    """On a CPU the same images with their channels last in memory, where convolutions take up to half the time less."""
    if images.device.type != "cpu" or checks.under_functorch():
        return images
    return images.contiguous(memory_format=torch.channels_last)
