"""The images of samples that a run stores, cut into their tiles, so that a chapter can arrange them in its own way."""

import io

import numpy as np
from matplotlib.image import imread

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
