"""Steps made of other libraries' transforms, each from event to code; ``pip install snf-lite[prior]`` brings them."""

import importlib
from collections.abc import Callable
from importlib import metadata
from typing import Any

import torch
from torch import Tensor, nn

#: By the name that Python imports, the name that pip installs.
LIBRARIES = {"zuko": "zuko", "normflows": "normflows", "pyro": "pyro-ppl"}


def library(name: str) -> Any:
    """The module of that name, imported only when something needs it.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to get it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        top = name.partition(".")[0]
        if (error.name or "").partition(".")[0] != top:
            raise  # it is there, and lacks something itself
        raise ModuleNotFoundError(f"{top} is not installed: pip install snf-lite[prior]", name=top) from None


def versions() -> dict[str, str]:
    """The versions of the libraries that are here."""
    found = {}
    for name, distribution in LIBRARIES.items():
        try:
            found[name] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return found


class ZukoStep(nn.Module):
    """A lazy transform of zuko."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.transform().call_and_ladj(x)
        # what works number by number leaves the sum to its caller
        return z, log_det.sum(1) if log_det.dim() > 1 else log_det

    def inverse(self, z: Tensor) -> Tensor:
        """By zuko's own inverse."""
        return self.transform().inv(z)


def zuko_steps(flow: Any, inverted: bool = False) -> list[nn.Module]:
    """The transforms of one of zuko's flows; ``inverted``: each one's inverse, in the opposite order."""
    transforms = list(flow.transform.transforms)
    return [ZukoStep(part.inv) for part in reversed(transforms)] if inverted else [*map(ZukoStep, transforms)]


class NormflowsStep(nn.Module):
    """A flow of normflows: its ``forward``, or with ``backward`` its ``inverse``, from event to code.

    ``bounded``: after each step of training its weights are brought back below their Lipschitz bound.
    """

    def __init__(self, flow: nn.Module, backward: bool = False, bounded: bool = False) -> None:
        super().__init__()
        self.flow, self.backward, self.bounded = flow, backward, bounded

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flow: Any = self.flow
        z, log_det = flow.inverse(x) if self.backward else flow(x)
        return z, log_det

    def after_step(self) -> None:
        """Power iterations that renew the estimates of the weights' norms, as the library asks for."""
        if self.bounded:
            library("normflows.utils").update_lipschitz(self.flow, 5)


class NormflowsInvertible(NormflowsStep):
    """The same of a flow that also knows its way back."""

    def inverse(self, z: Tensor) -> Tensor:
        """By normflows' own other direction."""
        flow: Any = self.flow
        found: Tensor = flow(z)[0] if self.backward else flow.inverse(z)[0]
        return found.detach()


class PyroStep(nn.Module):
    """A transform module of pyro; those that are taken here have no inverse."""

    def __init__(self, transform: nn.Module) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        transform: Any = self.transform
        z = transform(x)
        return z, transform.log_abs_det_jacobian(x, z)


def build_seeded(seed: int, build: Callable[[], Any]) -> Any:
    """What ``build`` gives with torch's generator at ``seed``; afterwards it stands where it stood."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        return build()
