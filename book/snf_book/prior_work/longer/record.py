"""The record of the longer runs of prior work in the plane, one file for each seed."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict

from torch import Tensor

from snf_book.prior_work.measures import WINDOW
from snf_book.prior_work.record import decoded, image_problems
from snf_book.prior_work.systems import SYSTEMS
from snf_lite.experiments.archive import records_root
from snf_lite.runtime import records

FILE = "long.json"
#: Folder of a record, by seed.
FOLDER = "prior-work-long-seed{}"


class LongEntry(TypedDict):
    """A system's longer run."""

    steps: int
    batch: int
    lr: float
    larger: str
    train_seconds: float
    parameters: int
    log_prob: float
    standard_error: float
    integral: float
    brightest: float
    density: str


@dataclass(frozen=True, kw_only=True)
class LongRecord(records.Record):
    """Longer runs of the systems in the plane.

    Attributes:
        seed: Seed of weights, order and noise.
        data: The data set and its SHA-256.
        truth: Mean log-density of the true distribution at the test points.
        systems: Run by name, with the processor time of its training.
        seconds: Processor time of all trainings; a run that was interrupted has no wall time.
    """

    kind: ClassVar[str] = "prior-work-long"
    json_depth: ClassVar[int] = 4

    seed: int
    data: dict[str, Any]
    truth: float
    systems: Annotated[dict[str, dict[str, Any]], dict[str, LongEntry]]

    def problems(self) -> list[str]:
        known, names = [system.name for system in SYSTEMS], list(self.systems)
        found = [] if names == [name for name in known if name in names] else ["the systems are not in their order"]
        return found + [
            f"{name}: {problem}"
            for name, entry in self.systems.items()
            for problem in image_problems(density_of(entry), WINDOW, entry["integral"])
        ]


def density_of(entry: dict[str, Any]) -> Tensor:
    """The stored density of a run, with the second coordinate pointing up."""
    cells = math.isqrt(3 * len(entry["density"]) // 4)  # base64 takes four characters for three bytes
    return decoded(entry["density"], entry["brightest"], (cells, cells))


def read(path: str | Path) -> dict[str, Any]:
    """The entries of the record in a file, those of ``LongRecord``; raises as ``records.read_record``."""
    return vars(records.read_record(path, LongRecord))


def read_all() -> list[dict[str, Any]]:
    """The stored records in the order of their seeds."""
    paths = records_root().glob(f"{FOLDER.format('*')}/{FILE}")
    return sorted((read(path) for path in paths), key=lambda found: found["seed"])
