"""The record of the comparison of prior work."""

import base64
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict

import numpy as np
import torch
from torch import Tensor

from snf_book.prior_work.measures import PICTURE_CELLS, WINDOW
from snf_book.prior_work.systems import EIGHTEEN, SYSTEMS
from snf_lite.runtime import records

FILE = "prior.json"
#: Tolerance of the sum of a stored image, which is rounded, coarse, and covers less than the integral.
IMAGE_TOLERANCE = 0.06


class Speed(TypedDict):
    """Seconds of a density and of a sample, or their ratios to the fastest system's."""

    density: float
    sample: float


class PlaneEntry(TypedDict):
    """Measurements of a system in the plane."""

    steps: int
    train_seconds: float
    parameters: int
    log_prob: float
    standard_error: float
    integral: float
    log_det_error: float | None
    round_trip: float
    pattern: list[list[float]]
    layer_pattern: list[list[float]]
    seconds: Speed
    ratios: Speed
    brightest: float
    density: str


class DigitsEntry(TypedDict):
    """Measurements of a system on the digits."""

    steps: int
    train_seconds: float
    parameters: int
    nats: float
    standard_error: float
    log_det_error: float | None
    pattern: str
    layer_pattern: str
    seconds: Speed
    ratios: Speed
    samples: str


class SystemEntry(TypedDict):
    """A system and its measurements."""

    year: int
    library: str
    code: str
    plane: PlaneEntry
    digits: DigitsEntry | None


@dataclass(frozen=True, kw_only=True)
class PriorRecord(records.Record):
    """Measurements of every system.

    Attributes:
        seed: Seed of weights, order and noise.
        data: Data sets and their SHA-256.
        truth: Mean log-density of the true distribution at the test points.
        systems: By name year, library, code, and the measurements ``plane`` and ``digits``.
        candidates: Results of ``verification.examine`` for published code.
        impostor: A flow trained with a wrong log-determinant.
        series: Errors of the power series of a residual flow.
    """

    kind: ClassVar[str] = "prior-work"
    json_depth: ClassVar[int] = 4

    seed: int
    data: dict[str, Any]
    truth: float
    systems: Annotated[dict[str, dict[str, Any]], dict[str, SystemEntry]]
    candidates: list[dict[str, Any]]
    impostor: dict[str, Any]
    series: dict[str, Any]

    def problems(self) -> list[str]:
        names, wanted = list(self.systems), [system.name for system in SYSTEMS]
        found = [] if names == wanted else [f"expected the systems {', '.join(wanted)}; got {', '.join(names)}"]
        found += [
            f"{name}: {problem}"
            for name, entry in self.systems.items()
            for problem in image_problems(density_of(entry), WINDOW, entry["plane"]["integral"])
        ]
        for part in () if found else ("plane", "digits"):
            ratios = [entry[part]["ratios"] for entry in self.systems.values() if entry[part]]
            slow = [what for what in ("density", "sample") if min((ratio[what] for ratio in ratios), default=1) != 1]
            found += [f"no {part} {what} has the ratio 1" for what in slow]
        return found

    @classmethod
    def from_format_1(cls, entries: dict[str, Any]) -> dict[str, Any]:
        for entry in (entries, *entries["systems"].values()):
            entry.pop("sha256", None)
        return entries


def encoded(values: Tensor, brightest: float) -> str:
    """Values from 0 to ``brightest`` in base64, one byte each; the square root keeps the precision of small values."""
    shades = (255 * (values / brightest).clamp(0, 1).sqrt()).round()
    return base64.b64encode(shades.to(torch.uint8).numpy().tobytes()).decode("ascii")


def decoded(text: str, brightest: float, shape: tuple[int, ...]) -> Tensor:
    """The values that ``encoded`` stored, rounded to its precision; float64.

    Raises:
        ValueError: The number of bytes does not match the shape.
    """
    shades = np.frombuffer(base64.b64decode(text), dtype=np.uint8).astype(np.float64)
    if shades.size != math.prod(shape):
        raise ValueError(f"decoded: expected {math.prod(shape)} bytes for the shape {shape}, got {shades.size}.")
    return brightest * (torch.from_numpy(shades).reshape(shape) / 255) ** 2


def density_of(entry: dict[str, Any]) -> Tensor:
    """The stored density of a system in the plane, (64, 64), with the second coordinate pointing up."""
    plane = entry["plane"]
    return decoded(plane["density"], plane["brightest"], (PICTURE_CELLS, PICTURE_CELLS))


def image_problems(density: Tensor, window: float, integral: float) -> list[str]:
    """A phrase if a stored density contradicts its integral.

    Args:
        density: Values of the cells of the square from -window to window in both coordinates.
        window: Half a side of the square.
        integral: Integral that is stored beside it.
    """
    mass = float(density.sum()) * (2 * window) ** 2 / density.numel()
    matches = abs(mass - integral) < IMAGE_TOLERANCE
    return [] if matches else ["the sum of its image does not match its integral"]


def with_ratios(entries: dict[str, Any], part: str) -> None:
    """Add to the seconds of each entry their ratios to the fastest entry."""
    found = [entry[part] for entry in entries.values() if entry[part]]
    for what in ("density", "sample"):
        fastest = min(one["seconds"][what] for one in found)
        for one in found:
            one.setdefault("ratios", {})[what] = one["seconds"][what] / fastest


def read(path: str | Path) -> dict[str, Any]:
    """The entries of the record in a file, those of ``PriorRecord``; raises as ``records.read_record``."""
    return vars(records.read_record(path, PriorRecord))


def eighteen_of(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of the eighteen systems of the talk, by name."""
    return {system.name: record["systems"][system.name] for system in EIGHTEEN}


def off_by(entry: dict[str, Any], within: float = 0.02) -> bool:
    """Whether the integral of a system's density differs from 1 by more than ``within``."""
    return abs(entry["plane"]["integral"] - 1) > within
