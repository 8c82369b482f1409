"""Glow's layers: activation normalization and affine coupling; and its orthogonal initialization."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.utils.checkpoint import checkpoint

from snf_lite.conv import ConvLayer, LearnedInverseConv
from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix, toeplitz
from snf_lite.linalg.convolution import as_channels_last
from snf_lite.runtime import checks

#: A channel whose standard deviation is below this counts as constant: it is centered, not scaled.
NO_DEVIATION = 1e-6
#: Without a gradient, a coupling's network processes at most this many images at a time, to limit memory.
IMAGES_AT_ONCE = 500

Convolution = TypeVar("Convolution", bound=ConvLayer)


class ActNorm(FlowLayer):
    """Activation normalization z = exp(s) · (x + b), a scale and a shift for each channel.

    log|det| = H·W·Σ s nats for images (C, H, W), Σ s for vectors (C,). The identity until ``initialise`` gets a batch:
    then each channel of z has mean 0 and variance 1 over it. A constant channel is centered only.

    Args:
        channels: C, the number of channels.

    Attributes:
        bias: b (C,).
        log_scale: s (C,).

    Raises:
        ValueError: ``initialise`` got an empty batch.

    Example:
        >>> flow = snf.Flow([snf.ActNorm(2)], (2,)).initialise(torch.tensor([[1.0, 0.0], [3.0, 8.0]]))
        >>> torch.allclose(flow(torch.tensor([[1.0, 8.0]]))[0], torch.tensor([[-1.0, 1.0]]))
        True

    References:
        Kingma & Dhariwal, Glow, NeurIPS 2018, section 3.1 (https://arxiv.org/abs/1807.03039).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = checks.positive_integer(channels, "channels", self.label)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) not in (1, 3) or event_shape[0] != self.channels or 0 in event_shape:
            raise self.shape_error(f"({self.channels},) or ({self.channels}, H, W)", event_shape)
        return event_shape

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scale = self.log_scale.exp()
        z = torch.addcmul(self._per_channel(scale * self.bias, x), x, self._per_channel(scale, x))
        return z, (math.prod(x.shape[2:]) * self.log_scale.sum()).expand(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return z * self._per_channel((-self.log_scale).exp(), z) - self._per_channel(self.bias, z)

    def _per_channel(self, numbers: Tensor, x: Tensor) -> Tensor:
        """(C,) numbers, broadcast over the channels of x."""
        return numbers.reshape(-1, *[1] * (x.dim() - 2))

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Give each channel mean 0 and variance 1 over the data points and pixels of the batch x."""
        if len(x) == 0:
            raise ValueError(f"{self.label}: expected a batch of at least one data point, got shape {tuple(x.shape)}.")
        numbers = dense_matrix.precise(x).transpose(0, 1).flatten(1)
        deviations = numbers.std(1, correction=0)
        self.bias.copy_(-numbers.mean(1))
        self.log_scale.copy_(-torch.where(deviations > NO_DEVIATION, deviations, 1.0).log())


class ZeroConv2d(nn.Module):
    """The last 3×3 convolution of Glow's networks: exp(3 l) · (w ⋆ x + b), with w, b and the channels' l zero at first.

    It maps (B, inputs, H, W) to (B, outputs, H, W).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # separate tensors: sharing storage would couple the parameters
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.log_scale = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        scale = (3 * self.log_scale).exp()  # on the taps, which are fewer than the numbers of a batch
        return conv2d(x, scale[:, None, None, None] * self.weight, scale * self.bias, padding=1)


class ChannelSplit(FlowLayer):
    """What the layers share that transform one half of an image's channels conditioned on the other half.

    Args:
        channels: C ≥ 2, the number of channels; if it is odd, the unchanged half has one more.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = checks.integer(
            channels, "channels", self.label, at_least=2, wanted="to be an integer ≥ 2, one for each half"
        )
        self.given = channels - channels // 2
        self.changed = channels // 2

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) != 3 or event_shape[0] != self.channels or 0 in event_shape:
            raise self.shape_error(f"({self.channels}, H, W)", event_shape)
        return event_shape

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The unchanged channels, and the others."""
        return x[:, : self.given], x[:, self.given :]


class AffineCoupling(ChannelSplit):
    """Affine coupling: a network of the first half x₁ of the channels shifts and scales the others (eq-coupling).

    z₁ = x₁, z₂ = exp(2 tanh(h/2)) · (x₂ + t) with (h, t) = network(x₁), and log|det| = Σ 2 tanh(h/2) nats, the sum of
    the logarithms on the diagonal of a triangular Jacobian. The network is a 3×3 convolution, ReLU, a 1×1 convolution,
    ReLU, and a 3×3 convolution that is zero at first (``ZeroConv2d``), so that the fresh layer is the identity. The two
    hidden convolutions have torch's initialization: without a normalization behind them, Glow's standard deviation of
    0.05 would make the size of their outputs depend on the width.

    Args:
        channels: C ≥ 2, the number of channels; if it is odd, the first half has one more.
        width: Number of channels of the hidden convolutions.
        checkpointing: Whether to recompute the network in the backward pass instead of keeping its activations, which
            saves its memory for a third more time.
        context_features: K, the number of features of a context (B, K), which the network gets as K constant channels;
            None: no context.

    Example:
        >>> layer = snf.AffineCoupling(4, width=8)
        >>> x = torch.randn(5, 4, 2, 2)
        >>> torch.equal(layer(x)[0], x)  # fresh: the identity
        True

    References:
        Kingma & Dhariwal, Glow, NeurIPS 2018, section 3.3 (https://arxiv.org/abs/1807.03039); the bounded scale is that
        of Keller et al., Self Normalizing Flows, ICML 2021 (https://arxiv.org/abs/2011.07248).
    """

    def __init__(
        self, channels: int, width: int = 512, checkpointing: bool = False, context_features: int | None = None
    ) -> None:
        super().__init__(channels)
        self.set_context(context_features)
        self.width = checks.positive_integer(width, "width", self.label)
        self.checkpointing = checks.boolean(checkpointing, "checkpointing", self.label)
        self.net = nn.Sequential(
            nn.Conv2d(self.given + (context_features or 0), width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1), nn.ReLU(inplace=True),
            ZeroConv2d(width, 2 * self.changed),
        )  # fmt: skip

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) == 1:
            raise self.shape_error(f"({self.channels}, H, W), or AffineVectorCoupling for vectors", event_shape)
        return super().output_shape(event_shape)

    def transform(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z and Σ 2 tanh(h/2), (B,) in nats (eq-coupling)."""
        given, others = self.halves(x)
        log_scale, shift = self.scale_and_shift(given, context)
        return torch.cat([given, log_scale.exp() * (others + shift)], 1), log_scale.sum((1, 2, 3))

    def invert(self, z: Tensor, exact: bool, context: Tensor | None = None) -> Tensor:
        given, others = self.halves(z)
        log_scale, shift = self.scale_and_shift(given, context)
        return torch.cat([given, others * (-log_scale).exp() - shift], 1)

    def scale_and_shift(self, given: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """2 tanh(h/2) and t, (B, ⌊C/2⌋, H, W) each."""
        functorch = checks.under_functorch()
        if context is not None:
            given = torch.cat([given, context[:, :, None, None].expand(-1, -1, *given.shape[2:])], 1)
        images = as_channels_last(given, functorch)
        if not torch.is_grad_enabled():
            out = torch.cat([self.net(part) for part in images.split(IMAGES_AT_ONCE)])
        elif self.checkpointing and not functorch:
            out = checkpoint(self.net, images, use_reentrant=False, preserve_rng_state=False)
        else:
            out = self.net(images)
        h, shift = out.to(given.dtype).chunk(2, 1)
        return 2 * torch.tanh(h / 2), shift


@torch.no_grad()
def init_orthogonal_(layer: Convolution) -> Convolution:
    """Give a fresh convolution a random rotation (or reflection) of the channels as its center tap; returns it.

    A 1×1 convolution then is orthogonal, and a learned inverse its exact inverse wᵀ. A larger kernel keeps
    its little noise.

    References:
        Kingma & Dhariwal, Glow, NeurIPS 2018, section 3.2 (https://arxiv.org/abs/1807.03039).
    """
    center = layer.padding
    identity = nn.init.dirac_(torch.empty_like(layer.weight))
    noise = layer.weight - identity if layer.kernel_size > 1 else torch.zeros_like(identity)
    layer.weight.copy_(noise)
    layer.weight[:, :, center, center] += nn.init.orthogonal_(torch.empty_like(layer.weight[:, :, 0, 0]))
    if isinstance(layer, LearnedInverseConv):
        layer.inverse_weight.copy_(toeplitz.flip(layer.weight))
    return layer
