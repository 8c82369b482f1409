"""Figures that move: precomputed frames under a slider that needs no kernel, and the same as a live widget.

The page holds every frame as a picture and one native range input; moving it shows another picture. It works offline,
by keyboard, and in an untrusted notebook, where the first frame is seen. With ``live=True`` the same ``draw`` answers
a slider of ipywidgets, for which a kernel must run.
"""

import base64
import html
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure

from snf_lite.analysis.figures import figure_png

Draw = Callable[[Any], Figure]
Describe = Callable[[Any], str]


# A light ground in every theme, for the words and the slider as for the pictures.
_LIGHT = "margin:1em 0;padding:.5em;background:white;color:black;color-scheme:light"
# On a line of its own, above the words: however long they become, the slider stays where the finger is.
_SLIDER = "display:block;width:100%;max-width:32em;height:2em;margin:0"
# Shows the frame that the slider stands at, and says its label aloud and in print.
_ON_INPUT = (
    "const f=this.closest('figure'),n=Number(this.value);"
    "f.querySelectorAll('img').forEach((image,i)=>{image.style.display=i===n?'block':'none'});"
    "const t=f.querySelectorAll('img')[n].dataset.label;"
    "f.querySelector('output').textContent=t;this.setAttribute('aria-valuetext',t)"
)


class Frames:
    """A figure for each value, shown in a notebook or page as one picture with a slider below."""

    def __init__(self, name: str, control: str, labels: list[str], alts: list[str], pictures: list[bytes]) -> None:
        self.name, self.control, self.labels, self.alts, self.pictures = name, control, labels, alts, pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __repr__(self) -> str:
        return f"{self.control}: {', '.join(self.labels)}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html()}

    def html(self) -> str:
        """The figure as a piece of HTML that needs nothing else: no library, no style sheet, no network."""
        control, first = html.escape(self.control), html.escape(self.labels[0])
        return (
            f'<figure class="snf-explore" id="explore-{self.name}" style="{_LIGHT}">'
            f"{''.join(self._image(index) for index in range(len(self)))}"
            f'<label style="display:inline"><input type="range" min="0" max="{len(self) - 1}" step="1" value="0"'
            f' autocomplete="off" style="{_SLIDER}" aria-label="{control}" aria-valuetext="{first}"'
            f' oninput="{html.escape(_ON_INPUT)}">'
            f'{control}</label> <output aria-live="off" style="font-weight:bold">{first}</output></figure>'
        )

    def _image(self, index: int) -> str:
        shown = "block" if index == 0 else "none"
        data = base64.b64encode(self.pictures[index]).decode("ascii")
        return (
            f'<img alt="{html.escape(self.alts[index])}" data-label="{html.escape(self.labels[index])}"'
            f' style="display:{shown};max-width:100%;margin:auto" src="data:image/png;base64,{data}">'
        )


def explore(
    draw: Draw, values: Sequence[Any], *,
    name: str, control: str, label: Describe = str, alt: Describe, live: bool | None = None,
) -> Any:  # fmt: skip
    """A figure that the reader moves through ``values`` with a slider.

    Args:
        draw: value → matplotlib figure on a white ground; called once for each value (live: at each move).
        values: at least two.
        name: of letters, digits and hyphens; makes the element's id, so it is one a page.
        control: what the slider changes, as the reader sees it.
        label: value → the words beside the slider.
        alt: value → what the picture shows, for those who do not see it.
        live: give a widget of ipywidgets in place of the precomputed frames; None: if the environment has SNF_FULL=1.

    Returns:
        ``Frames``, or with ``live`` an ``ipywidgets.VBox``.

    Raises:
        ValueError: fewer than two values, or a name of other characters.
    """
    if len(values) < 2:
        raise ValueError(f"explore: expected at least two values to move through, got {len(values)}.")
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError(f"explore: expected a name of small letters, digits and hyphens, got {name!r}.")
    if os.environ.get("SNF_FULL") == "1" if live is None else live:
        return _widget(draw, values, control, label)
    pictures = [figure_png(draw(value)) for value in values]
    return Frames(name, control, [label(value) for value in values], [alt(value) for value in values], pictures)


def _widget(draw: Draw, values: Sequence[Any], control: str, label: Describe) -> Any:
    """The live twin: ipywidgets' own slider and image, in versions 7.7 and 8."""
    import ipywidgets

    options = [(label(value), index) for index, value in enumerate(values)]
    slider = ipywidgets.SelectionSlider(options=options, description=control, continuous_update=False)
    image = ipywidgets.Image(value=figure_png(draw(values[0])), format="png")

    def redraw(change: dict[str, Any]) -> None:
        image.value = figure_png(draw(values[change["new"]]))

    slider.observe(redraw, names="value")
    return ipywidgets.VBox([image, slider])
