"""Image files in every format come out as the same pixels; damaged, mistaken and malicious ones are refused by name."""

import gzip
import io
import lzma
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from each_case import check_each
from made_images import Intruder, archive, idx, imagenet32, npy, pixels_of, put, python2_batch, refusal, sha256

from snf_lite.data import datasets
from snf_lite.data.datasets import load
from snf_lite.data.image_files import read_images
from snf_lite.data.registry import IMAGE_SETS, SPLITS

pytestmark = pytest.mark.usefixtures("bare_environment")


# ---- formats ---------------------------------------------------------------------------------------------------------


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


# ---- damaged and mistaken files --------------------------------------------------------------------------------------

SMALL = np.zeros((10, 28, 28), np.uint8)

#: Set → what is put in the place of its test images, and what the refusal has to say besides the file's path.
DAMAGED: dict[str, list[tuple[str, bytes, str]]] = {
    "mnist": [
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
        ("test_images.npy", npy(SMALL)[:-1], "7839 pixel bytes, wanted 10 x 28 x 28"),
        ("test_images.npy", npy(SMALL)[:5], "ValueError"),
        ("test_images.npy", npy(SMALL.astype(np.float32)), "float32 of shape (10, 28, 28), wanted uint8"),
        ("test_images.npy", npy(np.array(7, np.uint8)), "shape ()"),
        ("test_images.npy", npy(np.array([{}], dtype=object)), "object of shape (1,), wanted uint8"),
        ("test_images.npy.xz", lzma.compress(npy(pixels_of(10, 28, 28)))[:4000], "EOFError"),
        ("test_images.npy.xz", npy(SMALL), "LZMAError"),
    ],
    "cifar10": [
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
        ("cifar-10-python.tar.gz", b"<html>", "on reading"),
    ],
    "imagenet32": [
        ("val_data", pickle.dumps({"data": pixels_of(3, 12288)}), "(3, 12288), wanted uint8 of shape"),
        ("val_data", pickle.dumps({"data": [1, 2]}), "got list, wanted uint8"),
        ("val_data.npz", b"PK", "on reading"),
        ("val_data.npz", npy(SMALL), "on reading"),
    ],
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    def check(case: tuple[str, bytes, str]) -> None:
        file, content, words = case
        with tempfile.TemporaryDirectory(dir=tmp_path) as root:
            path = put(Path(root) / name, file, content)
            message = refusal(name, "test", Path(root))
        assert words in message and str(path) in message
        assert "delete it" in message or name == "imagenet32", "only what was downloaded is to be deleted"

    check_each(DAMAGED[name], check, lambda case: f"{case[0]}: {case[2]}")


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
    monkeypatch.setattr(np.lib.format, "read_magic", exhausted)
    with pytest.raises(MemoryError):
        load("mnist", "test", root=tmp_path)


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


def test_imagenet32_npz_with_objects_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, data=np.array([Intruder(tmp_path / "trace")], dtype=object))
    put(tmp_path / "imagenet32", "val_data.npz", buffer.getvalue())
    assert "got object of shape (1,)" in refusal("imagenet32", "test", tmp_path)
    assert not (tmp_path / "trace").exists()
