"""The study: two flows that differ in the gradient alone, on four densities of the plane, and what they learned."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict

import torch
from torch import Tensor

from snf_book.plane import Plane
from snf_book.prior_work.record import decoded, encoded, image_problems
from snf_lite.analysis.learned_inverse import inverse_errors
from snf_lite.data.datasets import load
from snf_lite.dense import ExactLinear, SelfNormLinear
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.spline import RationalQuadraticSpline
from snf_lite.runtime import records
from snf_lite.runtime.rng import isolated_rng

FILE = "twins.json"
#: Densities of the plane, in the order of the chapter's figure.
DENSITIES = ("moons", "checkerboard", "spirals", "mixture")
KINDS: dict[str, Callable[[int], FlowLayer]] = {"exact": ExactLinear, "learned": SelfNormLinear}
#: Splines of a flow and their bins; between them, before the first and after the last stands a dense layer.
SPLINES, BINS, BOUND = 8, 16, 4.0
#: Examples of a step, and of the start.
BATCH, START = 256, 1000
#: Half a side of the window of the stored densities, and their cells along it.
WINDOW, CELLS = 4.5, 96
#: Cells of the grid for the integral along each side of a stored cell.
FINER = 2


class TwinEntry(TypedDict):
    """A trained flow.

    ``nats``: mean of -log p over the test points and its standard error ``deviation``; ``integral`` of the density over
    the window; ``inverse_error``: the largest ‖RW − I‖₂ of its layers, 0 without R; ``brightest``: the largest value
    of the stored ``density``, one byte for each cell in base64.
    """

    nats: float
    deviation: float
    integral: float
    inverse_error: float
    brightest: float
    density: str


class PairEntry(TypedDict):
    """The twins on one density."""

    exact: TwinEntry
    learned: TwinEntry


@dataclass(frozen=True, kw_only=True)
class TwinsRecord(records.Record):
    """Results of the twins.

    Attributes:
        seed: Seed of weights and order, the same for both of a pair.
        steps, lr: Number of steps and the initial learning rate, which falls to 0 as a half cosine.
        data: SHA-256 of the training and the test points, by density.
        pairs: The twins by density.
    """

    kind: ClassVar[str] = "twins"
    json_depth: ClassVar[int] = 3

    seed: int
    steps: int
    lr: float
    data: dict[str, dict[str, str]]
    pairs: Annotated[dict[str, dict[str, Any]], dict[str, PairEntry]]

    def problems(self) -> list[str]:
        if tuple(self.pairs) != DENSITIES:
            return [f"expected the densities {', '.join(DENSITIES)}; got {', '.join(self.pairs)}"]
        return [
            f"{name}, {kind}: {problem}"
            for name, pair in self.pairs.items()
            for kind, entry in pair.items()
            for problem in image_problems(shades(entry), WINDOW, entry["integral"])
        ]


def shades(entry: dict[str, Any] | TwinEntry) -> Tensor:
    """The stored density of a flow, (cells²,) as ``Plane(WINDOW, CELLS).show`` draws it; float64."""
    return decoded(entry["density"], entry["brightest"], (CELLS * CELLS,))


def model(kind: str, name: str, seed: int) -> Flow:
    """The flow of a kind before training on a density; its dense layers start whitened, and R as the exact inverse."""
    with isolated_rng("cpu", seed, "twins", "weights"):
        layers: list[FlowLayer] = [KINDS[kind](2)]
        for _ in range(SPLINES):
            layers += [RationalQuadraticSpline((2,), bins=BINS, bound=BOUND), KINDS[kind](2)]
        return Flow(layers, event_shape=(2,)).initialise(_points(name, "train")[:START], whiten=True)


def train(kind: str, name: str, seed: int, steps: int, lr: float) -> TwinEntry:
    """Train one flow on one density; what it came to, in float64."""
    flow, points = model(kind, name, seed), _points(name, "train")
    optimizer = torch.optim.Adam(flow.parameters(), lr=lr)
    cool = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with isolated_rng("cpu", seed, "twins", "order"):
        for _ in range(steps):
            optimizer.zero_grad()
            flow.loss(points[torch.randint(len(points), (BATCH,))]).backward()
            optimizer.step()
            cool.step()
    return measured(flow.double(), _points(name, "test").double())


@torch.no_grad()
def measured(flow: Flow, unseen: Tensor) -> TwinEntry:
    """The entry of a flow in float64, by test points (N, 2).

    A cell's stored density is the mean over its smaller cells, by which the integral is computed too.
    """
    found = -flow.log_prob(unseen)
    centers = (torch.arange(CELLS * FINER, dtype=unseen.dtype) + 0.5) * (2 * WINDOW / (CELLS * FINER)) - WINDOW
    fine = flow.log_prob(torch.cartesian_prod(centers, centers)).exp()
    density = fine.reshape(CELLS, FINER, CELLS, FINER).mean((1, 3)).flatten()
    brightest = float(density.max())
    return {
        "nats": float(found.mean()),
        "deviation": float(found.std() / len(unseen) ** 0.5),
        "integral": float(fine.mean()) * (2 * WINDOW) ** 2,
        "inverse_error": max(inverse_errors(flow), default=0.0),
        "brightest": brightest,
        "density": encoded(density, brightest),
    }


def plane() -> Plane:
    """The grid of the stored densities."""
    return Plane(WINDOW, CELLS)


def read(path: str | Path) -> TwinsRecord:
    """The record in a file; raises as ``records.read_record``."""
    return records.read_record(path, TwinsRecord)


def _points(name: str, split: str) -> Tensor:
    return load(name, split).as_subclass(Tensor)
