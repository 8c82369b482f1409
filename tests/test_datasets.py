"""The data sets: right pixels, right splits, and a clear refusal of everything else.

The tests called `real` read the true files from the folder in SNF_DATA; where it is unset or lacks the set, they are
skipped.
"""

import copy
import gzip
import hashlib
import http.server
import io
import lzma
import os
import pickle
import socket
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pooch
import pytest
import torch

from snf_lite import datasets
from snf_lite.datasets import (
    DataError,
    DataTensor,
    dataset_names,
    density_names,
    load,
    mixture_log_prob,
    sample_density,
)
from snf_lite.densities import MIXTURE_MEANS
from snf_lite.imagefiles import read_images
from snf_lite.registry import IMAGE_SETS, SPLITS, ImageSet, Part

README = Path(__file__).parents[1] / "data" / "README.md"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the user's data folder or cache, unless it asks for the folder itself."""
    monkeypatch.delenv("SNF_DATA", raising=False)
    monkeypatch.setenv("SNF_CACHE", str(tmp_path / "cache"))


REAL_DATA = os.environ.get("SNF_DATA", "")


@cache  # the big sets are read once for the whole file
def real(name: str, split: str) -> DataTensor:
    if not (REAL_DATA and (Path(REAL_DATA) / name).is_dir()):
        pytest.skip(f"needs the true files: set SNF_DATA to a folder that holds {name}/ (it is {REAL_DATA!r})")
    return load(name, split, root=REAL_DATA)


# ---------------------------------------------------------------- files made for a test


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


# ---------------------------------------------------------------- names


def test_names_are_images_first_then_densities() -> None:
    assert dataset_names()[:5] == ["digits", "mnist", "fashion_mnist", "cifar10", "imagenet32"]
    assert dataset_names()[5:] == density_names()
    assert {"moons", "rings", "spirals", "checkerboard", "pinwheel", "swissroll", "mixture"} < set(density_names())


@pytest.mark.parametrize("name", ["MNIST", "svhn", "", None, 3, ["mnist"]])
def test_unknown_name_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(ValueError) as caught:
        load(name)
    assert all(known in str(caught.value) for known in dataset_names())
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["digits", "mnist", "moons"])
@pytest.mark.parametrize("split", ["valid", "Test", None])
def test_unknown_split_is_refused_with_the_list(name: str, split: str) -> None:
    with pytest.raises(ValueError) as caught:
        load(name, split)
    assert all(known in str(caught.value) for known in (*SPLITS, repr(split)))


# ---------------------------------------------------------------- digits and the tensor itself

DIGITS = {
    "train": (1197, "f928735f"),
    "validation": (300, "94a3b54c"),
    "test": (300, "ccd5b41c"),
}


@pytest.mark.parametrize("split", SPLITS)
def test_digits_are_always_the_same(split: str) -> None:
    data = load("digits", split)
    count, known = DIGITS[split]
    assert data.shape == (count, 1, 8, 8) and data.dtype == torch.uint8
    assert (data.levels, data.name, data.split_name) == (17, "digits", split)
    assert int(data.min()) == 0 and int(data.max()) == 16
    assert data.sha256.startswith(known)


def test_digits_splits_are_disjoint_and_complete() -> None:
    from sklearn.datasets import load_digits

    everything = torch.from_numpy(load_digits().images).to(torch.uint8)
    order = np.random.RandomState(0).permutation(1797)
    splits = torch.cat([load("digits", split) for split in SPLITS])
    assert sorted(order) == list(range(1797))
    assert torch.equal(splits[:, 0], everything[torch.from_numpy(order)])


def test_digits_and_densities_ignore_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = load("digits").sha256
    monkeypatch.setenv("SNF_DATA", str(tmp_path / "absent"))
    assert load("digits").sha256 == expected
    assert load("digits", root=tmp_path).sha256 == expected
    assert len(load("moons", root=tmp_path)) == 10_000


def test_what_is_computed_from_data_is_a_plain_tensor() -> None:
    data = load("digits", "test")
    assert isinstance(data, torch.Tensor)
    assert {type(data[0]), type(data / 16), type(data.float()), type(torch.cat([data]))} == {torch.Tensor}
    part = data[5:9]
    assert (part.levels, part.name, part.split_name) == (17, "digits", "a part of test")
    assert torch.equal(part, torch.Tensor(data)[5:9].to(torch.uint8))
    assert [len(chunk) for chunk in torch.split(data, 200)] == [200, 100]


def test_copies_keep_the_description_and_hash_follows_the_values() -> None:
    data = load("digits", "test")
    for other in (copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert (other.name, other.split_name, other.levels) == ("digits", "test", 17)
        assert other.sha256 == data.sha256 == sha256(data.numpy())
        other[0, 0, 0, 0] += 1
        assert other.sha256 != data.sha256


# ---------------------------------------------------------------- the true files


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


@pytest.mark.slow
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


# ---------------------------------------------------------------- formats, without the true files


@pytest.mark.parametrize("suffix", [".npy", ".npy.xz"])
def test_array_with_channels_last_comes_back_channels_first(suffix: str, tmp_path: Path) -> None:
    images = pixels_of(4, 32, 30, 3)
    content = npy(images) if suffix == ".npy" else lzma.compress(npy(images))
    read = read_images(put(tmp_path, f"images{suffix}", content), (3, 32, 30))
    assert np.array_equal(read, images.transpose(0, 3, 1, 2)) and read.flags.c_contiguous


def test_idx_keeps_rows_and_columns_apart(tmp_path: Path) -> None:
    images = pixels_of(4, 28, 20)
    for file, content in {"made-idx3-ubyte": idx(images), "made-idx3-ubyte.gz": gzip.compress(idx(images))}.items():
        assert np.array_equal(read_images(put(tmp_path, file, content), (1, 28, 20)), images[:, None])


def test_python2_batch_and_archive_give_planes(tmp_path: Path) -> None:
    images = pixels_of(4, 3, 32, 32)
    batch = python2_batch(images.reshape(4, -1))
    assert np.array_equal(read_images(put(tmp_path, "data_batch_1", batch), (3, 32, 32)), images)
    path = put(tmp_path, "made.tar.gz", archive({"other": b"", "folder/data_batch_1": batch}))
    assert np.array_equal(read_images(path, (3, 32, 32), "folder/data_batch_1"), images)


# ---------------------------------------------------------------- damaged and mistaken files


def without_bytes(value: object) -> str | None:
    """Names for tests: compressed bytes hold the time they were made at, and every test process must find the same."""
    return "content" if isinstance(value, bytes) else None


SMALL = np.zeros((10, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("t10k-images-idx3-ubyte.gz", gzip.compress(idx(SMALL))[:-12], "EOFError"),
        ("t10k-images-idx3-ubyte.gz", gzip.compress(idx(pixels_of(10, 28, 28)))[:4000], "EOFError"),
        ("t10k-images-idx3-ubyte.gz", b"<html>not found</html>", "gzip"),
        ("t10k-images-idx3-ubyte.gz", b"", "got 0 bytes, wanted 16"),
        ("t10k-images-idx3-ubyte", idx(SMALL)[:12], "got 12 bytes, wanted 16"),
        ("t10k-images-idx3-ubyte", idx(SMALL, magic=2049), "magic number 2049, wanted 2051"),
        ("t10k-images-idx3-ubyte", idx(SMALL)[:-1], "7839 pixel bytes, wanted 10 x 28 x 28"),
        ("t10k-images-idx3-ubyte", idx(SMALL) + b"\0", "7841 pixel bytes, wanted 10 x 28 x 28"),
        ("t10k-images-idx3-ubyte", idx(SMALL[:, 1:]), "(10, 27, 28), wanted uint8 of shape"),
        ("t10k-images-idx3-ubyte", idx(SMALL), "10 images, wanted 10000"),
        ("test_images.npy", npy(SMALL)[:-1], "ValueError"),
        ("test_images.npy", npy(SMALL)[:5], "ValueError"),
        ("test_images.npy", npy(SMALL.astype(np.float32)), "float32 of shape (10, 28, 28), wanted uint8"),
        ("test_images.npy", npy(np.array(7, np.uint8)), "shape ()"),
        ("test_images.npy", npy(np.array([{}], dtype=object)), "Object arrays cannot be loaded"),
        ("test_images.npy.xz", lzma.compress(npy(pixels_of(10, 28, 28)))[:4000], "EOFError"),
        ("test_images.npy.xz", npy(SMALL), "LZMAError"),
    ],
    ids=without_bytes,
)
def test_damaged_mnist_is_refused(file: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = put(tmp_path / "mnist", file, content)
    message = refusal("mnist", "test", tmp_path)
    assert words in message and str(path) in message and "delete it" in message


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("test_batch", python2_batch(pixels_of(10, 3072)), "10 images, wanted 10000"),
        ("test_batch", python2_batch(pixels_of(10, 3071)), "(10, 3071), wanted uint8 of shape"),
        ("test_batch", python2_batch(pixels_of(10, 3072))[:-100], "on reading"),
        ("test_batch", pickle.dumps({"labels": [1]}), "without 'data'"),
        ("test_batch", pickle.dumps([1, 2]), "holds a list without 'data'"),
        ("test_batch", pickle.dumps({"data": "text"}), "got str, wanted uint8"),
        ("test_batch", b"", "EOFError"),
        ("test_images.npy", npy(pixels_of(10, 3, 32, 32)), "(10, 3, 32, 32), wanted uint8 of shape ('N', 32, 32, 3)"),
        ("test_images.npy", npy(pixels_of(10, 32, 32)), "shape (10, 32, 32), wanted uint8 of shape"),
        (
            "cifar-10-python.tar.gz",
            archive({"cifar-10-batches-py/data_batch_1": b""}),
            "no cifar-10-batches-py/test_batch",
        ),
        (
            "cifar-10-python.tar.gz",
            archive({"cifar-10-batches-py/test_batch": pixels_of(9).tobytes()})[:90],
            "on reading",
        ),
        ("cifar-10-python.tar.gz", b"<html>", "ReadError"),
    ],
    ids=without_bytes,
)
def test_damaged_cifar10_is_refused(file: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = put(tmp_path / "cifar10", file, content)
    message = refusal("cifar10", "test", tmp_path)
    assert words in message and str(path) in message and "delete it" in message


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_pixels_of_the_right_shape_but_other_bytes_are_refused(name: str, tmp_path: Path) -> None:
    _, height, width = IMAGE_SETS[name].shape
    black = np.zeros((10_000, height, width, 3) if name == "cifar10" else (10_000, height, width), np.uint8)
    path = put(tmp_path / name, "test_images.npy", npy(black))
    message = refusal(name, "test", tmp_path)
    wanted = IMAGE_SETS[name].splits["test"][0][0].pixels
    assert all(words in message for words in (str(path), "SHA-256", sha256(black), wanted, "delete it"))


def test_out_of_memory_is_not_called_a_damaged_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    put(tmp_path / "mnist", "test_images.npy", npy(SMALL))
    monkeypatch.setattr(np.lib.format, "read_array", exhausted)
    with pytest.raises(MemoryError):
        load("mnist", "test", root=tmp_path)


class Intruder:
    """Unpickling it would make a folder, were any function called."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["cifar10", "imagenet32"])
@pytest.mark.parametrize("protocol", range(6))
def test_malicious_pickle_is_refused_and_not_run(name: str, protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    payload = pickle.dumps({"data": Intruder(trace)}, protocol)
    put(tmp_path / name, "test_batch" if name == "cifar10" else "val_data", payload)
    assert "refused to load" in refusal(name, "test", tmp_path)
    assert not trace.exists()
    pickle.loads(payload)
    assert trace.exists(), "the payload does nothing, so the test proves nothing"


@pytest.mark.parametrize(
    "payload",
    [
        b"cnumpy\nload\n(U\x01xtR.",
        b"cnumpy.core.multiarray\n_reconstruct.__class__\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        b"cbuiltins\neval\n(U\x031+1tR.",
        b"c__builtin__\neval\n(U\x031+1tR.",
        b"c_codecs\nencode\n(U\x01xU\x05utf-7tR.",
    ],
)
def test_names_near_the_admitted_ones_are_refused(payload: bytes, tmp_path: Path) -> None:
    put(tmp_path / "imagenet32", "val_data", payload)
    assert "refused" in refusal("imagenet32", "test", tmp_path)


# ---------------------------------------------------------------- where files come from


def test_data_folder_without_the_set_is_an_error_not_a_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: pytest.fail("went to the network"))
    monkeypatch.setenv("SNF_DATA", str(tmp_path))
    for name in (*IMAGE_SETS, "imagenet32"):
        with pytest.raises(DataError) as caught:
            load(name)
        assert str(tmp_path / name) in str(caught.value) and "SNF_DATA" in str(caught.value)


@pytest.mark.parametrize("name", [*IMAGE_SETS, "imagenet32"])
def test_folder_without_the_file_names_what_it_looked_for(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    for split in SPLITS:
        message = refusal(name, split, tmp_path)
        assert str(tmp_path / name) in message
        if name != "imagenet32":
            parts, _ = IMAGE_SETS[name].splits[split]
            assert all(file in message for file in parts[0].files)


def test_root_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SNF_DATA", str(tmp_path / "other"))
    assert str(tmp_path / "mine" / "mnist") in refusal("mnist", "test", tmp_path / "mine")


def test_imagenet32_is_never_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: pytest.fail("went to the network"))
    monkeypatch.setenv("SNF_DATA", "")
    with pytest.raises(DataError, match=r"imagenet32: is read from a local folder only.*Set SNF_DATA"):
        load("imagenet32")


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_without_a_network_the_error_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror("no network")

    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    with pytest.raises(DataError) as caught:
        load(name)
    words = (
        IMAGE_SETS[name].splits["train"][0][0].url,
        "Go online",
        "SNF_DATA",
        f"{name}/",
        "digits",
        "need no download",
    )
    assert all(word in str(caught.value) for word in words)


class Server:
    """A web server on this machine with one file, which counts how often it is fetched."""

    def __init__(self, folder: Path) -> None:
        self.fetched: list[str] = []
        fetched = self.fetched

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(folder))

            def log_message(self, *_: object) -> None:
                fetched.append(self.path)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, list[np.ndarray]]]:
    """A made CIFAR-10 of 3 images a batch, its archive served from this machine in the registry's place."""
    batches = [pixels_of(3, 3, 32, 32) + number for number in range(4)]
    names = [f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 5)]
    content = archive({name: python2_batch(batch.reshape(3, -1)) for name, batch in zip(names, batches, strict=True)})
    path = put(tmp_path / "served", "cifar-10-python.tar.gz", content)
    server = Server(path.parent)
    known = hashlib.sha256(content).hexdigest()
    parts = tuple(
        Part((), 3, sha256(batch), server.address + path.name, known, name)
        for batch, name in zip(batches, names, strict=True)
    )
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(IMAGE_SETS, "cifar10", ImageSet((3, 32, 32), {"train": (parts, slice(None))}))
    yield server, batches
    server.stop()


def test_download_happens_once_and_gives_the_pixels(served: tuple[Server, list[np.ndarray]], tmp_path: Path) -> None:
    server, batches = served
    assert np.array_equal(load("cifar10").numpy(), np.concatenate(batches))
    assert len(server.fetched) == 1
    server.stop()
    assert np.array_equal(load("cifar10").numpy(), np.concatenate(batches))
    assert (tmp_path / "cache" / "cifar10" / "cifar-10-python.tar.gz").is_file()


def test_download_with_a_wrong_hash_is_refused_and_not_kept(
    served: tuple[Server, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parts, rows = IMAGE_SETS["cifar10"].splits["train"]
    wrong = tuple(replace(part, sha256="0" * 64) for part in parts)
    monkeypatch.setitem(IMAGE_SETS, "cifar10", ImageSet((3, 32, 32), {"train": (wrong, rows)}))
    with pytest.raises(DataError, match="does not match the known hash"):
        load("cifar10")
    assert not (tmp_path / "cache" / "cifar10" / "cifar-10-python.tar.gz").exists()


def test_download_that_is_not_there_is_an_error(
    served: tuple[Server, list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, rows = IMAGE_SETS["cifar10"].splits["train"]
    moved = tuple(replace(part, url=served[0].address + "moved.tar.gz") for part in parts)
    monkeypatch.setitem(IMAGE_SETS, "cifar10", ImageSet((3, 32, 32), {"train": (moved, rows)}))
    with pytest.raises(DataError, match="404"):
        load("cifar10")


def test_the_readme_tells_the_registry() -> None:
    text = README.read_text(encoding="utf-8")
    for name, image_set in IMAGE_SETS.items():
        assert f"`{name}`" in text
        for parts, _ in image_set.splits.values():
            for part in parts:
                assert all(fact in text for fact in (part.url, part.sha256, part.pixels)), f"{name}: {part}"


# ---------------------------------------------------------------- ImageNet32, made small


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


@pytest.mark.parametrize(
    ("write", "protocol"),
    [
        ("npz", 0),
        ("numpy.core", 0),
        ("numpy.core", 2),
        ("numpy.core", 3),
        ("numpy._core", 2),
        ("numpy._core", 4),
        ("numpy._core", 5),
    ],
)
def test_imagenet32_in_every_format(write: str, protocol: int, tmp_path: Path) -> None:
    images = imagenet32(tmp_path / "imagenet32" / "unpacked", [3] * 10, write, protocol)
    train, validation, test = (load("imagenet32", split, root=tmp_path) for split in SPLITS)
    assert np.array_equal(torch.cat([train, validation]).numpy(), images)
    assert (len(train), len(validation)) == (27, 3)
    assert np.array_equal(test.numpy(), 255 - images[:5])
    assert (train.levels, train.name, train.split_name) == (256, "imagenet32", "train")


def test_imagenet32_rows_are_planes_of_red_green_and_blue(tmp_path: Path) -> None:
    planes = np.repeat(np.array([10, 20, 30], np.uint8), 1024)
    planes[5 * 32 + 7] = 99  # red, row 5, column 7
    put(tmp_path / "imagenet32", "val_data", pickle.dumps({"data": planes[None], "labels": [1]}))
    image = load("imagenet32", "test", root=tmp_path)[0]
    assert image[0, 5, 7] == 99 and image[:, 0, 0].tolist() == [10, 20, 30]
    assert (image[1] == 20).all() and (image[2] == 30).all()


def test_imagenet32_holds_out_the_last_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets, "_HELD_OUT", 6)
    images = imagenet32(tmp_path / "imagenet32", [4, 4, 4, 4, 4, 4, 4, 4, 4, 3], "npz")
    assert np.array_equal(load("imagenet32", "train", root=tmp_path).numpy(), images[:-6])
    assert np.array_equal(load("imagenet32", "validation", root=tmp_path).numpy(), images[-6:])
    for number in range(1, 9):  # validation needs the last two files only
        (tmp_path / "imagenet32" / f"train_data_batch_{number}.npz").unlink()
    assert np.array_equal(load("imagenet32", "validation", root=tmp_path).numpy(), images[-6:])
    assert "train_data_batch_8" in refusal("imagenet32", "train", tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("val_data", pickle.dumps({"data": pixels_of(3, 12288)}), "(3, 12288), wanted uint8 of shape"),
        ("val_data", pickle.dumps({"data": [1, 2]}), "got list, wanted uint8"),
        ("val_data.npz", b"PK", "on reading"),
        ("val_data.npz", npy(SMALL), "on reading"),
    ],
    ids=without_bytes,
)
def test_damaged_imagenet32_is_refused(file: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = put(tmp_path / "imagenet32", file, content)
    message = refusal("imagenet32", "test", tmp_path)
    assert words in message and str(path) in message


def test_imagenet32_npz_with_objects_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, data=np.array([Intruder(tmp_path / "trace")], dtype=object))
    put(tmp_path / "imagenet32", "val_data.npz", buffer.getvalue())
    assert "allow_pickle=False" in refusal("imagenet32", "test", tmp_path)
    assert not (tmp_path / "trace").exists()


# ---------------------------------------------------------------- 2-D densities


@pytest.mark.parametrize("name", density_names())
def test_density_splits(name: str) -> None:
    splits = [load(name, split) for split in SPLITS]
    assert [tuple(data.shape) for data in splits] == [(10_000, 2), (2_000, 2), (2_000, 2)]
    for data, split in zip(splits, SPLITS, strict=True):
        assert data.dtype == torch.float32 and data.levels is None and (data.name, data.split_name) == (name, split)
        assert torch.isfinite(data).all() and data.abs().max() < 4.5
        assert data.std(0).min() > 0.4, "not of unit scale"
        assert torch.equal(data, load(name, split)) and data.sha256 == load(name, split).sha256
    rows = torch.cat([*splits, sample_density(name, 2_000)])
    assert len(torch.unique(rows, dim=0)) > 0.999 * len(rows), "splits share points"


def global_generators() -> tuple[list[int], str]:
    return torch.get_rng_state().tolist(), str(np.random.get_state(legacy=False))


@pytest.mark.parametrize("name", density_names())
def test_density_is_a_function_of_its_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    first = sample_density(name, 50, seed=7)
    torch.manual_seed(2)
    np.random.seed(2)
    before = global_generators()
    again = sample_density(name, 50, seed=7)
    assert global_generators() == before
    assert torch.equal(first, again) and not torch.equal(first, sample_density(name, 50, seed=8))


@pytest.mark.parametrize("name", density_names())
def test_density_of_any_size(name: str) -> None:
    sizes: list[Any] = [0, 1, 2, 5, np.int64(3)]
    for n in sizes:
        points = sample_density(name, n)
        assert points.shape == (n, 2) and points.dtype == torch.float32 and type(points) is torch.Tensor


def test_a_single_point_comes_from_either_moon() -> None:
    right = [bool(sample_density("moons", 1, seed=seed)[0, 0] > 0) for seed in range(40)]
    assert 10 <= sum(right) <= 30


def test_density_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ValueError, match=r"moons.*mixture; got 'moon'"):
        sample_density("moon", 5)
    wrong: Any
    for wrong in (-1, -10_000):
        with pytest.raises(ValueError, match=rf"n in .*got {wrong}"):
            sample_density("moons", wrong)
    for wrong in (2.0, "5", None, torch.tensor(5)):
        with pytest.raises(TypeError, match="n to be an integer"):
            sample_density("moons", wrong)
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=f"seed in .*got {seed}"):
            sample_density("moons", 5, seed=seed)
    wrong = None
    with pytest.raises(TypeError, match="seed to be an integer, got None"):
        sample_density("moons", 5, seed=wrong)  # numpy would take the clock


def test_shapes_are_what_their_names_say() -> None:
    radius = sample_density("rings", 4_000).norm(dim=1) / 0.8
    ring = radius.round()
    assert ring.unique().tolist() == [1, 2, 3, 4] and (radius - ring).abs().mean() < 0.1
    circle = sample_density("circles", 4_000).norm(dim=1)
    assert torch.minimum((circle - 1.5).abs(), (circle - 3).abs()).mean() < 0.2
    cell = ((sample_density("checkerboard", 4_000) + 4) / 2).floor()
    assert (cell.sum(1) % 2 == 0).all() and len(cell.unique(dim=0)) == 8
    x, y = sample_density("sine", 4_000).T
    assert (y - 2 * torch.sin(1.5 * x)).std().item() == pytest.approx(0.2, rel=0.1)
    x, y = sample_density("banana", 4_000).T
    assert (y - 0.25 * x**2 + 1).std().item() == pytest.approx(0.3, rel=0.1)
    x, y = sample_density("spirals", 4_000).double().T
    angle = torch.atan2(y, x) - 3 * torch.hypot(x, y)  # on the two arms a multiple of π
    outer = torch.hypot(x, y) > 1  # where the arms are farther apart than the noise
    assert torch.cos(2 * angle)[outer].mean() > 0.8
    assert 0.4 < (torch.cos(angle)[outer] > 0).double().mean() < 0.6
    pinwheel = sample_density("pinwheel", 4_000).double() / 1.8
    along = pinwheel.norm(dim=1)
    twisted = torch.atan2(pinwheel[:, 1], pinwheel[:, 0]) - 0.25 * along.exp()
    assert torch.cos(5 * twisted).mean() > 0.7


# ---------------------------------------------------------------- the mixture's density


@pytest.fixture(scope="module")
def grid() -> torch.Tensor:
    axis = torch.linspace(-6, 6, 241, dtype=torch.float64)[:-1] + 0.025
    return torch.cartesian_prod(axis, axis)


CELL = (12 / 240) ** 2


def test_mixture_density_integrates_to_one(grid: torch.Tensor) -> None:
    assert (mixture_log_prob(grid).exp().sum() * CELL).item() == pytest.approx(1, abs=1e-9)


def test_mixture_log_prob_is_the_formula() -> None:
    x = sample_density("mixture", 100, seed=3).double()
    squared = ((x[:, None] - torch.from_numpy(MIXTURE_MEANS)) ** 2).sum(-1)
    density = (torch.exp(-squared / (2 * 0.35**2)) / (2 * torch.pi * 0.35**2)).mean(1)
    assert torch.allclose(mixture_log_prob(x), density.log(), rtol=1e-12)
    single = mixture_log_prob(x.float())
    assert single.dtype == torch.float32 and torch.allclose(single.double(), density.log(), atol=1e-4)


def test_mixture_samples_follow_the_density(grid: torch.Tensor) -> None:
    n = 40_000
    samples = sample_density("mixture", n, seed=11)
    log_prob = mixture_log_prob(grid)
    entropy = -(log_prob.exp() * log_prob).sum() * CELL
    observed = -mixture_log_prob(samples)
    assert abs(observed.mean() - entropy) < 4 * observed.std() / n**0.5
    # Bin by bin too: the entropy alone would not see a mixture turned about the origin.
    expected = n * CELL * torch.histogramdd(grid, bins=[24, 24], range=[-6, 6, -6, 6], weight=log_prob.exp()).hist
    counts = torch.histogramdd(samples.double(), bins=[24, 24], range=[-6, 6, -6, 6]).hist
    assert ((counts - expected).abs() < 5 * expected.sqrt() + 3).all()


def test_mixture_log_prob_refuses_what_is_no_point() -> None:
    for shape in [(2,), (3, 3), (1, 2, 2)]:
        with pytest.raises(ValueError, match=r"mixture_log_prob: expected .*shape \(B, 2\), got"):
            mixture_log_prob(torch.zeros(shape))
    with pytest.raises(TypeError, match=r"mixture_log_prob: expected floating-point .*got torch\.int64"):
        mixture_log_prob(torch.zeros(3, 2, dtype=torch.int64))
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="mixture_log_prob: expected finite input, got 1"):
            mixture_log_prob(torch.tensor([[value, 0.0]]))
    assert mixture_log_prob(torch.zeros(0, 2)).shape == (0,)
