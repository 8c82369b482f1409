"""The events that a flow is trained on or judged by, whether they came as a name, a tensor or a Dataset."""

from collections.abc import Sized
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset

from snf_lite.data.datasets import load
from snf_lite.runtime.files import sha256
from snf_lite.runtime.rng import isolated_rng

#: What ``fit`` and ``evaluate`` take as data.
Data = str | Tensor | Dataset[Any]

#: How many items of a Dataset, evenly spaced, stand for all of it in its hash: reading it whole may take an hour.
HASHED_ITEMS = 100


@dataclass(frozen=True)
class DataSource:
    """Events by index, and where they come from.

    Attributes:
        source: a tensor (N, *event_shape), or a map-style Dataset of events or of tuples that begin with one.
        name: the data set, or what kind of object it was.
        split: which part of it.
        levels: how many values a pixel takes; None for real numbers, or where the source does not say.
        says_levels: whether the source says.
    """

    source: Tensor | Dataset[Any]
    name: str
    split: str
    levels: int | None
    says_levels: bool

    @property
    def count(self) -> int:
        assert isinstance(self.source, Sized)  # as_source let nothing else in
        return len(self.source)

    def at(self, indices: Tensor, device: torch.device) -> Tensor:
        """The events at ``indices`` (B,), as a batch (B, *event_shape) on the device."""
        if isinstance(self.source, Tensor):
            return self.source.index_select(0, indices.to(self.source.device)).to(device)
        return _stacked([self.item(index) for index in indices.tolist()]).to(device)

    def item(self, index: int) -> Tensor:
        """One event; TypeError if a Dataset's item neither is a tensor nor begins with one."""
        item = self.source[index]
        event = item[0] if isinstance(item, tuple | list) else item
        if not isinstance(event, Tensor):
            got = f"{type(event).__name__} at {index}"
            raise TypeError(f"{self}: expected items that are tensors, or tuples that begin with one, got {got}.")
        return event

    def on(self, device: torch.device) -> "DataSource":
        """The same events, moved to the device at once where they are one tensor."""
        return replace(self, source=self.source.to(device)) if isinstance(self.source, Tensor) else self

    def part(self, start: int, stop: int) -> "DataSource":
        """The events from ``start`` up to ``stop``."""
        split = f"{self.split}[{start}:{stop}]"
        if isinstance(self.source, Tensor):
            return replace(self, source=self.source[start:stop], split=split)
        return replace(self, source=Subset(self.source, range(start, stop)), split=split)

    def identity(self) -> dict[str, Any]:
        """Name, split, count and SHA-256 of the values: what a record says about its data."""
        return {"name": self.name, "split": self.split, "count": self.count, "sha256": self.sha256()}

    def sha256(self) -> str:
        """SHA-256 of a tensor's bytes in its order; of ``HASHED_ITEMS`` items where the events are a Dataset."""
        if isinstance(self.source, Tensor):
            return sha256_of(self.source)
        indices = torch.linspace(0, self.count - 1, min(self.count, HASHED_ITEMS), dtype=torch.float64).long()
        with isolated_rng("cpu", "hash"):  # a Dataset may draw random augmentations
            return sha256_of(self.at(indices, torch.device("cpu")))

    def __str__(self) -> str:
        return f"{self.name} {self.split}"


def as_source(data: Data, split: str) -> DataSource:
    """Whatever was given, as ``DataSource``; a name is loaded, ``split`` says which part of it.

    Raises:
        TypeError: neither a name, a tensor nor a map-style Dataset.
        ValueError: an unknown name, or no events. DataError: a named set cannot be read.
    """
    if isinstance(data, str):
        data = load(data, split)
    if not isinstance(data, Tensor | Dataset) or isinstance(data, IterableDataset):
        raise TypeError(f"Expected data as a name, a tensor or a map-style Dataset, got {type(data).__name__}.")
    if not isinstance(data, Sized):
        raise TypeError(f"Expected a Dataset with a length, got {type(data).__name__} without.")
    if (isinstance(data, Tensor) and data.dim() == 0) or len(data) == 0:
        shape = f"shape {tuple(data.shape)}" if isinstance(data, Tensor) else "length 0"
        raise ValueError(f"Expected data of at least one event, got a {type(data).__name__} of {shape}.")
    return _described(data, split)


def _described(data: Tensor | Dataset[Any], split: str) -> DataSource:
    # ``or``: a plain tensor has a ``name`` of torch's own, which is None
    name = getattr(data, "name", None) or f"a {type(data).__name__}"
    levels, says_levels = getattr(data, "levels", None), hasattr(data, "levels")
    return DataSource(data, name, getattr(data, "split_name", split), levels, says_levels)


def training_and_validation(data: Data, validation: Data | None) -> tuple[DataSource, DataSource]:
    """The events to train on, and those to choose the best weights by.

    Without ``validation`` a name brings its own validation split; of a tensor or Dataset the last tenth is held out.
    """
    training = as_source(data, "train")
    if validation is not None:
        return training, as_source(validation, "validation")
    if isinstance(data, str):
        return training, as_source(data, "validation")
    if training.count < 2:
        raise ValueError(f"{training}: holding out the last tenth needs at least 2 events, got {training.count}.")
    cut = training.count - -(-training.count // 10)
    return training.part(0, cut), training.part(cut, training.count)


def _stacked(events: list[Tensor]) -> Tensor:
    shapes = {tuple(event.shape) for event in events}
    if len(shapes) > 1:
        raise ValueError(f"Expected events of one shape in a Dataset, got {', '.join(map(str, sorted(shapes)))}.")
    return torch.stack(events)


def sha256_of(values: Tensor) -> str:
    """SHA-256 of a tensor's bytes in its logical order, in hexadecimal, whatever its dtype, strides and device."""
    flat = values.detach().cpu().contiguous().reshape(-1)
    return sha256(flat.view(torch.uint8).numpy().data)
