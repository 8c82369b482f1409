"""The record of a benchmark: what ran, on what, and every case's medians, ratios and counts. JSON, sealed by hashes."""

import hashlib
import json
import math
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from snf_lite.benchmarks.cost_model import power_law
from snf_lite.benchmarks.third_party import LIBRARIES
from snf_lite.runtime import files, provenance

FORMAT = 1
#: What a record holds, and what each of its cases and contenders does.
ENTRIES = (
    "format", "command", "seed", "package", "libraries", "device", "threads", "date", "seconds", "exponents", "cases",
    "sha256",
)  # fmt: skip
CASE_ENTRIES = (
    "suite", "event_shape", "batch", "kernel_size", "model", "floor", "rounds", "contenders", "skipped",
    "sha256",
)  # fmt: skip
RESULT_ENTRIES = (
    "what", "median", "quartiles", "ratio", "ratio_quartiles", "products", "multiply_adds", "solvers",
    "solver_multiply_adds", "saved_bytes", "peak_bytes",
)  # fmt: skip
#: Below this D a step's time is mostly that of calling: exponents are fitted from here on, to so many sizes at least.
FITTED_FROM, FITTED_SIZES = 512, 3


def make_bench_record(
    command: str, seed: int, device: torch.device, seconds: float, cases: list[dict[str, Any]]
) -> dict[str, Any]:
    """The record of finished races.

    Args:
        command: the command line that makes it again, without paths.
        seconds: wall time of the whole.
        cases: what ``bench.run_races`` gave.
    """
    made = provenance.provenance(device)
    return _sealed({
        "format": FORMAT,
        "command": command,
        "seed": seed,
        **made,
        "libraries": {**made["libraries"], **_versions_of_others()},
        "seconds": seconds,
        "exponents": exponents(cases),
        "cases": {case_name(case): _sealed(case) for case in cases},
    })  # fmt: skip


def case_name(case: dict[str, Any]) -> str:
    """By which a record holds a case: "dense: D = 784, B = 128"."""
    shape, kernel = case["event_shape"], case["kernel_size"]
    size = f"D = {shape[0]}" if len(shape) == 1 else "×".join(map(str, shape))
    parts = (case["model"], size, kernel and f"kernel {kernel}×{kernel}", case["batch"] and f"B = {case['batch']}")
    return f"{case['suite']}: {', '.join(part for part in parts if part)}"


def suites(record: dict[str, Any]) -> list[str]:
    """The suites that a record has cases of, in the order in which they ran."""
    return list(dict.fromkeys(case["suite"] for case in record["cases"].values()))


def _versions_of_others() -> dict[str, str | None]:
    return {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def exponents(cases: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How the time of a dense step grows: p in D^p by batch ("B = 128") and contender, where sizes suffice."""
    found: dict[str, dict[str, float]] = {}
    for name, batch, points in _times_over_features(cases):
        if len(points) >= FITTED_SIZES:
            found.setdefault(f"B = {batch}", {})[name] = power_law(points)[0]
    return found


def _times_over_features(cases: list[dict[str, Any]]) -> list[tuple[str, int, dict[int, float]]]:
    large = [case for case in cases if case["suite"] == "dense" and case["event_shape"][0] >= FITTED_FROM]
    keys = dict.fromkeys((name, case["batch"]) for case in large for name in case["contenders"])
    return [
        (name, batch, {
            case["event_shape"][0]: case["contenders"][name]["median"]
            for case in large if case["batch"] == batch and name in case["contenders"]
        })
        for name, batch in keys
    ]  # fmt: skip


# ---- to a file and back ----------------------------------------------------------------------------------------------


def write_bench(record: dict[str, Any], path: str | Path) -> None:
    """Write a record as JSON, whole or not at all; OSError as ``atomic_write``."""
    files.write_json(record, path, depth=4)


def read_bench(path: str | Path) -> dict[str, Any]:
    """The record in a file, for the book.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no record of a benchmark, an entry missing or unknown, or something altered since it was written;
            the message names the file and what is wrong.
    """
    record = files.read_json(path, "record of a benchmark")
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{path}: expected the record of a benchmark, format {FORMAT}, got something else.")
    _check(record, lambda wrong: ValueError(f"{path}: {wrong}"))
    return record


def _check(record: dict[str, Any], error: Callable[[str], ValueError]) -> None:
    _check_entries(record, ENTRIES, "the record", error)
    for name, case in record["cases"].items():
        where = f"the case {name!r}"
        _check_entries(case, CASE_ENTRIES, where, error)
        _check_results(case, where, error)
        if not _seal_holds(case):
            raise error(f"{where} was altered after it was measured.")
    if not _seal_holds(record):
        raise error("the record was altered after it was written, outside its single cases.")


def _check_results(case: dict[str, Any], where: str, error: Callable[[str], ValueError]) -> None:
    floor = case["contenders"].get(case["floor"])
    for name, result in case["contenders"].items():
        _check_entries(result, RESULT_ENTRIES, f"{where}, contender {name!r}", error)
        if floor and not math.isclose(result["ratio"], result["median"] / floor["median"]):
            raise error(f"{where}, contender {name!r}: its ratio is not that of the medians; one of them was altered.")


def _check_entries(
    found: dict[str, Any], wanted: tuple[str, ...], where: str, error: Callable[[str], ValueError]
) -> None:
    wrong = sorted(set(wanted) ^ set(found))
    if wrong:
        raise error(f"{where}: missing or unknown are {', '.join(wrong)}.")


def _sealed(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "sha256": _digest(entry)}


def _seal_holds(entry: dict[str, Any]) -> bool:
    return bool(entry["sha256"] == _digest({key: value for key, value in entry.items() if key != "sha256"}))


def _digest(entry: dict[str, Any]) -> str:
    text = json.dumps(entry, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
