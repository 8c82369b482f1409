"""Pictures of the plane, and the areas in them: a density as shades, a map as a warped grid, an angle as a compass."""

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colorbar import Colorbar
from torch import Tensor

from snf_lite.analysis.figures import GREY, ORANGE, SERIES
from snf_lite.analysis.jacobian import Map, log_volume
from snf_lite.runtime import checks


class Plane:
    """The square [-side, side]² as ``cells`` × ``cells`` cells: their centres, and what a density looks like there.

    Attributes:
        points: the centres (cells², 2), the first coordinate slowest, of the default dtype.
        step: the side of a cell.

    Raises:
        ValueError: a side that is not positive and finite, or a number of cells that is no positive integer.
    """

    def __init__(self, side: float = 4.0, cells: int = 80) -> None:
        self.side = checks.number_between(side, 0, math.inf, "side", "Plane")
        self.cells = checks.positive_integer(cells, "cells", "Plane")
        self.step = 2 * self.side / self.cells
        centres = (torch.arange(self.cells) + 0.5) * self.step - self.side
        self.points = torch.cartesian_prod(centres, centres)

    def integral(self, density: Tensor) -> float:
        """The sum of a density (cells²,) over the cells, times their area: 1 if it has no mass outside."""
        return float(self._each(density).sum()) * self.step**2

    def show(self, axes: Axes, density: Tensor, brightest: float | None = None, title: str = "") -> None:
        """A density (cells²,) as shades, black at 0; ``brightest``: the value of the lightest shade."""
        shades = self._each(density).reshape(self.cells, self.cells).T.numpy()
        extent = (-self.side, self.side, -self.side, self.side)
        axes.imshow(shades, origin="lower", extent=extent, cmap="cividis", vmin=0, vmax=brightest)
        _label(axes, title=title)

    def _each(self, density: Tensor) -> Tensor:
        if density.shape != self.points.shape[:1]:
            wanted = f"({self.cells**2},), one number a cell"
            raise ValueError(f"Plane: expected a density of shape {wanted}, got {tuple(density.shape)}.")
        return density.detach().cpu()


def square_outline(centre: Tensor, side: float, points: int = 1) -> Tensor:
    """A square's outline as a polygon: (4·points, 2), anticlockwise from its lower left corner, ``points`` a side.

    centre: (2,). A map bends the sides, so the image's area needs many points.
    """
    points = checks.positive_integer(points, "points", "square_outline")
    along = torch.arange(points).to(centre) / points - 0.5
    lower = torch.stack([along, torch.full_like(along, -0.5)], 1)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).to(centre)
    sides = [lower]
    for _ in range(3):
        sides.append(sides[-1] @ turn)
    return centre + side * torch.cat(sides)


def polygon_area(corners: Tensor) -> Tensor:
    """The area of a polygon by the shoelace formula: (…, N, 2) → (…); corners in turn, sides that do not cross."""
    if corners.dim() < 2 or corners.shape[-1] != 2:
        raise ValueError(f"polygon_area: expected corners of shape (N, 2), got {tuple(corners.shape)}.")
    following = corners.roll(-1, -2)
    crossed = corners[..., 0] * following[..., 1] - corners[..., 1] * following[..., 0]
    return crossed.sum(-1).abs() / 2


def show_warped_grid(axes: Axes, f: Map, side: float = 2.0, cells: int = 16, limit: float = 3.0) -> PolyCollection:
    """The cells of a grid over [-side, side]² after the map f, coloured by how much each has grown.

    Args:
        axes: to draw on; shows [-limit, limit]².
        f: (B, 2) → (B, 2), differentiable.
        cells: how many along each side.

    Returns:
        The drawn cells; their colour is log₂|det J_f| at the cell's centre, between -2 (a quarter) and 2 (four times),
        for ``show_growth_scale``.
    """
    corners, centres = _grid(side, checks.positive_integer(cells, "cells", "show_warped_grid"))
    with torch.no_grad():
        moved = f(corners.reshape(-1, 2)).reshape(corners.shape)
        growth = log_volume(f, centres) / math.log(2)
    # grey lines: a cell that kept its area is nearly white, and so is the page
    shown = PolyCollection(list(moved.numpy()), edgecolors=GREY, linewidths=0.4, cmap="PuOr_r")
    shown.set_array(growth.numpy())
    shown.set_clim(-2, 2)
    axes.add_collection(shown)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    _label(axes)
    return shown


def show_growth_scale(axes: Axes, shown: PolyCollection) -> Colorbar:
    """The scale of a warped grid's colours, beside its axes, in words: ÷4 to ×4."""
    figure = axes.get_figure(root=True)
    assert figure is not None  # axes that were drawn on belong to one
    scale = figure.colorbar(shown, ax=axes, ticks=range(-2, 3), label="area after the move")
    scale.ax.set_yticklabels(["÷4", "÷2", "×1", "×2", "×4"])
    return scale


def _label(axes: Axes, title: str = "") -> None:
    axes.set(title=title, xlabel="first coordinate", ylabel="second coordinate")


def _grid(side: float, cells: int) -> tuple[Tensor, Tensor]:
    """Corners (cells², 4, 2) in turn around each cell, and centres (cells², 2)."""
    plane = Plane(side, cells)
    around = square_outline(torch.zeros(2), plane.step)
    return plane.points[:, None] + around, plane.points


def show_compass(axes: Axes, angles: Sequence[float], labels: Sequence[str]) -> None:
    """Directions at ``angles`` (degrees, 0 to 180) from the true gradient, which points right; beyond 90° is shaded.

    Raises:
        ValueError: not a label for each angle, more than four, or an angle outside [0, 180].
    """
    if len(angles) != len(labels) or len(angles) > len(SERIES):
        got = f"{len(angles)} angles and {len(labels)} labels"
        raise ValueError(f"show_compass: expected as many labels as angles, {len(SERIES)} at most, got {got}.")
    axes.fill_between([-1.25, 0], -0.1, 1.25, color=ORANGE, alpha=0.15, linewidth=0)
    axes.text(-1.2, 1.1, "downhill", color="#8a3c00")
    axes.annotate("", (1.1, 0), (0, 0), arrowprops={"arrowstyle": "->", "color": "black", "linestyle": "--"})
    axes.text(1.0, -0.08, "exact", ha="right", va="top")
    for (colour, marker), degrees, label in zip(SERIES, angles, labels, strict=False):
        tip = _tip(degrees)
        axes.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "->", "color": colour, "lw": 2})
        axes.plot(*tip, marker, color=colour, label=f"{label}: {degrees:.0f}°")
    axes.set(xlim=(-1.25, 1.25), ylim=(-0.2, 1.25), aspect="equal")
    axes.set_axis_off()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, fontsize=8, frameon=False)


def _tip(degrees: float) -> tuple[float, float]:
    checks.number_between(degrees, 0, 180, "an angle", "show_compass", low_included=True, high_included=True)
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
