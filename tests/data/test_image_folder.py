"""A folder of pictures becomes the tensor that it was, or an error that names the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import snf_lite as snf
from snf_lite import DataError

RANDOM = np.random.RandomState(0)
GREY = RANDOM.randint(0, 256, (5, 6, 4), dtype=np.uint8)
COLOUR = RANDOM.randint(0, 256, (5, 6, 4, 3), dtype=np.uint8)


def written(folder: Path, pictures: Any, ending: str = ".png") -> Path:
    """Files in an order that is not that of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in reversed(range(len(pictures))):
        Image.fromarray(pictures[index]).save(folder / f"{index:03d}{ending}", format="PNG")
    return folder


def test_grey_pictures_come_back_as_they_were(tmp_path: Path) -> None:
    pixels, names = snf.read_folder(written(tmp_path, GREY))
    assert pixels.dtype == torch.uint8 and pixels.shape == (5, 1, 6, 4) and pixels.is_contiguous()
    assert np.array_equal(pixels[:, 0].numpy(), GREY)
    assert names == ["000.png", "001.png", "002.png", "003.png", "004.png"]


def test_colours_come_first_and_in_their_order(tmp_path: Path) -> None:
    pixels, _ = snf.read_folder(str(written(tmp_path, COLOUR)), channels=3)
    assert pixels.shape == (5, 3, 6, 4) and np.array_equal(pixels.permute(0, 2, 3, 1).numpy(), COLOUR)
    assert snf.read_folder(written(tmp_path / "grey", GREY), channels=3)[0].unique(dim=1).shape[1] == 1
    assert snf.read_folder(tmp_path, channels=1)[0].shape == (10, 1, 6, 4)


def test_folders_inside_count_and_other_files_do_not(tmp_path: Path) -> None:
    written(tmp_path / "b", GREY[:2], ".PNG")
    written(tmp_path / "a", GREY[2:])
    (tmp_path / "readme.txt").write_text("no picture", "utf-8")
    pixels, names = snf.read_folder(tmp_path)
    assert names == ["a/000.png", "a/001.png", "a/002.png", "b/000.PNG", "b/001.PNG"]
    assert np.array_equal(pixels[:, 0].numpy(), GREY[[2, 3, 4, 0, 1]])


def transparent(path: Path) -> None:
    Image.fromarray(np.zeros((6, 4, 4), np.uint8), "RGBA").save(path)


def deep(path: Path) -> None:
    Image.fromarray(np.full((6, 4), 40_000, np.uint16)).save(path)


def see_through_palette(path: Path) -> None:
    Image.fromarray(GREY[0]).convert("P").save(path, transparency=0)


def cut_off(path: Path) -> None:
    Image.fromarray(RANDOM.randint(0, 256, (6, 4), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-30])


SPOILT = {
    "transparent": (transparent, "opaque image of 8 bits .*got mode RGBA"),
    "sixteen bits": (deep, "opaque image of 8 bits .*got mode I;16"),
    "palette": (see_through_palette, "opaque image of 8 bits .*got mode P"),
    "cut off": (cut_off, "complete, readable image"),
    "text": (lambda path: path.write_text("no picture", "utf-8"), "complete, readable image"),
    "another size": (lambda path: Image.fromarray(GREY[0].T.copy()).save(path), "expected 6×4 pixels .* got 4×6"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_spoilt_picture_is_named(tmp_path: Path, kind: str) -> None:
    spoil, words = SPOILT[kind]
    spoil(written(tmp_path, GREY) / "new.png")
    with pytest.raises(DataError, match=rf"new\.png: .*{words}"):
        snf.read_folder(tmp_path)


def test_what_is_no_folder_of_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"names end with \.png, got none"):
        snf.read_folder(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        snf.read_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="channels to be 1 or 3, got 2"):
        snf.read_folder(tmp_path, channels=2)
