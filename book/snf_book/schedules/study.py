"""The study: short trainings of a family by several schedules, and what each came to in how much processor time."""

import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict

from snf_book.schedules.optimizers import Averaged, MuonAndAdam
from snf_lite.data.datasets import load
from snf_lite.experiments.paper_tables import ALL_ROWS, with_twins
from snf_lite.runtime import records
from snf_lite.training.evaluation import evaluate
from snf_lite.training.fit import fit

FILE = "schedules.json"
FOLDER = "schedules-{}-{}"


@dataclass(frozen=True)
class Schedule:
    """A candidate; after an epoch of warm-up the learning rate falls to 0 as a half cosine.

    Attributes:
        batch_size, lr: Settings of ``fit``.
        optimizer: "Adam"; "Muon", for matrices, with Adam for the rest; or "average": Adam at a constant learning rate
            and the exponential moving average of its weights.
        settings: Settings of the model's builder other than those of the preset.
    """

    batch_size: int
    lr: float
    optimizer: str = "Adam"
    settings: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        parts = [self.optimizer, f"batch {self.batch_size}", f"lr {self.lr:g}"]
        return ", ".join(parts + [f"{name} {value}" for name, value in self.settings.items()])


#: The models of a search, the exact twin first. What is good over a few epochs need not be good over many: the search
#: ``dense-long`` is for many, of the cheapest model alone, which follows the exact twin at every schedule.
MODELS = {
    "dense": with_twins("dense-tracked"),
    "dense-long": ["dense-tracked"],
    "conv": with_twins("conv-unbiased"),
    "glow": ["glow-exact", "glow-selfnorm"],
}
#: The candidates of a search; the first is that of the preset ``fast``.
CANDIDATES: dict[str, tuple[Schedule, ...]] = {
    "dense": (
        Schedule(100, 1e-3), Schedule(100, 3e-3), Schedule(250, 3e-3), Schedule(500, 2e-3), Schedule(500, 5e-3),
        Schedule(500, 1e-2), Schedule(500, 5e-3, "average"), Schedule(1000, 2e-2, "Muon"),
    ),
    "dense-long": (
        Schedule(100, 1e-3), Schedule(500, 2e-3), Schedule(250, 2e-3), Schedule(500, 3e-3), Schedule(100, 2e-3),
        Schedule(500, 1e-2),
    ),
    "conv": (Schedule(100, 5e-3), Schedule(50, 5e-3), Schedule(50, 1e-2), Schedule(50, 2e-2), Schedule(25, 1e-2)),
    "glow": (
        Schedule(100, 1e-3), Schedule(50, 1e-3), Schedule(50, 5e-3), Schedule(50, 1e-2), Schedule(50, 2e-2),
        Schedule(50, 5e-3, settings={"steps": 8}), Schedule(50, 5e-3, settings={"width": 64}),
        Schedule(50, 5e-3, settings={"steps": 8, "width": 64}),
    ),
}  # fmt: skip


class Entry(TypedDict):
    """A training: exact validation value ``nats``, and ``cpu_seconds`` of its steps and two validations.

    ``nats`` is the value at the end, or at the start where that is better; None where the training diverged.
    """

    nats: float | None
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class SearchRecord(records.Record):
    """Results of all candidates of a search.

    Attributes:
        family: Name of the search in ``CANDIDATES``.
        epochs: Passes of each training over the data.
        seed: Seed of weights, order and noise, the same for all.
        models: Names of its models.
        data: Name and SHA-256 by split.
        candidates: For each schedule, in words, an ``Entry`` by model.
    """

    kind: ClassVar[str] = "schedules"
    json_depth: ClassVar[int] = 3

    family: str
    epochs: int
    seed: int
    models: list[str]
    data: dict[str, str]
    candidates: Annotated[dict[str, dict[str, Any]], dict[str, dict[str, Entry]]]

    def problems(self) -> list[str]:
        wanted = list(map(str, CANDIDATES.get(self.family, ())))
        if list(self.candidates) != wanted:
            return [f"expected the candidates {'; '.join(wanted)} of {self.family!r}, got {'; '.join(self.candidates)}"]
        models = ", ".join(self.models)
        return [
            f"{name}: expected the models {models}, got {', '.join(entries)}"
            for name, entries in self.candidates.items() if list(entries) != self.models
        ]  # fmt: skip

    def mean(self, schedule: Schedule) -> float:
        """Mean of a candidate's values over the models, in nats; infinite if one diverged."""
        found = [entry["nats"] for entry in self.candidates[str(schedule)].values()]
        return math.inf if None in found else statistics.mean(found)

    def rows(self) -> list[list[str | float | None]]:
        """For each candidate its words, then values and times by model; the first time of all is the unit."""
        entries = [list(by_model.values()) for by_model in self.candidates.values()]
        unit = entries[0][0]["cpu_seconds"]
        return [
            [words, *(one["nats"] for one in found), *(one["cpu_seconds"] / unit for one in found)]
            for words, found in zip(self.candidates, entries, strict=True)
        ]

    def best(self) -> Schedule:
        """The candidate with the smallest mean."""
        return min(CANDIDATES[self.family], key=self.mean)


def train(model: str, data: str, schedule: Schedule, epochs: int, seed: int) -> Entry:
    """Train a model from a fresh start, in all else by the preset ``fast``."""
    config = ALL_ROWS[model].run_config("fast", data, seed, epochs, **schedule.settings)
    flow = config.fresh_flow(load(data, "train"))
    averaged = Averaged(flow) if schedule.optimizer == "average" else None
    settings: dict[str, Any] = {"lr": schedule.lr}
    if schedule.optimizer != "Adam":
        settings = {"optimizer": partial(averaged.optimizer if averaged else MuonAndAdam, lr=schedule.lr)}
    started = time.process_time()
    try:
        fit(
            flow, data, epochs, schedule.batch_size, device="cpu", seed=seed, whiten=config.training.whiten,
            decay="constant" if averaged else "cosine", evaluate_every=epochs, progress=False, **settings,
        )  # fmt: skip
    except FloatingPointError:
        return {"nats": None, "cpu_seconds": time.process_time() - started}
    seconds = time.process_time() - started
    if averaged:
        averaged.take()
    return {"nats": evaluate(flow, data, split="validation").nats, "cpu_seconds": seconds}


def read(path: str | Path) -> SearchRecord:
    """The record in a file; raises as ``records.read_record``."""
    return records.read_record(path, SearchRecord)
