"""Figures of the record: all densities, one system with its Jacobian, and the table of all systems."""

import textwrap
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from snf_book.prior_work.measures import WINDOW
from snf_book.prior_work.record import decoded, density_of
from snf_book.prior_work.system import INVERSES
from snf_book.prior_work.systems import PIXELS, SYSTEMS, system_named
from snf_lite.analysis.figures import panels

#: Density of the lightest shade; higher peaks are clipped.
BRIGHTEST = 0.7
#: Densities in a row of the gallery.
COLUMNS = 7


def table(record: dict[str, Any]) -> str:
    """Table of all systems in the plane: log p of test points, integral, checks, times over the fastest, size."""
    head = f"{'':26s}{'year':>5s}{'log p':>7s}{'∫ p':>7s}{'Δlog|det|':>10s}{'density':>9s}{'sample':>8s}{'numbers':>8s}"
    rows = []
    for name, entry in record["systems"].items():
        plane, off = entry["plane"], entry["plane"]["log_det_error"]
        claimed = "–" if off is None else f"{off:.0e}" if off else "0"
        ratios = [f"×{plane['ratios'][what]:.1f}" for what in ("density", "sample")]
        rows.append(
            f"{name:26s}{entry['year']:5d}{plane['log_prob']:7.2f}{plane['integral']:7.3f}{claimed:>10s}"
            f"{ratios[0]:>9s}{ratios[1]:>8s}{plane['parameters']:8d}"
        )
    return "\n".join([head, *rows])


def show_density(axes: Axes, density: Tensor, title: str = "") -> None:
    """Draw a stored density over the window of the gallery, on the common scale."""
    extent = (-WINDOW, WINDOW, -WINDOW, WINDOW)
    axes.imshow(density.numpy(), extent=extent, cmap="cividis", vmin=0, vmax=BRIGHTEST)
    axes.set_title(title, fontsize=8)
    axes.set(xticks=[], yticks=[])


def plot_gallery(record: dict[str, Any], truth: Tensor) -> Figure:
    """The densities of all systems side by side, after the true one (64, 64)."""
    shown = [("the truth", truth), *((name, density_of(entry)) for name, entry in record["systems"].items())]
    rows = -(-len(shown) // COLUMNS)
    figure, _ = panels(1, height=1.55 * rows, width=8.2)
    figure.clear()
    for axes, (name, density) in zip(figure.subplots(rows, COLUMNS).flat, shown, strict=False):
        show_density(axes, density, textwrap.fill(name, 15))
    for axes in figure.axes[len(shown) :]:
        axes.set_axis_off()
    return figure


def plot_system(record: dict[str, Any], name: str) -> Figure:
    """One system: its density, the mean Jacobian of a layer and of the whole, and its restriction in words."""
    entry, system = record["systems"][name], system_named(name)
    figure, axes = panels(4, height=2.5, width=8.2)
    show_density(axes[0], density_of(entry), "density")
    for place, what, key in ((1, "a layer", "layer_pattern"), (2, "the whole", "pattern")):
        _show_pattern(axes[place], entry, key, f"Jacobian of {what}")
    words = textwrap.fill(system.gives_up, 34) + "\n\n" + textwrap.fill(f"A layer's Jacobian: {system.pattern}.", 34)
    axes[3].set_axis_off()
    axes[3].text(0, 1, f"{name}, {system.year}", weight="bold", fontsize=9, va="top", transform=axes[3].transAxes)
    axes[3].text(0, 0.85, words, fontsize=8, va="top", transform=axes[3].transAxes)
    plane = entry["plane"]
    numbers = (
        f"log p {plane['log_prob']:.2f}, integral {plane['integral']:.3f}\n"
        f"density ×{plane['ratios']['density']:.1f}, sample ×{plane['ratios']['sample']:.1f}"
    )
    axes[3].text(0, 0.02, numbers, fontsize=8, va="bottom", transform=axes[3].transAxes)
    return figure


def _show_pattern(axes: Axes, entry: dict[str, Any], key: str, title: str) -> None:
    """The 64×64 Jacobian on the digits if there is one, else the 2×2 one of the plane with its numbers."""
    axes.set_title(title, fontsize=8)
    axes.set(xticks=[], yticks=[], xlabel="of the event", ylabel="of the code")
    if entry["digits"]:
        size = PIXELS[1] * PIXELS[2]
        axes.imshow(decoded(entry["digits"][key], 1.0, (size, size)).numpy(), cmap="Greys", vmin=0, vmax=1)
        return
    matrix = torch.tensor(entry["plane"][key])
    axes.imshow(matrix.numpy() / float(matrix.max()), cmap="Greys", vmin=0, vmax=1.6)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        number = float(matrix[row, column])
        axes.text(column, row, f"{number:.2g}" if number else "0", ha="center", va="center")


def described(record: dict[str, Any], name: str) -> str:
    """Alternative text of ``plot_system``."""
    entry, system = record["systems"][name], system_named(name)
    plane = entry["plane"]
    return (
        f"{name} ({system.authors}, {system.year}). {system.gives_up} A layer's Jacobian is {system.pattern}; it comes "
        f"back {INVERSES[system.inverse]}. Mean log p {plane['log_prob']:.2f}, integral {plane['integral']:.3f}."
    )


def names(part: str | None = None) -> Sequence[str]:
    """Names of the systems in the order of the record; with ``part="digits"`` only the image flows."""
    return [system.name for system in SYSTEMS if part != "digits" or system.digits]
