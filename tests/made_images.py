"""Files of images made for a test, in the formats that data sets come in."""

import hashlib
import io
import os
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snf_lite.data.datasets import DataError, load


def idx(pixels: np.ndarray, magic: int = 2051) -> bytes:
    return struct.pack(">4I", magic, *pixels.shape) + pixels.tobytes()


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def python2_batch(data: np.ndarray) -> bytes:
    """A CIFAR-10 batch as Python 2 wrote it: byte strings, numpy.core, and integers for the dtype's flags."""
    rows, columns = data.shape
    return (
        b"\x80\x02}(U\x0bbatch_labelU\x04madeU\x06labels]U\x04datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        + b"K\x00\x85U\x01btR(K\x01J%sJ%s\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
        % (struct.pack("<i", rows), struct.pack("<i", columns))
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T%s" % struct.pack("<i", data.size)
        + data.tobytes()
        + b"tbu."
    )


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def put(folder: Path, file: str, content: bytes) -> Path:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pixels_of(count: int, *shape: int) -> np.ndarray:
    return np.random.RandomState(count).randint(0, 256, size=(count, *shape), dtype=np.uint8)


def refusal(name: str, split: str, root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(name, split, root=root)
    return str(caught.value)


def imagenet32(folder: Path, sizes: list[int], write: str, protocol: int = 4) -> np.ndarray:
    """Ten training files of the given sizes and a val_data of 5; the training images, channels first."""
    images = pixels_of(sum(sizes), 3, 32, 32)
    ends = np.cumsum(sizes)[:-1]
    files = {f"train_data_batch_{number}": part for number, part in enumerate(np.split(images, ends), start=1)}
    for file, part in {**files, "val_data": 255 - images[:5]}.items():
        batch: dict[str, Any] = {
            "data": part.reshape(-1, 3072),
            "labels": list(range(len(part))),
            "mean": np.zeros(3072),
        }
        if write == "npz":
            buffer = io.BytesIO()
            np.savez(buffer, **{**batch, "labels": np.arange(len(part))})
            put(folder, f"{file}.npz", buffer.getvalue())
        else:
            put(folder, file, pickle.dumps(batch, protocol).replace(b"numpy._core", write.encode()))
    return images


class Intruder:
    """Unpickling it would make a folder, were any function called."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)
