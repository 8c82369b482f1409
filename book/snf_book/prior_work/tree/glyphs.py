"""Signs of the shapes of Jacobians, triangular or full, as small SVGs in the color of the text."""

from collections.abc import Callable

from snf_book.prior_work.systems import SYSTEMS

#: Cells along a side of a sign, and its size in pixels.
CELLS, SIZE = 5, 25
#: Shade of each cell of a matrix, by row and column.
Shade = Callable[[int, int], float]

MATRICES: dict[str, tuple[str, Shade]] = {
    "triangle": ("triangular", lambda i, j: float(i >= j)),
    "coupling": ("triangular, half of it the identity", lambda i, j: float(i == j or (i > 2 and j < 3))),
    "two triangles": ("two triangles, one after the other", lambda i, j: 0.85 if i != j else 1.0),
    "blocks": ("triangular, in blocks", lambda i, j: float(i // 2 >= j // 2)),
    "low rank": ("the identity plus a low rank", lambda i, j: 1.0 if i == j else 0.25),
    "series": ("near the identity: a series", lambda i, j: 1.0 if i == j else 0.5 ** abs(i - j)),
    "lattice": ("none: points of a lattice", lambda i, j: 0.0),
    "full": ("any matrix", lambda i, j: 0.7),
}
SIGNS: dict[str, str] = {
    "NICE": "coupling", "planar": "low rank", "radial": "low rank", "Real NVP": "coupling", "IAF": "triangle",
    "MAF": "triangle", "NAF": "triangle", "Glow": "coupling", "Sylvester": "low rank", "i-ResNet": "series",
    "emerging convolutions": "two triangles", "Flow++": "coupling", "B-NAF": "blocks",
    "sum-of-squares polynomial": "triangle", "integer discrete flows": "lattice", "residual flows": "series",
    "neural spline": "triangle", "convolution exponential": "series", "self-normalizing flow": "full",
    "its exact twin": "full",
}  # fmt: skip
assert list(SIGNS) == [system.name for system in SYSTEMS]


def glyph(name: str) -> str:
    """The sign of a system."""
    return sign(SIGNS[name])


def sign(kind: str) -> str:
    """An SVG of the shape, labeled for screen readers."""
    words, shade = MATRICES[kind]
    inner = _lattice() if kind == "lattice" else _two_triangles() if kind == "two triangles" else _matrix(shade)
    return (
        f'<svg width="{SIZE}" height="{SIZE}" viewBox="0 0 {CELLS} {CELLS}" role="img" aria-label="Jacobian: {words}">'
        f'<rect width="{CELLS}" height="{CELLS}" fill="none" stroke="currentColor" stroke-width=".3"/>{inner}</svg>'
    )


def key() -> str:
    """A list of the signs with their meanings."""
    return "".join(f'<div class="sign">{sign(kind)}{words}</div>' for kind, (words, _) in MATRICES.items())


def _matrix(shade: Shade) -> str:
    """A square for each cell, with a little space between, by which a full matrix differs from a blank square."""
    cells = ((i, j, shade(i, j)) for i in range(CELLS) for j in range(CELLS))
    square = 'width=".88" height=".88" fill="currentColor"'
    return "".join(f'<rect x="{j}.06" y="{i}.06" {square} fill-opacity="{dark:.2g}"/>' for i, j, dark in cells if dark)


def _lattice() -> str:
    points = ((i + 0.5, j + 0.5) for i in range(CELLS) for j in range(CELLS))
    return "".join(f'<circle cx="{x}" cy="{y}" r=".2" fill="currentColor"/>' for x, y in points)


def _two_triangles() -> str:
    return f'<path d="M0 0L0 {CELLS}L{CELLS - 0.4} {CELLS}z" fill="currentColor"/>' + (
        f'<path d="M.4 0L{CELLS} 0L{CELLS} {CELLS}z" fill="currentColor" fill-opacity=".45"/>'
    )
