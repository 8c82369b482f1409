"""Matplotlib figures without pyplot or a backend: notebooks show them, scripts save them."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image
from torch import Tensor

from snf_lite.analysis.sampling import SamplePair, sample_pair
from snf_lite.flow import Flow

#: Default number of samples in a figure.
IMAGES, POINTS = 8, 1000
#: Dots per inch of a figure of samples.
DOTS = 150


class SampleFigure(Figure):
    """A matplotlib figure of ``pair``, samples from the learned and the exact inverse."""

    def __init__(self, pair: SamplePair, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), facecolor="white", layout="constrained")
        self.pair = pair

    @property
    def relative_distance(self) -> float:
        """‖g(z) − f⁻¹(z)‖ / ‖f⁻¹(z)‖ over the samples shown."""
        return self.pair.relative_distance

    def png(self) -> bytes:
        """The figure as a PNG on opaque white; of gray images in shades of gray, the same pixels in fewer bytes."""
        raw, small = self.image("png"), io.BytesIO()
        gray = in_gray(Image.open(io.BytesIO(raw)).convert("RGB"))
        if gray is None:
            return raw
        gray.save(small, "png", optimize=True, dpi=(DOTS, DOTS))
        return small.getvalue()

    def image(self, kind: str) -> bytes:
        """The figure in a format of matplotlib: "png", "jpg", "pdf", "svg" …, without software and date."""
        unwanted = {"png": ["Software"], "pdf": ["CreationDate", "Creator"], "svg": ["Date"]}
        file = io.BytesIO()
        self.savefig(file, format=kind, dpi=DOTS, metadata=dict.fromkeys(unwanted.get(kind, [])) or None)
        return file.getvalue()

    # pyplot does not manage this figure, so a notebook shows it through this method.
    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return self.png(), {"width": round(self.get_figwidth() * SCALE)}

    def panels(self) -> tuple[tuple[Axes, Tensor, str], tuple[Axes, Tensor, str]]:
        """Axes, samples and title of the learned inverse and of the exact one: side by side for points."""
        beside = self.pair.exact.dim() == 2
        first, second = self.subplots(*((1, 2) if beside else (2, 1)), sharex=True, sharey=True)
        return (first, self.pair.learned, "learned inverse g(z)"), (second, self.pair.exact, "exact inverse f⁻¹(z)")


def sample_grid(flow: Flow, n: int | None = None, seed: int = 0) -> SampleFigure:
    """Samples of the learned and the exact inverse for the same latents z: images in two rows, points side by side.

    Args:
        flow: flow on images (C, H, W), or on points (D,). Of more than two features the first two are drawn; of images
            whose channels are neither 1 nor 3, the first channel.
        n: number of samples; None: ``IMAGES`` images or ``POINTS`` points.
        seed: seed of the latents.

    Returns:
        A figure on opaque white, with the attribute ``relative_distance``.

    Raises:
        ValueError: another event shape, n < 1, or a singular layer (``NotInvertibleError``).
    """
    count = default_count(flow) if n is None else n
    return sample_figure(sample_pair(flow, count, seed), flow.levels, count)


def default_count(flow: Flow) -> int:
    """The number of samples in a figure; ValueError for an event shape that has none."""
    if len(flow.event_shape) not in (1, 3):
        raise ValueError(f"sample_grid: expected event shape (D,) or (C, H, W), got {flow.event_shape}.")
    return POINTS if len(flow.event_shape) == 1 else IMAGES


def sample_figure(pair: SamplePair, levels: int | None, count: int = IMAGES) -> SampleFigure:
    """Samples that are drawn already, as ``sample_grid`` shows them: all points, or the first ``count`` images.

    Args:
        pair: Samples of one flow through both inverses.
        levels: Number of values of a pixel; None for real numbers.
        count: Number of images.
    """
    if pair.exact.dim() == 2:
        return _clouds(pair)
    return _strips(replace(pair, learned=pair.learned[:count], exact=pair.exact[:count]), levels)


def _strips(pair: SamplePair, levels: int | None) -> SampleFigure:
    """Two rows of images; black is the lowest value, white the highest."""
    if pair.exact.shape[1] not in (1, 3):
        pair = replace(pair, learned=pair.learned[:, :1], exact=pair.exact[:, :1])
    figure = SampleFigure(pair, max(4.0, 0.9 * len(pair.exact)), 2.6)
    low, high = (float(pair.exact.min()), float(pair.exact.max())) if levels is None else (0.0, levels - 1.0)
    for axes, images, title in figure.panels():
        shades = ((images.float() - low) / max(high - low, 1e-12)).clamp(0, 1)
        padded = np.pad(
            shades.cpu().numpy(), ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1.0
        )  # a white line between
        strip = np.concatenate(list(padded), axis=-1)[..., :-1].transpose(1, 2, 0)  # (H, n(W+1)-1, C)
        axes.imshow(
            strip.squeeze(-1) if strip.shape[-1] == 1 else strip, cmap="gray", vmin=0, vmax=1, interpolation="nearest"
        )
        axes.set_title(title, fontsize=9, loc="left")
        axes.axis("off")
    return figure


def _clouds(pair: SamplePair) -> SampleFigure:
    """Two scatter plots side by side, on axes of the same range: of points, or of the first two features of more."""
    figure = SampleFigure(pair, 6.4, 3.3)
    features = pair.exact.shape[1]
    for axes, points, title in figure.panels():
        columns = points.cpu().numpy().T
        if features == 1:
            axes.hist(columns[0], bins=50, color="black")
        else:
            axes.scatter(columns[0], columns[1], s=3, color="black", linewidths=0)
        axes.set_title(title, fontsize=9)
        if features == 2:
            axes.set_aspect("equal")
        elif features > 2:
            axes.set_xlabel("feature 1", fontsize=9)
            axes.set_ylabel("feature 2", fontsize=9)
    return figure


#: Pixels of a page for an inch of a figure: seven inches, the width of ``panels()``, fill the column of the book.
SCALE = 112
#: Inches of a single plot, ``panels(1)``: shrunk to a phone, its letters can still be read.
ALONE = 4.5
#: Dots per inch of an image on a page: more than three for two of its pixels.
DENSITY = 180
#: Number of colors in a PNG: enough for a drawing, and a page of frames stays small.
COLORS = 256


def figure_png(figure: Figure, dpi: float = 90, box: Bbox | None = None) -> bytes:
    """A figure, or what lies in a box of it (inches), as a PNG of at most ``COLORS`` colors on opaque white.

    A figure in shades of gray is stored in as many shades.
    """
    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi, facecolor="white", bbox_inches=box)
    image = Image.open(raw).convert("RGB")
    few = in_gray(image) or image.quantize(COLORS, dither=Image.Dither.NONE)
    few.save(small, "png", optimize=True, dpi=(dpi, dpi))
    return small.getvalue()


def in_gray(image: Image.Image) -> Image.Image | None:
    """An RGB image with one channel, if its three are equal; None if there is a color in it."""
    red, green, blue = (np.asarray(channel) for channel in image.split())
    return image.convert("L") if (red == green).all() and (green == blue).all() else None


#: Colors that are distinct with any kind of color vision (after Okabe and Ito 2008), light and dark ground behind them.
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#707070"
OLIVE, VIOLET = "#8C6D00", "#7B61C4"

#: Color and marker of each series where a figure compares things that have none of their own.
SERIES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PINK, "D"))

#: Color and marker of each thing that the book draws, the same in all chapters. Those that share a color are never
#: drawn together.
LOOKS = {
    "learned": (BLUE, "o"),  # a learned inverse, and a flow with one: self-normalizing
    "exact": (ORANGE, "s"),  # gradient, inverse, log-determinant, and a flow with these
    "difference": ("black", "x"),  # of learned and exact: an error
    "relative": (GREEN, "^"),
    "emerging": (GREEN, "^"),
    "lu": (PINK, "D"),
    "exponential": (PINK, "D"),
    "tracked": (OLIVE, "v"),
    "unbiased": (VIOLET, "P"),
    "linear": (GREY, "."),  # a plain layer, without a determinant
    "data": (GREY, "."),
}


def look(name: str) -> dict[str, str]:
    """The color and the marker of a thing (a key of ``LOOKS``), as arguments of matplotlib's ``plot``.

    Raises:
        ValueError: the book has no color for a thing of that name.
    """
    if name not in LOOKS:
        raise ValueError(f"look: expected one of {', '.join(LOOKS)}, got {name!r}.")
    color, marker = LOOKS[name]
    return {"color": color, "marker": marker}


class InlineFigure(Figure):
    """A figure that a notebook shows as the last value of a cell, with two dots for each pixel of the page."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        return figure_png(self, DENSITY), {"width": round(self.get_figwidth() * SCALE)}


def panels(count: int = 2, height: float = 3.2, width: float | None = None) -> tuple[Figure, Any]:
    """A figure on white, and its ``count`` axes side by side (a single one if count is 1).

    Without a width it is as wide as the book's column, with a single one ``ALONE``.
    """
    inches = (7.0 if count > 1 else ALONE) if width is None else width
    figure = InlineFigure(figsize=(inches, height), facecolor="white", layout="constrained")
    return figure, figure.subplots(1, count)
