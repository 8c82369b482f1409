"""The layers of a flow as boxes: what each is, the shape that comes out of it, and its log-determinant."""

import html
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from snf_lite.flow import Flow

Shape = tuple[int, ...]

#: Class of a layer → its name and its log-determinant.
LAYERS = {
    "Dequantize": ("add uniform noise", "none: a lower bound"),
    "Logit": ("logit", "a sum over pixels"),
    "Squeeze": ("squeeze", "0"),
    "ActNorm": ("actnorm", "<i>HW</i> Σ<sub><i>c</i></sub> <i>s<sub>c</sub></i>"),
    "ExactConv2d": ("1×1 convolution", "<i>HW</i> log |det <i>w</i>|"),
    "AffineCoupling": ("affine coupling", "Σ<sub><i>i</i></sub> <i>s<sub>i</sub></i>(<i>x</i><sub>1</sub>)"),
    "SplitPrior": ("split", "−Σ<sub><i>i</i></sub> log <i>σ<sub>i</sub></i>(<i>x</i><sub>1</sub>)"),
}
#: The layers of one step of Glow.
STEP = ("ActNorm", "ExactConv2d", "AffineCoupling")
_ROW = "display:grid;grid-template-columns:5fr 3fr 5fr;gap:.2em .8em;align-items:center;margin:.3em 0"
_BOX = "border:1px solid currentColor;border-radius:.4em;padding:.15em .5em;text-align:center"
_GROUP = "border:1px dashed currentColor;border-radius:.6em;padding:.1em .5em;margin:.4em 0"
#: The box of the one layer with a matrix to invert; the book's color of learned inverses, light enough for any ground.
_MARK = ";background:rgba(0,114,178,.25)"


class Architecture:
    """A Glow drawn as a column of boxes, which the browser lays out; it has the colors of the text around it.

    Args:
        flow: A flow of the layers in ``LAYERS``.
        name: ``#explore-NAME`` is the figure's address.
        caption: What to see.
    """

    def __init__(self, flow: Flow, name: str, caption: str) -> None:
        self.name, self.caption = name, caption
        self.rows = list(rows(flow))

    def __repr__(self) -> str:
        return "; ".join(f"{LAYERS[kind][0]}: {_written(shape)}" for kind, shape in self.rows)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": repr(self)}

    def html(self) -> str:
        """The figure as self-contained HTML."""
        heads = "".join(f"<span>{word}</span>" for word in ("layer", "shape behind it", "log-determinant"))
        parts = [f'<div style="{_ROW};font-weight:bold;text-align:center">{heads}</div>']
        for is_step, group in groupby(self.rows, lambda row: row[0] in STEP):
            found = list(group)
            if is_step:
                inside = "".join(_row(*row) for row in found[: len(STEP)])
                count = len(found) // len(STEP)
                parts.append(f'<div style="{_GROUP}"><b>{count} steps</b>, each of{inside}</div>')
            else:
                parts += [_row(*row) for row in found]
        return (
            f'<figure class="snf-figure snf-still" id="explore-{self.name}" style="margin:1em 0;padding:.5em">'
            f'<div style="max-width:40em;margin:auto;font-size:.95em;line-height:1.35">{"".join(parts)}</div>'
            f'<figcaption style="margin-top:.5em;text-align:left">{html.escape(self.caption)}</figcaption></figure>'
        )


def rows(flow: Flow) -> Iterator[tuple[str, Shape]]:
    """Class of each layer, in the order of the data, with the shape behind it (of a split: that of what stays).

    Raises:
        ValueError: a layer that has no box.
    """
    found = [(type(layer).__name__, shape) for layer, shape in flow.iter_layers(flow.event_shape)]
    unknown = sorted({kind for kind, _ in found} - set(LAYERS))
    if unknown:
        raise ValueError(f"rows: expected layers among {', '.join(LAYERS)}, got {', '.join(unknown)}.")
    # A split is listed behind the layers of its deep half.
    splits = [(at, shape) for at, (kind, shape) in enumerate(found) if kind == "SplitPrior"]
    deep = [(c // 2, h, w) for _, (c, h, w) in splits]
    plain = [row for row in found if row[0] != "SplitPrior"]
    for kind, shape in plain:
        if kind == "Squeeze" and shape in deep:
            yield "SplitPrior", shape
        c, h, w = shape
        yield kind, (4 * c, h // 2, w // 2) if kind == "Squeeze" else shape


def _row(kind: str, shape: Shape) -> str:
    name, logdet = LAYERS[kind]
    box = _BOX + (_MARK if kind == "ExactConv2d" else "")
    words = _written(shape)
    if kind == "SplitPrior":
        words += "<br>(as many leave: <i>ε</i>)"
    return (
        f'<div style="{_ROW};text-align:center"><span style="{box}">{name}</span>'
        f"<span>{words}</span><span>{logdet}</span></div>"
    )


def _written(shape: Shape) -> str:
    return "×".join(map(str, shape))
