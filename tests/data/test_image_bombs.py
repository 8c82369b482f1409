"""Small files that claim or unpack to much: refused by their headers, in a second, within little memory."""

import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from each_case import check_each
from made_images import pixels_of, put

from snf_lite.data.image_files import DataError, read_images
from snf_lite.data.image_folder import read_folder
from snf_lite.data.own_data import read_data

MEGABYTE = 2**20


def npy_header(*shape: int) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue()


def idx_header(*shape: int) -> bytes:
    return struct.pack(">4I", 2051, *shape)


def npz(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", content)
    return file.getvalue()


def tar(name: str, size: int, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    """An archive whose only member claims a size."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + content, 1)


def sparse(size: int) -> bytes:
    """A GNU sparse member of no data that claims a size."""
    block = bytearray(tarfile.TarInfo("batch").tobuf(tarfile.GNU_FORMAT))
    block[156:157] = tarfile.GNUTYPE_SPARSE
    block[386:410] = b"%011o\0%011o\0" % (0, 0)
    block[483:495] = b"%011o\0" % size
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:512]))
    return gzip.compress(bytes(block) + bytes(10240))


def pickled_array(shape: tuple[int, ...]) -> bytes:
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
    return reconstruct + pickle.dumps(shape, 2)[2:-1] + b"S'b'\ntR."


HUGE = 10**12
BOMBS: dict[str, Callable[[], bytes]] = {
    "claims.npy": lambda: npy_header(HUGE, 32, 32, 3),
    "claims.npy.xz": lambda: lzma.compress(npy_header(HUGE, 32, 32, 3)),
    "claims.npz": lambda: npz(npy_header(HUGE, 32, 32, 3)),
    "overflows.npy": lambda: npy_header(2**62, 32, 32, 3),
    "negative.npy": lambda: npy_header(-1, 32, 32, 3),
    "unpacks.npy.xz": lambda: lzma.compress(npy_header(3, 32, 32, 3) + bytes(300 * MEGABYTE), preset=0),
    "unpacks.npz": lambda: npz(npy_header(3, 32, 32, 3) + bytes(300 * MEGABYTE)),
    "names.npy": lambda: b"\x93NUMPY\x02\0" + struct.pack("<I", 2**31) + b"{",
    "claims-idx3-ubyte": lambda: idx_header(2**32 - 1, 32, 32),
    "claims-idx3-ubyte.gz": lambda: gzip.compress(idx_header(2**32 - 1, 2**32 - 1, 2**32 - 1)),
    "unpacks-idx3-ubyte.gz": lambda: gzip.compress(idx_header(3, 32, 32) + bytes(300 * MEGABYTE), 1),
    "claims.tar.gz": lambda: tar("batch", HUGE),
    "skips.tar.gz": lambda: tar("other", HUGE, bytes(300 * MEGABYTE)),
    "unpacks.tar.gz": lambda: tar("batch", 300 * MEGABYTE, bytes(300 * MEGABYTE)),
    "long-name.tar.gz": lambda: tar("a", 300 * MEGABYTE, bytes(300 * MEGABYTE), tarfile.GNUTYPE_LONGNAME),
    "sparse.tar.gz": lambda: sparse(HUGE),
    "array": lambda: pickled_array((HUGE,)),
    "class": lambda: b"cnumpy\nndarray\n((J\xff\xff\xff\x7ftR.",
    "index": lambda: b"\x80\x02}r\xff\xff\xff\xff.",
    "bytes": lambda: b"\x80\x05\x96" + HUGE.to_bytes(8, "little") + b".",
    "wide": lambda: pickle.dumps({"data": np.zeros(1, "V1000000")}, 2),
}


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    def check(name: str) -> None:
        path = put(tmp_path, name, BOMBS[name]())
        shape = (1, 32, 32) if "idx" in name else (3, 32, 32)
        tracemalloc.start()
        started = time.monotonic()
        try:
            with pytest.raises(DataError) as error:
                read_images(path, shape, "batch", most=3)
            assert str(path) in str(error.value)
            assert tracemalloc.get_traced_memory()[1] < 40 * MEGABYTE
            assert time.monotonic() - started < 5
        finally:
            tracemalloc.stop()

    check_each(BOMBS, check)


@pytest.mark.parametrize("name", ["claims.npy", "claims.npz", "overflows.npy", "negative.npy"])
def test_an_own_array_that_claims_too_much_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"{name}: expected arrays? "):
        read_data(put(tmp_path, name, BOMBS[name]()))


def test_arrays_by_columns_are_read(tmp_path: Path) -> None:
    images = pixels_of(4, 5, 6, 3)
    np.save(tmp_path / "a.npy", np.asfortranarray(images))
    assert np.array_equal(read_images(tmp_path / "a.npy", (3, 5, 6)), images.transpose(0, 3, 1, 2))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_a_device_is_no_image_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.npy")
    with pytest.raises(DataError, match=r"b\.npy: expected a folder of images or a file of arrays, got a pipe"):
        read_data(tmp_path / "b.npy")
    (tmp_path / "c.npy").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"a\.png: expected an image file, got a pipe"):
        read_folder(tmp_path)
    for name in ("b.npy", "c.npy"):
        with pytest.raises(DataError, match=rf"{name}: got no regular file"):
            read_images(tmp_path / name, (1, 8, 8))


def test_an_image_of_more_pixels_than_a_picture_has_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: expected a complete, readable image; DecompressionBomb"):
        read_folder(tmp_path)
    Image.new("1", (8, 8)).save(tmp_path / "0.png")
    Image.new("1", (9_000, 9_000)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: expected 8×8 pixels .* as 0.png has, got 9000×9000"):
        read_folder(tmp_path)


@pytest.mark.parametrize("ending", ["png", ".PNG", ("jpg", "png"), ["png"]])
def test_endings_come_with_or_without_a_dot_and_several_at_once(ending: tuple[str, ...], tmp_path: Path) -> None:
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png.txt").write_text("no image", "utf-8")
    (tmp_path / "folder.png").mkdir()
    assert read_folder(tmp_path, ending=ending)[1] == ["a.png"]


@pytest.mark.parametrize("ending", ["", ".", (), (1,)])
def test_no_ending_is_refused(ending: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected ending to be an extension such as '\.png'"):
        read_folder(tmp_path, ending=ending)
