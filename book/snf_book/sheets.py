"""Sheets of sampled digits: f⁻¹(z), g(z) and their difference, cut out of the figure that a stored run carries."""

import io

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from snf_lite.analysis.figures import IMAGES, panels
from snf_lite.experiments.archive import record_image

#: How much the difference is magnified.
MAGNIFIED = 5
#: Pixels of a row of images with the words above it.
BAND = 38
#: A row of the figure belongs to a strip of images if more than this share of it is not white.
_STRIP = 0.6


def cut_samples(png: bytes, side: int = 28, count: int = IMAGES) -> tuple[Tensor, Tensor]:
    """Gray levels, 0 to 255, of the images in a figure of ``sample_figure``: g(z) and f⁻¹(z), (count, side, side).

    Args:
        png: The figure, with two strips of gray images, one pixel of white between them, on white.
        side: Pixels of an image along each side.
        count: Number of images in a strip.

    Raises:
        ValueError: There are not two strips.
    """
    gray = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    inside = (gray < 250).mean(axis=1) > _STRIP
    edges = np.flatnonzero(np.diff(np.concatenate(([0], inside.astype(int), [0]))))
    if len(edges) != 4:
        raise ValueError(f"cut_samples: expected two strips of images, found {len(edges) // 2}.")
    learned, exact = (_strip(gray[top:bottom], side, count) for top, bottom in edges.reshape(2, 2))
    return learned, exact


def _strip(rows: np.ndarray, side: int, count: int) -> Tensor:
    """The middle of each pixel of the images; the strip reaches from its first dark column to its last."""
    dark = np.flatnonzero((rows < 250).any(axis=0))
    width = count * (side + 1) - 1
    across = dark[0] + (np.arange(width) + 0.5) * (dark[-1] + 1 - dark[0]) / width
    down = (np.arange(side) + 0.5) * len(rows) / side
    strip = torch.from_numpy(rows[np.ix_(down.astype(int), across.astype(int))].astype(np.float64))
    return torch.nn.functional.pad(strip, (0, 1)).reshape(side, count, side + 1).transpose(0, 1)[:, :, :side]


def digit_sheet(name: str) -> Figure:
    """The samples of a stored run in three rows: f⁻¹(z), g(z), and |difference| × ``MAGNIFIED``.

    Args:
        name: Name of a stored run on gray images of 28×28 pixels.

    Raises:
        FileNotFoundError: There is no such run, or it has no figure of samples.
    """
    learned, exact = cut_samples(record_image(name))
    difference = (MAGNIFIED * (learned - exact).abs()).clamp(max=255)
    named = {"f⁻¹(z)": exact, "g(z)": learned, f"|f⁻¹(z) − g(z)| × {MAGNIFIED}": difference}
    figure, axes = panels(1, height=3.5)
    sheet = torch.full((BAND * len(named), IMAGES * 29 - 1), torch.nan)
    for at, (words, images) in enumerate(named.items()):
        top = BAND * (at + 1) - 28
        sheet[top : top + 28] = (
            torch.nn.functional.pad(images, (0, 1), value=torch.nan).transpose(0, 1).flatten(1)[:, :-1]
        )
        axes.text(-0.5, top - 2, words, fontsize=11)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.axis("off")
    return figure


__all__ = ["BAND", "MAGNIFIED", "cut_samples", "digit_sheet"]
