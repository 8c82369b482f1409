"""Image files as arrays: IDX, npy, npz, and the pickled batches of CIFAR-10 and ImageNet32.

`read_images` returns (N, C, H, W) unsigned bytes whatever the container. A file that does not have the format of its
name raises `DataError`, which names the file, what was found and what was wanted.
"""

import gzip
import io
import lzma
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["DataError", "Pixels", "Shape", "bad_file_error", "read_images"]

Pixels = NDArray[np.uint8]
Shape = tuple[int, int, int]

IDX_IMAGES = 2051  # the IDX magic number of unsigned bytes in three dimensions


class DataError(RuntimeError):
    """A data file is missing, damaged or not the expected one; the message names it and suggests a remedy.

    Example:
        >>> snf.read_folder("no-such-folder")
        Traceback (most recent call last):
        snf_lite.data.image_files.DataError: no-such-folder: expected a folder of ...
    """


def bad_file_error(path: Path, got: str, wanted: str) -> DataError:
    """DataError for a file that exists but has the wrong content."""
    return DataError(
        f"{path}: got {got}, wanted {wanted}. Put the original file in its place or delete it"
        " (in the download cache a deleted file is fetched again)."
    )


def read_images(path: Path, shape: Shape, member: str = "") -> Pixels:
    """All images of one file as unsigned bytes (N, C, H, W), channels red, green, blue.

    Args:
        path: the file; its name gives the format (`*idx3-ubyte`, `.npy`, `.npz`, `.tar.gz`, else a pickled batch;
            `.gz` and `.xz` are unpacked on the fly).
        shape: expected (C, H, W).
        member: batch to read from an archive.

    Raises:
        DataError: the file is truncated, damaged, of another kind or of another shape.
    """
    stem = path.name.removesuffix(".xz")
    reader = next((reader for ending, reader in _READERS.items() if stem.endswith(ending)), _read_pickled)
    try:
        array = reader(path, member)
    except (DataError, MemoryError):
        raise
    # zlib, lzma, tarfile and zipfile raise errors of their own, pickle nearly any.
    except Exception as error:
        raise bad_file_error(
            path, f"{type(error).__name__} on reading ({error})", "a complete, readable file"
        ) from error
    channels, height, width = shape
    layouts = [(height, width, channels), (channels * height * width,)] + [(height, width)] * (channels == 1)
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.shape[1:] not in layouts:
        found = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise bad_file_error(path, found, f"uint8 of shape {' or '.join(str(('N', *layout)) for layout in layouts)}")
    if array.ndim == 4:
        array = array.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(array).reshape(len(array), *shape)


def _read_idx(path: Path, _: str) -> Pixels:
    """IDX: four big-endian integers (2051, N, rows, columns), then the pixels."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(data) < 16:
        raise bad_file_error(path, f"{len(data)} bytes", "16 of an IDX header, then the pixels")
    magic, count, rows, columns = struct.unpack_from(">4I", data)
    if magic != IDX_IMAGES:
        raise bad_file_error(path, f"magic number {magic}", f"{IDX_IMAGES}, that of IDX images")
    if len(data) != 16 + count * rows * columns:
        raise bad_file_error(path, f"{len(data) - 16} pixel bytes", f"{count} x {rows} x {columns}")
    return np.frombuffer(data, np.uint8, offset=16).reshape(count, rows, columns)


def _read_npy(path: Path, _: str) -> Any:
    with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_npz(path: Path, _: str) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["data"]


def _read_pickled(path: Path, _: str) -> Any:
    with path.open("rb") as file:
        return _batch_data(file)


def _read_archive(path: Path, member: str) -> Any:
    # Read sequentially, so that the search ends at the member; nothing is written to disk.
    with tarfile.open(path, "r|gz") as archive:
        for entry in archive:
            if entry.name == member and (file := archive.extractfile(entry)) is not None:
                return _batch_data(io.BytesIO(file.read()))
    raise bad_file_error(path, f"no {member} inside", "the original archive")


_READERS: dict[str, Callable[[Path, str], Any]] = {
    "idx3-ubyte": _read_idx,
    "idx3-ubyte.gz": _read_idx,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".tar.gz": _read_archive,
}


def _batch_data(file: BinaryIO) -> Any:
    # CIFAR-10 was pickled by Python 2, whose byte strings numpy reads as latin1.
    batch = _ArrayUnpickler(file, encoding="latin1").load()
    if not isinstance(batch, dict) or "data" not in batch:
        raise pickle.UnpicklingError(f"the pickle holds a {type(batch).__name__} without 'data'")
    return batch["data"]


def _dtype(name: str, align: int = 0, copy: int = 0) -> np.dtype[Any]:
    """numpy.dtype for an old pickle, which holds 0 and 1 where numpy 2.4.0 to 2.4.4 warn unless given a bool."""
    return np.dtype(name, align=bool(align), copy=bool(copy))


def _latin1(text: str, encoding: str) -> bytes:
    """codecs.encode for the bytes of an old pickle; every codec but latin1 is refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"refused the codec {encoding!r}")
    return text.encode("latin1")


# Taken from an array, the two builders fit the installed numpy, and no private module is imported.
_RECONSTRUCT, _FROMBUFFER = np.empty(0).__reduce__()[0], np.empty(0).__reduce_ex__(5)[0]
# numpy 1 calls the modules numpy.core, numpy 2 numpy._core.
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _FROMBUFFER,
    ("numpy._core.numeric", "_frombuffer"): _FROMBUFFER,
    ("_codecs", "encode"): _latin1,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles builtin containers and numpy arrays only: an unrestricted pickle can run any program."""

    def find_class(self, module: str, name: str) -> Any:
        """The object behind an admitted name; UnpicklingError for any other name."""
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"refused to load {module}.{name}: only numpy arrays are admitted")
        return _ADMITTED[module, name]
