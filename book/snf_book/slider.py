"""Figures with a slider: precomputed frames that need no kernel, or a live widget.

The page holds every frame as an image, and one native range input that selects the visible one. It works offline, by
keyboard, and in an untrusted notebook, which shows the first frame. With ``live=True`` the same ``draw`` is called by a
slider of ipywidgets, which needs a running kernel.
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


# Light background in every theme, for text and slider as for the images.
_LIGHT = "margin:1em 0;padding:.5em;background:white;color:black;color-scheme:light"
# On its own line above the label, so that the slider does not move when the label's length changes.
_SLIDER = "display:block;width:100%;max-width:32em;height:2em;margin:0"
# Shows the selected frame and updates the visible and the spoken label.
_ON_INPUT = (
    "const f=this.closest('figure'),n=Number(this.value);"
    "f.querySelectorAll('img').forEach((image,i)=>{image.style.display=i===n?'block':'none'});"
    "const t=f.querySelectorAll('img')[n].dataset.label;"
    "f.querySelector('output').textContent=t;this.setAttribute('aria-valuetext',t)"
)


class Frames:
    """A frame for each value, shown in a notebook or page as one image with a slider below."""

    def __init__(self, name: str, control: str, labels: list[str], alts: list[str], images: list[bytes]) -> None:
        self.name, self.control, self.labels, self.alts, self.images = name, control, labels, alts, images

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"{self.control}: {', '.join(self.labels)}"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html()}

    def html(self) -> str:
        """The figure as self-contained HTML: no library, no style sheet, no download."""
        control, first = html.escape(self.control), html.escape(self.labels[0])
        images = [
            f'<img alt="{html.escape(alt)}" data-label="{html.escape(label)}"'
            f' style="display:{"none" if index else "block"};max-width:100%;margin:auto"'
            f' src="data:image/png;base64,{base64.b64encode(image).decode("ascii")}">'
            for index, (alt, label, image) in enumerate(zip(self.alts, self.labels, self.images, strict=True))
        ]
        return (
            f'<figure class="snf-explore" id="explore-{self.name}" style="{_LIGHT}">'
            f"{''.join(images)}"
            f'<label style="display:inline"><input type="range" min="0" max="{len(self) - 1}" step="1" value="0"'
            f' autocomplete="off" style="{_SLIDER}" aria-label="{control}" aria-valuetext="{first}"'
            f' oninput="{html.escape(_ON_INPUT)}">'
            f'{control}</label> <output aria-live="off" style="font-weight:bold">{first}</output></figure>'
        )


def explore(
    draw: Draw, values: Sequence[Any], *,
    name: str, control: str, label: Describe = str, alt: Describe, live: bool | None = None,
) -> Any:  # fmt: skip
    """A figure with a slider over ``values``.

    Args:
        draw: value → matplotlib figure on white; called once for each value (live: at each move).
        values: values of the slider, at least two.
        name: lower-case letters, digits and hyphens; the element's id, unique in a page.
        control: visible label of the slider.
        label: value → text beside the slider.
        alt: value → alternative text of the image.
        live: return a widget of ipywidgets instead of precomputed frames; None: if the environment has SNF_FULL=1.

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
    images = [figure_png(draw(value)) for value in values]
    return Frames(name, control, [label(value) for value in values], [alt(value) for value in values], images)


def _widget(draw: Draw, values: Sequence[Any], control: str, label: Describe) -> Any:
    """The live version: slider and image of ipywidgets 7.7 or 8."""
    import ipywidgets

    options = [(label(value), index) for index, value in enumerate(values)]
    slider = ipywidgets.SelectionSlider(options=options, description=control, continuous_update=False)
    image = ipywidgets.Image(value=figure_png(draw(values[0])), format="png")

    def redraw(change: dict[str, Any]) -> None:
        image.value = figure_png(draw(values[change["new"]]))

    slider.observe(redraw, names="value")
    return ipywidgets.VBox([image, slider])
