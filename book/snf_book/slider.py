"""Figures of the chapters: still, or with a slider over precomputed frames that need no kernel; or a live widget.

The page holds every frame as images, and one native range input that selects the visible one. It works offline, by
keyboard, and in an untrusted notebook, which shows the frame it starts with. With ``live=True`` the same ``draw`` is
called by a slider of ipywidgets, which needs a running kernel. On the book's pages ``book/_ext/numbered_figures.py``
takes the drawings out of their ``<img>``, so that they follow the theme, and numbers the figures.
"""

import base64
import html
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from snf_book.drawing import Rendering, renderings
from snf_book.measured import written

Draw = Callable[[Any], Figure | Sequence[Figure]]
Describe = Callable[[Any], str]

# Light ground in every theme of a notebook, for text and slider as for the drawings; the book's pages take it away.
_LIGHT = "margin:1em 0;padding:.5em;background:white;color:black;color-scheme:light"
# Images side by side as long as each keeps three quarters of its width, else below one another.
_FRAME = "flex-wrap:wrap;justify-content:center;align-items:flex-start"
_SHRINKS = 0.72
#: The width of a page's column in pixels: images that are wider together are scaled to it together.
COLUMN = 784
# On its own line above the label, so that the slider does not move when the label's length changes.
_SLIDER = "display:block;width:100%;max-width:32em;height:2em;margin:0"
_CAPTION = "margin-top:.5em;text-align:left"
# Shows the selected frame and updates the visible and the spoken label.
_ON_INPUT = (
    "const f=this.closest('figure'),n=Number(this.value),frames=f.querySelectorAll('.snf-frame');"
    "frames.forEach((frame,i)=>{frame.style.display=i===n?'flex':'none'});"
    "const t=frames[n].dataset.label;"
    "f.querySelector('output').textContent=t;this.setAttribute('aria-valuetext',t)"
)


@dataclass(frozen=True)
class Frame:
    """The images of one value, the label beside the slider, and a description of the images in words."""

    label: str
    alt: str
    images: list[Rendering]

    def html(self, shown: bool, printed: bool) -> str:
        """All words in the first image's description: it stands for the frame."""
        words = [self.alt, *[""] * (len(self.images) - 1)]
        scale = min(1.0, COLUMN / sum(image.width for image in self.images))
        images = "".join(_image(image, alt, scale) for image, alt in zip(self.images, words, strict=True))
        return (
            f'<div class="snf-frame{" snf-print" if printed else ""}" data-label="{html.escape(self.label)}"'
            f' style="display:{"flex" if shown else "none"};{_FRAME}">{images}</div>'
        )


class Frames:
    """A frame for each value, shown in a notebook or page as one figure; below several of them stands a slider."""

    def __init__(self, name: str, control: str, frames: list[Frame], start: int = 0, caption: str = "") -> None:
        self.name, self.control, self.frames, self.start, self.caption = name, control, frames, start, caption

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"{self.control}: {', '.join(frame.label for frame in self.frames)}" if len(self) > 1 else self.name

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html()}

    @property
    def printed(self) -> set[int]:
        """The frames on paper: the first, the last, and between them the one it starts with or the middle one."""
        last = len(self) - 1
        return {0, self.start if 0 < self.start < last else last // 2, last}

    def html(self) -> str:
        """The figure as self-contained HTML: no library, no style sheet, no download."""
        kind = "snf-explore" if len(self) > 1 else "snf-still"
        slider = self._slider() if len(self) > 1 else ""
        frames = [frame.html(at == self.start, at in self.printed) for at, frame in enumerate(self.frames)]
        caption = f'<figcaption style="{_CAPTION}">{written(self.caption)}</figcaption>' if self.caption else ""
        return (
            f'<figure class="snf-figure {kind}" id="explore-{self.name}" style="{_LIGHT}">'
            f'<div class="snf-frames">{"".join(frames)}</div>{slider}{caption}</figure>'
        )

    def _slider(self) -> str:
        control, first = html.escape(self.control), html.escape(self.frames[self.start].label)
        return (
            f'<label style="display:inline"><input type="range" min="0" max="{len(self) - 1}" step="1"'
            f' value="{self.start}" autocomplete="off" style="{_SLIDER}" aria-label="{control}"'
            f' aria-valuetext="{first}" oninput="{html.escape(_ON_INPUT)}">'
            f'{control}</label> <output aria-live="off" style="font-weight:bold">{first}</output>'
        )


def explore(
    draw: Draw, values: Sequence[Any], *,
    name: str, control: str, label: Describe = str, alt: Describe, start: Any = 0, caption: str = "",
    raster: bool = False, live: bool | None = None,
) -> Any:  # fmt: skip
    """A figure with a slider over ``values``.

    Args:
        draw: value → matplotlib figure on white, or a list of figures; called once for each value (live: at each
            move). Panels side by side, three at most, become an image each, below one another where it is narrow.
        values: values of the slider, at least two.
        name: lower-case letters, digits and hyphens, unique in the book; ``#explore-NAME`` is its address.
        control: visible label of the slider.
        label: value → text beside the slider.
        alt: value → alternative text of the frame.
        start: the value shown first, or its index; also printed, with the first and the last.
        caption: what to see, with ``$maths$``, ``*emphasis*`` and code in backticks; with one, the figure is numbered.
        raster: draw dots instead of lines; without it, crowds of points are embedded as dots all the same.
        live: return a widget of ipywidgets instead of precomputed frames; None: if the environment has SNF_FULL=1.

    Returns:
        ``Frames``, or with ``live`` an ``ipywidgets.VBox``.

    Raises:
        ValueError: fewer than two values, a name of other characters, or a start that is not among the values.
    """
    if len(values) < 2:
        raise ValueError(f"explore: expected at least two values to move through, got {len(values)}.")
    _check(name, "explore")
    first = _position(values, start)

    def frame(value: Any) -> Frame:
        return Frame(label(value), alt(value), _images(draw(value), raster))

    if os.environ.get("SNF_FULL") == "1" if live is None else live:
        return _widget(frame, values, control, label, first)
    return Frames(name, control, [frame(value) for value in values], first, caption)


def still(
    figure: Figure | Sequence[Figure], *, name: str, alt: str, caption: str = "", raster: bool = False
) -> Frames:  # fmt: skip
    """A figure without a slider, shown as those with one are: see ``explore`` for the arguments.

    Raises:
        ValueError: a name of other characters.
    """
    _check(name, "still")
    return Frames(name, "", [Frame("", alt, _images(figure, raster))], 0, caption)


def _check(name: str, caller: str) -> None:
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError(f"{caller}: expected a name of small letters, digits and hyphens, got {name!r}.")


def _position(values: Sequence[Any], start: Any) -> int:
    """The index of a value, or an index as it is (negative: from the end)."""
    for at, value in enumerate(values):
        if value is start or (isinstance(value, bool | int | float | str | tuple) and value == start):
            return at
    if isinstance(start, int) and -len(values) <= start < len(values):
        return start % len(values)
    raise ValueError(f"explore: expected start to be a value of the slider or an index, got {start!r}.")


def _images(drawn: Figure | Sequence[Figure], raster: bool) -> list[Rendering]:
    figures = [drawn] if isinstance(drawn, Figure) else drawn
    return [image for figure in figures for image in renderings(figure, raster)]


def _image(image: Rendering, alt: str, scale: float) -> str:
    wide = math.floor(scale * image.width)
    return (
        f'<img class="snf-drawing" alt="{html.escape(alt)}"'
        f' style="flex:{wide} 1 {round(_SHRINKS * wide)}px;min-width:0;max-width:min({wide}px,100%);height:auto"'
        f' src="data:{image.mime};base64,{base64.b64encode(image.content).decode("ascii")}">'
    )


def _widget(frame: Callable[[Any], Frame], values: Sequence[Any], control: str, label: Describe, start: int) -> Any:
    """The live version: slider and images of ipywidgets 7.7 or 8."""
    import ipywidgets

    options = [(label(value), index) for index, value in enumerate(values)]
    slider = ipywidgets.SelectionSlider(options=options, value=start, description=control, continuous_update=False)
    shown = ipywidgets.HTML(value=frame(values[start]).html(True, False))

    def redraw(change: dict[str, Any]) -> None:
        shown.value = frame(values[change["new"]]).html(True, False)

    slider.observe(redraw, names="value")
    return ipywidgets.VBox([shown, slider])
