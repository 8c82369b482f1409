"""Examples by index, for training and evaluation: from a data set's name or from own data of any accepted kind."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from snf_lite.data.conversion import MapStyle, as_example, as_examples
from snf_lite.data.datasets import load
from snf_lite.runtime import checks
from snf_lite.runtime.files import sha256
from snf_lite.runtime.rng import isolated_rng

#: Data arguments of ``fit`` and ``evaluate``.
Data = str | MapStyle | Dataset[Any] | DataLoader[Any]

#: A Dataset's hash covers this many items, evenly spaced: reading all of them may take an hour.
HASHED_ITEMS = 100

#: Fraction of own data that is held out where ``validation`` is not given.
HELD_OUT = 0.1


@dataclass(frozen=True)
class DataSource:
    """Examples by index, and their origin.

    Attributes:
        source: a tensor (N, *event_shape), or an object with a length and items, each an example or a tuple that begins
            with one.
        name: name of the data set, or "your data".
        split: name of the part; "all" of own data.
        levels: number of values that a pixel can take; None for real numbers, or if unknown.
        knows_levels: whether the source specifies ``levels``.
        dtype: dtype of the examples of ``at``; None: their own.
        columns: names of the columns of a data frame.
        rows: index of each example in the data of which this is a part; None if it is all of them.
        context: what each example is conditioned on, (N, K); None without.
        weights: weight of each example, (N,), with a mean of 1 over all data; None: all count alike.
        origin: what else a record keeps of own data that were read from a file.
    """

    source: Tensor | MapStyle
    name: str
    split: str
    levels: int | None
    knows_levels: bool
    dtype: torch.dtype | None = None
    columns: tuple[str, ...] = ()
    rows: Tensor | None = None
    context: Tensor | None = None
    weights: Tensor | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.source)

    def at(self, indices: Tensor, device: torch.device) -> Tensor:
        """Examples at ``indices`` (B,), as a batch (B, *event_shape) on the device."""
        if isinstance(self.source, Tensor):
            return _rows(self.source, indices).to(device)
        items = [self.item(index) for index in indices.tolist()]
        shapes = {tuple(item.shape) for item in items}
        if len(shapes) > 1:
            got = ", ".join(map(str, sorted(shapes)))
            raise ValueError(f"Expected examples of one shape in a Dataset, got {got}.")
        return torch.stack(items).to(device, self.dtype)

    def context_at(self, indices: Tensor, device: torch.device) -> dict[str, Tensor]:
        """``context`` (B, K) of the examples at ``indices``; empty without."""
        return {} if self.context is None else {"context": _rows(self.context, indices).to(device)}

    def extras_at(self, indices: Tensor, device: torch.device) -> dict[str, Tensor]:
        """``context`` (B, K) and ``weights`` (B,) of the examples at ``indices``, those of them that there are."""
        weights = {} if self.weights is None else {"weights": _rows(self.weights, indices).to(device)}
        return {**self.context_at(indices, device), **weights}

    def item(self, index: int) -> Tensor:
        """One example; TypeError if the item is of no kind that ``as_example`` takes."""
        example = as_example(self.source[index], f"{self}, item {index}")
        if self.dtype is None:
            return example
        return example.to(self.dtype)

    def on(self, device: torch.device) -> "DataSource":
        """The same examples, on the device if they are one tensor; a Dataset is returned as it is."""
        moved: dict[str, Any] = {name: values.to(device) for name, values in self._tensors().items()}
        return replace(self, **moved)

    def part(self, indices: Tensor, split: str) -> "DataSource":
        """Examples at ``indices``, with their context and weights."""
        chosen: dict[str, Any] = {name: _rows(values, indices) for name, values in self._tensors().items()}
        if "source" not in chosen:
            chosen["source"] = Subset(self.source, indices.tolist())  # type: ignore[arg-type]
        return replace(self, **chosen, split=split, rows=indices)

    def _tensors(self) -> dict[str, Any]:
        """What has an entry for each example and is a tensor, by the name of its attribute."""
        values = {"source": self.source, "context": self.context, "weights": self.weights}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    def with_extras(self, context: Any, weights: Any) -> "DataSource":
        """The same examples with a context (N, K) and weights (N,) of any kind of numbers.

        Raises:
            ValueError, TypeError: another length, values that are not finite, or weights that are negative or all zero.
        """
        extras: dict[str, Tensor] = {}
        for name, values in (("context", context), ("weights", weights)):
            if values is not None:
                extras[name] = _numbers(values, name, self)
        if (given := extras.get("weights")) is not None:
            if given.dim() != 1 or bool((given < 0).any()) or not bool((given > 0).any()):
                low, shape = given.min().item(), tuple(given.shape)
                wanted = f"expected weights of shape ({self.count},), none negative and not all zero"
                raise ValueError(f"{self}: {wanted}, got shape {shape} from {low:g} to {given.max().item():g}.")
            extras["weights"] = given / given.mean()
        if (given := extras.get("context")) is not None and given.dim() == 1:
            extras["context"] = given = given[:, None]
        if given is not None and given.dim() != 2:
            raise ValueError(f"{self}: expected context of shape ({self.count}, K), got {tuple(given.shape)}.")
        return replace(self, **extras) if extras else self  # type: ignore[arg-type]

    def counted(self) -> "DataSource":
        """The examples of positive weight; all of them without weights."""
        if self.weights is None or bool((self.weights > 0).all()):
            return self
        chosen = self.weights.nonzero()[:, 0].cpu()
        if len(chosen) == 0:
            raise ValueError(f"{self}: expected a positive weight in both parts of the data, got none in one of them.")
        return replace(self.part(chosen, self.split), rows=chosen if self.rows is None else self.rows[chosen])

    def identity(self) -> dict[str, Any]:
        """Name, split, count and SHA-256 of the values (of context and weights too), and the origin, for a record."""
        extras = {
            f"{key}_sha256": sha256_of(v) for key in ("context", "weights") if (v := getattr(self, key)) is not None
        }
        own = {"name": self.name, "split": self.split, "count": self.count, "sha256": self.sha256()}
        return {**own, **extras, **self.origin}

    def sha256(self) -> str:
        """SHA-256 of a tensor's bytes in row-major order, or of ``HASHED_ITEMS`` items of a Dataset."""
        if isinstance(self.source, Tensor):
            return sha256_of(self.source)
        indices = torch.linspace(0, self.count - 1, min(self.count, HASHED_ITEMS), dtype=torch.float64, device="cpu")
        with isolated_rng("cpu", "hash"):  # a Dataset may draw random augmentations
            return sha256_of(self.at(indices.long(), torch.device("cpu")))

    @property
    def named(self) -> bool:
        """Whether the examples come from ``load``, or have a name and a split of their own."""
        return not self.name.startswith("your ")

    def __str__(self) -> str:
        return f"{self.name} {self.split}" if self.named else self.name


def as_source(data: Data, split: str, name: str = "your data") -> DataSource:
    """Data of any accepted kind as a ``DataSource``; numbers (N,) become examples (N, 1).

    Args:
        data: name of a data set; or tensor, array, data frame (pandas, polars), list, DataLoader, or any object with a
            length and items that are examples, tuples that begin with one, or dicts that hold one.
        split: part to load if data is a name.
        name: name of data that have none.

    Raises:
        TypeError: data of another kind; the message gives what to type.
        ValueError: an unknown name, or no examples. DataError: a named set cannot be read.
    """
    if isinstance(data, str):
        data = load(data, split)
    owner: Any = data.dataset if isinstance(data, DataLoader) else data
    examples, columns = as_examples(data)
    shape = f"shape {tuple(examples.shape)}" if isinstance(examples, Tensor) else "length 0"
    if (isinstance(examples, Tensor) and examples.dim() == 0) or len(examples) == 0:
        raise ValueError(f"Expected data of at least one example, got a {type(owner).__name__} of {shape}.")
    if isinstance(examples, Tensor) and examples.dim() == 1:
        examples = examples[:, None]  # numbers: examples of one feature
    own = getattr(owner, "name", None)  # torch defines ``name`` on a plain tensor, as None; a Series has one too
    known = hasattr(owner, "levels") and not columns
    if isinstance(own, str) and hasattr(owner, "split_name"):
        origin = getattr(owner, "origin", {})
        return DataSource(examples, own, str(owner.split_name), owner.levels, known, origin=origin)
    levels = getattr(owner, "levels", None) if known else None
    return DataSource(examples, name, "all", levels, known, columns=columns)


def training_and_validation(
    data: Data, validation: Any = None, seed: int = 0, context: Any = None, weights: Any = None
) -> tuple[DataSource, DataSource]:
    """Training and validation examples.

    Args:
        data: data to train on.
        validation: validation data; with a context or weights also a tuple (data, context, weights); or the fraction to
            hold out. None: of a named data set its validation split, else a tenth of the data.
        seed: seed that draws the examples to hold out.
        context, weights: context (N, K) and weights (N,) of the examples of ``data``; of those held out as well.

    Raises:
        ValueError: a fraction out of range, or too few examples; else as ``as_source`` and ``DataSource.with_extras``.
    """
    training = as_source(data, "train").with_extras(context, weights)
    fraction = HELD_OUT if validation is None else validation
    if isinstance(fraction, float | int) and not (validation is None and isinstance(data, str)):
        fraction = checks.number_between(fraction, 0, 1, "validation as a fraction", "fit")
        training, held_out = split_by_seed(training, fraction, seed)
        return training.counted(), held_out.counted()
    extras: tuple[Any, ...] = ()
    if validation is None:
        validation = data
    elif isinstance(validation, tuple) and (context is not None or weights is not None):
        validation, *extras_given = validation
        extras = tuple(extras_given)
    if len(extras) > 2 or (context is not None and not extras):
        got = f"{1 + len(extras)} of them" if extras else "the data alone"
        raise ValueError(f"fit: expected validation=(data, context, weights), as fit has a context, got {got}.")
    if context is None and len(extras) == 1:
        extras = (None, *extras)  # (data, weights)
    held_out = as_source(validation, "validation", "your validation data")
    if held_out.columns != training.columns and held_out.columns and training.columns:
        wanted, got = ", ".join(training.columns), ", ".join(held_out.columns)
        raise ValueError(f"{held_out}: expected the columns {wanted}, in this order, got {got}.")
    return training.counted(), held_out.with_extras(*extras, *(None,) * (2 - len(extras))).counted()


def split_by_seed(source: DataSource, fraction: float, seed: int) -> tuple[DataSource, DataSource]:
    """The examples without those held out, and those, each in their order; who is held out depends on the seed."""
    if source.count < 2:
        got = f"at least 2 examples, got {source.count}"
        raise ValueError(f"{source}: holding out {fraction:g} of the data needs {got}.")
    count = math.ceil(fraction * source.count - 1e-9)
    if count == source.count:
        raise ValueError(f"{source}: holding out {fraction:g} of {count} examples leaves none to train on.")
    with isolated_rng("cpu", seed, "held out"):
        order = torch.randperm(source.count, device="cpu")
    parts = (order[count:], "all but a part held out"), (order[:count], f"{fraction:g} held out by seed {seed}")
    training, held_out = (source.part(indices.sort().values, split) for indices, split in parts)
    return training, held_out


def _rows(values: Tensor, indices: Tensor) -> Tensor:
    """The entries at ``indices`` (B,), which may be on another device."""
    return values.index_select(0, indices.to(values.device))


def _numbers(values: Any, name: str, source: DataSource) -> Tensor:
    """Context or weights as a finite tensor with an entry for each example."""
    tensor = as_examples(values)[0]
    if not isinstance(tensor, Tensor) or tensor.dim() == 0 or len(tensor) != source.count:
        got = f"shape {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(values).__name__
        raise ValueError(f"{source}: expected {name} with an entry for each of {source.count} examples, got {got}.")
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.float64)
    checks.require_finite_input(tensor, f"{source}, {name}")
    return tensor


def sha256_of(values: Tensor) -> str:
    """SHA-256 of a tensor's bytes in row-major order, in hexadecimal, independent of its strides and device."""
    flat = values.detach().cpu().contiguous().reshape(-1)
    return sha256(flat.view(torch.uint8).numpy().data)
