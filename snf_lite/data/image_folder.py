"""A folder of images as a tensor for ``fit`` and ``evaluate``, read by Pillow, a dependency of matplotlib."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from snf_lite.data.image_files import DataError

#: Pillow's mode for each number of channels of 8 bits.
MODES = {1: "L", 3: "RGB"}
#: Modes that convert to these without a visible loss.
PLAIN = ("1", "L", "P", "RGB")


def read_folder(folder: str | Path, channels: int = 1, ending: str = ".png") -> tuple[Tensor, list[str]]:
    """All images of a folder and of its subfolders, sorted by name.

    Args:
        folder: path of the folder.
        channels: 1 for gray, 3 for red, green, blue; images are converted.
        ending: file name extension, in lower or upper case; other files are ignored.

    Returns:
        Pixels, uint8 (N, channels, H, W) with values from 0 to 255, and the N file names, relative to the folder.

    Raises:
        ValueError: channels is neither 1 nor 3.
        DataError: there is no such folder or image, or an image is unreadable, transparent, deeper than 8 bits, or of
            another size than the first; the message names it.

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
        raise DataError(f"{home}: expected a folder of images, got no such folder.")
    found = sorted(path for path in home.rglob("*") if path.suffix.lower() == ending.lower())
    if not found:
        raise DataError(f"{home}: expected images whose names end with {ending}, got none.")
    images = [_read_image(path, MODES[channels]) for path in found]
    for path, image in zip(found, images, strict=True):
        if image.shape != images[0].shape:
            wanted, got = (f"{shape[0]}×{shape[1]}" for shape in (images[0].shape, image.shape))
            raise DataError(f"{path}: expected {wanted} pixels (height×width) as {found[0].name} has, got {got}.")
    pixels = torch.from_numpy(np.stack(images)).reshape(len(found), *images[0].shape[:2], channels)
    return pixels.permute(0, 3, 1, 2).contiguous(), [path.relative_to(home).as_posix() for path in found]


def _read_image(path: Path, mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            if image.mode not in PLAIN or "transparency" in image.info:
                modes = ", ".join(PLAIN)
                raise DataError(f"{path}: expected an opaque image of 8 bits ({modes}), got mode {image.mode}.")
            return np.array(image.convert(mode), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises these for damaged files
        raise DataError(f"{path}: expected a complete, readable image; {type(error).__name__}: {error}") from error
