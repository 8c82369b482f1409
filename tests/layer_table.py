"""The one table of all layers, at random parameters far from the identity, that drives every check of a layer.

A new layer joins the package by a line in ``CASES`` (and by its mutants in ``mutants``).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from snf_book.prior_work.flows.bnaf import BlockAutoregressive
from snf_book.prior_work.flows.mixture_coupling import MixtureCoupling
from torch import Tensor

import snf_lite as snf
from snf_lite import FlowLayer


@dataclass(frozen=True)
class Case:
    """A layer, the events it takes, and how to draw parameters and inputs for it."""

    make: Callable[[], FlowLayer]
    event_shape: tuple[int, ...]
    spread: float = 0.5
    draw: Callable[..., Tensor] = torch.randn
    settle: Callable[[Any], None] | None = None  # what a writer of the parameters has to do afterwards

    def layer(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> FlowLayer:
        """The layer with Gaussian noise of standard deviation ``spread`` on all its parameters."""
        torch.manual_seed(seed)
        layer = self.make().to(dtype)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(torch.randn(parameter.shape, dtype=torch.float64).to(dtype), alpha=self.spread)
        if self.settle is not None:
            self.settle(layer)
        return layer

    def events(self, batch: int = 4, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
        torch.manual_seed(seed)
        return self.draw(batch, *self.event_shape, dtype=torch.float64).to(dtype)


def wide(*shape: int, dtype: torch.dtype) -> Tensor:
    """Numbers that fall inside the spline's bound and on both sides outside of it."""
    return 4 * torch.randn(*shape, dtype=dtype)


def pixels(*shape: int, dtype: torch.dtype) -> Tensor:
    """Points of the continuous density over the pixels of the digits."""
    return 17 * torch.rand(*shape, dtype=dtype)


def seen(layer: FlowLayer) -> None:
    """Let a layer without parameters take its numbers from events of uneven scale."""
    torch.manual_seed(11)
    events = torch.randn(50, *layer.event_shape if isinstance(layer, snf.Standardize) else (5,), dtype=layer.dtype)
    layer.initialise(events.cumsum(-1) * 0.4 + 1, whiten=False)


def settled(layer: snf.ConvExponential2d) -> None:
    """Its estimate of the spectral norm becomes that of the weight as it is now."""
    layer.initialise(torch.empty(0), whiten=False)


def split_twice(convolution: Callable[[int], FlowLayer]) -> FlowLayer:
    """A split prior with two more scales behind it, of images 2×4×8."""
    inner = snf.SplitPrior(4, [snf.Squeeze(), snf.ActNorm(8), convolution(8)])
    return snf.SplitPrior(2, [snf.Squeeze(), convolution(4), snf.RationalQuadraticSpline((4, 2, 4)), inner], (4, 8))


CASES: dict[str, Case] = {
    "SelfNormLinear": Case(lambda: snf.SelfNormLinear(5, recon_weight=0.7), (5,)),
    "SelfNormLinear-1": Case(lambda: snf.SelfNormLinear(1), (1,), spread=0.2),
    "SelfNormLinear-gaussian": Case(lambda: snf.SelfNormLinear(6), (6,), spread=3.0),
    "ExactLinear": Case(lambda: snf.ExactLinear(5), (5,)),
    "RelativeGradientLinear": Case(lambda: snf.RelativeGradientLinear(5), (5,)),
    "LULinear": Case(lambda: snf.LULinear(5), (5,), settle=snf.LULinear.clear),
    "SelfNormLinear-tolerance": Case(lambda: snf.SelfNormLinear(5, 0.5, tolerance=0.1), (5,)),
    "SelfNormConv2d": Case(lambda: snf.SelfNormConv2d(2, recon_weight=0.7), (2, 4, 3), spread=0.2),
    "SelfNormConv2d-gaussian": Case(lambda: snf.SelfNormConv2d(2), (2, 3, 5), spread=1.0),
    "SelfNormConv2d-5": Case(lambda: snf.SelfNormConv2d(2, 5), (2, 5, 4), spread=0.3),
    "SelfNormConv2d-small-image": Case(lambda: snf.SelfNormConv2d(3, 5), (3, 2, 2), spread=0.3),
    "SelfNormConv2d-1x1": Case(lambda: snf.SelfNormConv2d(3, 1), (3, 3, 2)),
    "SelfNormConv2d-tolerance": Case(lambda: snf.SelfNormConv2d(2, 3, 0.5, tolerance=0.1), (2, 4, 3), spread=0.2),
    "ExactConv2d": Case(lambda: snf.ExactConv2d(2), (2, 4, 3), spread=0.3),
    "ExactConv2d-gaussian": Case(lambda: snf.ExactConv2d(1), (1, 6, 6), spread=1.0),
    "ExactConv2d-1x1": Case(lambda: snf.ExactConv2d(3, 1), (3, 2, 2)),
    "EmergingConv2d": Case(lambda: snf.EmergingConv2d(2), (2, 4, 3)),
    "EmergingConv2d-1-channel": Case(lambda: snf.EmergingConv2d(1), (1, 5, 6), spread=0.6),
    "EmergingConv2d-5": Case(lambda: snf.EmergingConv2d(2, 5), (2, 5, 4), spread=0.3),
    "EmergingConv2d-small-image": Case(lambda: snf.EmergingConv2d(3, 5), (3, 2, 2)),
    "EmergingConv2d-1x1": Case(lambda: snf.EmergingConv2d(3, 1), (3, 3, 2)),
    # As many terms in training as anywhere else; what fewer do is seen in test_exponential.py.
    "ConvExponential2d": Case(lambda: snf.ConvExponential2d(2, terms=30), (2, 4, 3), settle=settled),
    "ConvExponential2d-5": Case(lambda: snf.ConvExponential2d(2, 5, terms=30), (2, 5, 4), settle=settled),
    "ConvExponential2d-1x1": Case(lambda: snf.ConvExponential2d(3, 1, terms=30), (3, 3, 2), settle=settled),
    "ConvExponential2d-wide": Case(lambda: snf.ConvExponential2d(1, 3, 2.0, 40), (1, 5, 6), spread=1.0, settle=settled),
    "ConvExponential2d-stale-norm": Case(lambda: snf.ConvExponential2d(2, terms=30), (2, 4, 3), spread=0.2),
    "SmoothLeakyReLU": Case(snf.SmoothLeakyReLU, (6,), draw=wide),
    "SmoothLeakyReLU-image": Case(lambda: snf.SmoothLeakyReLU(0.05), (2, 3, 3), draw=wide),
    "RationalQuadraticSpline": Case(lambda: snf.RationalQuadraticSpline((2, 3, 2)), (2, 3, 2), spread=1.0, draw=wide),
    "RationalQuadraticSpline-2-bins": Case(lambda: snf.RationalQuadraticSpline((8,), 2, 3.0), (8,), 1.0, draw=wide),
    "Dequantize": Case(lambda: snf.Dequantize(17), (1, 2, 3), draw=pixels),
    "Logit": Case(lambda: snf.Logit(1e-3), (1, 2, 3), draw=torch.rand),
    "Whiten": Case(lambda: snf.Whiten(5), (5,), settle=seen),
    "Standardize": Case(lambda: snf.Standardize((2, 3, 2)), (2, 3, 2), settle=seen),
    "Squeeze": Case(snf.Squeeze, (2, 4, 2)),
    "Flatten": Case(lambda: snf.Flatten((2, 3, 2)), (2, 3, 2)),
    "ActNorm": Case(lambda: snf.ActNorm(5), (5,)),
    "ActNorm-image": Case(lambda: snf.ActNorm(3), (3, 2, 4)),
    "AffineCoupling": Case(lambda: snf.AffineCoupling(4, width=6), (4, 3, 2)),
    "AffineCoupling-odd": Case(lambda: snf.AffineCoupling(3, width=5), (3, 2, 3)),
    "AffineCoupling-checkpointing": Case(lambda: snf.AffineCoupling(2, 5, checkpointing=True), (2, 2, 3)),
    "BlockAutoregressive": Case(lambda: BlockAutoregressive(3, 4), (3,)),
    "BlockAutoregressive-deep": Case(lambda: BlockAutoregressive(2, 3, layers=2), (2,), draw=wide),
    "BlockAutoregressive-bounded": Case(lambda: BlockAutoregressive(3, 2, gated=False), (3,), spread=0.2),
    "MixtureCoupling": Case(lambda: MixtureCoupling(4, 3, width=6), (4, 2, 3)),
    "MixtureCoupling-vector": Case(lambda: MixtureCoupling(5, 2, 6, kernel_size=1), (5,), draw=wide),
    "SplitPrior": Case(lambda: split_twice(snf.ExactConv2d), (2, 4, 8), spread=0.3),
    "SplitPrior-learned": Case(lambda: split_twice(snf.SelfNormConv2d), (2, 4, 8), spread=0.2),
    "SplitPrior-odd": Case(lambda: snf.SplitPrior(3, [snf.RationalQuadraticSpline((2, 2, 3))], (2, 3)), (3, 2, 3)),
    "SplitPrior-nothing-behind": Case(lambda: snf.SplitPrior(2, [], (2, 3)), (2, 2, 3)),
}

#: Single layers that learn an inverse; a split prior only holds such layers.
LEARNED = [
    name for name, case in CASES.items()
    if (layer := case.make()).learned_inverse and hasattr(layer, "inverse_weight")
]  # fmt: skip
DENSE_LEARNED = [name for name in LEARNED if "Linear" in name]
CONV_LEARNED = [name for name in LEARNED if "Conv" in name]
