"""Figures. They need matplotlib but neither pyplot nor a backend: notebooks show them, scripts save them."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from snf_lite.analysis.sampling import SamplePair, sample_pair
from snf_lite.flow import Flow

#: How many samples a figure shows unless told.
IMAGES, POINTS = 8, 1000


class SampleFigure(Figure):
    """A matplotlib figure of ``pair``, the samples it shows; ``pair.relative_distance`` says how far they are apart."""

    def __init__(self, pair: SamplePair, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), facecolor="white", layout="constrained")
        self.pair = pair

    @property
    def relative_distance(self) -> float:
        """‖g(z) − f⁻¹(z)‖ / ‖f⁻¹(z)‖ over the samples shown."""
        return self.pair.relative_distance

    def png(self) -> bytes:
        """The picture, on opaque white."""
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        return picture.getvalue()

    # A figure that pyplot does not hold is shown by a notebook once, and is freed; but it has to say how it looks.
    _repr_png_ = png

    def panels(self) -> tuple[tuple[Axes, Tensor, str], tuple[Axes, Tensor, str]]:
        """Axes, samples and title of the learned inverse and of the exact one: side by side for points."""
        beside = self.pair.exact.dim() == 2
        first, second = self.subplots(*((1, 2) if beside else (2, 1)), sharex=True, sharey=True)
        return (first, self.pair.learned, "learned inverse g(z)"), (second, self.pair.exact, "exact inverse f⁻¹(z)")


def sample_grid(flow: Flow, n: int | None = None, seed: int = 0) -> SampleFigure:
    """Samples from the same z twice: the learned inverse above the exact one; of a 2-D flow, points beside points.

    Args:
        flow: over images (1, H, W) or (3, H, W), or over points (2,).
        n: how many; None: ``IMAGES`` images or ``POINTS`` points.
        seed: the codes depend on it alone.

    Returns:
        A figure on opaque white, with the attribute ``relative_distance``.

    Raises:
        ValueError: events of another shape, n < 1, or a singular layer (``NotInvertibleError``).
    """
    points = flow.event_shape == (2,)
    if not points and (len(flow.event_shape) != 3 or flow.event_shape[0] not in (1, 3)):
        raise ValueError(f"sample_grid: expected events of shape (2,), (1, H, W) or (3, H, W), got {flow.event_shape}.")
    count = (POINTS if points else IMAGES) if n is None else n
    return sample_figure(sample_pair(flow, count, seed), flow.levels, count)


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
    """Two rows of images, black at the lowest value and white at the highest."""
    figure = SampleFigure(pair, max(4.0, 0.9 * len(pair.exact)), 2.6)
    low, high = (float(pair.exact.min()), float(pair.exact.max())) if levels is None else (0.0, levels - 1.0)
    for axes, images, title in figure.panels():
        shades = ((images.float() - low) / max(high - low, 1e-12)).clamp(0, 1)
        axes.imshow(_strip(shades), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(title, fontsize=9, loc="left")
        axes.axis("off")
    return figure


def _strip(images: Tensor) -> NDArray[Any]:
    """Images (n, C, H, W) side by side, a white line between them: (H, n(W+1)-1), with a last axis of 3 if C = 3."""
    pixels = images.cpu().numpy().transpose(0, 2, 3, 1)
    padded = np.pad(pixels, ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=1.0)
    strip = np.concatenate(list(padded), axis=1)[:, :-1]
    return strip[..., 0] if strip.shape[-1] == 1 else strip


def _clouds(pair: SamplePair) -> SampleFigure:
    """Two clouds of points, side by side on axes of the same range."""
    figure = SampleFigure(pair, 6.4, 3.3)
    for axes, points, title in figure.panels():
        across, up = points.cpu().numpy().T
        axes.scatter(across, up, s=3, color="black", linewidths=0)
        axes.set_title(title, fontsize=9)
        axes.set_aspect("equal")
    return figure


#: Colours of a frame's picture: drawings need no more, and a page of frames stays small.
COLOURS = 256


def figure_png(figure: Figure) -> bytes:
    """A matplotlib figure as a PNG of few colours on opaque white."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=90, facecolor="white")
    small = io.BytesIO()
    Image.open(raw).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return small.getvalue()


#: Colours that people with any kind of colour vision tell apart (Okabe and Ito 2008), and a marker for each.
BLUE, ORANGE, GREEN, PINK, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#707070"

SERIES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (PINK, "D"))


class InlineFigure(Figure):
    """A figure that shows itself as the last value of a notebook's cell, as ``explore`` would show it."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


def panels(count: int = 2, height: float = 3.2, width: float = 7.0) -> tuple[Figure, Any]:
    """A figure of the book's width on white, and its ``count`` axes side by side (one axes if 1)."""
    figure = InlineFigure(figsize=(width, height), facecolor="white", layout="constrained")
    return figure, figure.subplots(1, count)
