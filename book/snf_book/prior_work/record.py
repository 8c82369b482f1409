"""The record of the comparison: measured, written whole, and refused by its reader once altered."""

import base64
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snf_book.prior_work.measures import PICTURE_CELLS, WINDOW
from snf_book.prior_work.systems import EIGHTEEN, SYSTEMS
from snf_lite.runtime import files, provenance

FORMAT, FILE = 1, "prior.json"
#: What the record, an entry of it and the two kinds of measurement hold.
ENTRIES = (
    "format", "command", "seed", "data", "package", "libraries", "device", "threads", "date", "seconds", "truth",
    "systems", "candidates", "impostor", "series", "sha256",
)  # fmt: skip
SYSTEM = ("year", "library", "code", "plane", "digits", "sha256")
PLANE = (
    "steps", "train_seconds", "parameters", "log_prob", "standard_error", "integral", "log_det_error", "round_trip",
    "pattern", "layer_pattern", "seconds", "ratios", "brightest", "density",
)  # fmt: skip
DIGITS = (
    "steps", "train_seconds", "parameters", "nats", "standard_error", "log_det_error", "pattern", "layer_pattern",
    "seconds", "ratios", "samples",
)  # fmt: skip
#: How far the stored picture's own sum may lie from the integral: it is rounded, coarse, and of a smaller square.
PICTURE_ERROR = 0.06


def encoded(values: Tensor, brightest: float) -> str:
    """Numbers from 0 to ``brightest`` as the bytes of their roots' 255ths, in base64: dark ones keep some digits."""
    shades = (255 * (values / brightest).clamp(0, 1).sqrt()).round()
    return base64.b64encode(shades.to(torch.uint8).numpy().tobytes()).decode("ascii")


def decoded(text: str, brightest: float, shape: tuple[int, ...]) -> Tensor:
    """What ``encoded`` had, but for the rounding; float64.

    Raises:
        ValueError: there are not as many bytes as the shape wants.
    """
    shades = np.frombuffer(base64.b64decode(text), dtype=np.uint8).astype(np.float64)
    if shades.size != math.prod(shape):
        raise ValueError(f"decoded: expected {math.prod(shape)} bytes for a shape {shape}, got {shades.size}.")
    return brightest * (torch.from_numpy(shades).reshape(shape) / 255) ** 2


def density_of(entry: dict[str, Any]) -> Tensor:
    """The stored density of an entry's plane, (64, 64), the second coordinate upwards."""
    plane = entry["plane"]
    return decoded(plane["density"], plane["brightest"], (PICTURE_CELLS, PICTURE_CELLS))


def with_ratios(entries: dict[str, Any], part: str) -> None:
    """Beside the seconds of each entry their ratios to the fastest of this run."""
    found = [entry[part] for entry in entries.values() if entry[part]]
    for what in ("density", "sample"):
        fastest = min(one["seconds"][what] for one in found)
        for one in found:
            one.setdefault("ratios", {})[what] = one["seconds"][what] / fastest


def make(
    command: str, seed: int, data: dict[str, Any], seconds: float, libraries: dict[str, str], measured: dict[str, Any]
) -> dict[str, Any]:
    """The record of what was measured, sealed.

    Args:
        command: the command line that makes it again, without paths.
        data: events and their hashes.
        libraries: the versions of those that were compared.
        measured: ``truth``, ``systems``, ``candidates``, ``impostor`` and ``series``.
    """
    made = provenance.provenance(torch.device("cpu"))
    systems = {name: sealed(entry) for name, entry in measured["systems"].items()}
    return sealed({
        "format": FORMAT, "command": command, "seed": seed, "data": data, **made,
        "libraries": {**made["libraries"], **libraries}, "seconds": seconds, **measured, "systems": systems,
    })  # fmt: skip


def sealed(entry: dict[str, Any]) -> dict[str, Any]:
    """The entry with the SHA-256 of all that it says."""
    return {**entry, "sha256": _digest(entry)}


def _digest(entry: dict[str, Any]) -> str:
    own = {key: value for key, value in entry.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(own, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()).hexdigest()


def write(record: dict[str, Any], path: str | Path) -> None:
    """Write a record as JSON, whole or not at all; OSError as ``atomic_write``."""
    files.write_json(record, path, depth=4)


def read(path: str | Path) -> dict[str, Any]:
    """The record in a file, for the book.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no such record, one that was altered, or one that contradicts itself; the message names the file
            and what is wrong.
    """
    record = files.read_json(path, "record of prior work")
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{path}: expected the record of prior work, format {FORMAT}, got something else.")
    wrong = [*_unlike(record, ENTRIES, "the record")] or _problems(record)
    if wrong:
        raise ValueError(f"{path}: {'; '.join(wrong)}.")
    return record


def _problems(record: dict[str, Any]) -> list[str]:
    names, wanted = list(record["systems"]), [system.name for system in SYSTEMS]
    found = [] if names == wanted else [f"expected the systems {', '.join(wanted)}; got {', '.join(names)}"]
    for name, entry in record["systems"].items():
        found += [f"{name}: {words}" for words in _wrong_with(entry)]
    found += [f"the fastest {part} {what} has no ratio of 1" for part, what in _without_fastest(record)]
    return found if record["sha256"] == _digest(record) else [*found, "it was altered after it was written"]


def _without_fastest(record: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [(part, what) for part in ("plane", "digits") for what in ("density", "sample")]
    entries = record["systems"].values()
    return [
        (part, what) for part, what in pairs
        if min((entry[part]["ratios"][what] for entry in entries if entry.get(part)), default=1) != 1
    ]  # fmt: skip


def _wrong_with(entry: dict[str, Any]) -> list[str]:
    """What an entry lacks, or says that its own numbers deny."""
    found = _unlike(entry, SYSTEM, "the entry") or _unlike(entry["plane"], PLANE, "its plane")
    if entry.get("digits"):
        found += _unlike(entry["digits"], DIGITS, "its digits")
    if found:
        return found
    checks = {
        "it was altered after it was measured": entry["sha256"] != _digest(entry),
        "its picture does not hold what its integral says": not _picture_agrees(entry),
    }
    return [words for words, wrong in checks.items() if wrong]


def _picture_agrees(entry: dict[str, Any]) -> bool:
    mass = float(density_of(entry).sum()) * (2 * WINDOW / PICTURE_CELLS) ** 2
    return abs(mass - entry["plane"]["integral"]) < PICTURE_ERROR


def _unlike(found: dict[str, Any], wanted: tuple[str, ...], what: str) -> list[str]:
    wrong = sorted(set(wanted) ^ set(found))
    return [f"missing or unknown in {what}: {', '.join(wrong)}"] if wrong else []


def eighteen_of(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The entries of the systems that the talk names, by name."""
    return {system.name: record["systems"][system.name] for system in EIGHTEEN}


def off_by(entry: dict[str, Any], within: float = 0.02) -> bool:
    """Whether the integral of an entry's density lies farther than so much from 1."""
    return abs(entry["plane"]["integral"] - 1) > within
