"""Small charts as SVG: the same characters on every machine, with the page's own fonts and background.

A chart is a list of lines of SVG. Every color has a marker of its own, so that either distinguishes the series.
"""

import html
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """From values between ``low`` and ``high`` to pixels between ``start`` and ``end``, straight in ``bend``."""

    low: float
    high: float
    start: float
    end: float
    bend: Callable[[float], float] = math.log

    def __call__(self, value: float) -> float:
        low, high = self.bend(self.low), self.bend(self.high)
        return self.start + (self.end - self.start) * (self.bend(value) - low) / (high - low)


def through_zero(value: float) -> float:
    """Straight near zero, a logarithm on both sides of it."""
    return math.asinh(2 * value)


def text(x: float, y: float, words: str, anchor: str = "start", color: str = "currentColor") -> str:
    """Words whose middle line is at ``y``."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" dominant-baseline="central"'
    return f'<text {place} fill="{color}">{html.escape(words)}</text>'


def line(points: Iterable[Point], color: str = "currentColor", dashes: str = "", width: float = 1) -> str:
    """A line from point to point."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="{width:g}"{dashed}/>'


def marker(kind: str, x: float, y: float, color: str, size: float = 4, hollow: bool = False) -> str:
    """A disc ``o``, a square ``s``, a triangle ``^``, or a square on its corner, ``D``; filled unless ``hollow``."""
    look = f'fill="none" stroke="{color}" stroke-width="1.5"' if hollow else f'fill="{color}"'
    if kind == "o":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" {look}/>'
    corners = {
        "s": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "^": [(0, -1.2), (1.1, 0.9), (-1.1, 0.9)],
        "D": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    }[kind]
    places = " ".join(f"{x + 0.9 * size * across:.1f},{y + 0.9 * size * down:.1f}" for across, down in corners)
    return f'<polygon points="{places}" {look}/>'


def drawing(name: str, size: tuple[int, int], title: str, description: str, lines: list[str]) -> str:
    """The chart with its title and an alternative text. ``name`` is the beginning of its ids."""
    box = f'viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}"'
    head = f'<svg class="snf-chart" role="img" aria-labelledby="{name}-title {name}-words" {box}>'
    words = [f'<title id="{name}-title">{html.escape(title)}</title>']
    words.append(f'<desc id="{name}-words">{html.escape(description, quote=False)}</desc>')
    return "\n".join([head, *words, *lines, "</svg>"])
