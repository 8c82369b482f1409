"""The two layouts of the drawing: where clouds, arrows, matrices and gradients stand, in pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import ndtr, ndtri
from sklearn.datasets import make_moons

from snf_book.swap.svg import Curve, Point, arrow, power, straight, tag, words
from snf_lite.analysis.figures import BLUE, ORANGE

#: Number of points of each cloud, seed, and width of the kernels in standard deviations.
POINTS, SEED, KERNEL = 120, 4, 0.1


@cache
def clouds() -> tuple[np.ndarray, np.ndarray]:
    """Points x of two moons, standardized, and their latents z, both (N, 2).

    The map is the triangular one from a kernel density of the points to the standard normal density: z₁ is the normal
    quantile of the distribution function of x₁, and z₂ that of x₂ given x₁. Both are scaled to variance 1, which the
    points have not by themselves, since each lies at the middle of a kernel.
    """
    points, _ = make_moons(POINTS, noise=0.08, random_state=SEED)
    x = (points - points.mean(0)) / points.std(0)
    first, second = ((x[:, None, i] - x[None, :, i]) / KERNEL for i in (0, 1))
    weights = np.exp(-(first**2) / 2)
    given_first = (weights * ndtr(second)).sum(1) / weights.sum(1)
    z = np.stack([ndtri(ndtr(first).mean(1)), ndtri(given_first)], 1)
    return x, z / z.std(0)


@cache
def chosen() -> int:
    """Number of the point that travels, at the left of the upper moon."""
    x, _ = clouds()
    return int(np.argmin(((x - (-1.7, 0.2)) ** 2).sum(1)))


def placed(points: np.ndarray, center: Point, scale: float) -> list[Point]:
    """Points (N, 2) in the pixels of a drawing, whose second axis points down."""
    return [(center[0] + scale * a, center[1] - scale * b) for a, b in points.tolist()]


@dataclass(frozen=True)
class Formula:
    """A gradient of a log-determinant: what it is of, struck out, and what replaces it.

    Attributes:
        matrix, other: Letter of the matrix, and of the one whose transpose replaces the inverse.
        left: Place of the left-hand side, at the end that touches the sign of equality.
        anchor: Which end of the left-hand side that is.
        struck, cost, swapped: Centers of the inverse, of its cost, and of the replacement.
        brought: Curve from the other matrix to the replacement.
        there: Place of the words "already there".
        there_anchor: Which end of these words that is.
    """

    matrix: str
    other: str
    left: Point
    anchor: str
    struck: Point
    cost: Point
    swapped: Point
    brought: Curve
    there: Point
    there_anchor: str

    def drawn(self) -> Iterator[str]:
        of = f"∂ log|det {self.matrix}| / ∂{self.matrix}"
        yield words(self.left, f"{of} =" if self.anchor == "end" else f"= {of}", self.anchor)
        yield words(self.struck, power(self.matrix, "−T"))
        (x, y) = self.struck
        yield f'<path d="M{x - 18:g} {y + 6:g}L{x + 18:g} {y - 1:g}" fill="none" stroke="{ORANGE}" stroke-width="3"/>'
        yield tag(self.cost, (30, 19), "D³", ORANGE, filled=False)
        yield arrow(self.brought, BLUE, 2.5)
        yield tag(self.swapped, (34, 24), power(self.other, "T"), BLUE)
        yield words(self.there, "already there", self.there_anchor, font_style="italic")


@dataclass(frozen=True)
class Layout:
    """Where everything stands, in pixels.

    Attributes:
        name: Beginning of its ids.
        ends: Where the data and the latents are, in words.
        size: Width and height.
        data, latents: Center and scale of each cloud, and the place of its name.
        f, g: Curve before the matrix and curve behind it, for each map.
        boxes: Centers of the matrices W and R.
        letters: Places of the letters f and g.
        back: Where g(f(x)) lies beside x.
        reconstruction: Place of the word, its anchor, and the end of the line that leads to it.
        formulas: The two gradients.
    """

    name: str
    ends: tuple[str, str]
    size: tuple[int, int]
    data: tuple[Point, float, Point]
    latents: tuple[Point, float, Point]
    f: tuple[Curve, Curve]
    g: tuple[Curve, Curve]
    boxes: tuple[Point, Point]
    letters: tuple[Point, Point]
    back: Point
    reconstruction: tuple[Point, str, Point]
    formulas: tuple[Formula, Formula]

    def travel(self) -> list[Curve]:
        """From x by f to z, by g to g(f(x)), and beside it back to x."""
        x, z = self.chosen()
        back = (x[0] + self.back[0], x[1] + self.back[1])
        path: list[Curve] = []
        for parts, start, end in ((self.f, x, z), (self.g, z, back)):
            before, after = parts
            path += [straight(start, before[0]), before, straight(before[3], after[0]), after, straight(after[3], end)]
        return [*path, straight(back, x)]

    def chosen(self) -> tuple[Point, Point]:
        """The point x that travels, and its z."""
        x, z = clouds()
        return placed(x, *self.data[:2])[chosen()], placed(z, *self.latents[:2])[chosen()]


WIDE = Layout(
    name="swap-wide",
    ends=("Left", "right"),
    size=(760, 300),
    data=((92, 152), 42, (70, 58)),
    latents=((664, 152), 31, (700, 54)),
    f=(
        ((126, 84), (150, 48), (200, 48), (352, 48)),
        ((408, 48), (570, 48), (612, 48), (636, 84)),
    ),
    g=(
        ((636, 220), (612, 252), (570, 252), (408, 252)),
        ((352, 252), (200, 252), (150, 252), (126, 226)),
    ),
    boxes=((380, 48), (380, 252)),
    letters=((275, 34), (485, 268)),
    back=(15, 9),
    reconstruction=((8, 280), "start", (60, 268)),
    formulas=(
        Formula(
            "W", "R", (424, 108), "end", (450, 108), (450, 82), (540, 108),
            ((408, 240), (505, 226), (540, 190), (540, 128)), (522, 150), "end",
        ),
        Formula(
            "R", "W", (336, 192), "start", (310, 192), (310, 218), (220, 192),
            ((352, 60), (255, 74), (220, 110), (220, 172)), (238, 150), "start",
        ),
    ),
)  # fmt: skip
TALL = Layout(
    name="swap-tall",
    ends=("At the top", "at the bottom"),
    size=(340, 460),
    data=((170, 78), 29, (170, 12)),
    latents=((170, 372), 25, (170, 446)),
    f=(
        ((108, 84), (54, 84), (26, 100), (26, 145)),
        ((26, 181), (26, 330), (44, 364), (98, 370)),
    ),
    g=(
        ((242, 370), (296, 364), (314, 330), (314, 285)),
        ((314, 249), (314, 110), (296, 84), (238, 82)),
    ),
    boxes=((26, 163), (314, 267)),
    letters=((12, 118), (328, 316)),
    back=(14, 9),
    reconstruction=((66, 138), "start", (112, 129)),
    formulas=(
        Formula(
            "W", "R", (216, 163), "end", (237, 163), (237, 138), (276, 163),
            ((296, 260), (268, 250), (276, 222), (276, 183)), (262, 205), "end",
        ),
        Formula(
            "R", "W", (124, 267), "start", (103, 267), (103, 292), (64, 267),
            ((44, 170), (72, 180), (64, 208), (64, 247)), (78, 226), "start",
        ),
    ),
)  # fmt: skip
