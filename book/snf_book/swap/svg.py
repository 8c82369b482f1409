"""Pieces of SVG: dots, curves, arrows, words and tags."""

from collections.abc import Iterable

import numpy as np

from snf_lite.analysis.figures import GREY

Point = tuple[float, float]
Curve = tuple[Point, Point, Point, Point]  # a cubic Bézier curve


def dots(points: Iterable[Point]) -> str:
    """Points as one path of strokes without length, whose round ends are discs."""
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points)
    return f'<path d="{path}" fill="none" stroke="{GREY}" stroke-width="4.5" stroke-linecap="round"/>'


def curve(*pieces: Curve) -> str:
    """The ``d`` of a path of Bézier curves, each of which begins where the last one ends."""
    start = "M{:.1f} {:.1f}".format(*pieces[0][0])
    return start + "".join("C{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}".format(*a, *b, *c) for _, a, b, c in pieces)


def arrow(piece: Curve, color: str = "currentColor", width: float = 2) -> str:
    """A curve with a head at its end."""
    (x, y), (end_x, end_y) = piece[2], piece[3]
    length = np.hypot(end_x - x, end_y - y)
    along_x, along_y = (end_x - x) / length, (end_y - y) / length
    corners = [
        (end_x + 6 * forward * along_x + 5 * aside * along_y, end_y + 6 * forward * along_y - 5 * aside * along_x)
        for forward, aside in ((1, 0), (-1, 1), (-1, -1))
    ]
    head = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
    line = f'<path d="{curve(piece)}" fill="none" stroke="{color}" stroke-width="{width:g}"/>'
    return f'{line}<polygon points="{head}" fill="{color}"/>'


def straight(start: Point, end: Point) -> Curve:
    """A straight line as a Bézier curve at constant speed."""
    (x, y), (to_x, to_y) = start, end
    third, two_thirds = ((x + (to_x - x) * part, y + (to_y - y) * part) for part in (1 / 3, 2 / 3))
    return start, third, two_thirds, end


def words(place: Point, text: str, anchor: str = "middle", color: str = "currentColor", **style: str) -> str:
    """Words whose middle line is at ``place``; ``text`` is SVG."""
    look = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in style.items())
    where = f'x="{place[0]:g}" y="{place[1]:g}" text-anchor="{anchor}" dominant-baseline="central"'
    return f'<text {where} fill="{color}"{look}>{text}</text>'


def power(base: str, exponent: str) -> str:
    """A letter with a raised exponent that no font has as a sign of its own."""
    return f'{base}<tspan dy="-5" font-size="12">{exponent}</tspan>'


def tag(center: Point, size: Point, text: str, color: str, filled: bool = True) -> str:
    """Words on a colored ground, white; or in a colored frame, in the color of other words."""
    x, y = center[0] - size[0] / 2, center[1] - size[1] / 2
    place = f'x="{x:g}" y="{y:g}" width="{size[0]:g}" height="{size[1]:g}" rx="4"'
    look = f'fill="{color}"' if filled else f'fill="none" stroke="{color}" stroke-width="2"'
    return (
        f"<rect {place} {look}/>{words(center, text, color='white' if filled else 'currentColor', font_weight='bold')}"
    )


def point_at(piece: Curve, part: float) -> Point:
    """The point of a Bézier curve at ``part`` of its way, between 0 and 1."""
    weights = ((1 - part) ** 3, 3 * part * (1 - part) ** 2, 3 * part**2 * (1 - part), part**3)
    x, y = (sum(weight * point[axis] for weight, point in zip(weights, piece, strict=True)) for axis in (0, 1))
    return x, y
