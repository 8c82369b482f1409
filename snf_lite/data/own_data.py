"""Own data by path: a folder of images, or a file of arrays or text, split by a seed into three parts."""

import csv
import math
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from snf_lite.data.datasets import DataTensor, described
from snf_lite.data.image_files import DataError
from snf_lite.data.image_folder import IMAGES, channels_of, read_folder
from snf_lite.data.registry import SPLITS
from snf_lite.runtime.files import expanded, sha256
from snf_lite.runtime.rng import isolated_rng

#: Fraction of the examples that go to validation, and to test, at least one each; the rest is trained on.
HELD_OUT = 0.1
#: Fewest steps of float32 between the lowest and the highest value of a column.
FEWEST_STEPS = 1000
#: Number of values of a pixel.
LEVELS = 256


def read_data(path: str | Path, channels: int | None = None) -> DataTensor:
    """Images or rows of numbers from a path.

    Args:
        path: Folder of images (png, jpg, …); ``.npy``, or ``.npz`` of one array; or ``.csv``, ``.tsv``, ``.txt``, whose
            first line may name the columns.
        channels: 1 for gray, 3 for red, green, blue; None: 3 if an image of the folder has colors, else 1.
            Only for folders.

    Returns:
        Pixels, uint8 (N, C, H, W) with 256 levels, from images and from arrays of integers of three or four dimensions;
        otherwise float32 (N, D) or (N, C, H, W). The attributes are ``name``, the path as given; ``levels``; and
        ``origin``, with the SHA-256 of the file and the names of its columns.

    Raises:
        FileNotFoundError: There is no such path.
        DataError: The content is damaged, or not numbers; the message names the place.
        ValueError: The suffix is of another format; the message lists the known ones.
    """
    home = expanded(path)
    if not home.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder.")
    if not (home.is_dir() or home.is_file()):
        raise DataError(f"{path}: expected a folder of images or a file of arrays, got a pipe, a device or a socket.")
    origin: dict[str, Any] = {}
    if home.is_dir():
        values, origin = _read_images(home, channels)
    else:
        if home.suffix.lower() not in READERS:
            raise ValueError(
                f"{path}: expected a folder of images, or a file {', '.join(READERS)}, got {home.suffix!r}."
            )
        if channels is not None:
            raise ValueError(f"{path}: channels are for folders of images; an array has its own.")
        array, columns = READERS[home.suffix.lower()](home)
        values = _as_tensor(array, str(path))
        origin = {"file_sha256": sha256(home.read_bytes()), **({"columns": columns} if columns else {})}
    if len(values) < len(SPLITS):
        raise DataError(f"{path}: expected at least {len(SPLITS)} examples, one for each part, got {len(values)}.")
    data = described(values, str(path), "all", LEVELS if values.dtype == torch.uint8 else None)
    data.origin = origin
    return data


def split_by_seed(data: DataTensor, seed: int) -> dict[str, DataTensor]:
    """The examples in three parts, "train", "validation" and "test": 80, 10 and 10 percent, in an order by the seed."""
    held_out = max(1, round(HELD_OUT * len(data)))
    with isolated_rng("cpu", seed, "own data"):
        order = torch.randperm(len(data))
    sizes = [len(data) - 2 * held_out, held_out, held_out]
    values, parts = data.as_subclass(Tensor), {}
    for split, indices in zip(SPLITS, order.split(sizes), strict=True):
        parts[split] = described(values[indices], data.name, split, data.levels)
        parts[split].origin = {**data.origin, "split_seed": seed}
    return parts


# ---- folders of images -----------------------------------------------------------------------------------------------


def _read_images(folder: Path, channels: int | None) -> tuple[Tensor, dict[str, Any]]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGES)
    if not found:
        raise DataError(f"{folder}: expected images ({', '.join(IMAGES)}), got none.")
    endings = dict.fromkeys(path.suffix.lower() for path in found)
    if channels is None:
        channels = channels_of(found)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "read_folder: .* leaves out")  # they are read by themselves
        pixels = [read_folder(folder, channels, ending)[0] for ending in endings]
    if len({one.shape[1:] for one in pixels}) > 1:
        sizes = ", ".join(f"{one.shape[2]}×{one.shape[3]} ({end})" for one, end in zip(pixels, endings, strict=True))
        raise DataError(f"{folder}: expected images of one size (height×width), got {sizes}.")
    digests = "".join(f"{sha256(path.read_bytes())}  {path.relative_to(folder).as_posix()}\n" for path in found)
    return torch.cat(pixels), {"file_sha256": sha256(digests.encode()), "channels": channels}


# ---- files of arrays -------------------------------------------------------------------------------------------------


def _read_npy(path: Path) -> tuple[NDArray[Any], list[str]]:
    try:
        with np.errstate(over="ignore"):  # of the size that a header claims
            array = np.load(path, mmap_mode="r", allow_pickle=False)  # compares the header with the file's length
    except (ValueError, EOFError, SyntaxError, OverflowError) as error:
        raise DataError(f"{path}: expected arrays as numpy.save writes them: {error}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: expected one array, got an archive; name it .npz.")
    return np.array(array), []


def _read_npz(path: Path) -> tuple[NDArray[Any], list[str]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive)
            if len(names) == 1:
                member = archive.zip.infolist()[0]
                with archive.zip.open(member) as file:
                    np.lib.format.read_magic(file)
                    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                if math.prod(shape) * dtype.itemsize > member.file_size:
                    raise ValueError(f"its header asks for the shape {shape}, which the file does not have")
                return archive[names[0]], []
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise DataError(f"{path}: expected arrays as numpy.savez writes them: {error}") from error
    found = ", ".join(names) or "none"
    raise DataError(f"{path}: expected one array, got {found}; save the one to train on by itself (numpy.save).")


def _as_tensor(array: NDArray[Any], name: str) -> Tensor:
    """Pixels as uint8 (N, C, H, W), other numbers as float32; DataError names the first that cannot be used."""
    if array.dtype.kind not in "iufb" or array.ndim < 1:
        raise DataError(f"{name}: expected an array (N, …) of numbers, got {array.dtype} of shape {array.shape}.")
    if array.ndim == 1:
        array = array[:, None]  # N examples of one number
    if array.ndim > 4 or 0 in array.shape:
        raise DataError(f"{name}: expected (N, D), (N, H, W) or (N, C, H, W), got shape {array.shape}.")
    if array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)  # the channels stood last
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim == 4 and array.dtype.kind in "iu":
        if array.min() < 0 or array.max() >= LEVELS:
            raise DataError(f"{name}: expected pixels from 0 to {LEVELS - 1}, got {array.min()} to {array.max()}.")
        return torch.from_numpy(np.ascontiguousarray(array, np.uint8))
    if array.ndim == 4 and array.min() >= 0 and array.max() <= 1:
        raise DataError(f"{name}: expected pixels as integers from 0 to 255, got {array.dtype} from 0 to 1.")
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(values).all():
        row, *place = np.argwhere(~np.isfinite(values))[0].tolist()
        raise DataError(f"{name}: expected finite float32 numbers, got {array[(row, *place)]} at {[row, *place]}.")
    rows, kept = array.reshape(len(array), -1), values.reshape(len(array), -1)
    spread = np.ptp(rows, axis=0)
    steps = spread / np.spacing(np.abs(kept).max(axis=0))
    for index in np.flatnonzero((spread > 0) & (steps < FEWEST_STEPS) & (rows != kept).any(axis=0)):
        where = f"number {index + 1} of each row spreads over {spread[index]:g} around {rows[0, index]:g}"
        raise DataError(f"{name}: {where}, too narrow for the 7 digits of float32; subtract a constant from it.")
    return torch.from_numpy(values)


# ---- files of text ---------------------------------------------------------------------------------------------------


def _read_text(path: Path) -> tuple[NDArray[Any], list[str]]:
    """Numbers of a text file whose columns are separated by commas, semicolons, tabs or spaces."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()  # Excel begins with a byte order mark
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected text in UTF-8: {error}") from error
    filled = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not filled:
        raise DataError(f"{path}: expected rows of numbers, got an empty file.")
    first = filled[0][1]
    delimiter = next((mark for mark in ("\t", ";", ",") if mark in first), None)
    cells = csv.reader((line for _, line in filled), delimiter=delimiter) if delimiter else None
    table = [[cell.strip() for cell in row] for row in cells or (line.split() for _, line in filled)]
    columns = [] if any(_number(cell) is not None for cell in table[0]) else table[0]
    rows, numbers = table[bool(columns) :], [number for number, _ in filled][bool(columns) :]
    if len(columns) > 1 and columns[0] == "":
        way = "if it names the rows, leave it out (in pandas: to_csv(…, index=False)); else give it a name"
        raise DataError(f"{path}: the first column has no name; {way}.")
    if _counts(table[0]) and len(table) > 1 and not any(all(map(str.isdigit, row)) for row in rows[1:]):
        way = "if they name the columns, write names that are no numbers; else write them with a decimal point"
        raise DataError(f"{path}: the first line, {first}, counts up and may name the columns; {way}.")
    for number, row in zip(numbers, rows, strict=True):
        if len(row) != len(table[0]):
            raise DataError(
                f"{path}, line {number}: expected {len(table[0])} cells as in the first line, got {len(row)}."
            )
        for index, cell in enumerate(row):
            value = _number(cell)
            if value is None or not math.isfinite(value):
                column = repr(columns[index]) if columns else index + 1
                way = "leave out the column, or the row"
                if _number(cell.replace(",", ".")) is not None and "," in cell:
                    way = "write a decimal point"
                where = f"{path}, line {number}, column {column}"
                raise DataError(f"{where}: expected a finite number, got {cell!r}; {way}.")
    return np.array([[float(cell) for cell in row] for row in rows]).reshape(len(rows), len(table[0])), columns


def _counts(cells: list[str]) -> bool:
    """Whether the cells are two or more integers, each one above the last."""
    whole = len(cells) > 1 and all(map(str.isdigit, cells))
    return whole and all(int(after) == int(before) + 1 for before, after in pairwise(cells))


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


READERS: dict[str, Callable[[Path], tuple[NDArray[Any], list[str]]]] = {
    ".npy": _read_npy, ".npz": _read_npz, ".csv": _read_text, ".tsv": _read_text, ".txt": _read_text,
}  # fmt: skip
