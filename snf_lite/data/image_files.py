"""Image files as arrays: IDX, npy, npz, and the pickled batches of CIFAR-10 and ImageNet32.

`read_images` returns (N, C, H, W) unsigned bytes whatever the container. A file that does not have the format of its
name raises `DataError`, which names the file, what was found and what was wanted.
"""

import gzip
import lzma
import math
import pickle
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from snf_lite.runtime.unpickle import Unpickler

__all__ = ["DataError", "Pixels", "Shape", "bad_file_error", "read_images"]

Pixels = NDArray[np.uint8]
Shape = tuple[int, int, int]

IDX_IMAGES = 2051  # the IDX magic number of unsigned bytes in three dimensions
ARCHIVED = 8  # largest number of batches in an archive; CIFAR-10 has six
_ARRAY = "numpy.ndarray"  # what an unpickler has for the class itself: a name, which nothing can call


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


def read_images(path: Path, shape: Shape, member: str = "", most: int = 2**20) -> Pixels:
    """All images of one file as unsigned bytes (N, C, H, W), channels red, green, blue.

    The header is checked first, and no more is unpacked than ``most`` images need.

    Args:
        path: the file; its name gives the format (`*idx3-ubyte`, `.npy`, `.npz`, `.tar.gz`, else a pickled batch;
            `.gz` and `.xz` are unpacked on the fly).
        shape: expected (C, H, W).
        member: batch to read from an archive.
        most: largest number of images.

    Raises:
        DataError: the file is truncated, damaged, of another kind or of another shape, or holds more images.
    """
    stem = path.name.removesuffix(".xz")
    reader = next((reader for ending, reader in _READERS.items() if stem.endswith(ending)), _read_pickled)
    wanted = _Wanted(path, shape, most, member)
    try:
        if not path.is_file():
            raise bad_file_error(path, "no regular file", "a file that ends")
        array = reader(wanted)
    except (DataError, MemoryError):
        raise
    # zlib, lzma, tarfile and zipfile raise errors of their own, pickle nearly any.
    except Exception as error:
        raise bad_file_error(
            path, f"{type(error).__name__} on reading ({error})", "a complete, readable file"
        ) from error
    if not isinstance(array, np.ndarray):
        raise bad_file_error(path, type(array).__name__, "uint8 in an array")
    wanted.require(array.dtype, array.shape)
    if array.ndim == 4:
        array = array.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(array).reshape(len(array), *shape)


@dataclass(frozen=True)
class _Wanted:
    """What a file has to hold: at most ``most`` images of a shape, in ``member`` if it is an archive."""

    path: Path
    shape: Shape
    most: int
    member: str

    @property
    def most_bytes(self) -> int:
        """Bytes of the images and, generously, of what stands around them: labels, file names, quoted bytes."""
        return 4 * self.most * (math.prod(self.shape) + 256) + 2**20

    def require(self, dtype: np.dtype[Any], found: tuple[int, ...]) -> None:
        """Refuse an array by its dtype and shape."""
        channels, height, width = self.shape
        layouts = [(height, width, channels), (channels * height * width,)] + [(height, width)] * (channels == 1)
        if dtype != np.uint8 or found[1:] not in layouts:
            wanted = f"uint8 of shape {' or '.join(str(('N', *layout)) for layout in layouts)}"
            raise bad_file_error(self.path, f"{dtype} of shape {found}", wanted)
        if found[0] > self.most:
            raise bad_file_error(self.path, f"{found[0]} images", f"{self.most}")


def _pixels(file: Any, wanted: _Wanted, found: tuple[int, ...]) -> Pixels:
    """The pixels that follow a header, with its checked shape; reads one byte more, to see that none follows."""
    size = math.prod(found)
    content = file.read(size + 1)
    if len(content) != size:
        raise bad_file_error(wanted.path, f"{len(content)} pixel bytes", " x ".join(map(str, found)))
    return np.frombuffer(content, np.uint8).reshape(found)


def _read_idx(wanted: _Wanted) -> Pixels:
    """IDX: four big-endian integers (2051, N, rows, columns), then the pixels."""
    with gzip.open(wanted.path) if wanted.path.suffix == ".gz" else wanted.path.open("rb") as file:
        header = file.read(16)
        if len(header) < 16:
            raise bad_file_error(wanted.path, f"{len(header)} bytes", "16 of an IDX header, then the pixels")
        magic, *found = struct.unpack(">4I", header)
        if magic != IDX_IMAGES:
            raise bad_file_error(wanted.path, f"magic number {magic}", f"{IDX_IMAGES}, that of IDX images")
        wanted.require(np.dtype(np.uint8), tuple(found))
        return _pixels(file, wanted, tuple(found))


def _read_npy(wanted: _Wanted) -> Pixels:
    with lzma.open(wanted.path) if wanted.path.suffix == ".xz" else wanted.path.open("rb") as file:
        return _npy_pixels(file, wanted)


def _npy_pixels(file: Any, wanted: _Wanted) -> Pixels:
    if (version := np.lib.format.read_magic(file)) != (1, 0):  # the others are for headers of more than 65,535 bytes
        raise bad_file_error(wanted.path, f"a header of version {version}", "one of version (1, 0)")
    found, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    wanted.require(dtype, found)
    if not by_columns:
        return _pixels(file, wanted, found)
    return _pixels(file, wanted, found[::-1]).transpose()


def _read_npz(wanted: _Wanted) -> Pixels:
    with zipfile.ZipFile(wanted.path) as archive, archive.open("data.npy") as file:
        return _npy_pixels(file, wanted)


def _read_pickled(wanted: _Wanted) -> Any:
    with wanted.path.open("rb") as file:
        return _batch_data(file, wanted)


def _read_archive(wanted: _Wanted) -> Any:
    # Read sequentially, so that the search ends at the member; nothing is written to disk.
    with gzip.open(wanted.path) as unpacked:
        bounded: Any = _Bounded(unpacked, ARCHIVED * wanted.most_bytes)
        with tarfile.open(fileobj=bounded, mode="r|") as archive:
            for entry in archive:
                if entry.name == wanted.member and not entry.issparse() and (file := archive.extractfile(entry)):
                    return _batch_data(file, wanted)
    raise bad_file_error(wanted.path, f"no {wanted.member} inside", "the original archive")


class _Bounded:
    """A file that refuses to be read beyond its first ``most`` bytes."""

    def __init__(self, file: Any, most: int) -> None:
        self._file, self._left = file, most

    def read(self, size: int) -> bytes:
        content: bytes = self._file.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.ReadError("the archive is larger than its batches")
        return content


_READERS: dict[str, Callable[[_Wanted], Any]] = {
    "idx3-ubyte": _read_idx,
    "idx3-ubyte.gz": _read_idx,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".tar.gz": _read_archive,
}


def _batch_data(file: Any, wanted: _Wanted) -> Any:
    content = file.read(wanted.most_bytes + 1)
    if len(content) > wanted.most_bytes:
        raise bad_file_error(wanted.path, f"a batch of more than {wanted.most_bytes} bytes", f"{wanted.most} images")
    batch = _ArrayUnpickler(content).load()
    if not isinstance(batch, dict) or "data" not in batch:
        raise pickle.UnpicklingError(f"the pickle holds a {type(batch).__name__} without 'data'")
    return batch["data"]


def _dtype(name: str, align: int = 0, copy: int = 0) -> np.dtype[Any]:
    """numpy.dtype of a number for an old pickle, which holds 0 and 1 where numpy 2.4.0 to 2.4.4 warn unless given a
    bool."""
    if not re.fullmatch(r"[<>|=]?[biuf][1248]", name):
        raise pickle.UnpicklingError(f"refused the dtype {name!r:.40}")
    return np.dtype(name, align=bool(align), copy=bool(copy))


def _empty_array(kind: str, shape: tuple[int, ...], code: Any) -> NDArray[Any]:
    """The array of no element that an array's state is set into; of another shape it would take memory."""
    if (kind, shape) != (_ARRAY, (0,)):
        raise pickle.UnpicklingError(f"refused an array of shape {shape!r:.40}")
    return np.empty(0)


def _latin1(text: str, encoding: str) -> bytes:
    """codecs.encode for the bytes of an old pickle; every codec but latin1 is refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"refused the codec {encoding!r}")
    return text.encode("latin1")


class _ArrayUnpickler(Unpickler):
    """Unpickles builtin containers and numpy arrays only."""

    # numpy 1 calls the modules numpy.core, numpy 2 numpy._core. _frombuffer is taken from an array, so that it fits the
    # installed numpy, and no private module is imported.
    admitted: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy", "ndarray"): _ARRAY,
        ("numpy", "dtype"): _dtype,
        ("numpy.core.multiarray", "_reconstruct"): _empty_array,
        ("numpy._core.multiarray", "_reconstruct"): _empty_array,
        ("numpy.core.numeric", "_frombuffer"): np.empty(0).__reduce_ex__(5)[0],
        ("numpy._core.numeric", "_frombuffer"): np.empty(0).__reduce_ex__(5)[0],
        ("_codecs", "encode"): _latin1,
    }
    stateful = (np.ndarray, np.dtype)
