"""Figures and rows of the chapter: the Jacobians of image flows, densities, and what the tables list."""

from collections.abc import Iterator, Sequence
from statistics import mean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from snf_book.prior_work.measures import WINDOW
from snf_book.prior_work.record import decoded
from snf_book.prior_work.system import INVERSES
from snf_book.prior_work.systems import PIXELS, SYSTEMS, system_named
from snf_book.prior_work.tree.tiles import BRIGHTEST
from snf_lite.analysis.figures import panels
from snf_lite.training.evaluation import bits_per_dim

#: What stands in a table where a number is missing.
NONE = "–"


def names(part: str | None = None) -> Sequence[str]:
    """Names of the systems in the order of the record; with ``part="digits"`` only the image flows."""
    return [system.name for system in SYSTEMS if part != "digits" or system.digits]


# ---- rows of tables --------------------------------------------------------------------------------------------------


def likelihood_rows(record: dict[str, Any], longer: Sequence[dict[str, Any]] = ()) -> Iterator[list[Any]]:
    """For each system its year and log p after 600 steps; of longer runs steps, log p with its deviation, and seeds."""
    for name in names():
        entry, found = record["systems"][name], runs_of(longer, name)
        row = [name, str(entry["year"]), entry["plane"]["log_prob"]]
        if not found:
            yield row
            continue
        values = [run["log_prob"] for run in found]
        spread = stdev(values) if len(values) > 1 else None
        steps = f"{found[0]['steps']:,d}"
        yield [*row, steps, (mean(values), spread), str(len(values))]


def check_rows(record: dict[str, Any]) -> Iterator[list[Any]]:
    """For each system integral, error of the log-determinant, times over the fastest, its inverse, and parameters."""
    for name, entry in record["systems"].items():
        plane, ratios = entry["plane"], entry["plane"]["ratios"]
        error = plane["log_det_error"]
        error = NONE if error is None else error or "0"
        inverse = INVERSES[system_named(name).inverse]
        yield [name, plane["integral"], error, ratios["density"], ratios["sample"], inverse, plane["parameters"]]


def digit_rows(record: dict[str, Any]) -> Iterator[list[Any]]:
    """For each image flow negative log-likelihood, bits per dimension, times over the fastest, and parameters."""
    for name in names("digits"):
        found = record["systems"][name]["digits"]
        bits = bits_per_dim(found["nats"], PIXELS[1] * PIXELS[2])
        yield [name, found["nats"], bits, found["ratios"]["density"], found["ratios"]["sample"], found["parameters"]]


def runs_of(longer: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """A system's longer runs, by seed."""
    return [record["systems"][name] for record in longer if name in record["systems"]]


# ---- figures ---------------------------------------------------------------------------------------------------------


def show_density(axes: Axes, density: Tensor, title: str = "") -> None:
    """Draw a stored density over the window of the gallery, on the common scale."""
    extent = (-WINDOW, WINDOW, -WINDOW, WINDOW)
    axes.imshow(density.numpy(), extent=extent, cmap="cividis", vmin=0, vmax=BRIGHTEST)
    axes.set_title(title)
    axes.set(xticks=[], yticks=[])


def plot_jacobians(record: dict[str, Any], name: str) -> Figure:
    """The mean absolute Jacobian of a layer and of the whole flow on the digits, 64×64, on a logarithmic scale."""
    figure, axes = panels(2, height=3.7)
    figure.set_layout_engine("constrained", h_pad=0.1)  # the titles need space above
    size = PIXELS[1] * PIXELS[2]
    for place, title, key in ((axes[0], "a layer", "layer_pattern"), (axes[1], "the whole flow", "pattern")):
        shades = decoded(record["systems"][name]["digits"][key], 1.0, (size, size))
        place.imshow(shades.numpy(), cmap="Greys", vmin=0, vmax=1)
        place.set(title=title, xticks=[], yticks=[], xlabel="pixel", ylabel="latent")
    return figure


def described(name: str) -> str:
    """Alternative text of ``plot_jacobians``."""
    return f"{name}: a layer's Jacobian is {system_named(name).pattern}."
