"""The split prior of multi-scale flows: half of the channels leaves the chain early, standardized by the other half."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snf_lite.chain import Chain
from snf_lite.layer import FlowLayer
from snf_lite.layers.glow import ChannelSplit, ZeroConv2d
from snf_lite.linalg.convolution import as_channels_last
from snf_lite.runtime import checks


class SplitPrior(Chain, ChannelSplit):
    """Multi-scale split (C, H, W) → (D,): half of the channels become latents here, half pass through more layers.

    The last half x₂ is standardized by its prior given the first, ε = (x₂ − μ(x₁)) / σ(x₁); μ and log σ come from a
    3×3 convolution of x₁ that is zero at first. ``layers`` map x₁ to z₁, and z = (z₁, ε), flattened: all D numbers are
    kept. log|det| = that of the layers − Σ log σ nats, so that with the base density N(0, I) the likelihood of x₂ is
    log N(x₂; μ(x₁), σ(x₁)²) exactly (eq-split-prior).

    Args:
        channels: C ≥ 2, the number of channels; if it is odd, the first half has one more.
        layers: Layers for the first half, data side first: ``FlowLayer`` objects, or pairs of a class's registered
            name and its settings, as ``settings`` gives them.
        image_size: Size (H, W), for ``inverse`` outside of a flow; a flow sets it.

    Raises:
        TypeError: an element of ``layers`` is neither a layer nor such a pair.
        ValueError: a layer does not accept the output of the one before, or its class is not defined.

    Example:
        >>> layer = snf.SplitPrior(2, [snf.ActNorm(1)], image_size=(4, 4))
        >>> z, log_det = layer(torch.randn(5, 2, 4, 4))
        >>> z.shape, layer.inverse(z).shape
        (torch.Size([5, 32]), torch.Size([5, 2, 4, 4]))

    References:
        Kingma & Dhariwal, Glow, NeurIPS 2018, section 3.6 (https://arxiv.org/abs/1807.03039).
    """

    def __init__(
        self, channels: int, layers: Iterable[FlowLayer | Sequence[Any]], image_size: Iterable[int] | None = None
    ) -> None:
        super().__init__(channels)
        self.prior = ZeroConv2d(self.given, 2 * self.changed)
        if isinstance(layers, str | Mapping) or not isinstance(layers, Iterable):
            raise TypeError(f"{self.label}: expected layers to be a list of FlowLayer objects, got {layers!r}.")
        inner = [_layer(described, self.label) for described in layers]
        self.layers = nn.ModuleList(inner)
        self.learned_inverse = any(layer.learned_inverse for layer in inner)
        self.context_features = next((layer.context_features for layer in inner if layer.context_features), None)
        self.image_size: tuple[int, ...] | None = None
        if image_size is not None:
            size = checks.shape_tuple(image_size, "image_size", self.label)
            if len(size) != 2:
                raise ValueError(f"{self.label}: expected image_size to be (H, W), got {image_size!r}.")
            self.bind((channels, *size))

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
        """The output shape of the layers for the first half."""
        shape: tuple[int, ...] = (self.given, *event_shape[1:])
        for layer in self.bijections:
            shape = layer.output_shape(shape)
        return shape

    def input_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.image_size is None:
            raise ValueError(f"{self.label}: has no image size to come back to; give image_size, or put it in a Flow.")
        shape = (self.channels, *self.image_size)
        if z_shape != (math.prod(shape),):
            raise self.shape_error((math.prod(shape),), z_shape)
        return shape

    # ---- forward and inverse -----------------------------------------------------------------------------------------

    def transform(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z and the log-determinant of both halves, (B,) in nats (eq-split-prior)."""
        given, others = self.halves(x)
        residue, log_det = self.standardize(given, others)
        z, inner = self.forward_layers(given, x.dtype, context)
        return torch.cat([z.flatten(1), residue.flatten(1)], 1), inner + log_det

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        given, others = self.halves(x)
        residue, log_det = self.standardize(given, others)
        z, inner, penalty = self.training_pass(given, x.dtype, context)
        return torch.cat([z.flatten(1), residue.flatten(1)], 1), inner + log_det, penalty

    def invert(self, z: Tensor, exact: bool, context: Tensor | None = None) -> Tensor:
        shape = self.input_shape(tuple(z.shape[1:]))
        count = math.prod(shape) // self.channels * self.given
        given = self.inverse_layers(z[:, :count].reshape(len(z), *self._inner_shape(shape)), exact, context)
        mean, log_deviation = self.mean_and_log_deviation(given)
        residue = z[:, count:].reshape(len(z), self.changed, *shape[1:])
        return torch.cat([given, residue * log_deviation.exp() + mean], 1)

    def standardize(self, given: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """ε of the other half, and −Σ log σ, (B,) in nats."""
        mean, log_deviation = self.mean_and_log_deviation(given)
        return (others - mean) * (-log_deviation).exp(), -log_deviation.sum((1, 2, 3))

    def mean_and_log_deviation(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ of the other half given the first, (B, ⌊C/2⌋, H, W) each."""
        images = as_channels_last(given, checks.under_functorch())
        mean, log_deviation = self.prior(images).to(given.dtype).chunk(2, 1)
        return mean, log_deviation

    # ---- the layers inside -------------------------------------------------------------------------------------------

    def initialise(self, x: Tensor, whiten: bool, context: Tensor | None = None) -> None:
        """Initialize the layers, each from its own inputs."""
        self.initialise_layers(self.halves(x)[0], whiten, x.dtype, context)

    def iter_layers(self, event_shape: tuple[int, ...]) -> Iterator[tuple[FlowLayer, tuple[int, ...]]]:
        return super().iter_layers((self.given, *event_shape[1:]))

    def name_non_finite(self, x: Tensor, context: Tensor | None = None) -> tuple[float, str]:
        return super().name_non_finite(self.halves(x)[0], context)

    def settings(self) -> dict[str, Any]:
        layers = [[layer.registered_name, layer.settings()] for layer in self.bijections]
        return {"channels": self.channels, "layers": layers, "image_size": self.image_size}


def _layer(described: FlowLayer | Sequence[Any], label: str) -> FlowLayer:
    """A layer, or the one that a name and settings describe."""
    if isinstance(described, FlowLayer):
        return described
    if not isinstance(described, Sequence) or len(described) != 2:
        raise TypeError(f"{label}: expected a FlowLayer, or its name and settings, got {type(described).__name__}.")
    name, settings = described
    try:
        kind = FlowLayer.named(name)
    except LookupError as error:
        raise ValueError(f"{label}: {error.args[0]}.") from None
    return kind(**settings)
