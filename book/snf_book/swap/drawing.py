"""The drawing in one of its layouts, still or with a point that travels, as an SVG element."""

import html
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from snf_book.swap.layouts import WIDE, Layout, clouds, placed
from snf_book.swap.svg import arrow, curve, dots, point_at, straight, tag, words
from snf_lite.analysis.figures import BLUE, GREY

TITLE = "Two maps that undo each other exchange their matrices"
DESCRIPTION = (
    "{0}, data points x in the form of two moons; {1}, the same points as a round cloud of latents z. An arrow f with "
    "the matrix W leads from the points to the latents, an arrow g with the matrix R leads back. The gradient of "
    "log|det W| with respect to W is W⁻ᵀ, which costs D³ operations; it is struck out, and an arrow brings Rᵀ in its "
    "place, which is already there. Likewise the gradient of log|det R| is R⁻ᵀ, struck out, and an arrow brings Wᵀ. A "
    "thin line from x by f and g to g(f(x)), beside x, is the reconstruction, weighted by λ."
)
SECONDS = 4


def still(layout: Layout) -> Iterator[str]:
    """Everything but the point that travels."""
    (x, z), (points, latents) = layout.chosen(), clouds()
    yield dots(placed(points, *layout.data[:2]))
    yield dots(placed(latents, *layout.latents[:2]))
    path = layout.travel()
    for joint in (0, 4, 5, 9, 10):
        yield f'<path d="{curve(path[joint])}" fill="none" stroke="currentColor" stroke-dasharray="2 3"/>'
    back = path[-1][0]
    for (at_x, at_y), look in ((x, 'fill="currentColor"'), (z, 'fill="currentColor"'), (back, f'fill="{BLUE}"')):
        yield f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="5" {look}/>'
    for before, after in (layout.f, layout.g):
        yield f'<path d="{curve(before)}" fill="none" stroke="currentColor" stroke-width="2"/>'
        yield arrow(after)
    place, anchor, end = layout.reconstruction
    yield f'<path d="{curve(straight(back, end))}" fill="none" stroke="currentColor" stroke-width="0.75"/>'
    yield words(place, "reconstruction, λ", anchor)
    yield words(layout.data[2], "data <tspan font-style='italic'>x</tspan>")
    yield words(layout.latents[2], "latents <tspan font-style='italic'>z</tspan>")
    for at, letter in zip(layout.letters, "fg", strict=True):
        yield words(at, letter, font_style="italic", font_size="17")
    for formula in layout.formulas:
        yield from formula.drawn()


def motion(layout: Layout) -> str:
    """Style that moves the point along its way and lets it rest at both ends; still where no motion is preferred."""
    way = [point_at(piece, part / 4) for piece in layout.travel()[:-1] for part in range(4)]
    way.append(layout.travel()[-1][0])
    lengths = [float(np.hypot(b[0] - a[0], b[1] - a[1])) for a, b in pairwise(way)]
    share = np.concatenate([[0.0], np.cumsum(lengths)]) / sum(lengths)
    frames = [(4 + 82 * float(part), place) for part, place in zip(share, way, strict=True)]
    frames = [(0.0, way[0]), *frames, (90.0, way[-1]), (97.0, way[0]), (100.0, way[0])]
    steps = "".join(f"{part:.1f}%{{transform:translate({x:.0f}px,{y:.0f}px)}}" for part, (x, y) in frames)
    name = layout.name
    return (
        f"@keyframes {name}{{{steps}}}.{name}-point{{visibility:hidden}}"
        f"@media screen and (prefers-reduced-motion:no-preference){{.{name}-point{{visibility:visible;"
        f"animation:{name} {SECONDS}s linear infinite}}svg:hover>.{name}-point{{animation-play-state:paused}}}}"
    )


def drawing(layout: Layout, moving: bool = True, extra: str = "") -> str:
    """The drawing as an SVG element; ``extra`` are further attributes."""
    name, (width, height) = layout.name, layout.size
    box = f'viewBox="0 0 {width} {height}" width="{width}" font-size="14"'
    lines = [f'<svg {extra}class="{name}" role="img" aria-labelledby="{name}-title {name}-words" {box}>']
    lines.append(f'<title id="{name}-title">{html.escape(TITLE)}</title>')
    lines.append(f'<desc id="{name}-words">{html.escape(DESCRIPTION.format(*layout.ends), quote=False)}</desc>')
    if moving:
        lines.append(f"<style>{motion(layout)}</style>")
    lines += still(layout)
    if moving:
        lines.append(f'<circle class="{name}-point" r="6" fill="currentColor"/>')
    for center, letter in zip(layout.boxes, "WR", strict=True):  # last: the point passes behind them
        lines.append(tag(center, (56, 40) if layout is WIDE else (36, 36), letter, GREY))
    return "\n".join([*lines, "</svg>"])
