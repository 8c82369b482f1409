"""The images of samples that a run stores, cut into their tiles, and arranged: f⁻¹(z), g(z) and their difference."""

import io

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from torch import Tensor

from snf_lite.analysis.figures import panels
from snf_lite.experiments.archive import record_image

#: How much the difference is magnified.
MAGNIFIED = 5
#: Pixels along each side of an image of MNIST and of CIFAR-10, and those of the words above a row.
DIGIT, COLOR, WORDS = 28, 32, 10
#: Share of a line of dots that is not white, above which the line belongs to a row of tiles and not to its title, whose
#: letters fill less; the strokes of digits may leave much of a line white.
FILLED = 0.3


def tiles(png: bytes, side: int, color: bool = False) -> list[list[np.ndarray]]:
    """The rows of tiles of a figure by ``sample_grid``, 0 to 1: gray (side, side) or color (side, side, 3) each.

    Args:
        png: The figure: images in rows, with white lines between the columns.
        side: Pixels of an image along each side.
        color: Whether to keep colors.

    Raises:
        ValueError: the figure has no row of images, or its rows differ in length.
    """
    read = imread(io.BytesIO(png), format="png")
    dots = np.stack([read] * 3, -1) if read.ndim == 2 else read[..., :3]
    dark = np.asarray((dots < 1).any(-1))
    rows = [
        [
            _shrunk(dots[top:bottom, left:right] if color else dots[top:bottom, left:right].mean(-1), side)
            for left, right in _runs(np.asarray(dark[top:bottom].any(0)))
        ]
        for top, bottom in _runs(dark.mean(1) > FILLED)
    ]
    if not rows or len({len(row) for row in rows}) > 1:
        raise ValueError(f"tiles: expected rows of as many images each, got {[len(row) for row in rows]}.")
    return rows


def _runs(wanted: np.ndarray) -> list[tuple[int, int]]:
    """First and last plus one of each stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _shrunk(tile: np.ndarray, side: int) -> np.ndarray:
    """The dots at the centers of the image's pixels: the figure repeats each pixel several times."""
    rows, columns = (((np.arange(side) + 0.5) * size / side).astype(int) for size in tile.shape[:2])
    return tile[np.ix_(rows, columns)]


def digit_sheet(name: str) -> Figure:
    """The samples of a stored run in three rows: f⁻¹(z), g(z), and |difference| × ``MAGNIFIED``.

    Args:
        name: Name of a stored run on gray images of 28×28 pixels.

    Raises:
        FileNotFoundError: There is no such run, or it has no figure of samples.
    """
    return _sheet(tiles(record_image(name), DIGIT), height=3.5)


def color_sheet(name: str) -> Figure:
    """As ``digit_sheet``, of a stored run on color images of 32×32 pixels."""
    return _sheet(tiles(record_image(name), COLOR, color=True), height=3.9)


def _sheet(pair: list[list[np.ndarray]], height: float) -> Figure:
    learned, exact = (torch.as_tensor(np.stack(row)) for row in pair)
    difference = (MAGNIFIED * (learned - exact).abs()).clamp(max=1)
    named = {"f⁻¹(z)": exact, "g(z)": learned, f"|f⁻¹(z) − g(z)| × {MAGNIFIED}": difference}
    side, ground = exact.shape[1], torch.nan if exact.dim() == 3 else 1.0
    figure, axes = panels(1, height=height, width=7.0)
    sheet = torch.full(((side + WORDS) * len(named), len(exact) * (side + 1) - 1, *exact.shape[3:]), ground)
    for at, (words, images) in enumerate(named.items()):
        top = (side + WORDS) * (at + 1) - side
        sheet[top : top + side] = _in_a_row(images, ground)
        axes.text(-0.5, top - 2, words, fontsize=11)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")
    return figure


def _in_a_row(images: Tensor, ground: float) -> Tensor:
    """Images (N, H, W) or (N, H, W, 3) side by side, with an empty column between: (H, N(W + 1) − 1) or (…, 3)."""
    gap = torch.full((*images.shape[:2], 1, *images.shape[3:]), ground)
    return torch.cat([images, gap], 2).transpose(0, 1).flatten(1, 2)[:, :-1]
