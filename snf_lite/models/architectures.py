"""Architectures: the three of the paper's tables, and those for points and tables, each with a layer of choice.

Pixels are dequantized and mapped to the real line by a logit, whose log-determinants count towards the likelihood
(eq-dequantise, eq-logit). Then follow

    dense: D×D layers with a smooth leaky ReLU between them (eq-change-1d); the paper has 2 of 784 with α = 0.3;
    conv:  blocks of k×k convolutions with rational-quadratic splines between them (eq-spline), squeezed between the
           blocks so that channels replace pixels; the paper has 3 blocks of 3 with 5 bins;
    glow:  scales of steps (activation normalization, convolution, affine coupling, eq-coupling), after each scale but
           the last half of the channels split off (eq-split-prior); the paper has 2 scales of 16 steps for MNIST,
           3 of 32 for CIFAR-10 and 3 of 48 for ImageNet32.

The paper has none that fits points or the rows of a table. Three are for these:

    spline:   dense layers with a rational-quadratic spline of each feature between them (eq-spline);
    coupling: steps in which one half of the features is transformed conditioned on the other half (eq-coupling);
    free-form: two residual networks f and g, nothing in which is invertible by construction (eq-corrected-trace).
"""

import math
from collections.abc import Callable
from typing import Any

from snf_lite.conv import ExactConv2d
from snf_lite.dense import ExactLinear, SelfNormLinear
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.activations import SmoothLeakyReLU
from snf_lite.layers.conv_exponential import ConvExponential2d
from snf_lite.layers.emerging import EmergingConv2d
from snf_lite.layers.glow import ActNorm, AffineCoupling, init_orthogonal_
from snf_lite.layers.preprocessing import Dequantize, Logit, Standardize, Whiten
from snf_lite.layers.reshape import Flatten, Squeeze
from snf_lite.layers.spline import RationalQuadraticSpline
from snf_lite.layers.split_prior import SplitPrior
from snf_lite.runtime import checks

Shape = tuple[int, ...]


def preprocessing(levels: int | None) -> list[FlowLayer]:
    """Pixels to numbers on the real line; nothing for data that are real already (levels None)."""
    return [] if levels is None else [Dequantize(levels), Logit(1e-6)]


def dense(
    layer: Callable[..., FlowLayer], event_shape: Shape, levels: int | None,
    *, depth: int = 2, alpha: float = 0.3, front: bool = False, **options: Any,
) -> Flow:  # fmt: skip
    """``depth`` dense layers with a smooth leaky ReLU between them; with ``front`` after a fixed ``Whiten``.

    The paper has no whitening. ``options`` are passed to each dense layer.
    """
    checks.positive_integer(depth, "depth", "build")
    flat = Flatten(event_shape)
    (features,) = flat.output_shape(event_shape)
    layers: list[FlowLayer] = [*preprocessing(levels), flat, *[Whiten(features)] * front]
    for index in range(depth):
        layers += [SmoothLeakyReLU(alpha)] * (index > 0) + [layer(features, **options)]
    return Flow(layers, event_shape)


def conv(
    layer: Callable[..., FlowLayer], event_shape: Shape, levels: int | None,
    *, kernel_size: int = 3, blocks: int = 3, depth: int = 3, bins: int = 5, front: bool = False, **options: Any,
) -> Flow:  # fmt: skip
    """``blocks`` times ``depth`` convolutions; squeezed between blocks, a spline after each convolution but the last.

    Emerging convolutions and convolution exponentials follow a 1×1 convolution, which mixes the channels. With
    ``front`` all layers follow a fixed ``Standardize``, which the paper does not have.
    """
    checks.positive_integer(blocks, "blocks", "build")
    checks.positive_integer(depth, "depth", "build")
    layers, shape = [*preprocessing(levels), *[Standardize(event_shape)] * front], event_shape
    for block in range(blocks):
        if block:
            layers.append(Squeeze())
            shape = layers[-1].output_shape(shape)
        for _ in range(depth):
            if layer in (EmergingConv2d, ConvExponential2d):
                layers.append(ExactConv2d(shape[0], 1))
            layers += [layer(shape[0], kernel_size, **options), RationalQuadraticSpline(shape, bins)]
    return Flow(layers[:-1], event_shape)


def glow(
    layer: Callable[..., Any], event_shape: Shape, levels: int | None,
    *, kernel_size: int = 1, scales: int = 2, steps: int = 16, width: int = 512, checkpointing: bool = False,
    **options: Any,
) -> Flow:  # fmt: skip
    """``scales`` times: squeeze, ``steps`` steps, and between scales half of the channels split off.

    A step: activation normalization, a convolution that starts orthogonal, an affine coupling.
    """
    checks.positive_integer(scales, "scales", "build")
    checks.positive_integer(steps, "steps", "build")
    if len(event_shape) != 3 or event_shape[1] % 2**scales or event_shape[2] % 2**scales:
        wanted = f"event shape (C, H, W) with H and W divisible by {2**scales} (one squeeze for each of the scales)"
        raise ValueError(f"build: expected {wanted}, got {event_shape}.")

    def scale(channels: int, left: int) -> list[FlowLayer]:
        layers: list[FlowLayer] = [Squeeze()]
        for _ in range(steps):
            mixing = init_orthogonal_(layer(4 * channels, kernel_size, **options))
            layers += [ActNorm(4 * channels), mixing, AffineCoupling(4 * channels, width, checkpointing)]
        return layers if left == 1 else [*layers, SplitPrior(4 * channels, scale(2 * channels, left - 1))]

    return Flow([*preprocessing(levels), *scale(event_shape[0], scales)], event_shape)


def spline(
    layer: Callable[..., FlowLayer], event_shape: Shape, levels: int | None,
    *, depth: int = 5, bins: int = 16, bound: float = 5.0, standardize: bool = True, **options: Any,
) -> Flow:  # fmt: skip
    """``depth`` times a dense layer and a spline of each feature, and a last dense layer; standardized data in front.

    ``options`` are passed to each dense layer.
    """
    checks.positive_integer(depth, "depth", "build")
    layers, features = _flat_and_standardized(event_shape, levels, standardize)
    for _ in range(depth):
        layers += [layer(features, **options), RationalQuadraticSpline((features,), bins, bound)]
    return Flow([*layers, layer(features, **options)], event_shape)


def coupling(
    layer: Callable[..., FlowLayer], event_shape: Shape, levels: int | None,
    *, depth: int, mixing: str | None = "selfnorm", recon_weight: float = 1.0, standardize: bool = True,
    context_features: int | None = None, **options: Any,
) -> Flow:  # fmt: skip
    """``depth`` couplings, every second one flipped, and a dense layer behind each pair; standardized data in front.

    ``mixing`` is the kind of the dense layers: "selfnorm", with ``recon_weight``; "exact"; or None for no such layers.
    ``options`` are passed to each coupling.
    """
    checks.positive_integer(depth, "depth", "build")
    layers, features = _flat_and_standardized(event_shape, levels, standardize)
    if mixing not in ("selfnorm", "exact", None):
        raise ValueError(f"build: expected mixing to be 'selfnorm', 'exact' or None, got {mixing!r}.")
    for index in range(depth):
        if index and index % 2 == 0 and mixing is not None:
            layers.append(SelfNormLinear(features, recon_weight) if mixing == "selfnorm" else ExactLinear(features))
        layers.append(layer(features, flip=index % 2 == 1, context_features=context_features, **options))
    return Flow(layers, event_shape)


def free_form(
    layer: Callable[..., FlowLayer], event_shape: Shape, levels: int | None, *, standardize: bool = True, **options: Any
) -> Flow:
    """One layer of two free networks; standardized data in front. ``options`` are passed to the layer."""
    layers, features = _flat_and_standardized(event_shape, levels, standardize)
    return Flow([*layers, layer(features, **options)], event_shape)


def _flat_and_standardized(event_shape: Shape, levels: int | None, standardize: bool) -> tuple[list[FlowLayer], int]:
    """Layers from the data to standardized vectors (a table's rows pass ``Flatten`` by), and their features D."""
    layers = preprocessing(levels)
    if len(event_shape) != 1:
        layers.append(Flatten(event_shape))
    features = math.prod(event_shape)
    if standardize:
        layers.append(Standardize((features,), floor=0.0))  # the columns of a table have units of their own
    return layers, features
