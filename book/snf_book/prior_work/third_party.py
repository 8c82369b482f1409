"""Steps from transforms of other libraries, from data to latents; ``pip install snf-lite[prior]`` installs them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from snf_lite.runtime.optional import optional_import

#: Distribution by import name.
LIBRARIES = {"zuko": "zuko", "normflows": "normflows", "pyro": "pyro-ppl"}

library = partial(optional_import, extra="prior")


class ZukoStep(nn.Module):
    """A lazy transform of zuko as a step."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.transform().call_and_ladj(x)
        # element-wise transforms do not sum over the coordinates
        return z, log_det.sum(1) if log_det.dim() > 1 else log_det

    def inverse(self, z: Tensor) -> Tensor:
        """zuko's own inverse."""
        return self.transform().inv(z)


def zuko_steps(flow: Any, inverted: bool = False) -> list[nn.Module]:
    """Transforms of a zuko flow; with ``inverted`` their inverses in the opposite order."""
    transforms = list(flow.transform.transforms)
    return [ZukoStep(part.inv) for part in reversed(transforms)] if inverted else [*map(ZukoStep, transforms)]


class NormflowsStep(nn.Module):
    """A flow of normflows as a step: its ``forward``, or with ``backward`` its ``inverse``, maps x to z.

    With ``bounded``, ``after_step`` rescales the weights to their Lipschitz bound.
    """

    def __init__(self, flow: nn.Module, backward: bool = False, bounded: bool = False) -> None:
        super().__init__()
        self.flow, self.backward, self.bounded = flow, backward, bounded

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flow: Any = self.flow
        z, log_det = flow.inverse(x) if self.backward else flow(x)
        return z, log_det

    def after_step(self) -> None:
        """Power iterations that update the estimates of the weights' norms, as the library requires."""
        if self.bounded:
            library("normflows.utils").update_lipschitz(self.flow, 5)


class NormflowsInvertible(NormflowsStep):
    """A ``NormflowsStep`` whose flow has both directions."""

    def inverse(self, z: Tensor) -> Tensor:
        """The other direction of the flow of normflows."""
        flow: Any = self.flow
        found: Tensor = flow(z)[0] if self.backward else flow.inverse(z)[0]
        return found.detach()


class PyroStep(nn.Module):
    """A transform module of pyro as a step, without its inverse."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        transform: Any = self.transform
        z = transform(x)
        return z, transform.log_abs_det_jacobian(x, z)


def build_seeded(seed: int, build: Callable[[], Any]) -> Any:
    """Call ``build`` with torch's CPU generator seeded; restore the generator afterwards."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return build()
