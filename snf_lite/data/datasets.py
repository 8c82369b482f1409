"""Data sets by name: `load("digits")`. Images as unsigned bytes, 2-D densities as floats, with fixed splits.

Images are read from a local folder (`root`, or the environment variable SNF_DATA), or downloaded once into a cache
(pooch's for `snf_lite`, or SNF_CACHE). For every file format the SHA-256 of the pixels is compared with the original's.
The digits come with scikit-learn and the densities are sampled: neither needs a file or internet access.

| name            | shape of one | levels | train     | validation | test   |
|-----------------|--------------|--------|-----------|------------|--------|
| `digits`        | (1, 8, 8)    | 17     | 1,197     | 300        | 300    |
| `mnist`         | (1, 28, 28)  | 256    | 50,000    | 10,000     | 10,000 |
| `fashion_mnist` | (1, 28, 28)  | 256    | 50,000    | 10,000     | 10,000 |
| `cifar10`       | (3, 32, 32)  | 256    | 40,000    | 10,000     | 10,000 |
| `imagenet32`    | (3, 32, 32)  | 256    | 1,271,167 | 10,000     | 50,000 |
| a 2-D density   | (2,)         | None   | 10,000    | 2,000      | 2,000  |

Validation is the end of the training images in the original order, as in the paper for MNIST and CIFAR-10. The digits
are first permuted by numpy's `RandomState(0)`, whose numbers never change; then split into 1,197, 300 and 300.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pooch
import torch

from snf_lite.data.densities import density_names, mixture_log_prob, sample_density
from snf_lite.data.download import fetch
from snf_lite.data.image_files import DataError, Pixels, Shape, bad_file_error, read_images
from snf_lite.data.registry import IMAGE_SETS, SPLITS, Part
from snf_lite.runtime import checks
from snf_lite.runtime.files import expanded, sha256

__all__ = [
    "DataError",
    "DataTensor",
    "dataset_names",
    "density_names",
    "image_set_names",
    "load",
    "mixture_log_prob",
    "sample_density",
]

# Number of points and seed of each split of a 2-D density; no seed is sample_density's default.
_DENSITY_SPLITS = {"train": (10_000, 2011), "validation": (2_000, 7248), "test": (2_000, 2021)}
_DIGITS_SPLITS = {"train": slice(0, 1197), "validation": slice(1197, 1497), "test": slice(1497, 1797)}
_BATCH = 200_000  # largest number of images in a file of ImageNet32; the training files have 128,117
_HELD_OUT = 10_000  # ImageNet32's validation images: the last of its training images


class DataTensor(torch.Tensor):
    """A tensor with the name and split of its data set. Indexing images keeps them; operations give plain tensors.

    `torch.save` writes it as a plain tensor, which `torch.load` takes.

    A subclass because `name` of a plain tensor belongs to torch and cannot be set. (`split` is a method that
    torch.split calls: hence `split_name`.)

    Attributes:
        name, split_name: as given to `load`.
        levels: number of values that a pixel can take; None for a 2-D density.
        origin: of own data, what else a record keeps: SHA-256 of the file, seed of the split.
    """

    # As in torch.nn.Parameter: operations give plain tensors, at no cost.
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    name: str = ""
    split_name: str = ""
    levels: int | None = None
    origin: Mapping[str, Any] = MappingProxyType({})

    @property
    def sha256(self) -> str:
        """SHA-256 of the values in row-major order, in hexadecimal; computed at each call."""
        return sha256(self.detach().cpu().contiguous().numpy().reshape(-1).data)

    def __getitem__(self, index: Any) -> torch.Tensor:
        part = super().__getitem__(index)
        if part.shape[1:] != self.shape[1:] or part.dim() != self.dim():
            return part
        if self.levels is None:
            return part.as_subclass(torch.Tensor)  # no levels to keep, and torch.compile takes plain tensors alone
        return described(part, self.name, f"a part of {self.split_name}", self.levels)

    def __reduce_ex__(self, protocol: int) -> Any:  # type: ignore[override]
        # torch.save writes protocol 2, and torch.load takes plain tensors alone; pickle and workers keep the name.
        return (self.as_subclass(torch.Tensor) if protocol == 2 else super()).__reduce_ex__(protocol)

    def __deepcopy__(self, memo: dict[int, Any]) -> "DataTensor":
        return described(self.clone(), self.name, self.split_name, self.levels)


def dataset_names() -> list[str]:
    """Names that `load` accepts: the image sets, then the 2-D densities.

    Example:
        >>> snf.dataset_names()[:2]
        ['digits', 'mnist']
    """
    return [*image_set_names(), *density_names()]


def image_set_names() -> list[str]:
    """Names of the image sets."""
    return ["digits", *IMAGE_SETS, "imagenet32"]


def shape_of(name: str) -> tuple[tuple[int, ...], int | None]:
    """Shape of one example of a data set, and the number of values of a pixel; None for points."""
    if name in density_names():
        return (2,), None
    return {"digits": ((1, 8, 8), 17), "imagenet32": ((3, 32, 32), 256)}.get(name) or (IMAGE_SETS[name].shape, 256)


def load(name: str, split: str = "train", root: str | Path | None = None) -> DataTensor:
    """One split of a data set in a fixed order, with attributes `levels`, `name`, `split_name`, `sha256`.

    Images are uint8 (N, C, H, W), channels red, green, blue; points of a 2-D density are float32 (N, 2). Sizes and
    splits are listed at the top of `snf_lite/data/datasets.py`.

    Args:
        name: one of `dataset_names()`.
        split: "train", "validation" or "test".
        root: folder with a subfolder `name` that holds the files (formats: `data/README.md`); default: SNF_DATA, or a
            download if that is unset or empty. ImageNet32 is never downloaded.

    Raises:
        ValueError: unknown name or split.
        DataError: a file is missing, damaged or altered, or the download failed.

    Example:
        >>> data = snf.load("digits", split="train")
        >>> data.shape[1:], data.dtype, data.levels
        (torch.Size([1, 8, 8]), torch.uint8, 17)
    """
    if split not in SPLITS:
        raise ValueError(f"Expected a split out of {', '.join(SPLITS)}; got {split!r}.")
    if name not in dataset_names():
        way = checks.nearest(name, dataset_names()) or "."
        if isinstance(name, str) and os.path.exists(path := os.path.expanduser(name)):
            images, table = "the images of the folder: snf.read_folder(...)", "the numbers in the file: np.load(...)"
            way = f". Give {images if os.path.isdir(path) else table}."
        raise ValueError(f"Expected a data set out of {', '.join(dataset_names())}; got {name!r}{way}")
    if name in density_names():
        return described(sample_density(name, *_DENSITY_SPLITS[split]), name, split, None)
    if name == "digits":
        from sklearn.datasets import load_digits  # imported here: it takes a second

        images = load_digits().images.astype(np.uint8)[:, None]
        pixels = images[np.random.RandomState(0).permutation(len(images))[_DIGITS_SPLITS[split]]]
        return described(torch.from_numpy(pixels), name, split, 17)
    folder = _folder(name, root)
    pixels = _imagenet32(split, folder) if name == "imagenet32" else _images(name, split, folder)
    return described(torch.from_numpy(pixels), name, split, 256)


def described(values: torch.Tensor, name: str, split: str, levels: int | None) -> DataTensor:
    """The values as a ``DataTensor`` with these attributes."""
    data = values.as_subclass(DataTensor)
    data.name, data.split_name, data.levels = name, split, levels
    return data


def _images(name: str, split: str, folder: Path | None) -> Pixels:
    parts, rows = IMAGE_SETS[name].splits[split]
    if folder:
        paths = [_found(folder, part.files) for part in parts]
    else:
        originals = {part.url: part for part in parts}  # CIFAR-10's batches share one archive
        downloaded = {url: _download(name, part) for url, part in originals.items()}
        paths = [downloaded[part.url] for part in parts]
    # Decompression releases the GIL, so two batches take the time of one.
    with ThreadPoolExecutor(max_workers=4) as pool:
        batches = list(pool.map(_read_part, paths, parts, [IMAGE_SETS[name].shape] * len(parts)))
    return _joined([batch[rows] for batch in batches])


def _folder(name: str, root: str | Path | None) -> Path | None:
    """Local folder of an image set; None if neither root nor SNF_DATA is set."""
    parent = root or os.environ.get("SNF_DATA")
    try:
        folder = expanded(parent) / name if parent else None
        missing = folder is not None and not folder.is_dir()
    except (OSError, ValueError) as error:  # a name that is too long, or of no user
        raise DataError(
            f"{name}: expected SNF_DATA (or root) to be a folder, got {str(parent)!r:.80}: {error}"
        ) from error
    if missing:
        raise DataError(
            f"{name}: looked for the folder {folder}, found none. Put the files there, or point SNF_DATA (or root) at"
            f" the folder that holds {name}/, or leave both unset to download (all but imagenet32)."
        )
    return folder


def _found(folder: Path, files: Sequence[str]) -> Path:
    """First of the files that is in the folder or in a subfolder, as unpacked archives are."""
    for file in files:
        for path in (folder / file, *sorted(folder.glob(f"*/{file}"))):
            if path.is_file():
                return path
    raise DataError(f"{folder}: found none of {', '.join(files)}, wanted one. Put it there (see data/README.md).")


def _read_part(path: Path, part: Part, shape: Shape) -> Pixels:
    pixels = read_images(path, shape, part.member, part.count)
    if len(pixels) != part.count:
        raise bad_file_error(path, f"{len(pixels)} images", f"{part.count}")
    digest = sha256(pixels.reshape(-1).data)
    if digest != part.pixels:
        raise bad_file_error(path, f"pixels with SHA-256 {digest}", f"{part.pixels}, the original's")
    return pixels


def _joined(batches: list[Pixels]) -> Pixels:
    """Concatenate the batches and empty the list, so that no image is held in memory twice."""
    images = np.empty((sum(map(len, batches)), *batches[0].shape[1:]), np.uint8)
    filled = 0
    while batches:
        batch = batches.pop(0)
        images[filled : filled + len(batch)] = batch
        filled += len(batch)
    return images


def _download(name: str, part: Part) -> Path:
    """Path of the original in the cache; downloaded if it is missing or its hash is wrong."""
    cache: str | Path = os.environ.get("SNF_CACHE") or pooch.os_cache("snf_lite")
    try:
        cache = expanded(cache) / name
        return fetch(part.url, part.sha256, cache, part.size)
    # requests raises OSError, pooch and expanded ValueError.
    except (OSError, ValueError) as error:
        raise DataError(
            f"{name}: could not download {part.url} into {cache} ({error}). Go online and try again, or set SNF_DATA to"
            f" a folder that holds {name}/ with the files. The digits and the 2-D densities need no download."
        ) from error


def _imagenet32(split: str, folder: Path | None) -> Pixels:
    """Downsampled ImageNet (Chrabaszcz et al. 2017): `val_data` is the test split, the rest is divided.

    Validation is the last 10,000 training images, or the last tenth of a smaller set. These are not the images of van
    den Oord et al. (2016), on which Glow and the paper report: those are harder and no longer distributed.
    """
    if folder is None:
        raise DataError(
            "imagenet32: is read from a local folder only (its makers ask for a registration at image-net.org), got"
            " none. Set SNF_DATA to a folder that holds imagenet32/ with train_data_batch_1 … 10 and val_data."
        )
    if split == "test":
        return _joined([_batch(folder, "val_data")])
    batches: list[Pixels] = []
    for number in range(10, 0, -1):  # from the end: validation then reads one file of ten
        batches.insert(0, _batch(folder, f"train_data_batch_{number}"))
        if split == "validation" and sum(map(len, batches)) > _HELD_OUT:
            break
    images = _joined(batches)
    held_out = _HELD_OUT if len(images) > _HELD_OUT else -(-len(images) // 10)
    return images[-held_out:].copy() if split == "validation" else images[:-held_out]


def _batch(folder: Path, file: str) -> Pixels:
    return read_images(_found(folder, (f"{file}.npz", file)), (3, 32, 32), most=_BATCH)
