"""One short function for each row of the paper's tables, by name."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from snf_lite.conv import ConvLayer, ExactConv2d, SelfNormConv2d
from snf_lite.dense import ExactLinear, RelativeGradientLinear, SelfNormLinear
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.activations import SmoothLeakyReLU
from snf_lite.layers.conv_exponential import ConvExponential2d
from snf_lite.layers.emerging import EmergingConv2d
from snf_lite.layers.glow import ActNorm, AffineCoupling, SplitPrior, init_orthogonal_
from snf_lite.layers.lu import LULinear
from snf_lite.layers.preprocessing import Dequantize, Logit, Standardize, Whiten
from snf_lite.layers.reshape import Flatten, Squeeze
from snf_lite.layers.spline import RationalQuadraticSpline
from snf_lite.runtime import checks


def preprocessing(levels: int | None) -> list[FlowLayer]:
    """Pixels to numbers on the real line; nothing for data that is real already (levels None)."""
    return [] if levels is None else [Dequantize(levels), Logit(1e-6)]


def dense(
    linear: Callable[[int], FlowLayer], event_shape: tuple[int, ...], levels: int | None,
    depth: int, alpha: float, front: bool,
) -> Flow:  # fmt: skip
    """``depth`` dense layers with a smooth leaky ReLU between them (the paper: 2 layers of 784, α = 0.3).

    ``front``: behind a fixed ``Whiten``, which the paper does not have.
    """
    checks.positive_integer(depth, "depth", "build")
    flat = Flatten(event_shape)
    (features,) = flat.output_shape(event_shape)
    layers: list[FlowLayer] = [*preprocessing(levels), flat, *[Whiten(features)] * front]
    for index in range(depth):
        layers += [SmoothLeakyReLU(alpha)] * (index > 0) + [linear(features)]
    return Flow(layers, event_shape)


def conv(
    step: Callable[[int], Iterable[FlowLayer]], event_shape: tuple[int, ...], levels: int | None,
    blocks: int, depth: int, bins: int, front: bool,
) -> Flow:  # fmt: skip
    """``blocks`` times ``depth`` steps; squeezed between blocks, a spline after each step but the last.

    ``step`` makes the layers of one step for a number of channels: a convolution, or one behind a 1×1 convolution.

    The paper: 3 blocks of 3 convolutions 3×3, splines of 5 bins. ``front``: behind a fixed ``Standardize``, which the
    paper does not have.
    """
    checks.positive_integer(blocks, "blocks", "build")
    checks.positive_integer(depth, "depth", "build")
    layers, shape = [*preprocessing(levels), *[Standardize(event_shape)] * front], event_shape
    for block in range(blocks):
        if block:
            layers.append(Squeeze())
            shape = layers[-1].output_shape(shape)
        for _ in range(depth):
            layers += [*step(shape[0]), RationalQuadraticSpline(shape, bins)]
    return Flow(layers[:-1], event_shape)


def glow(
    convolution: Callable[[int], ConvLayer], event_shape: tuple[int, ...], levels: int | None,
    scales: int, steps: int, width: int, checkpointing: bool,
) -> Flow:  # fmt: skip
    """``scales`` times: squeeze, ``steps`` steps, and between scales half of the channels split off.

    A step: activation normalisation, a convolution that starts orthogonal, an affine coupling. The paper: 2 scales of
    16 steps for MNIST, 3 of 32 for CIFAR-10, 3 of 48 for ImageNet32.
    """
    checks.positive_integer(scales, "scales", "build")
    checks.positive_integer(steps, "steps", "build")
    if len(event_shape) != 3 or event_shape[1] % 2**scales or event_shape[2] % 2**scales:
        wanted = f"events of shape (C, H, W) with H and W divisible by {2**scales} (one squeeze for each of the scales)"
        raise ValueError(f"build: expected {wanted}, got {event_shape}.")

    def step(channels: int) -> list[FlowLayer]:
        mixing = init_orthogonal_(convolution(channels))
        return [ActNorm(channels), mixing, AffineCoupling(channels, width, checkpointing)]

    def scale(channels: int, left: int) -> list[FlowLayer]:
        layers = [Squeeze(), *(layer for _ in range(steps) for layer in step(4 * channels))]
        return layers if left == 1 else [*layers, SplitPrior(4 * channels, scale(2 * channels, left - 1))]

    return Flow([*preprocessing(levels), *scale(event_shape[0], scales)], event_shape)


def dense_selfnorm(
    event_shape: tuple[int, ...], levels: int | None, recon_weight: float = 1.0, depth: int = 2, alpha: float = 0.3,
    front: bool = False, tolerance: float | None = None,
) -> Flow:  # fmt: skip
    """Table 1, "SNF FC 2-Layer"."""

    def linear(features: int) -> SelfNormLinear:
        return SelfNormLinear(features, recon_weight, tolerance)

    return dense(linear, event_shape, levels, depth, alpha, front)


def dense_exact(
    event_shape: tuple[int, ...], levels: int | None, depth: int = 2, alpha: float = 0.3, front: bool = False
) -> Flow:
    """Table 1, "Exact Gradient FC 2-Layer"."""
    return dense(ExactLinear, event_shape, levels, depth, alpha, front)


def dense_relative(
    event_shape: tuple[int, ...], levels: int | None, depth: int = 2, alpha: float = 0.3, front: bool = False
) -> Flow:
    """Table 1, "Relative Grad. FC 2-Layer"."""
    return dense(RelativeGradientLinear, event_shape, levels, depth, alpha, front)


def dense_lu(
    event_shape: tuple[int, ...], levels: int | None, depth: int = 2, alpha: float = 0.3, front: bool = False
) -> Flow:
    """Not in the paper: the dense 2-layer model with triangular factors, the fastest exact rival."""
    return dense(LULinear, event_shape, levels, depth, alpha, front)


def conv_selfnorm(
    event_shape: tuple[int, ...], levels: int | None, recon_weight: float = 1.0,
    kernel_size: int = 3, blocks: int = 3, depth: int = 3, bins: int = 5, front: bool = False,
    tolerance: float | None = None,
) -> Flow:  # fmt: skip
    """Table 1, "SNF Conv. 9-Layer"."""

    def step(channels: int) -> list[FlowLayer]:
        return [SelfNormConv2d(channels, kernel_size, recon_weight, tolerance)]

    return conv(step, event_shape, levels, blocks, depth, bins, front)


def conv_exact(
    event_shape: tuple[int, ...], levels: int | None,
    kernel_size: int = 3, blocks: int = 3, depth: int = 3, bins: int = 5, front: bool = False,
) -> Flow:  # fmt: skip
    """Table 1, "Exact Gradient Conv. 9-Layer"."""
    return conv(lambda c: [ExactConv2d(c, kernel_size)], event_shape, levels, blocks, depth, bins, front)


def conv_emerging(
    event_shape: tuple[int, ...], levels: int | None,
    kernel_size: int = 3, blocks: int = 3, depth: int = 3, bins: int = 5, front: bool = False,
) -> Flow:  # fmt: skip
    """Table 1, "Emerging Conv. 9-Layer": before each emerging convolution stands a 1×1 one, which mixes channels."""

    def step(channels: int) -> list[FlowLayer]:
        return [ExactConv2d(channels, 1), EmergingConv2d(channels, kernel_size)]

    return conv(step, event_shape, levels, blocks, depth, bins, front)


def conv_exponential(
    event_shape: tuple[int, ...], levels: int | None,
    kernel_size: int = 3, blocks: int = 3, depth: int = 3, bins: int = 5, front: bool = False,
) -> Flow:  # fmt: skip
    """Table 1, "Conv. Exponential 9-Layer": before each convolution exponential stands a 1×1 convolution."""

    def step(channels: int) -> list[FlowLayer]:
        return [ExactConv2d(channels, 1), ConvExponential2d(channels, kernel_size)]

    return conv(step, event_shape, levels, blocks, depth, bins, front)


def glow_exact(
    event_shape: tuple[int, ...], levels: int | None, kernel_size: int = 1,
    scales: int = 2, steps: int = 16, width: int = 512, checkpointing: bool = False,
) -> Flow:  # fmt: skip
    """Table 1, "Glow-like 32-Layer"; table 2, "Glow"."""
    return glow(lambda c: ExactConv2d(c, kernel_size), event_shape, levels, scales, steps, width, checkpointing)


def glow_selfnorm(
    event_shape: tuple[int, ...], levels: int | None, recon_weight: float = 100.0, kernel_size: int = 1,
    scales: int = 2, steps: int = 16, width: int = 512, checkpointing: bool = False, tolerance: float | None = None,
) -> Flow:  # fmt: skip
    """Table 1, "SNF Glow 32-Layer"; table 2, "SNF Glow", where the paper's λ is 1000."""

    def convolution(channels: int) -> SelfNormConv2d:
        return SelfNormConv2d(channels, kernel_size, recon_weight, tolerance)

    return glow(convolution, event_shape, levels, scales, steps, width, checkpointing)


BUILDERS: dict[str, Callable[..., Flow]] = {
    "dense-selfnorm": dense_selfnorm,
    "dense-exact": dense_exact,
    "dense-relative": dense_relative,
    "dense-lu": dense_lu,
    "conv-selfnorm": conv_selfnorm,
    "conv-exact": conv_exact,
    "conv-emerging": conv_emerging,
    "conv-exponential": conv_exponential,
    "glow-selfnorm": glow_selfnorm,
    "glow-exact": glow_exact,
}


def model_names() -> list[str]:
    """The names that ``build`` knows."""
    return list(BUILDERS)


def known_settings(name: str) -> dict[str, Any]:
    """The settings that a model's builder takes, and what each is unless it is told."""
    settings = list(inspect.signature(BUILDERS[name]).parameters.values())[2:]  # after event_shape and levels
    return {setting.name: setting.default for setting in settings}


def build(name: str, event_shape: Iterable[int], levels: int | None = None, **settings: Any) -> Flow:
    """Make a fresh flow of one of the paper's architectures.

    Args:
        name: one of ``model_names()``.
        event_shape: (D,) for real data, (C, H, W) for images.
        levels: how many values a pixel takes (17 for the digits, 256 elsewhere); None: the data are real numbers.
        settings: the builder's own, such as ``recon_weight``, ``depth``, ``alpha``, ``kernel_size``, ``bins``.

    Raises:
        ValueError: an unknown name or setting; the message lists the known ones. Or a shape that does not fit.
    """
    if name not in BUILDERS:
        raise ValueError(f"build: expected a model among {', '.join(BUILDERS)}, got {name!r}.")
    known = known_settings(name)
    for key in settings:
        if key not in known:
            raise ValueError(f"build: {name} has no setting {key!r}; it has {', '.join(known)}.")
    return BUILDERS[name](checks.shape_tuple(event_shape, "event_shape", "build"), levels, **settings)
