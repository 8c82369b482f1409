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
#: Pixels along each side of an image of MNIST, and of a row of them with the words above it.
SIDE, BAND = 28, 38
#: Share of a line of dots that is not white, above which the line belongs to a row of tiles and not to its title.
FILLED = 0.8


def tiles(png: bytes, side: int) -> list[list[np.ndarray]]:
    """The rows of tiles of a figure by ``sample_grid``, of gray images on white: (side, side) each, 0 to 1.

    Args:
        png: The figure: dark images in rows, with white lines between the columns.
        side: Pixels of an image along each side.

    Raises:
        ValueError: the figure has no row of images, or its rows differ in length.
    """
    dots = imread(io.BytesIO(png), format="png")
    gray = dots if dots.ndim == 2 else dots[..., :3].mean(-1)
    rows = [
        [
            _shrunk(gray[top:bottom, left:right], side)
            for left, right in _runs(np.asarray((gray[top:bottom] < 1).any(0)))
        ]
        for top, bottom in _runs((gray < 1).mean(1) > FILLED)
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
    rows, columns = (((np.arange(side) + 0.5) * size / side).astype(int) for size in tile.shape)
    return tile[np.ix_(rows, columns)]


def digit_sheet(name: str) -> Figure:
    """The samples of a stored run in three rows: f⁻¹(z), g(z), and |difference| × ``MAGNIFIED``.

    Args:
        name: Name of a stored run on gray images of 28×28 pixels.

    Raises:
        FileNotFoundError: There is no such run, or it has no figure of samples.
    """
    learned, exact = (torch.as_tensor(np.stack(row)) for row in tiles(record_image(name), SIDE))
    difference = (MAGNIFIED * (learned - exact).abs()).clamp(max=1)
    named = {"f⁻¹(z)": exact, "g(z)": learned, f"|f⁻¹(z) − g(z)| × {MAGNIFIED}": difference}
    figure, axes = panels(1, height=3.5)
    sheet = torch.full((BAND * len(named), len(exact) * (SIDE + 1) - 1), torch.nan)
    for at, (words, images) in enumerate(named.items()):
        top = BAND * (at + 1) - SIDE
        sheet[top : top + SIDE] = _in_a_row(images)
        axes.text(-0.5, top - 2, words, fontsize=11)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")
    return figure


def _in_a_row(images: Tensor) -> Tensor:
    """Images (N, H, W) side by side, with an empty column between them: (H, N(W + 1) − 1)."""
    return torch.nn.functional.pad(images, (0, 1), value=torch.nan).transpose(0, 1).flatten(1)[:, :-1]
