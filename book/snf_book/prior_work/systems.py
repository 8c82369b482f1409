"""The eighteen systems of the talk, and the self-normalizing flow with its exact twin."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from snf_book.prior_work.flows.bnaf import BlockAutoregressive
from snf_book.prior_work.flows.integer_flow import IntegerFlow
from snf_book.prior_work.flows.integer_model import CELLS, LatticeModel
from snf_book.prior_work.flows.mixture_coupling import MixtureCoupling
from snf_book.prior_work.flows.sylvester import Sylvester
from snf_book.prior_work.model import FlowModel, Model
from snf_book.prior_work.system import System
from snf_book.prior_work.third_party import (
    NormflowsInvertible,
    NormflowsStep,
    ZukoStep,
    build_seeded,
    library,
    zuko_steps,
)
from snf_lite import models
from snf_lite.conv import ExactConv2d
from snf_lite.dense import DenseLayer, ExactLinear, SelfNormLinear
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.conv_exponential import ConvExponential2d
from snf_lite.layers.emerging import EmergingConv2d
from snf_lite.layers.glow import ActNorm, AffineCoupling, init_orthogonal_
from snf_lite.layers.spline import RationalQuadraticSpline

#: Number of layers of the flows with weak layers: planar, radial, Sylvester.
MANY = 16
#: Shape of a digit, one channel of 8×8 pixels, and its number of gray levels.
PIXELS, LEVELS = (1, 8, 8), 17


def _seeded(build: Callable[[], Any]) -> Callable[[int], Any]:
    return lambda seed: build_seeded(seed, build)


def _zuko(name: str, inverted: bool = False, **settings: Any) -> Callable[[int], Model]:
    """A flow of zuko in two dimensions."""

    def build() -> Model:
        return Model(zuko_steps(getattr(library("zuko.flows"), name)(2, **settings), inverted))

    return _seeded(build)


def _additive() -> Model:
    """zuko's NICE with additive couplings; its default is affine."""
    add = library("zuko.transforms").AdditiveTransform
    steps = zuko_steps(library("zuko.flows").NICE(2, transforms=6, univariate=add, shapes=[()]))
    scale = library("zuko.flows").ElementWiseTransform(2)  # the paper's last layer, one factor per coordinate
    for parameter in scale.phi:
        nn.init.zeros_(parameter)
    return Model([*steps, ZukoStep(scale)])


def _planar() -> Model:
    """Planar layers near the identity: sixteen with the library's initialization would collapse the plane.

    The library maps wᵀu to log(1 + exp(wᵀu)) − 1, which is 0 at log(e − 1).
    """
    layer = library("normflows.flows").Planar

    def step() -> nn.Module:
        w = torch.randn(1, 2)
        u = math.log(math.e - 1) * w / w.square().sum() + 0.1 * torch.randn(1, 2)
        return NormflowsStep(layer((2,), u=u, w=w))

    return Model(step() for _ in range(MANY))


def residual(blocks: int = 4, **settings: Any) -> Model:
    """Residual layers x + h(x) of normflows in the plane; the weights of h have a norm of at most 0.97."""
    flows, mlp = library("normflows.flows"), library("normflows.nets").LipschitzMLP

    def block() -> nn.Module:
        network = mlp([2, 48, 48, 2], lipschitz_const=0.97, init_zeros=False)
        layer = flows.Residual(network, reduce_memory=False, **settings)
        return NormflowsInvertible(layer, backward=True, bounded=True)

    return Model(block() for _ in range(blocks))


def _flow(layers: Callable[[], list[FlowLayer]], times: int, shape: tuple[int, ...] = (2, 1, 1)) -> FlowModel:
    return FlowModel(Flow([layer for _ in range(times) for layer in layers()], shape))


def _with_random_rotation(layer: DenseLayer) -> DenseLayer:
    """Initialize the weight with a random rotation: the identity would keep the coordinates apart for long."""
    with torch.no_grad():
        rotation = nn.init.orthogonal_(torch.empty(2, 2))
        layer.weight.copy_(rotation)
        if isinstance(layer, SelfNormLinear):
            layer.inverse_weight.copy_(rotation.T)
    return layer


def _with_spline(*layers: FlowLayer) -> list[FlowLayer]:
    """The layers, followed by a spline."""
    shape = (2,) if isinstance(layers[-1], DenseLayer) else (2, 1, 1)
    return [*layers, RationalQuadraticSpline(shape, bins=8, bound=4.0)]


def _mixed(layer: FlowLayer) -> list[FlowLayer]:
    """An exact 1×1 convolution, which mixes the two channels, the layer and a spline."""
    return _with_spline(init_orthogonal_(ExactConv2d(2, 1)), layer)


def _digits(name: str, **settings: Any) -> Callable[[int], nn.Module]:
    return _seeded(lambda: models.build(name, PIXELS, LEVELS, **settings))


_CONV = {"blocks": 2, "depth": 2, "front": True}

SYSTEMS: tuple[System, ...] = (
    System(
        "NICE", 2014, "Dinh, Krueger and Bengio", "https://arxiv.org/abs/1410.8516",
        "zuko", "zuko.flows.NICE, told to add", "triangular, ones on its diagonal",
        "A layer only adds to half of the coordinates what it computes from the others, so it cannot change volume.",
        "closed", _seeded(_additive),
    ),
    System(
        "planar", 2015, "Rezende and Mohamed", "https://arxiv.org/abs/1505.05770",
        "normflows", "normflows.flows.Planar", "identity plus rank one",
        "A layer moves all points along one direction, by an amount that depends on one other direction.",
        "Newton", _seeded(_planar),
    ),
    System(
        "radial", 2015, "Rezende and Mohamed", "https://arxiv.org/abs/1505.05770",
        "normflows", "normflows.flows.Radial", "identity times a number, plus rank one",
        "A layer only draws points toward one center or pushes them from it.",
        "Newton", _seeded(lambda: Model(NormflowsStep(library("normflows.flows").Radial((2,))) for _ in range(MANY))),
    ),
    System(
        "Real NVP", 2016, "Dinh, Sohl-Dickstein and Bengio", "https://arxiv.org/abs/1605.08803",
        "zuko", "zuko.flows.RealNVP", "triangular",
        "A layer leaves half of the coordinates as they are, and scales and shifts each of the others.",
        "closed", _zuko("RealNVP", transforms=6),
    ),
    System(
        "IAF", 2016, "Kingma, Salimans, Jozefowicz, Chen, Sutskever and Welling", "https://arxiv.org/abs/1606.04934",
        "zuko", "zuko.flows.MAF, inverted", "triangular",
        "The coordinates have an order; a sample takes one pass, a density one pass for each coordinate.",
        "closed", _zuko("MAF", inverted=True, transforms=5),
    ),
    System(
        "MAF", 2017, "Papamakarios, Pavlakou and Murray", "https://arxiv.org/abs/1705.07057",
        "zuko", "zuko.flows.MAF", "triangular",
        "The coordinates have an order; a density takes one pass, a sample one pass for each coordinate.",
        "in turn", _zuko("MAF", transforms=5),
    ),
    System(
        "NAF", 2018, "Huang, Krueger, Lacoste and Courville", "https://arxiv.org/abs/1804.00779",
        "zuko", "zuko.flows.NAF", "triangular",
        "As MAF, with an increasing network for each coordinate; the inverse in closed form is given up too.",
        "bisection", _zuko("NAF", transforms=1),
    ),
    System(
        "Glow", 2018, "Kingma and Dhariwal", "https://arxiv.org/abs/1807.03039",
        "snf_lite", "snf_lite.AffineCoupling, ExactConv2d", "triangular, and small blocks",
        "As Real NVP; the one full matrix mixes the channels of a pixel and is kept small.",
        "closed",
        _seeded(lambda: _flow(lambda: [ActNorm(2), init_orthogonal_(ExactConv2d(2, 1)), AffineCoupling(2, 32)], 6)),
        _digits("glow-exact", scales=2, steps=2, width=16), layer=2, digits_layer="AffineCoupling",
    ),
    System(
        "Sylvester", 2018, "van den Berg, Hasenclever, Tomczak and Welling", "https://arxiv.org/abs/1803.05649",
        "snf_lite", "snf_book.prior_work.flows.sylvester.Sylvester", "identity plus rank M",
        "As planar, along M directions; neither has an inverse in closed form.",
        "Newton", _seeded(lambda: Model(Sylvester(2, 2) for _ in range(MANY))),
    ),
    System(
        "i-ResNet", 2018, "Behrmann, Grathwohl, Chen, Duvenaud and Jacobsen", "https://arxiv.org/abs/1811.00995",
        "normflows", "normflows.flows.Residual, five terms", "full, near the identity",
        "A layer may move two points apart or together by a bounded factor; its log-determinant is a series cut short.",
        "fixed point", _seeded(lambda: residual(n_power_series=5)),
    ),
    System(
        "emerging convolutions", 2019, "Hoogeboom, van den Berg and Welling", "https://arxiv.org/abs/1901.11137",
        "snf_lite", "snf_lite.EmergingConv2d", "two triangles, one after the other",
        "A convolution is a product of two, one with a kernel that looks only back and one that looks only forward.",
        "solve", _seeded(lambda: _flow(lambda: _mixed(EmergingConv2d(2, 3)), 6)),
        _digits("conv-emerging", **_CONV), layer=1, digits_layer="EmergingConv2d",
    ),
    System(
        "Flow++", 2019, "Ho, Chen, Srinivas, Duan and Abbeel", "https://arxiv.org/abs/1902.00275",
        "snf_lite", "snf_book.prior_work.flows.mixture_coupling.MixtureCoupling", "triangular",
        "As Real NVP, with a flexible curve for each of the others; the inverse in closed form is given up too.",
        "bisection",
        _seeded(lambda: Model(
            layer for _ in range(4) for layer in (ActNorm(2), ExactLinear(2), MixtureCoupling(2, 6, 48, 1))
        )),
        layer=2,
    ),
    System(
        "B-NAF", 2019, "De Cao, Titov and Aziz", "https://arxiv.org/abs/1904.04676",
        "snf_lite", "snf_book.prior_work.flows.bnaf.BlockAutoregressive", "triangular in blocks",
        "The coordinates have an order, inside the one network too; the inverse in closed form is given up.",
        "bisection", _seeded(lambda: Model([BlockAutoregressive(2, 24, 2)])),
    ),
    System(
        "sum-of-squares polynomial", 2019, "Jaini, Selby and Yu", "https://arxiv.org/abs/1905.02325",
        "zuko", "zuko.flows.SOSPF", "triangular",
        "As MAF, each coordinate through an integral of squared polynomials; the closed inverse is given up too.",
        "bisection", _zuko("SOSPF", transforms=2),
    ),
    System(
        "integer discrete flows", 2019, "Hoogeboom, Peters, van den Berg and Welling",
        "https://arxiv.org/abs/1905.07376",
        "snf_lite", "snf_book.prior_work.flows.integer_flow.IntegerFlow", "none: there is no derivative",
        "Integers stay integers: a layer only adds to half of them, and no volume can change at all.",
        "closed", _seeded(lambda: LatticeModel(IntegerFlow((2,), CELLS, couplings=4))),
        _seeded(lambda: IntegerFlow(PIXELS, LEVELS, couplings=4)),
    ),
    System(
        "residual flows", 2019, "Chen, Behrmann, Duvenaud and Jacobsen", "https://arxiv.org/abs/1906.02735",
        "normflows", "normflows.flows.Residual, a random number of terms", "full, near the identity",
        "As i-ResNet, but the series is estimated without bias: an exact log-determinant is given up while training.",
        "fixed point", _seeded(residual),
    ),
    System(
        "neural spline", 2019, "Durkan, Bekasov, Murray and Papamakarios", "https://arxiv.org/abs/1906.04032",
        "zuko", "zuko.flows.NSF", "triangular",
        "As MAF, with a spline for each coordinate, whose inverse is in closed form; far out nothing is moved.",
        "in turn", _zuko("NSF", transforms=2),
    ),
    System(
        "convolution exponential", 2020, "Hoogeboom, Garcia Satorras, Tomczak and Welling",
        "https://arxiv.org/abs/2006.01910",
        "snf_lite", "snf_lite.ConvExponential2d", "full; the exponential of a convolution",
        "A convolution becomes the exponential of another: its log-determinant is a trace, its value a series.",
        "series", _seeded(lambda: _flow(lambda: _mixed(ConvExponential2d(2, 3)), 6)),
        _digits("conv-exponential", **_CONV), layer=1, digits_layer="ConvExponential2d",
    ),
    System(
        "self-normalizing flow", 2020, "Keller, Peters, Jaini, Hoogeboom, Forré and Welling",
        "https://arxiv.org/abs/2011.07248",
        "snf_lite", "snf_lite.SelfNormLinear, SelfNormConv2d", "any matrix, or any kernel's",
        "The exact gradient: a learned inverse replaces the true one. The density stays exact.",
        "learned", _seeded(lambda: _flow(lambda: _with_spline(_with_random_rotation(SelfNormLinear(2))), 6, (2,))),
        _digits("conv-selfnorm", **_CONV), digits_layer="SelfNormConv2d",
    ),
    System(
        "its exact twin", 2020, "Keller, Peters, Jaini, Hoogeboom, Forré and Welling",
        "https://arxiv.org/abs/2011.07248",
        "snf_lite", "snf_lite.ExactLinear, ExactConv2d", "any matrix, or any kernel's",
        "Nothing but time: every step computes the determinant and its gradient.",
        "solve", _seeded(lambda: _flow(lambda: _with_spline(_with_random_rotation(ExactLinear(2))), 6, (2,))),
        _digits("conv-exact", **_CONV), digits_layer="ExactConv2d",
    ),
)  # fmt: skip

#: Systems of the talk.
EIGHTEEN: tuple[System, ...] = SYSTEMS[:18]


def system_named(name: str) -> System:
    """The system of that name.

    Raises:
        ValueError: there is none; the message lists them.
    """
    found = {system.name: system for system in SYSTEMS}
    if name not in found:
        raise ValueError(f"Expected a system out of {', '.join(found)}; got {name!r}.")
    return found[name]
