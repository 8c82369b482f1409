"""A small flow over points of the plane, and the points: what the tests of training share."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

import snf_lite as snf

MOONS = snf.sample_density("moons", 400)
HELD_OUT = snf.sample_density("moons", 100, seed=1)


def fresh(name: str = "dense-selfnorm", seed: int = 0, **settings: Any) -> snf.Flow:
    """A small flow over points of the plane; the weights depend on the seed."""
    torch.manual_seed(seed)
    return snf.build(name, (2,), **settings)


def weights(flow: snf.Flow) -> Tensor:
    return torch.cat([weight.detach().flatten() for weight in flow.parameters()])


class Items(Dataset[Any]):
    """A Dataset over any list, with or without levels."""

    def __init__(self, items: list[Any], **attributes: Any) -> None:
        self.items = items
        self.__dict__.update(attributes)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def trained(seed: int = 0, **changes: Any) -> Tensor:
    flow = fresh()
    snf.fit(flow, MOONS, 3, 50, 1e-2, seed=seed, validation=HELD_OUT, **changes)
    return weights(flow)
