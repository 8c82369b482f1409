"""The true files of the image sets, from the folder in SNF_DATA: skipped where it is unset or lacks the set."""

import gzip
import lzma
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from made_images import archive, idx, npy, put, python2_batch, refusal, sha256

from snf_lite.data.datasets import DataTensor, load
from snf_lite.data.registry import IMAGE_SETS, SPLITS

pytestmark = pytest.mark.usefixtures("bare_environment")

REAL_DATA = os.environ.get("SNF_DATA", "")


@cache  # the big sets are read once for the whole file
def real(name: str, split: str) -> DataTensor:
    if not (REAL_DATA and (Path(REAL_DATA) / name).is_dir()):
        pytest.skip(f"needs the true files: set SNF_DATA to a folder that holds {name}/ (it is {REAL_DATA!r})")
    return load(name, split, root=REAL_DATA)


@pytest.mark.parametrize(
    ("name", "training_mean", "test_mean"),
    [("mnist", 33.3184, 33.7912), ("fashion_mnist", 72.9404, 73.1466)],
)
def test_real_mnists(name: str, training_mean: float, test_mean: float) -> None:
    train, validation, test = (real(name, split) for split in SPLITS)
    assert [tuple(data.shape) for data in (train, validation, test)] == [
        (n, 1, 28, 28) for n in (50_000, 10_000, 10_000)
    ]
    assert {data.dtype for data in (train, validation, test)} == {torch.uint8}
    assert (train.levels, train.name, train.split_name) == (256, name, "train")
    assert (train.sum() + validation.sum()).item() / (60_000 * 784) == pytest.approx(training_mean, abs=6e-5)
    assert test.sum().item() / (10_000 * 784) == pytest.approx(test_mean, abs=6e-5)
    # The parts of the file in the file's order: their hash together is that of the whole.
    assert sha256(torch.cat([train, validation]).numpy()) == IMAGE_SETS[name].splits["train"][0][0].pixels


# SHA-256 of CIFAR-10's pixels with channels last, from elsewhere: no mistaken axis order can give them.
CIFAR_CHANNELS_LAST = {
    "validation": "d05b7d66d216d6df882cc760cdc0ff2f1f0437abf699ed16005c021ef0add9cb",
    "test": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
    "train and validation": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_real_cifar10(split: str) -> None:
    data = real("cifar10", split)
    assert data.shape == (10_000, 3, 32, 32) and data.dtype == torch.uint8
    assert (data.levels, data.name, data.split_name) == (256, "cifar10", split)
    assert sha256(data.permute(0, 2, 3, 1).numpy()) == CIFAR_CHANNELS_LAST[split]


def test_real_cifar10_training_images() -> None:
    train, validation = real("cifar10", "train"), real("cifar10", "validation")
    assert train.shape == (40_000, 3, 32, 32) and train.dtype == torch.uint8
    training = torch.cat([train, validation])
    means = training.sum((0, 2, 3)) / (50_000 * 1024)
    assert means.tolist() == pytest.approx([125.30692, 122.95039, 113.86538], abs=1e-5)
    assert sha256(training.permute(0, 2, 3, 1).numpy()) == CIFAR_CHANNELS_LAST["train and validation"]


MNIST_CONTAINERS: dict[str, Callable[[np.ndarray], bytes]] = {
    "t10k-images-idx3-ubyte": idx,
    "raw/t10k-images-idx3-ubyte.gz": lambda images: gzip.compress(idx(images), compresslevel=1),
    "test_images.npy": npy,
    "test_images.npy.xz": lambda images: lzma.compress(npy(images), preset=0),
}


@pytest.mark.parametrize("file", MNIST_CONTAINERS)
def test_real_mnist_in_every_container(file: str, tmp_path: Path) -> None:
    test = real("mnist", "test")
    put(tmp_path / "mnist", file, MNIST_CONTAINERS[file](test[:, 0].numpy()))
    assert torch.equal(load("mnist", "test", root=tmp_path), test)


@pytest.mark.parametrize("file", ["test_images.npy", "cifar-10-batches-py/test_batch", "cifar-10-python.tar.gz"])
def test_real_cifar10_in_every_container(file: str, tmp_path: Path) -> None:
    test = real("cifar10", "test")
    if file == "test_images.npy":
        content = npy(test.permute(0, 2, 3, 1).contiguous().numpy())
    else:
        content = python2_batch(test.numpy().reshape(10_000, 3072))
        if file.endswith(".gz"):
            content = archive({"cifar-10-batches-py/readme.html": b"<p>", "cifar-10-batches-py/test_batch": content})
    put(tmp_path / "cifar10", file, content)
    assert torch.equal(load("cifar10", "test", root=tmp_path), test)


def test_real_cifar10_with_channels_swapped_is_refused(tmp_path: Path) -> None:
    swapped = real("cifar10", "test").flip(1).numpy().reshape(10_000, 3072)
    put(tmp_path / "cifar10", "test_batch", python2_batch(swapped))
    assert "SHA-256" in refusal("cifar10", "test", tmp_path)


@pytest.mark.parametrize("file", MNIST_CONTAINERS)
def test_real_mnist_with_one_pixel_altered_is_refused(file: str, tmp_path: Path) -> None:
    images = real("mnist", "test")[:, 0].numpy().copy()
    images[9_999, 14, 14] ^= 1
    path = put(tmp_path / "mnist", file, MNIST_CONTAINERS[file](images))
    message = refusal("mnist", "test", tmp_path)
    wanted = IMAGE_SETS["mnist"].splits["test"][0][0].pixels
    assert all(part in message for part in (str(path), "SHA-256", sha256(images), wanted, "delete it"))


def test_fashion_in_the_place_of_mnist_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "mnist", "test_images.npy", npy(real("fashion_mnist", "test")[:, 0].numpy()))
    assert "SHA-256" in refusal("mnist", "test", tmp_path)
