"""Figures of the plane: a density as shades, a map as a warped grid with areas, angles as a round compass."""

import math
from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import to_rgba
from matplotlib.patches import Circle, Wedge
from torch import Tensor

from snf_lite.analysis.figures import GREY, ORANGE, SERIES
from snf_lite.analysis.jacobian import Map, log_volume
from snf_lite.runtime import checks


class Plane:
    """The square [-side, side]² as a grid of ``cells`` × ``cells`` cells, for integrals and images of densities.

    Attributes:
        points: centers (cells², 2), the first coordinate slowest, of the default dtype.
        step: side of a cell.

    Raises:
        ValueError: side is not positive and finite, or cells is not a positive integer.
    """

    def __init__(self, side: float = 4.0, cells: int = 80) -> None:
        self.side = checks.number_between(side, 0, math.inf, "side", "Plane")
        self.cells = checks.positive_integer(cells, "cells", "Plane")
        self.step = 2 * self.side / self.cells
        centers = (torch.arange(self.cells) + 0.5) * self.step - self.side
        self.points = torch.cartesian_prod(centers, centers)

    def integral(self, density: Tensor) -> float:
        """Sum of a density (cells²,) over the cells times their area: 1 if it has no mass outside."""
        return float(self._each(density).sum()) * self.step**2

    def show(self, axes: Axes, density: Tensor, brightest: float | None = None, title: str = "") -> None:
        """Draw a density (cells²,) as shades, black at 0; ``brightest`` is the value of the lightest shade."""
        shades = self._each(density).reshape(self.cells, self.cells).T.numpy()
        extent = (-self.side, self.side, -self.side, self.side)
        axes.imshow(shades, origin="lower", extent=extent, cmap="cividis", vmin=0, vmax=brightest)
        _label(axes, title=title)

    def _each(self, density: Tensor) -> Tensor:
        if density.shape != self.points.shape[:1]:
            wanted = f"({self.cells**2},), one number a cell"
            raise ValueError(f"Plane: expected a density of shape {wanted}, got {tuple(density.shape)}.")
        return density.detach().cpu()


def square_outline(center: Tensor, side: float, points: int = 1) -> Tensor:
    """Outline of a square as a polygon (4·points, 2), counterclockwise from its lower left corner, ``points`` per side.

    center: (2,). A map bends the sides, so the area of the image needs many points.
    """
    points = checks.positive_integer(points, "points", "square_outline")
    along = torch.arange(points).to(center) / points - 0.5
    lower = torch.stack([along, torch.full_like(along, -0.5)], 1)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).to(center)
    sides = [lower]
    for _ in range(3):
        sides.append(sides[-1] @ turn)
    return center + side * torch.cat(sides)


def polygon_area(corners: Tensor) -> Tensor:
    """Area of a polygon by the shoelace formula: (…, N, 2) → (…); corners in order, sides that do not cross."""
    if corners.dim() < 2 or corners.shape[-1] != 2:
        raise ValueError(f"polygon_area: expected corners of shape (N, 2), got {tuple(corners.shape)}.")
    following = corners.roll(-1, -2)
    crossed = corners[..., 0] * following[..., 1] - corners[..., 1] * following[..., 0]
    return crossed.sum(-1).abs() / 2


def show_warped_grid(axes: Axes, f: Map, side: float = 2.0, cells: int = 16, limit: float = 3.0) -> PolyCollection:
    """Draw the cells of a grid over [-side, side]² after the map f, colored by the growth of their area.

    Args:
        axes: axes to draw on; they show [-limit, limit]².
        f: differentiable map (B, 2) → (B, 2).
        cells: number of cells along each side.

    Returns:
        The drawn cells; their color is log₂|det J_f| at the cell's center, between -2 (a quarter) and 2 (four times),
        for ``show_growth_scale``.
    """
    plane = Plane(side, checks.positive_integer(cells, "cells", "show_warped_grid"))
    corners = plane.points[:, None] + square_outline(torch.zeros(2), plane.step)  # (cells², 4, 2)
    with torch.no_grad():
        moved = f(corners.reshape(-1, 2)).reshape(corners.shape)
        growth = log_volume(f, plane.points) / math.log(2)
    # gray lines: a cell that kept its area is nearly white, as the page is
    shown = PolyCollection(list(moved.numpy()), edgecolors=GREY, linewidths=0.4, cmap="PuOr_r")
    shown.set_array(growth.numpy())
    shown.set_clim(-2, 2)
    axes.add_collection(shown)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    _label(axes)
    return shown


def show_growth_scale(axes: Axes, shown: PolyCollection) -> Colorbar:
    """Color bar of a warped grid with the labels ÷4 to ×4."""
    figure = axes.get_figure(root=True)
    assert figure is not None  # axes with a collection have a figure
    scale = figure.colorbar(shown, ax=axes, ticks=range(-2, 3), label="area after the move")
    scale.ax.set_yticklabels(["÷4", "÷2", "×1", "×2", "×4"])
    return scale


def _label(axes: Axes, title: str = "") -> None:
    axes.set(title=title, xlabel="first coordinate", ylabel="second coordinate")


def show_compass(
    axes: Axes, angles: Sequence[float], labels: Sequence[str], trail: Sequence[Sequence[float]] = ()
) -> None:
    """Draw directions at ``angles`` (degrees, 0 to 180) from the true gradient, on a round dial.

    The true gradient points up, and an angle, which has no sign, opens to the right. The half beyond 90° is shaded.

    Args:
        axes: axes to draw on.
        angles: angle of each direction, four at most.
        labels: name of each direction.
        trail: earlier angles of the same directions, oldest first, drawn as fading lines.

    Raises:
        ValueError: the numbers of labels and angles differ or exceed four, or an angle is outside [0, 180].
    """
    if len(angles) != len(labels) or len(angles) > len(SERIES):
        got = f"{len(angles)} angles and {len(labels)} labels"
        raise ValueError(f"show_compass: expected as many labels as angles, {len(SERIES)} at most, got {got}.")
    axes.add_patch(Circle((0, 0), 1, facecolor="none", edgecolor=GREY, linewidth=1))
    axes.add_patch(Wedge((0, 0), 1, 180, 360, facecolor=ORANGE, alpha=0.15, linewidth=0))
    marks = [[_on_dial(mark, 0.95), _on_dial(mark)] for mark in range(0, 360, 15)]
    axes.add_collection(LineCollection(marks, colors=GREY, linewidths=1))
    for mark in range(30, 181, 30):
        side = ("left", "center") if mark < 180 else ("center", "top")
        axes.text(*_on_dial(mark, 1.06), f"{mark}°", ha=side[0], va=side[1], fontsize=9)
    axes.text(0, 1.06, "exact", ha="center", va="bottom", fontsize=9)
    axes.text(-0.45, -0.45, "downhill", ha="center", va="center", fontsize=9)
    arrow = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", _on_dial(0), (0, 0), arrowprops={**arrow, "color": "black", "linestyle": "--"})
    for k, ((color, marker), degrees, label) in enumerate(zip(SERIES, angles, labels, strict=False)):
        checks.number_between(degrees, 0, 180, "an angle", "show_compass", low_included=True, high_included=True)
        axes.annotate("", _on_dial(degrees), (0, 0), arrowprops={**arrow, "color": color, "lw": 2})
        axes.plot(*_on_dial(degrees), marker, color=color, label=f"{label}: {degrees:.0f}°")
        fading = [to_rgba(color, 0.1 + 0.4 * (at + 1) / len(trail)) for at in range(len(trail))]
        axes.add_collection(LineCollection([[(0, 0), _on_dial(past[k])] for past in trail], colors=fading))
    axes.set(xlim=(-1.25, 1.35), ylim=(-1.3, 1.25), aspect="equal")
    axes.set_axis_off()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, fontsize=8, frameon=False)


def _on_dial(degrees: float, radius: float = 1.0) -> tuple[float, float]:
    return radius * math.sin(math.radians(degrees)), radius * math.cos(math.radians(degrees))
