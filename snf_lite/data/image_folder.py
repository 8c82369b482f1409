"""A folder of images as a tensor for ``fit`` and ``evaluate``, read by Pillow, a dependency of matplotlib."""

import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from snf_lite.data.image_files import DataError
from snf_lite.runtime import checks
from snf_lite.runtime.files import expanded

#: Pillow's mode for each number of channels of 8 bits.
MODES = {1: "L", 3: "RGB"}
#: Modes that convert to these without a visible loss.
PLAIN = ("1", "L", "P", "RGB")
#: Suffixes of images.
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


def read_folder(
    folder: str | Path, channels: int | None = None, ending: str | tuple[str, ...] = ".png"
) -> tuple[Tensor, list[str]]:
    """All images of a folder and of its subfolders, sorted by name.

    Args:
        folder: path of the folder.
        channels: 1 for gray, 3 for red, green, blue; images are converted. None: 3 if one of them has colors, else 1.
        ending: file name extension with or without its dot, or several, in lower or upper case; other files are
            ignored.

    Returns:
        Pixels, uint8 (N, channels, H, W) with values from 0 to 255, and the N file names, relative to the folder.

    Warns:
        UserWarning: images of other extensions are left out.

    Raises:
        ValueError: channels is neither 1 nor 3, or ending is empty.
        DataError: there is no such folder or image, or an image is unreadable, transparent, deeper than 8 bits, or of
            another size than the first; the message names it.

    Example:
        >>> from PIL import Image
        >>> Image.new("L", (8, 8)).save("black.png")
        >>> pixels, names = snf.read_folder(".")
        >>> pixels.shape, names
        (torch.Size([1, 1, 8, 8]), ['black.png'])
    """
    if channels not in (None, *MODES):
        raise ValueError(f"read_folder: expected channels to be 1 or 3, got {channels!r}.")
    home, given = expanded(folder), (ending,) if isinstance(ending, str) else tuple(ending)
    endings = [f".{one.removeprefix('.').lower()}" for one in given if isinstance(one, str)]
    if not endings or len(endings) < len(given) or "." in endings:
        raise ValueError(f"read_folder: expected ending to be an extension such as '.png', or several, got {ending!r}.")
    if not home.is_dir():
        raise DataError(f"{home}: expected a folder of images, got {'a file' if home.exists() else 'no such folder'}.")
    files = [path for path in home.rglob("*") if not path.is_dir()]
    found = sorted(path for path in files if path.suffix.lower() in endings)
    others = Counter(suffix for path in files if (suffix := path.suffix.lower()) in IMAGES and suffix not in endings)
    left = ", ".join(f"{count} {suffix}" for suffix, count in others.items())
    if not found:
        way = f", and {left}: ending={tuple(others)!r} reads these" if others else ""
        raise DataError(f"{home}: expected images whose names end with {' or '.join(endings)}, got none{way}.")
    if others:
        way = f"ending={(*dict.fromkeys(endings), *others)!r} reads all"
        checks.warn(f"read_folder: {home}: leaves out {left}: {way}.")
    channels = channels_of(found) if channels is None else channels
    images: list[NDArray[np.uint8]] = []
    for path in found:
        images.append(_read_image(path, MODES[channels], images[0].shape[:2] if images else None, found[0].name))
    pixels = torch.from_numpy(np.stack(images)).reshape(len(found), *images[0].shape[:2], channels)
    return pixels.permute(0, 3, 1, 2).contiguous(), [path.relative_to(home).as_posix() for path in found]


def channels_of(paths: Iterable[Path]) -> int:
    """3 if one of the images has colors or cannot be read, which ``read_folder`` reports; else 1."""
    for path in paths:
        try:
            if path.is_file():
                with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
                    if image.mode not in ("1", "L"):
                        return 3
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return 3
    return 1


def _read_image(path: Path, mode: str, size: tuple[int, ...] | None, first: str) -> NDArray[np.uint8]:
    """One image, after its header is checked; ``size`` is the height and width of the image named ``first``."""
    if not path.is_file():
        raise DataError(f"{path}: expected an image file, got a pipe, a device or a broken link.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.mode not in PLAIN or "transparency" in image.info:
                    modes = ", ".join(PLAIN)
                    raise DataError(f"{path}: expected an opaque image of 8 bits ({modes}), got mode {image.mode}.")
                if size not in (None, (image.height, image.width)):
                    wanted, got = (f"{one[0]}×{one[1]}" for one in (size, (image.height, image.width)))
                    raise DataError(f"{path}: expected {wanted} pixels (height×width) as {first} has, got {got}.")
                return np.array(image.convert(mode), dtype=np.uint8)
    # Pillow raises these for damaged files, and for a header of more pixels than images have.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path}: expected a complete, readable image; {type(error).__name__}: {error}") from error
