"""Glow's layers: activation normalisation, affine coupling, the split prior, and its start of 1×1 convolutions.

Source of all: Kingma & Dhariwal, Glow: Generative Flow with Invertible 1×1 Convolutions, NeurIPS 2018
(https://arxiv.org/abs/1807.03039).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.utils.checkpoint import checkpoint

from snf_lite.chain import Chain
from snf_lite.conv import ConvLayer, SelfNormConv2d, as_channels_last
from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix, toeplitz
from snf_lite.runtime import checks

#: A channel whose standard deviation lies below this counts as one without any: it is centred, not scaled.
NO_DEVIATION = 1e-6
#: Where no gradient is asked for, a coupling's net takes so many images at a time: its widest layer fills memory.
IMAGES_AT_ONCE = 500

Convolution = TypeVar("Convolution", bound=ConvLayer)


class ActNorm(FlowLayer):
    """Activation normalisation z = exp(s) · (x + b), a scale and a shift for each channel.

    log|det| = H·W·Σ s nats for images (C, H, W), Σ s for events (C,). The identity until ``initialise`` has seen a
    batch: then each channel of z has mean 0 and variance 1 over it. A channel that does not vary is centred only.

    Args:
        channels: C.

    Attributes:
        bias: b (C,).
        log_scale: s (C,).

    Source: Kingma & Dhariwal, Glow, 2018 (https://arxiv.org/abs/1807.03039), section 3.1.
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
        z = torch.addcmul(self._placed(scale * self.bias, x), x, self._placed(scale, x))
        return z, (math.prod(x.shape[2:]) * self.log_scale.sum()).expand(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return z * self._placed((-self.log_scale).exp(), z) - self._placed(self.bias, z)

    def _placed(self, numbers: Tensor, x: Tensor) -> Tensor:
        """(C,) numbers on the axis of the channels of x."""
        return numbers.reshape(-1, *[1] * (x.dim() - 2))

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Mean 0 and variance 1 for each channel of the batch x, over events and pixels."""
        if len(x) == 0:
            raise ValueError(f"{self.label}: expected a batch of at least one event, got shape {tuple(x.shape)}.")
        numbers = dense_matrix.precise(x).transpose(0, 1).flatten(1)
        deviations = numbers.std(1, correction=0)
        self.bias.copy_(-numbers.mean(1))
        self.log_scale.copy_(-torch.where(deviations > NO_DEVIATION, deviations, 1.0).log())

    def settings(self) -> dict[str, Any]:
        return {"channels": self.channels}


class ZeroConv2d(nn.Module):
    """The 3×3 convolution that ends Glow's nets: exp(3 l) · (w ⋆ x + b), with w, b and the channels' l zero at first.

    x (B, inputs, H, W) gives (B, outputs, H, W).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # three tensors of their own: parameters that share one would be tied for ever
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.log_scale = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        scale = (3 * self.log_scale).exp()  # on the taps, which are fewer than the numbers of a batch
        return conv2d(x, scale[:, None, None, None] * self.weight, scale * self.bias, padding=1)


class ChannelSplit(FlowLayer):
    """What the two layers share that treat one half of an image's channels by what the other half holds.

    Args:
        channels: C ≥ 2; of an odd number the half that stays as it is has one more.
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
        """The channels that stay as they are, and the others."""
        return x[:, : self.given], x[:, self.given :]


class AffineCoupling(ChannelSplit):
    """Affine coupling: the first half x₁ of the channels says how the others are shifted and scaled.

    z₁ = x₁, z₂ = exp(2 tanh(h/2)) · (x₂ + t) with (h, t) = net(x₁), and log|det| = Σ 2 tanh(h/2) nats, the sum of the
    logarithms on the diagonal of a triangular Jacobian (eq-coupling). The net is a 3×3
    convolution, ReLU, a 1×1 convolution, ReLU, and a 3×3 convolution that starts at zero (``ZeroConv2d``), so that the
    layer starts as the identity. The two hidden convolutions start as torch starts them: without a normalisation
    behind them Glow's standard deviation of 0.05 would tie the size of what they give to the width.

    Args:
        channels: C ≥ 2; of an odd number the first half has one more.
        width: channels of the hidden convolutions.
        checkpointing: compute the net a second time in the backward pass and so keep none of its inner results: its
            memory for a third more time.

    Source: Kingma & Dhariwal, Glow, 2018 (https://arxiv.org/abs/1807.03039), section 3.3; the bounded scale is that of
    Keller et al., Self Normalizing Flows, 2021 (https://arxiv.org/abs/2011.07248).
    """

    def __init__(self, channels: int, width: int = 512, checkpointing: bool = False) -> None:
        super().__init__(channels)
        self.width = checks.positive_integer(width, "width", self.label)
        self.checkpointing = checkpointing
        self.net = nn.Sequential(
            nn.Conv2d(self.given, width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1), nn.ReLU(inplace=True),
            ZeroConv2d(width, 2 * self.changed),
        )  # fmt: skip

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        given, others = self.halves(x)
        log_scale, shift = self.scale_and_shift(given)
        return torch.cat([given, log_scale.exp() * (others + shift)], 1), log_scale.sum((1, 2, 3))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        given, others = self.halves(z)
        log_scale, shift = self.scale_and_shift(given)
        return torch.cat([given, others * (-log_scale).exp() - shift], 1)

    def scale_and_shift(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """2 tanh(h/2) and t, (B, ⌊C/2⌋, H, W) each."""
        h, shift = self._through_net(as_channels_last(given)).to(given.dtype).chunk(2, 1)
        return 2 * torch.tanh(h / 2), shift

    def _through_net(self, images: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return torch.cat([self.net(part) for part in images.split(IMAGES_AT_ONCE)])
        if self.checkpointing and not checks.under_functorch():
            return checkpoint(self.net, images, use_reentrant=False, preserve_rng_state=False)
        return self.net(images)

    def settings(self) -> dict[str, Any]:
        return {"channels": self.channels, "width": self.width, "checkpointing": self.checkpointing}


class SplitPrior(Chain, ChannelSplit):
    """Multi-scale split: (C, H, W) → (D,). Half of the channels goes straight to the code, half through more layers.

    The last half x₂ is standardised by its prior given the first, ε = (x₂ − μ(x₁)) / σ(x₁); μ and log σ come from a
    3×3 convolution of x₁ that starts at zero. x₁ goes on through ``layers`` to z₁, and z = (z₁, ε), flattened: all D
    numbers are kept. log|det| = that of the layers − Σ log σ nats, so that a base density N(0, I) behind it gives
    log N(x₂; μ(x₁), σ(x₁)²) exactly (eq-split-prior).

    Args:
        channels: C ≥ 2; of an odd number the first half has one more.
        layers: the layers for the first half, data side first: ``FlowLayer`` objects, or what ``settings`` gives for
            them, pairs of a class's registered name and its settings.
        image_size: (H, W), for ``inverse`` outside of a flow; a flow fills it in.

    Source: Kingma & Dhariwal, Glow, 2018 (https://arxiv.org/abs/1807.03039), section 3.6 and the public code.
    """

    def __init__(
        self, channels: int, layers: Iterable[FlowLayer | Sequence[Any]], image_size: Iterable[int] | None = None
    ) -> None:
        super().__init__(channels)
        self.prior = ZeroConv2d(self.given, 2 * self.changed)
        inner = [_layer(described, self.label) for described in layers]
        self.layers = nn.ModuleList(inner)
        self.learned_inverse = any(layer.learned_inverse for layer in inner)
        self.image_size: tuple[int, ...] | None = None
        if image_size is not None:
            self.bind((channels, *checks.shape_tuple(image_size, "image_size", self.label)))

    # ---- shapes ------------------------------------------------------------------------------------------------------

    def bind(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        self._require_images(event_shape)
        self.bind_layers((self.given, *event_shape[1:]), self.label, f"{self.label}, ")
        self.image_size = event_shape[1:]
        return (math.prod(event_shape),)

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        self._require_images(event_shape)
        self._inner_shape(event_shape)
        return (math.prod(event_shape),)

    def _require_images(self, event_shape: tuple[int, ...]) -> None:
        super().output_shape(event_shape)
        if self.image_size is not None and event_shape[1:] != self.image_size:
            raise self.shape_error((self.channels, *self.image_size), event_shape)

    def _inner_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """What the layers make of the first half."""
        shape: tuple[int, ...] = (self.given, *event_shape[1:])
        for layer in self.chain():
            shape = layer.output_shape(shape)
        return shape

    def input_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.image_size is None:
            raise ValueError(f"{self.label}: has no image size to come back to; give image_size, or put it in a Flow.")
        shape = (self.channels, *self.image_size)
        if z_shape != (math.prod(shape),):
            raise self.shape_error((math.prod(shape),), z_shape)
        return shape

    # ---- there and back ----------------------------------------------------------------------------------------------

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        given, others = self.halves(x)
        residue, log_det = self.standardise(given, others)
        z, inner = self.forward_layers(given, x.dtype)
        return torch.cat([z.flatten(1), residue.flatten(1)], 1), inner + log_det

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        given, others = self.halves(x)
        residue, log_det = self.standardise(given, others)
        z, inner, penalty = self.training_pass(given, x.dtype)
        return torch.cat([z.flatten(1), residue.flatten(1)], 1), inner + log_det, penalty

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        shape = self.input_shape(tuple(z.shape[1:]))
        count = math.prod(shape) // self.channels * self.given
        given = self.inverse_layers(z[:, :count].reshape(len(z), *self._inner_shape(shape)), exact)
        mean, log_deviation = self.mean_and_log_deviation(given)
        residue = z[:, count:].reshape(len(z), self.changed, *shape[1:])
        return torch.cat([given, residue * log_deviation.exp() + mean], 1)

    def standardise(self, given: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """ε of the other half, and −Σ log σ, (B,) in nats."""
        mean, log_deviation = self.mean_and_log_deviation(given)
        return (others - mean) * (-log_deviation).exp(), -log_deviation.sum((1, 2, 3))

    def mean_and_log_deviation(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ of the other half given the first, (B, ⌊C/2⌋, H, W) each."""
        mean, log_deviation = self.prior(as_channels_last(given)).to(given.dtype).chunk(2, 1)
        return mean, log_deviation

    # ---- the layers inside -------------------------------------------------------------------------------------------

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Initialise the layers, each from its own inputs."""
        self.initialise_layers(self.halves(x)[0], whiten)

    def iter_layers(self, event_shape: tuple[int, ...]) -> Iterator[tuple[FlowLayer, tuple[int, ...]]]:
        return super().iter_layers((self.given, *event_shape[1:]))

    def name_non_finite(self, x: Tensor) -> tuple[float, str]:
        return super().name_non_finite(self.halves(x)[0])

    def settings(self) -> dict[str, Any]:
        layers = [[layer.registered_name, layer.settings()] for layer in self.chain()]
        return {"channels": self.channels, "layers": layers, "image_size": self.image_size}


def _layer(described: FlowLayer | Sequence[Any], owner: str) -> FlowLayer:
    """A layer, or the one that a name and settings describe."""
    if isinstance(described, FlowLayer):
        return described
    if not isinstance(described, Sequence) or len(described) != 2:
        raise TypeError(f"{owner}: expected a FlowLayer, or its name and settings, got {type(described).__name__}.")
    name, settings = described
    if name not in FlowLayer.registry:
        raise ValueError(f"{owner}: needs the layer class {name}, which is not defined here: import its module.")
    return FlowLayer.registry[name](**settings)


@torch.no_grad()
def init_orthogonal_(layer: Convolution) -> Convolution:
    """Give a fresh convolution a random rotation (or reflection) of the channels as its centre tap; returns it.

    A 1×1 convolution then is orthogonal, and the learned inverse of ``SelfNormConv2d`` its exact inverse wᵀ. A larger
    kernel keeps its little noise.

    Source: Kingma & Dhariwal, Glow, 2018 (https://arxiv.org/abs/1807.03039), section 3.2.
    """
    centre = layer.padding
    identity = nn.init.dirac_(torch.empty_like(layer.weight))
    noise = layer.weight - identity if layer.kernel_size > 1 else torch.zeros_like(identity)
    layer.weight.copy_(noise)
    layer.weight[:, :, centre, centre] += nn.init.orthogonal_(torch.empty_like(layer.weight[:, :, 0, 0]))
    if isinstance(layer, SelfNormConv2d):
        layer.inverse_weight.copy_(toeplitz.flip(layer.weight))
    return layer
