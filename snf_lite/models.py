"""Models by name: the three architectures of the paper's tables, and two for points and tables.

Pixels are dequantized and mapped to the real line by a logit, whose log-determinants count towards the likelihood
(eq-dequantise, eq-logit). Then follow

    dense: D×D layers with a smooth leaky ReLU between them (eq-change-1d); the paper has 2 of 784 with α = 0.3;
    conv:  blocks of k×k convolutions with rational-quadratic splines between them (eq-spline), squeezed between the
           blocks so that channels replace pixels; the paper has 3 blocks of 3 with 5 bins;
    glow:  scales of steps (activation normalization, convolution, affine coupling, eq-coupling), after each scale but
           the last half of the channels split off (eq-split-prior); the paper has 2 scales of 16 steps for MNIST,
           3 of 32 for CIFAR-10 and 3 of 48 for ImageNet32.

In each architecture the self-normalizing layer takes the place of the exact one, and nothing else changes: the two
models can be compared (eq-parity). The paper has none that fits points or the rows of a table. Two standardize these:

    spline:   dense layers with a rational-quadratic spline of each feature between them (eq-spline);
    coupling: steps in which one half of the features is transformed conditioned on the other half (eq-coupling);
    free-form: two residual networks f and g, nothing in which is invertible by construction (eq-corrected-trace).
"""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch

from snf_lite.beyond.free_form import ResidualFreeForm
from snf_lite.beyond.tracked import TrackedLinear
from snf_lite.beyond.unbiased import UnbiasedConv2d
from snf_lite.conv import ExactConv2d, SelfNormConv2d
from snf_lite.data.conversion import advice_for
from snf_lite.data.source import Data, as_source
from snf_lite.dense import ExactLinear, RelativeGradientLinear, SelfNormLinear
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.activations import SmoothLeakyReLU
from snf_lite.layers.conv_exponential import ConvExponential2d
from snf_lite.layers.coupling import AffineVectorCoupling, SplineVectorCoupling
from snf_lite.layers.emerging import EmergingConv2d
from snf_lite.layers.glow import ActNorm, AffineCoupling, init_orthogonal_
from snf_lite.layers.lu import LULinear
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


class Model(NamedTuple):
    """Its place in the paper, architecture, layer, defaults beside the architecture's, and data it is made for."""

    description: str
    architecture: Callable[..., Flow]
    layer: type[FlowLayer]
    options: dict[str, Any]
    data: str = "images"


PENALTY = {"recon_weight": 1.0, "tolerance": None}
UNBIASED = {"recon_weight": 1.0, "probes": 4, "learn_from": "noise"}
CONTEXT: dict[str, Any] = {"context_features": None}
NETWORK: dict[str, Any] = {"depth": 8, "hidden_features": (48, 48)}
FREE: dict[str, Any] = {"hidden": 64, "blocks": 4, "probes": 4, "correct": 1e-3, "recon_weight": 10.0, "tie": True}
CURVE: dict[str, Any] = {"depth": 4, "bins": 16, "bound": 5.0}
POINTS = "points and tables"
MODELS: dict[str, Model] = {
    "dense-selfnorm": Model('Table 1, "SNF FC 2-Layer".', dense, SelfNormLinear, PENALTY),
    "dense-exact": Model('Table 1, "Exact Gradient FC 2-Layer".', dense, ExactLinear, {}),
    "dense-relative": Model('Table 1, "Relative Grad. FC 2-Layer".', dense, RelativeGradientLinear, {}),
    "dense-lu": Model("Not in the paper: triangular factors, the fastest exact dense model.", dense, LULinear, {}),
    "dense-tracked": Model("Not in the paper: R tracked.", dense, TrackedLinear, {"every": 10, "tolerance": None}),
    "conv-selfnorm": Model('Table 1, "SNF Conv. 9-Layer".', conv, SelfNormConv2d, PENALTY),
    "conv-exact": Model('Table 1, "Exact Gradient Conv. 9-Layer".', conv, ExactConv2d, {}),
    "conv-unbiased": Model("Not in the paper: exact in the mean.", conv, UnbiasedConv2d, UNBIASED),
    "conv-emerging": Model('Table 1, "Emerging Conv. 9-Layer".', conv, EmergingConv2d, {}),
    "conv-exponential": Model('Table 1, "Conv. Exponential 9-Layer".', conv, ConvExponential2d, {}),
    "glow-selfnorm": Model(
        'Table 1, "SNF Glow 32-Layer"; table 2, "SNF Glow", where the paper\'s λ is 1000.', glow, SelfNormConv2d,
        {**PENALTY, "recon_weight": 100.0},
    ),
    "glow-exact": Model('Table 1, "Glow-like 32-Layer"; table 2, "Glow".', glow, ExactConv2d, {}),
    "glow-unbiased": Model("Not in the paper: exact in the mean.", glow, UnbiasedConv2d, UNBIASED),
    "spline-selfnorm": Model("Splines between SNF layers.", spline, SelfNormLinear, {**PENALTY, **CONTEXT}, POINTS),
    "spline-exact": Model("Splines between exact dense layers.", spline, ExactLinear, CONTEXT, POINTS),
    "coupling-affine": Model("Affine couplings (Real NVP).", coupling, AffineVectorCoupling, NETWORK, POINTS),
    "coupling-spline": Model("Spline couplings (NSF).", coupling, SplineVectorCoupling, {**NETWORK, **CURVE}, POINTS),
    "free-form": Model("Not in the paper: free networks.", free_form, ResidualFreeForm, {**FREE, **CONTEXT}, POINTS),
}  # fmt: skip


def model_names() -> list[str]:
    """The names that ``build`` accepts.

    Example:
        >>> snf.model_names()[:2]
        ['dense-selfnorm', 'dense-exact']
    """
    return list(MODELS)


def known_settings(name: str) -> dict[str, Any]:
    """The settings that a model accepts, with their defaults."""
    parameters = inspect.signature(MODELS[name].architecture).parameters.values()
    own = {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    return {**own, **MODELS[name].options}


def build(name: str, event_shape: Iterable[int], levels: int | None = None, **settings: Any) -> Flow:
    """Make a fresh flow of one of the models; ``build_for`` chooses one for given data.

    Args:
        name: One of ``model_names()``: "spline-…" and "coupling-…" for points and tables, the others for images.
        event_shape: Shape (D,) for real data, (C, H, W) for images.
        levels: Number of values of a pixel (17 for the digits, 256 elsewhere); None: the data are real numbers.
        settings: The model's own, such as ``recon_weight``, ``depth``, ``alpha``, ``kernel_size``, ``bins``.

    Raises:
        ValueError: an unknown name or setting; the message lists the known ones. Or a shape that does not fit.

    Example:
        >>> flow = snf.build("dense-selfnorm", (1, 8, 8), levels=17, recon_weight=10.0)
        >>> [type(layer).__name__ for layer in flow.layers][-3:]
        ['SelfNormLinear', 'SmoothLeakyReLU', 'SelfNormLinear']
        >>> flow.sample(2).dtype
        torch.uint8

    References:
        Keller et al., Self Normalizing Flows, ICML 2021, Tables 1 and 2 (https://arxiv.org/abs/2011.07248).
    """
    if name not in MODELS:
        got = f"got {name!r}{checks.nearest(name, MODELS) or '.'}"
        raise ValueError(f"build: expected a model among {', '.join(MODELS)}, {got}")
    known = known_settings(name)
    for key in settings:
        if key not in known:
            like = checks.nearest(key, known)
            raise ValueError(f"build: {name} has no setting {key!r}; it has {', '.join(known)}{like or '.'}")
    model, shape = MODELS[name], checks.shape_tuple(event_shape, "event_shape", "build")
    return model.architecture(model.layer, shape, levels, **{**model.options, **settings})


def choose(shape: Shape, levels: int | None, count: int = 0) -> tuple[str, dict[str, Any]] | None:
    """Name and settings of the model that ``build_for`` takes for ``count`` examples; None if there is none."""
    if len(shape) == 1:  # measured: the networks of couplings overfit where rows are few
        many = shape[0] == 2 or 1 < shape[0] <= count / 100
        return ("coupling-spline", {}) if many else ("spline-exact", {"depth": 3, "bins": 8})
    if len(shape) != 3 or levels is None or shape[2] <= 4 < shape[0]:  # the channels come last
        return None
    halvings = [count for count in (2, 1) if shape[1] % 2**count == shape[2] % 2**count == 0]
    return ("conv-selfnorm", {"blocks": halvings[0] + 1}) if halvings else ("dense-selfnorm", {})


def build_for(data: Data, name: str | None = None, *, levels: int | None = None, **settings: Any) -> Flow:
    """Make a fresh flow for data: of the shape of an example, of its dtype, with its levels.

    Without a name the model is

        "coupling-spline" for rows (N, D) of real numbers with D = 2 or N ≥ 100 D, "spline-exact" for others;
        "conv-selfnorm" for pixels (N, C, H, W), with a block less where H and W cannot be halved twice;
        "dense-selfnorm" for pixels where they cannot be halved.

    Rows are standardized inside; ``decay="cosine"`` with ``lr=5e-3`` (points) or ``3e-3`` (a table) suits them.

    Args:
        data: Data as for ``fit``.
        name: One of ``model_names()``; None: chosen as above.
        levels: Number of values of a pixel; None: that of a named data set, 256 for other uint8 data.
        settings: Settings of the model, as for ``build``.

    Raises:
        ValueError, TypeError: as ``fit`` for the data, and ``build`` for the settings; or no model can be chosen.

    Example:
        >>> x = snf.sample_density("moons", 1000)
        >>> flow = snf.build_for(x)
        >>> history = snf.fit(flow, x, epochs=2, lr=1e-2, decay="cosine", progress=False)
        >>> snf.evaluate(flow, snf.sample_density("moons", 1000, seed=1)).nats < 3.3  # one Gaussian: 3.3
        True
    """
    source = as_source(data, "train")
    example = source.item(0)
    shape = tuple(example.shape)
    levels = source.levels or 256 if levels is None and example.dtype == torch.uint8 else levels
    picked = (name, {}) if name is not None else choose(shape, levels, source.count)
    if picked is None or (name is None and shape[-1] in (1, 3) and len(shape) == 3 and shape[0] not in (1, 3)):
        wanted = "rows (N, D) of real numbers, or pixels (N, C, H, W) as uint8"
        got = f"{example.dtype} of shape {shape}: {advice_for(example)}. Give name=, one of {', '.join(MODELS)}"
        raise ValueError(f"build_for: expected {wanted}, got {got}.")
    flow = build(picked[0], shape, levels, **{**picked[1], **settings})
    return flow.double() if example.dtype == torch.float64 else flow
