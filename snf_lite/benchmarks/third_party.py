"""Layers of other libraries: dense layers and 1×1 convolutions with an exact log-determinant.

The libraries are optional; ``pip install snf-lite[bench]`` installs them. Each layer runs from data to latents and
keeps its own initial values: the time of a step does not depend on them.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from snf_lite.benchmarks.layers import training_step
from snf_lite.benchmarks.timing import Case, Method, TimedCall
from snf_lite.runtime.optional import optional_import

#: Distribution by import name.
LIBRARIES = {"nflows": "nflows", "normflows": "normflows", "zuko": "zuko"}

library = partial(optional_import, extra="bench")


def nflows_lu(case: Case) -> TimedCall:
    """nflows.transforms.LULinear: W = L U from packed triangles, two products with them forward, four backward."""
    transforms = library("nflows.transforms")
    return _step(case, lambda: transforms.LULinear(case.features))


def normflows_lu(case: Case) -> TimedCall:
    """normflows.flows.LULinearPermute: a fixed permutation, then W = L U as in nflows."""
    flows = library("normflows.flows")
    return _step(case, lambda: flows.LULinearPermute(case.features), to_latent="inverse")


def zuko_lu(case: Case) -> TimedCall:
    """zuko.transforms.LULinearTransform and a bias: multiplies L and U, O(D³), then once with the batch."""
    transforms = library("zuko.transforms")
    return _step(case, lambda: _ZukoLinear(transforms.LULinearTransform, case.features))


class _ZukoLinear(nn.Module):
    """zuko's transform with the parameters that it expects from its caller."""

    def __init__(self, transform: Any, features: int) -> None:
        super().__init__()
        self.transform = transform
        self.lu = nn.Parameter(torch.eye(features) + 0.1 * torch.randn(features, features) / features)
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.transform(self.lu).call_and_ladj(x)
        return z + self.bias, log_det


def normflows_1x1(case: Case) -> TimedCall:
    """normflows.flows.Invertible1x1Conv: the C×C determinant by slogdet, once for all pixels; no bias."""
    flows = library("normflows.flows")
    return _step(case, lambda: flows.Invertible1x1Conv(case.event_shape[0]), to_latent="inverse")


def normflows_1x1_lu(case: Case) -> TimedCall:
    """normflows.flows.Invertible1x1Conv(use_lu=True): W = P L U; no bias."""
    flows = library("normflows.flows")
    return _step(case, lambda: flows.Invertible1x1Conv(case.event_shape[0], use_lu=True), to_latent="inverse")


def _step(case: Case, make: Callable[[], nn.Module], to_latent: str = "forward") -> TimedCall:
    """A training step; ``to_latent`` names the method from data to latents, which is the inverse in normflows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation warnings inside the libraries
        layer = case.fresh(make)

    def surrogate(x: Tensor) -> tuple[Tensor, Tensor, None]:
        z, log_det = getattr(layer, to_latent)(x)
        return z, log_det.expand(len(x)), None  # a scalar for the 1×1 convolutions

    return training_step(case, surrogate, layer.parameters())


DENSE: dict[str, Method] = {"nflows-lu": nflows_lu, "normflows-lu": normflows_lu, "zuko-lu": zuko_lu}
POINTWISE: dict[str, Method] = {"normflows-1x1": normflows_1x1, "normflows-1x1-lu": normflows_1x1_lu}
