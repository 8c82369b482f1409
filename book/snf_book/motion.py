"""A flow in motion: points and a grid that move through its layers, drawn in the browser without a library.

The positions before the first layer and after each one are stored as 16-bit numbers; ``motion.js`` moves along the
straight lines between them. Without scripts, and on paper, three of the positions stand side by side.
"""

import base64
import html
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import torch
from matplotlib.collections import LineCollection
from matplotlib.colors import hsv_to_rgb, to_hex
from matplotlib.figure import Figure
from torch import Tensor

from snf_book.slider import Frames, still
from snf_lite.analysis.figures import GREY, panels

Layer = Callable[[Tensor], tuple[Tensor, Tensor]]

#: Of 16-bit numbers: what lies further out is not seen.
LARGEST = 32_000
#: Seconds that a layer takes.
SECONDS = 0.9
_STYLE = "display:none;width:400px;max-width:100%;height:auto;aspect-ratio:1;margin:0 auto;border:1px solid #888"


@dataclass(frozen=True)
class Stage:
    """What moves: positions, and the words beside the sliders.

    points: (T, K+1, N, 2), positions at T training steps, before the first of K layers and after each.
    grid: (T, K+1, G, G, 2), the same of the corners of a grid.
    groups: (N,), whole numbers; points of a group have one color, groups in a row neighboring colors of a circle.
    layers: K+1 words; steps: T words.
    """

    points: Tensor
    grid: Tensor
    groups: Tensor
    layers: Sequence[str]
    steps: Sequence[str]

    def __post_init__(self) -> None:
        count, depth, points = self.points.shape[:3]
        side = self.grid.shape[2]
        if self.grid.shape != (count, depth, side, side, 2):
            wanted = f"({count}, {depth}, G, G, 2)"
            raise ValueError(f"Stage: expected a grid of shape {wanted}, got {tuple(self.grid.shape)}.")
        if (len(self.groups), len(self.layers), len(self.steps)) != (points, depth, count):
            got = f"{len(self.groups)} groups, {len(self.layers)} layers and {len(self.steps)} steps"
            raise ValueError(f"Stage: expected {points}, {depth} and {count}, got {got}.")

    @property
    def colors(self) -> list[str]:
        """The color of each point."""
        count = int(self.groups.max()) + 1
        rgb = (hsv_to_rgb((at / count, 0.85, 0.75)) for at in range(count))
        circle = [to_hex((float(red), float(green), float(blue))) for red, green, blue in rgb]
        return [circle[int(group)] for group in self.groups]

    def stored(self, scale: float) -> str:
        """All positions, those of a training step and a depth together, as 16-bit numbers in base64."""
        together = torch.cat([self.points, self.grid.flatten(2, 3)], dim=2)
        numbers = (together * scale).round().clamp(-LARGEST, LARGEST).to(torch.int16)
        return base64.b64encode(numbers.contiguous().numpy().astype("<i2").tobytes()).decode("ascii")


class Motion(Frames):
    """The figure as HTML: a still, and the canvas that takes its place where scripts run."""

    def __init__(self, shown: Frames, stage: Stage, limit: float) -> None:
        super().__init__(shown.name, shown.control, shown.frames, shown.start, shown.caption)
        self.stage, self.limit = stage, limit

    def html(self) -> str:
        """The figure as self-contained HTML: no library, no style sheet, no download."""
        before, caption, after = super().html().rpartition("<figcaption")
        return before.replace("snf-still", "snf-motion", 1) + self._canvas() + caption + after

    def _canvas(self) -> str:
        scale = LARGEST / (4 * self.limit)
        words = {
            "layers": list(self.stage.layers), "steps": list(self.stage.steps), "groups": self.stage.colors,
            "side": self.stage.grid.shape[2], "limit": self.limit, "scale": scale, "seconds": SECONDS,
        }  # fmt: skip
        script = files("snf_book").joinpath("motion.js").read_text("utf-8").replace("NAME", self.name)
        return (
            f'<canvas role="img" aria-label="{html.escape(self.frames[0].alt)}" style="{_STYLE}"'
            f' data-stage="{html.escape(json.dumps(words, ensure_ascii=False))}"'
            f' data-positions="data:application/x-positions;base64,{self.stage.stored(scale)}"></canvas>'
            f"<script>{script}</script>"
        )


def motion(stage: Stage, *, name: str, alt: str, caption: str, limit: float = 5.0) -> Motion:
    """A figure with a play button and a slider over depth; with several training steps, also one over those.

    Args:
        stage: what moves.
        name: lower-case letters, digits and hyphens, unique in the book; ``#explore-NAME`` is its address.
        alt: alternative text.
        caption: what to see, as in ``snf_book.slider.explore``.
        limit: the figure shows [-limit, limit]².

    Raises:
        ValueError: a name of other characters, or no caption.
    """
    if not caption:
        raise ValueError("motion: expected a caption, got none.")
    return Motion(still(_still(stage, limit), name=name, alt=alt, caption=caption), stage, limit)


def _still(stage: Stage, limit: float) -> Figure:
    """Before the first layer, halfway, and after the last, at the last training step."""
    last = len(stage.layers) - 1
    figure, row = panels(3, height=2.9)
    for axes, depth in zip(row, (0, last // 2, last), strict=True):
        lines = stage.grid[-1, depth]
        both = [*lines.numpy(), *lines.transpose(0, 1).numpy()]
        axes.add_collection(LineCollection(both, colors=GREY, linewidths=0.3))
        x, y = stage.points[-1, depth].T.numpy()
        axes.scatter(x, y, s=3, c=stage.colors, linewidths=0)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
        axes.set_title(stage.layers[depth], fontsize=9)
    return figure


def positions(layers: Sequence[Layer], x: Tensor) -> Tensor:
    """Points before the first layer and after each: (N, 2) → (K+1, N, 2)."""
    passed = [x]
    with torch.no_grad():
        for layer in layers:
            passed.append(layer(passed[-1])[0])
    return torch.stack(passed)


def square_grid(side: int, limit: float) -> Tensor:
    """Corners of a grid over [-limit, limit]²: (side, side, 2)."""
    along = torch.linspace(-limit, limit, side)
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1)
