"""A folder of pictures as a tensor for ``fit`` and ``evaluate``, read by Pillow, which matplotlib brings along."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from snf_lite.data.image_files import DataError

#: How Pillow names pictures of so many channels, and of 8 bits each.
MODES = {1: "L", 3: "RGB"}
#: Kinds of pictures that turn into these without losing anything that one sees.
PLAIN = ("1", "L", "P", "RGB")


def read_folder(folder: str | Path, channels: int = 1, ending: str = ".png") -> tuple[Tensor, list[str]]:
    """All pictures of a folder and of the folders in it, in the order of their names.

    Args:
        folder: where they are.
        channels: 1 for grey, 3 for red, green, blue; pictures of the other kind are turned into it.
        ending: of the files to read, in small or capital letters; the others are passed over.

    Returns:
        Pixels, uint8 (N, channels, H, W) with values from 0 to 255, and the N file names, relative to the folder.

    Raises:
        ValueError: channels is neither 1 nor 3.
        DataError: there is no such folder or picture, one cannot be read, is transparent or has more than 8 bits, or is
            not of the size of the first; the message names it.

    Example:
        >>> from PIL import Image
        >>> Image.new("L", (8, 8)).save("black.png")
        >>> pixels, names = snf.read_folder(".")
        >>> pixels.shape, names
        (torch.Size([1, 1, 8, 8]), ['black.png'])
    """
    if channels not in MODES:
        raise ValueError(f"read_folder: expected channels to be 1 or 3, got {channels!r}.")
    home = Path(folder)
    if not home.is_dir():
        raise DataError(f"{home}: expected a folder of pictures, got no such folder.")
    found = sorted(path for path in home.rglob("*") if path.suffix.lower() == ending.lower())
    if not found:
        raise DataError(f"{home}: expected pictures whose names end with {ending}, got none.")
    pictures = [_picture(path, MODES[channels]) for path in found]
    for path, picture in zip(found, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            wanted, got = (f"{p.shape[0]}×{p.shape[1]}" for p in (pictures[0], picture))
            raise DataError(f"{path}: expected {wanted} pixels (height×width) as {found[0].name} has, got {got}.")
    pixels = torch.from_numpy(np.stack(pictures)).reshape(len(found), *pictures[0].shape[:2], channels)
    return pixels.permute(0, 3, 1, 2).contiguous(), [path.relative_to(home).as_posix() for path in found]


def _picture(path: Path, mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as picture:
            if picture.mode not in PLAIN or "transparency" in picture.info:
                kinds = ", ".join(PLAIN)
                raise DataError(f"{path}: expected an opaque picture of 8 bits ({kinds}), got mode {picture.mode}.")
            return np.array(picture.convert(mode), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for files that are none of its kinds
        raise DataError(f"{path}: expected a complete, readable picture; {type(error).__name__}: {error}") from error
