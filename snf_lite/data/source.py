"""Examples by index, for training and evaluation: from a data set's name, a tensor or a Dataset."""

from collections.abc import Sized
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset

from snf_lite.data.datasets import load
from snf_lite.runtime.files import sha256
from snf_lite.runtime.rng import isolated_rng

#: Data arguments of ``fit`` and ``evaluate``.
Data = str | Tensor | Dataset[Any]

#: A Dataset's hash covers this many items, evenly spaced: reading all of them may take an hour.
HASHED_ITEMS = 100


@dataclass(frozen=True)
class DataSource:
    """Examples by index, and their origin.

    Attributes:
        source: a tensor (N, *event_shape), or a map-style Dataset of examples or of tuples that begin with one.
        name: name of the data set, or the kind of object.
        split: name of the part.
        levels: number of values that a pixel can take; None for real numbers, or if unknown.
        knows_levels: whether the source specifies ``levels``.
    """

    source: Tensor | Dataset[Any]
    name: str
    split: str
    levels: int | None
    knows_levels: bool

    @property
    def count(self) -> int:
        assert isinstance(self.source, Sized)  # as_source checks it
        return len(self.source)

    def at(self, indices: Tensor, device: torch.device) -> Tensor:
        """Examples at ``indices`` (B,), as a batch (B, *event_shape) on the device."""
        if isinstance(self.source, Tensor):
            return self.source.index_select(0, indices.to(self.source.device)).to(device)
        items = [self.item(index) for index in indices.tolist()]
        shapes = {tuple(item.shape) for item in items}
        if len(shapes) > 1:
            got = ", ".join(map(str, sorted(shapes)))
            raise ValueError(f"Expected examples of one shape in a Dataset, got {got}.")
        return torch.stack(items).to(device)

    def item(self, index: int) -> Tensor:
        """One example; TypeError if the item is neither a tensor nor a tuple or list that begins with one."""
        item = self.source[index]
        example = item[0] if isinstance(item, tuple | list) else item
        if not isinstance(example, Tensor):
            got = f"{type(example).__name__} at {index}"
            raise TypeError(f"{self}: expected items that are tensors, or tuples that begin with one, got {got}.")
        return example

    def on(self, device: torch.device) -> "DataSource":
        """The same examples, on the device if they are one tensor; a Dataset is returned as it is."""
        return replace(self, source=self.source.to(device)) if isinstance(self.source, Tensor) else self

    def part(self, start: int, stop: int) -> "DataSource":
        """Examples from ``start`` up to ``stop``."""
        split = f"{self.split}[{start}:{stop}]"
        if isinstance(self.source, Tensor):
            return replace(self, source=self.source[start:stop], split=split)
        return replace(self, source=Subset(self.source, range(start, stop)), split=split)

    def identity(self) -> dict[str, Any]:
        """Name, split, count and SHA-256 of the values, and the origin of own data, for a record."""
        origin = getattr(self.source, "origin", {})
        return {"name": self.name, "split": self.split, "count": self.count, "sha256": self.sha256(), **origin}

    def sha256(self) -> str:
        """SHA-256 of a tensor's bytes in row-major order, or of ``HASHED_ITEMS`` items of a Dataset."""
        if isinstance(self.source, Tensor):
            return sha256_of(self.source)
        indices = torch.linspace(0, self.count - 1, min(self.count, HASHED_ITEMS), dtype=torch.float64).long()
        with isolated_rng("cpu", "hash"):  # a Dataset may draw random augmentations
            return sha256_of(self.at(indices, torch.device("cpu")))

    def __str__(self) -> str:
        return f"{self.name} {self.split}"


def as_source(data: Data, split: str) -> DataSource:
    """Data of any accepted kind as a ``DataSource``.

    Args:
        data: name of a data set, tensor (N, *event_shape) or map-style Dataset.
        split: part to load if data is a name.

    Raises:
        TypeError: data is neither a name, a tensor nor a map-style Dataset.
        ValueError: an unknown name, or no examples. DataError: a named set cannot be read.
    """
    if isinstance(data, str):
        data = load(data, split)
    if not isinstance(data, Tensor | Dataset) or isinstance(data, IterableDataset):
        raise TypeError(f"Expected data as a name, a tensor or a map-style Dataset, got {type(data).__name__}.")
    if not isinstance(data, Sized):
        raise TypeError(f"Expected a Dataset with a length, got {type(data).__name__} without.")
    if (isinstance(data, Tensor) and data.dim() == 0) or len(data) == 0:
        shape = f"shape {tuple(data.shape)}" if isinstance(data, Tensor) else "length 0"
        raise ValueError(f"Expected data of at least one example, got a {type(data).__name__} of {shape}.")
    # ``or``: torch defines ``name`` on a plain tensor, as None
    name = getattr(data, "name", None) or f"a {type(data).__name__}"
    levels, knows_levels = getattr(data, "levels", None), hasattr(data, "levels")
    return DataSource(data, name, getattr(data, "split_name", split), levels, knows_levels)


def training_and_validation(data: Data, validation: Data | None) -> tuple[DataSource, DataSource]:
    """Training and validation examples.

    Without ``validation``, a named data set uses its validation split; of a tensor or Dataset the last tenth is held
    out.
    """
    training = as_source(data, "train")
    if validation is not None:
        return training, as_source(validation, "validation")
    if isinstance(data, str):
        return training, as_source(data, "validation")
    if training.count < 2:
        raise ValueError(f"{training}: holding out the last tenth needs at least 2 examples, got {training.count}.")
    cut = training.count - -(-training.count // 10)
    return training.part(0, cut), training.part(cut, training.count)


def sha256_of(values: Tensor) -> str:
    """SHA-256 of a tensor's bytes in row-major order, in hexadecimal, independent of its strides and device."""
    flat = values.detach().cpu().contiguous().reshape(-1)
    return sha256(flat.view(torch.uint8).numpy().data)
