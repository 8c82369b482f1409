"""Models by name: an architecture with a layer and defaults, built for a shape of data or chosen for given data.

In each architecture the self-normalizing layer takes the place of the exact one, and nothing else changes: the two
models can be compared (eq-parity), and those beyond the paper with both.
"""

import inspect
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
from snf_lite.layers.conv_exponential import ConvExponential2d
from snf_lite.layers.coupling import AffineVectorCoupling, SplineVectorCoupling
from snf_lite.layers.emerging import EmergingConv2d
from snf_lite.layers.lu import LULinear
from snf_lite.models.architectures import Shape, conv, coupling, dense, free_form, glow, spline
from snf_lite.runtime import checks


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
FREE: dict[str, Any] = {
    "hidden": 64, "blocks": 4, "probes": 4, "correct": 1e-3, "recon_weight": 10.0, "penalize_f": True,
}  # fmt: skip
CURVE: dict[str, Any] = {"depth": 4, "bins": 16, "bound": 5.0}
POINTS = "points and tables"
MODELS: dict[str, Model] = {
    "dense-selfnorm": Model('Table 1, "SNF FC 2-Layer".', dense, SelfNormLinear, PENALTY),
    "dense-exact": Model('Table 1, "Exact Gradient FC 2-Layer".', dense, ExactLinear, {}),
    "dense-relative": Model('Table 1, "Relative Grad. FC 2-Layer".', dense, RelativeGradientLinear, {}),
    "dense-lu": Model("Not in the paper: triangular factors, the fastest exact dense model.", dense, LULinear, {}),
    "conv-selfnorm": Model('Table 1, "SNF Conv. 9-Layer".', conv, SelfNormConv2d, PENALTY),
    "conv-exact": Model('Table 1, "Exact Gradient Conv. 9-Layer".', conv, ExactConv2d, {}),
    "conv-emerging": Model('Table 1, "Emerging Conv. 9-Layer".', conv, EmergingConv2d, {}),
    "conv-exponential": Model('Table 1, "Conv. Exponential 9-Layer".', conv, ConvExponential2d, {}),
    "glow-selfnorm": Model(
        'Table 1, "SNF Glow 32-Layer"; table 2, "SNF Glow", where the paper\'s λ is 1000.', glow, SelfNormConv2d,
        {**PENALTY, "recon_weight": 100.0},
    ),
    "glow-exact": Model('Table 1, "Glow-like 32-Layer"; table 2, "Glow".', glow, ExactConv2d, {}),
    "dense-tracked": Model("Not in the paper: R tracked.", dense, TrackedLinear, {"every": 10, "tolerance": None}),
    "conv-unbiased": Model("Not in the paper: exact in the mean.", conv, UnbiasedConv2d, UNBIASED),
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
