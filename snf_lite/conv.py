"""Convolutional layers z = w ⋆ x + b with zero "same" padding: self-normalizing and exact.

A convolution is linear: vec(w ⋆ x) = T(w) vec(x) with a matrix T(w) in which each tap of w occurs once for each pixel
whose neighbor it weighs (eq-conv-matrix). So the dense layer's gradients hold with T(w) for W, and the chain rule sums
a gradient for T over the places of each tap (eq-tap-sums). The exact one needs T(w)⁻ᵀ, a matrix of (C·H·W)² numbers.
Let the learned inverse be a convolution with r. Its transposed matrix is that of flip(r), which swaps the channels and
mirrors both axes, and the sum over the places of a tap is a multiplication by their number m (k, k). Hence with
δ_x = flip(w) ⋆ δ_z and x̂ = r ⋆ (w ⋆ x), up to the penalty,

    w: ½ (δ_z ⋆ x + flip(r) ⊙ m),    r: ½ (−δ_x ⋆ (w ⋆ x) − flip(w) ⊙ m)    (eq-conv-gradients),

six convolutions in all and no matrix. ``log_prob`` stays exact: T(w) is block-banded, and ``linalg.toeplitz``
factorizes it block by block (eq-block-banded).
"""

from collections.abc import Hashable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from snf_lite.geco import ReconstructionPenalty
from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix, toeplitz
from snf_lite.linalg.convolution import SelfNormConvStep, Solve, as_channels_last, convolve, iterated, mix_channels
from snf_lite.runtime import checks

#: Standard deviation of the noise that separates a fresh kernel from the identity, over √(C·k²).
INITIAL_NOISE = 0.05


class ImageConv(FlowLayer):
    """What every convolutional layer shares: event shapes (C, H, W) with any H and W, and z of the shape of x."""

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.channels = checks.positive_integer(channels, "channels", self.label)
        self.kernel_size = checks.odd_integer(kernel_size, "kernel_size", self.label)
        self.padding = self.kernel_size // 2

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) != 3 or event_shape[0] != self.channels or 0 in event_shape:
            raise self.shape_error(f"({self.channels}, H, W)", event_shape)
        return event_shape


def initial_noise(channels: int, kernel_size: int) -> Tensor:
    """The noise in a fresh kernel (C, C, k, k): the same variance of each output, whatever C and k."""
    shape = (channels, channels, kernel_size, kernel_size)
    return torch.randn(shape) * (INITIAL_NOISE / (channels**0.5 * kernel_size))


class ConvLayer(ImageConv):
    """What the layers z = w ⋆ x + b share: the exact log-determinant log|det T(w)| and the exact inverse.

    Attributes:
        weight: w (C, C, k, k), at first the identity with a little noise; padded by (k-1)/2 zeros on each side.
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
        """The factorized T(w), computed again when w or the image size has changed."""
        return self._factor.get(
            self.weight, lambda: toeplitz.eliminate(self.weight, height, width, self.label), key=(height, width)
        )

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        centered = dense_matrix.precise(z - self.bias[:, None, None])
        height, width = z.shape[2:]
        if dense_matrix.gradient_wanted(centered, self.weight):
            factors = toeplitz.eliminate(self.weight, height, width, self.label)
        else:
            factors = self.elimination(height, width)
        return factors.solve(centered).to(z.device, z.dtype)

    def clear_cache(self) -> None:
        self._factor.clear()


class ExactConv2d(ConvLayer):
    """Convolution trained with the exact gradient of log|det T(w)|, by block-banded elimination (eq-block-banded).

    A step factorizes about log₂(H/p) blocks of (p·C·W)² numbers, p = (k-1)/2, by cyclic reduction; no dense T(w) is
    ever built. Where W > H, rows and columns are swapped.

    Args:
        channels: C, the number of channels.
        kernel_size: k, odd.

    Raises:
        NotInvertibleError: T(w) is singular.

    Example:
        >>> from snf_lite.linalg import toeplitz
        >>> layer = snf.ExactConv2d(2)
        >>> z, log_det = layer(torch.zeros(5, 2, 4, 4))
        >>> dense = toeplitz.matrix(layer.weight, 4, 4)  # T(w), (32, 32)
        >>> torch.allclose(log_det, torch.linalg.slogdet(dense).logabsdet, atol=1e-4)
        True

    References:
        Keller et al., Self Normalizing Flows, ICML 2021, Table 1 (https://arxiv.org/abs/2011.07248).
    """

    #: (H, W), set by the flow.
    image_size: tuple[int, int] | None = None

    def bind(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        z_shape = super().bind(event_shape)
        self.image_size = (event_shape[1], event_shape[2])
        return z_shape

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        return self.map(x), self.log_abs_det(*x.shape[2:]).to(x.device, x.dtype).expand(len(x)), None

    def map(self, x: Tensor) -> Tensor:
        """w ⋆ x + b, in the memory layout that is fastest."""
        functorch = checks.under_functorch()
        images = as_channels_last(x, functorch)
        if self.kernel_size > 1:
            return convolve(images, self.weight, functorch) + self.bias[:, None, None]
        return mix_channels(images, self.weight[:, :, 0, 0]) + self.bias[:, None, None]

    def log_det_group(self) -> Hashable | None:
        """Layers of one shape of kernel and image: their matrices are eliminated in one batch."""
        return None if self.image_size is None else (self.image_size, self.weight.shape)

    @classmethod
    def grouped_log_dets(cls, layers: Sequence["ExactConv2d"], key: Any) -> Tensor:
        (height, width), _ = key  # from the calling flow: a layer may be part of another one too, for other images
        labels = [layer.label for layer in layers]
        return toeplitz.log_abs_dets(torch.stack([layer.weight for layer in layers]), height, width, labels)


class LearnedInverseConv(ReconstructionPenalty, ConvLayer):
    """What convolutions with a learned inverse share: x ≈ r ⋆ (z − b), and the penalty that keeps r near the inverse.

    The exact inverse solves T(w) x = z − b by an iteration that r preconditions (eq-preconditioned), where that is as
    fast as the elimination (``convolution.iterated``): float32 images to a residual of 1e-5 or less, float64 to 1e-10.
    Where r is too far from the inverse the elimination takes over; the first time it warns.

    Attributes:
        inverse_weight: r (C, C, k, k), at first flip(w).
        missed_solves: Number of batches whose iteration did not converge.
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, recon_weight: float = 1.0, tolerance: float | None = None
    ) -> None:
        super().__init__(channels, kernel_size)
        self.set_penalty(recon_weight, tolerance)
        self.missed_solves = 0
        # the residual of the last of them: with these weights and images of this size none is tried again
        self._missed: dense_matrix.WeightCache[float] = dense_matrix.WeightCache()
        self.inverse_weight = nn.Parameter(toeplitz.flip(self.weight.detach()).contiguous())
        self._counts: tuple[Any, Tensor] | None = None

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
        centered = z - self.bias[:, None, None]
        if not exact:
            return conv2d(centered, self.inverse_weight, padding=self.padding)
        size = tuple(z.shape[2:])
        if not iterated(self.weight, *size) or self._missed.holds(self.weight, size):
            return super().invert(z, exact)

        def missed(residual: float) -> None:
            if self.missed_solves == 0:
                checks.warn(
                    f"{self.label}: the iteration of the exact inverse stopped at a residual of {residual:.1g}, as the "
                    "learned inverse is too far from it; elimination takes over. Train the flow by flow.loss(x)."
                )
            self.missed_solves += 1
            self._missed.get(self.weight, lambda: residual, size)

        return cast(Tensor, Solve.apply(centered, self.weight, self.inverse_weight, missed, self.label))


class SelfNormConv2d(LearnedInverseConv):
    """Convolution with a learned inverse r, whose flipped taps replace T(w)⁻ᵀ in the gradient (eq-conv-gradients).

    Trained by ``Flow.loss``: six convolutions, no matrix, determinant, inverse or solve. ``log_prob`` stays exact;
    its gradients train the weight alone and leave the learned inverse behind, of which ``Flow.sample`` then warns.

    Args:
        channels: C, the number of channels.
        kernel_size: k, odd.
        recon_weight: Weight λ ≥ 0 of the penalty ‖r ⋆ (w ⋆ x) − x‖², a sum over all numbers of an image.
        tolerance: Mean of that error that λ is adapted to reach (``AdaptiveWeight``); None keeps λ fixed.

    Attributes:
        inverse_weight: r (C, C, k, k), at first flip(w).

    Raises:
        NotInvertibleError: T(w) is singular, in ``log_prob`` or an exact inverse; ``loss`` needs neither.

    Example:
        >>> layer = snf.SelfNormConv2d(1, recon_weight=0.5)
        >>> z, term, penalty = layer.surrogate(torch.randn(5, 1, 8, 8))  # the training pass: no log-determinant
        >>> (z.square().sum() - term.sum() + penalty.sum()).backward()
        >>> layer.inverse(z, exact=False).shape, layer.inverse_weight.grad.shape
        (torch.Size([5, 1, 8, 8]), torch.Size([1, 1, 3, 3]))

    References:
        Keller et al., Self Normalizing Flows, ICML 2021, convolutional layers (https://arxiv.org/abs/2011.07248).
    """

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """z, a term with the gradients of eq-conv-gradients, and the penalty, from the fused pass."""
        z, log_det, recon, _, _ = SelfNormConvStep.apply(
            x, self.weight, self.inverse_weight, self.bias, self.tap_counts(*x.shape[2:]), checks.under_functorch()
        )
        return z, log_det, self.penalty(recon)


def reference_self_norm_conv2d(x: Tensor, w: Tensor, r: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The self-normalizing training pass of a convolution (eq-conv-gradients) in plain autograd, for reading.

    The layer uses the fused ``SelfNormConvStep``, which gives the same gradients in six convolutions.

    Args:
        x: Images (B, C, H, W).
        w, r: Kernels (C, C, k, k).
        b: Bias (C,).

    Returns:
        z (B, C, H, W); a (B,) term, zero in value, with gradients ½ flip(r)⊙m for w and -½ flip(w)⊙m for r;
        ‖r ⋆ (w ⋆ x) − x‖², (B,).
    """
    p, m = w.shape[-1] // 2, toeplitz.tap_counts(w, x.shape[2], x.shape[3])
    wx = conv2d(x.detach(), w.detach(), padding=p)
    moved = x - 0.5 * conv2d(wx, r - r.detach(), padding=p)  # x in value; sends -½ δx ⋆ (w ⋆ x) to r
    z = conv2d(moved, 0.5 * w + 0.5 * w.detach(), b, padding=p)
    traces = 0.5 * (toeplitz.flip(r).detach() * m * w).sum() - 0.5 * (toeplitz.flip(w).detach() * m * r).sum()
    recon = conv2d(conv2d(x.detach(), w, padding=p), r, padding=p) - x.detach()
    return z, (traces - traces.detach()).expand(len(x)), recon.square().flatten(1).sum(1)
