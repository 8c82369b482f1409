"""A matplotlib figure as small images: SVG whose text stays text, or PNG.

``renderings`` cuts a figure whose panels stand side by side into one image for each panel, so that a page can put them
below one another where it is narrow. What an SVG would describe point by point (a cloud of a thousand points, a mesh)
is embedded as an image with transparent ground; axes and labels around it stay lines and text.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, PathCollection, QuadMesh
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from snf_book.svg import slim
from snf_lite.analysis.figures import COLORS, DENSITY, SCALE, figure_png, in_gray

#: A cloud of more points than this is embedded as an image.
POINTS = 250
#: An SVG of fewer bytes is kept whatever the size of the PNG.
SMALL = 20_000
#: So much larger than the PNG an SVG may be, for text that stays sharp and follows the theme.
LARGER = 1.25
#: At most as many panels are cut apart, each at least as wide (inches): narrower ones can be read side by side.
PANELS, NARROW = 3, 1.8
#: Cuts are at multiples of the figure's width divided by this: where exactly does not depend on rounding.
STEPS = 200


@dataclass(frozen=True)
class Rendering:
    """An image of a page: its bytes, their MIME type, and its width in pixels of the page."""

    mime: str
    content: bytes
    width: int


def renderings(figure: Figure, raster: bool = False) -> list[Rendering]:
    """The figure as one image, or one for each of two or three panels side by side.

    Args:
        figure: Drawn on white; black, white and gray may be shown as the colors of a page's text and ground.
        raster: PNG in any case; otherwise SVG, unless the PNG is far smaller.
    """
    for axes in figure.axes:
        if to_rgba(axes.get_facecolor()) == to_rgba("white"):
            axes.set_facecolor("none")  # the ground is the page's
    _embed_crowds(figure)
    _pin_over_images(figure)
    figure.draw_without_rendering()
    boxes = _panels(figure)
    if len(boxes) == 1:
        return [_rendering(figure, None, raster)]
    figure.set_layout_engine("none")  # panels stay where they are when others are left out
    return [_panel(figure, box, raster) for box in boxes]


def fewer_colors(image: Image.Image) -> Image.Image:
    """The same pixels in shades of gray if there is no other color, else at most ``COLORS`` colors."""
    if image.mode == "RGBA":
        return _few(image) or image.quantize(COLORS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    return in_gray(image) or image.quantize(COLORS, dither=Image.Dither.NONE)


def _few(image: Image.Image) -> Image.Image | None:
    """An RGBA image with a palette of exactly its colors; None if these are too many."""
    pixels = np.ascontiguousarray(np.asarray(image)).view(np.uint32)[..., 0]
    colors, places = np.unique(pixels, return_inverse=True)
    if len(colors) > COLORS:
        return None
    palette = colors.view(np.uint8).reshape(-1, 4)
    found = Image.fromarray(places.reshape(pixels.shape).astype(np.uint8)).convert("P")
    found.putpalette(palette[:, :3].tobytes())
    found.info["transparency"] = palette[:, 3].tobytes()
    return found


def _panel(figure: Figure, box: Bbox, raster: bool) -> Rendering:
    """What of the figure lies in a box; the other axes are not drawn."""

    def inside(axes: Axes) -> bool:
        place = axes.get_position()
        return box.x0 < (place.x0 + place.x1) / 2 * figure.get_figwidth() < box.x1

    others = [axes for axes in figure.axes if axes.get_visible() and not inside(axes)]
    for axes in others:
        axes.set_visible(False)
    rendering = _rendering(figure, box, raster)
    for axes in others:
        axes.set_visible(True)
    return rendering


def _rendering(figure: Figure, box: Bbox | None, raster: bool) -> Rendering:
    width = round((figure.get_figwidth() if box is None else box.width) * SCALE)
    drawing = b"" if raster else _svg(figure, box, width)
    if drawing and len(drawing) < SMALL:
        return Rendering("image/svg+xml", drawing, width)
    dots = figure_png(figure, DENSITY, box)
    if drawing and len(drawing) < LARGER * len(dots):
        return Rendering("image/svg+xml", drawing, width)
    return Rendering("image/png", dots, width)


def _svg(figure: Figure, box: Bbox | None, width: int) -> bytes:
    """Without a ground of its own. Names inside of it depend only on what is drawn."""
    file = io.StringIO()
    unwanted = dict.fromkeys(["Date", "Creator", "Format", "Type"])
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "figure", "svg.image_inline": True}):
        figure.savefig(file, format="svg", dpi=DENSITY, bbox_inches=box, metadata=unwanted, facecolor="none")
    return slim(file.getvalue(), width, fewer_colors).encode()


def _panels(figure: Figure) -> list[Bbox]:
    """The boxes of panels side by side (inches), of equal height; a single one if they cannot be cut apart."""
    width, height = figure.get_size_inches()
    whole = [Bbox.from_bounds(0, 0, width, height)]
    if figure.texts or figure.legends or _is_stacked(figure):
        return whole
    spans = _spans(figure)
    if not 2 <= len(spans) <= PANELS:
        return whole
    gaps = [(left[1] + right[0]) / 2 for left, right in pairwise(spans)]
    cuts = [0.0, *(round(gap / width * STEPS) * width / STEPS for gap in gaps), width]
    boxes = [Bbox.from_extents(a, 0, b, height) for a, b in pairwise(cuts)]
    clear = all(left[1] < cut < right[0] for (left, right), cut in zip(pairwise(spans), cuts[1:], strict=False))
    return boxes if clear and all(box.width >= NARROW for box in boxes) else whole


def _is_stacked(figure: Figure) -> bool:
    """Whether axes stand above others: cut apart, panels of one row would no longer stand beside each other."""
    places = [axes.get_position() for axes in figure.axes if axes.get_visible() and not hasattr(axes, "_colorbar")]
    return max((place.y0 for place in places), default=0) >= min((place.y1 for place in places), default=1)


def _spans(figure: Figure) -> list[tuple[float, float]]:
    """From where to where (inches) axes reach with their labels, those that overlap or share a color bar joined."""
    found: list[tuple[float, float]] = []
    for axes in sorted(figure.axes, key=lambda axes: axes.get_position().x0):
        box = axes.get_tightbbox()
        if box is None or not axes.get_visible():
            continue
        first, last = box.x0 / figure.dpi, box.x1 / figure.dpi
        if found and (first < found[-1][1] or hasattr(axes, "_colorbar")):
            found[-1] = (min(first, found[-1][0]), max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _embed_crowds(figure: Figure) -> None:
    """Mark what has too many points to be described one by one."""
    for axes in figure.axes:
        for artist in _data(axes):
            mesh = isinstance(artist, QuadMesh)
            cloud = isinstance(artist, PathCollection) and np.shape(artist.get_offsets())[0] > POINTS
            dots = isinstance(artist, Line2D) and artist.get_marker() not in ("None", "", None, " ")
            if mesh or cloud or (dots and np.size(artist.get_xdata()) > POINTS):
                artist.set_rasterized(True)


def _data(axes: Axes) -> Iterator[Any]:
    yield from (*axes.lines, *axes.collections, *axes.texts)


def _pin_over_images(figure: Figure) -> None:
    """Mark black, white and gray over an image, whose colors are the same on any page, as colors to be kept.

    The mark is one unit of blue, which nobody sees.
    """
    for axes in figure.axes:
        if axes.images or any(isinstance(artist, QuadMesh) for artist in axes.collections):
            for artist in _data(axes):
                _pin(artist)


def _pin(artist: Artist) -> None:
    if isinstance(artist, Text | Line2D):
        artist.set_color(_pinned(artist.get_color()))
    if isinstance(artist, Line2D):
        artist.set_markerfacecolor(_pinned(artist.get_markerfacecolor()))
        artist.set_markeredgecolor(_pinned(artist.get_markeredgecolor()))
    elif isinstance(artist, Collection) and artist.get_array() is None:
        artist.set_facecolor([_pinned(color) for color in artist.get_facecolor()])
        artist.set_edgecolor([_pinned(color) for color in artist.get_edgecolor()])


def _pinned(color: Any) -> Any:
    if isinstance(color, str) and color in ("none", "auto"):
        return color
    shades, alpha = to_hex(color), to_rgba(color)[3]
    if not shades[1:3] == shades[3:5] == shades[5:7]:
        return color
    blue = int(shades[5:7], 16)
    return to_rgba(f"{shades[:5]}{blue + (1 if blue < 255 else -1):02x}", alpha)
