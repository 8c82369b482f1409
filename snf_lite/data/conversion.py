"""Own data of the kinds that users have: arrays, frames, lists and objects with a length and items, as tensors."""

from collections.abc import Iterator, Mapping, Sized
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

_KINDS = "a name, a tensor, an array, a data frame, a list or a map-style Dataset"


class MapStyle(Protocol):
    """Any object with a length and items: a tensor, an array, a list, a Dataset of torch or of Hugging Face."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


def as_examples(data: Any) -> tuple[Tensor | MapStyle, tuple[str, ...]]:
    """Data as one tensor (N, ...) without a gradient history or, if they are read item by item, as they are.

    Returns:
        The examples, and the names of the columns where the data are a frame (else none).

    Raises:
        TypeError: data of another kind; the message gives what to type.
    """
    if isinstance(data, DataLoader):
        return as_examples(dataset_of(data))
    kind = type(data).__name__
    if isinstance(data, Tensor):
        return _dense(data), ()
    if hasattr(data, "nnz") and hasattr(data, "toarray"):
        raise TypeError(f"Expected dense data, got a sparse {kind}: data.toarray() makes it dense.")
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return _table(data)
    if isinstance(data, np.memmap) and not data.flags.writeable:
        return data, ()  # read row by row: the file may be larger than memory
    if hasattr(data, "__array__") and not isinstance(data, type):
        return from_array(np.asanyarray(data), "your data"), ()
    if isinstance(data, Mapping):
        names = ", ".join(map(repr, list(data)[:4]))
        raise TypeError(f"Expected the examples, got a {kind} of {names or 'nothing'}: give one entry, data[name].")
    if isinstance(data, IterableDataset | Iterator):
        raise TypeError(f"Expected {_KINDS}, got {kind}, which has no index: list(data) reads it into a list.")
    if not isinstance(data, Sized) and hasattr(data, "__getitem__") and not isinstance(data, type):
        raise TypeError(f"Expected data with a length, got {kind} without: define __len__ beside __getitem__.")
    if isinstance(data, str | bytes | type) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise TypeError(f"Expected data as {_KINDS}, got {kind}.")
    if isinstance(data, list | tuple) and len(data) > 0 and not isinstance(data[0], Mapping):
        return stacked(data), ()
    return data, ()


def as_example(item: Any, where: str) -> Tensor:
    """One example as a tensor: of a tensor, an array, numbers, an image, a tuple that begins with one, or a dict.

    Of a dict the only entry that is no single number counts; of an image (PIL) its pixels, (C, H, W).

    Raises:
        TypeError: an item of another kind; the message begins with ``where``.
    """
    if isinstance(item, Tensor):
        return _dense(item)
    if isinstance(item, Mapping):
        found = {key: value for key, value in item.items() if _is_example(value)}
        if len(found) != 1:
            got = f"{len(found)} in {', '.join(map(repr, item))}"
            pick = f"pick one, as in [item[{next(iter(found or item), 'x')!r}] for item in data]"
            raise TypeError(f"{where}: expected a dict with one entry that is a tensor or an array, got {got}: {pick}.")
        return as_example(next(iter(found.values())), where)
    if hasattr(item, "getbands") and hasattr(item, "mode"):
        if item.mode not in ("L", "RGB"):
            raise TypeError(f"{where}: expected images of mode L or RGB, got {item.mode}: image.convert('RGB').")
        pixels = np.asarray(item)
        return from_array(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), where)
    rows = isinstance(item, list | tuple) and len(item) > 0
    if rows and not _is_number(item[0]) and (isinstance(item, tuple) or not isinstance(item[0], list)):
        return as_example(item[0], where)  # (example, label, …)
    if not (rows or _is_number(item) or (hasattr(item, "__array__") and not isinstance(item, type))):
        wanted = "expected items that are tensors, arrays or numbers, or tuples that begin with one"
        raise TypeError(f"{where}: {wanted}, got {type(item).__name__}.")
    return from_array(_rectangular(item, where), where)


def from_array(values: NDArray[Any], where: str) -> Tensor:
    """An array of numbers as a tensor: bytes stay bytes, other integers become int64; it is copied only if need be.

    Raises:
        TypeError: an array of something else than numbers, or with masked values.
    """
    dtype = values.dtype
    if isinstance(values, np.ma.MaskedArray) and bool(np.ma.getmaskarray(values).any()):
        raise TypeError(f"{where}: expected numbers, got masked values: data.filled(value) fills them in.")
    if dtype.kind not in "fiub":
        fields = f" with the fields {', '.join(dtype.names)}" if dtype.names else ""
        raise TypeError(f"{where}: expected numbers, got an array of {dtype if not fields else 'records'}{fields}.")
    wanted: Any = {"f": np.float64, "b": np.bool_}.get(dtype.kind, np.uint8 if dtype == np.uint8 else np.int64)
    if dtype.kind == "f" and dtype.itemsize < 8:
        wanted = dtype.newbyteorder("=")
    return torch.from_numpy(np.require(values, wanted, ["C", "W", "E"]))  # torch warns of arrays that are read-only


def _dense(values: Tensor) -> Tensor:
    if values.layout != torch.strided:
        raise TypeError("Expected dense data, got a sparse tensor: data.to_dense() makes it dense.")
    if values.is_quantized or values.is_complex() or values.is_meta:
        kind = "quantized" if values.is_quantized else "complex" if values.is_complex() else "without values (meta)"
        raise TypeError(f"Expected real numbers, got a tensor that is {kind}.")
    return values.detach()  # nothing flows to what computed them, such as an encoder


def advice_for(example: Tensor) -> str:
    """What makes examples, of which one is given, vectors or images: a way to type, or two."""
    shape = tuple(example.shape)
    if len(shape) == 3 and example.dtype == torch.uint8:  # channels last
        return "data.transpose(0, 3, 1, 2), or data.permute(0, 3, 1, 2) of a tensor, puts the channels first"
    rows = "data.reshape(len(data), -1) makes rows of them"
    if len(shape) == 2:
        return f"data[:, None] makes images of one channel of them (as uint8), {rows}"
    if len(shape) == 3:
        scaled = example.is_floating_point() and 0 <= float(example.min()) and float(example.max()) <= 1
        pixels = "(data * 255).round()" if scaled else "data"
        return f"{pixels} as uint8 (numpy: .astype('uint8'), torch: .to(torch.uint8)) gives pixels, {rows}"
    return rows


def dataset_of(loader: "DataLoader[Any]") -> Any:
    """The Dataset of a DataLoader, whose items ``fit`` batches and shuffles itself."""
    if isinstance(loader.dataset, IterableDataset):
        return loader.dataset
    if loader.collate_fn not in (default_collate, torch.utils.data._utils.collate.default_convert):
        raise TypeError("Expected a DataLoader that only stacks its items, got one with a collate_fn: give a Dataset.")
    batches = loader.batch_sampler
    sampler: Any = batches.sampler if type(batches) is BatchSampler else loader.sampler if batches is None else batches
    whole = isinstance(sampler, RandomSampler | SequentialSampler) and len(sampler) == len(loader.dataset)  # type: ignore[arg-type]
    if not whole or getattr(sampler, "replacement", False):
        kind = type(sampler).__name__
        raise TypeError(f"Expected a DataLoader over all of its Dataset, got a {kind}: give a Subset, or weights=.")
    return loader.dataset


def _table(frame: Any) -> tuple[Tensor, tuple[str, ...]]:
    """The columns of a data frame of pandas or polars, float64, and their names."""
    pairs = frame.items() if hasattr(frame, "items") else ((column.name, column) for column in frame.get_columns())
    names, columns = [], []
    for name, column in pairs:
        values = np.asarray(column)
        if values.dtype.kind == "O" and getattr(column.dtype, "kind", "O") in "fiu":  # pandas' numbers with NA
            values = column.to_numpy(dtype="float64", na_value=np.nan)
        if values.dtype.kind not in "fiu":
            got = f"column {name!r} of {column.dtype}"
            way = f"data.drop({name!r}) leaves it out"
            if hasattr(frame, "items"):  # pandas
                way = f"data.drop(columns=[{name!r}]) leaves it out"
                one_hot = f"pd.get_dummies(data[[{name!r}]], dtype=float)"
                own = f"data[[{name!r}]].astype(float)" if values.dtype.kind == "b" else one_hot
                way += f"; as a class it can condition the flow, context={own}" if values.dtype.kind not in "mM" else ""
            raise TypeError(f"your data: expected numbers, got {got}: {way}.")
        names.append(str(name))
        columns.append(values)
    if not columns:
        raise ValueError("Expected data of at least one column, got a data frame without.")
    return torch.from_numpy(np.stack(columns, 1).astype(np.float64)), tuple(names)


def stacked(items: list[Any] | tuple[Any, ...]) -> Tensor | MapStyle:
    """A list of examples as one tensor; as it is if its items are tuples (example, …), images or of several shapes."""
    first = items[0]
    while isinstance(first, list) and first:
        first = first[0]
    if _is_number(first):
        return from_array(_rectangular(items, "your data"), "your data")
    if all(isinstance(item, Tensor) for item in items) and len({item.shape for item in items}) == 1:
        return torch.stack([_dense(item) for item in items])
    if isinstance(items, tuple) and all(isinstance(item, Tensor | np.ndarray) for item in items):
        shapes = ", ".join(str(tuple(item.shape)) for item in items)
        raise TypeError(f"Expected the examples alone, got a tuple of {shapes}: give data[0] if these are they.")
    if isinstance(items, tuple) and len(items) == 2 and isinstance(first, Tensor) and isinstance(items[1], list):
        raise TypeError("Expected the images alone, got a tuple of images and names: images, names = read_folder(...).")
    return items


def _rectangular(values: Any, where: str) -> NDArray[Any]:
    try:
        return np.asanyarray(values)
    except ValueError as error:
        raise TypeError(f"{where}: expected numbers in rows of one length, got rows of several lengths.") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _is_example(value: Any) -> bool:
    """Whether an entry of a dict can be the example: numbers, but not a single one, or an image."""
    values = np.asarray(value, dtype=object) if isinstance(value, list) else value
    several = len(getattr(values, "shape", ())) > 0 and not isinstance(value, str | bytes)
    return several or hasattr(value, "getbands")
