"""A run's record: what was computed, from what, by which code, on what machine, and what came out. Small, in JSON."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from .atomic import write_whole
from .devices import device_name
from .evaluation import Result
from .flow import Flow
from .history import History
from .sampling import SamplePair

FORMAT = 1
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Record:
    """All that stands behind a number.

    Attributes:
        command: the command line that makes this run again.
        model: its name, its builder's settings, and how many parameters it has.
        seed: of the fresh weights, the order and the noise.
        data: for each split used its name, count and SHA-256.
        package: snf_lite's version, commit, and whether its files differed from that commit; None outside git.
        libraries: versions of python, torch and numpy.
        device: what it is sold as.
        threads: how many torch used.
        date: when the record was made, UTC.
        seconds: wall time of training and validation.
        history: ``History.as_dict()``, with the settings of ``fit`` in it.
        results: ``Result`` by split: exact nats and bits/dim.
        sampling: relative distance of g(z) from f⁻¹(z), and times a sample.
    """

    command: str
    model: dict[str, Any]
    seed: int
    data: dict[str, Any]
    package: dict[str, Any]
    libraries: dict[str, str]
    device: str
    threads: int
    date: str
    seconds: float
    history: dict[str, Any]
    results: dict[str, Any]
    sampling: dict[str, Any]


def make_record(
    command: str, model: str, settings: dict[str, Any], flow: Flow, history: History, test: Result, pair: SamplePair
) -> Record:
    """The record of a finished run, made by the process that ran it.

    Args:
        command: see ``Record``; without paths, for records are published.
        model, settings: what ``build`` was given.
        flow, history: trained, and what ``fit`` returned.
        test: what ``evaluate`` returned.
        pair: what ``sample_pair`` returned.
    """
    return Record(
        command=command,
        model={"name": model, "settings": settings, "parameters": sum(w.numel() for w in flow.parameters())},
        seed=history.settings["seed"],
        data={"train": history.settings["data"], "validation": history.settings["validation"], "test": test.data},
        **provenance(flow.device),
        seconds=history.seconds[-1],
        history=history.as_dict(),
        results={"test": asdict(test)},
        sampling=pair.as_dict(),
    )


def provenance(device: torch.device) -> dict[str, Any]:
    """What every kind of record says of where and when it was made; ``Record`` explains the entries."""
    return {
        "package": package_identity(),
        "libraries": library_versions(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def library_versions() -> dict[str, str]:
    """Versions of what computes."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def package_identity() -> dict[str, Any]:
    """Version, commit and dirtiness of the snf_lite that is running; commit and dirty are None outside its own git."""
    from . import __version__  # the package is not complete yet while this module is imported

    folder = Path(__file__).parent
    top = _git(folder, "rev-parse", "--show-toplevel")
    # Installed into an environment inside some other repository, the package is not that repository's commit.
    if top is None or Path(top).resolve() != folder.parent.resolve():
        return {"version": __version__, "commit": None, "dirty": None}
    changes = _git(folder, "status", "--porcelain", "--", str(folder))
    return {"version": __version__, "commit": _git(folder, "rev-parse", "HEAD"), "dirty": changes != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None where it refuses or is not there. Git prints a path as the bytes the system has for it."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(done.stdout).strip() if done.returncode == 0 else None


def write_record(record: Record, path: str | Path) -> None:
    """Write a record as JSON, whole or not at all; OSError as ``write_whole``."""
    write_json({"format": FORMAT, **asdict(record)}, path)


def write_json(value: Any, path: str | Path, depth: int = 2) -> None:
    """Write a value as ``as_json`` has it, whole or not at all; OSError as ``write_whole``."""
    write_whole(path, (as_json(value, depth) + "\n").encode())


def as_json(value: Any, depth: int = 2, margin: str = "") -> str:
    """JSON with one entry a line down to ``depth``: a diff shows what changed, and a history takes no 600 lines."""
    if depth == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = margin + "  "
    lines = [f"{inner}{json.dumps(key)}: {as_json(entry, depth - 1, inner)}" for key, entry in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"


def read_json(path: str | Path, what: str) -> Any:
    """What a JSON file holds; FileNotFoundError or ValueError, which name the file, if it is not there or no JSON."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such {what}.") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected a record in JSON, got a file that is not: {error}.") from error


def read_entries(path: str | Path, kind: type[Kind], what: str, version: int) -> Kind:
    """The dataclass in a JSON file that has its fields as entries, beside the ``format`` ``version``.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it holds something else; the message names it.
    """
    stored = read_json(path, what)
    wanted = {"format", *(field.name for field in fields(kind))}  # type: ignore[arg-type]
    if not isinstance(stored, dict) or set(stored) != wanted or stored.pop("format") != version:
        raise ValueError(f"{path}: expected the {what}, format {version}, got something else.")
    return kind(**stored)


def read_record(path: str | Path) -> Record:
    """The record in a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no record, or of another format; the message names the file and what is wrong.
    """
    stored = read_json(path, "record")
    if not isinstance(stored, dict) or stored.pop("format", None) != FORMAT:
        raise ValueError(f"{path}: expected a record of format {FORMAT}, got something else.")
    wanted = {field.name for field in fields(Record)}
    if set(stored) != wanted:
        wrong = ", ".join(sorted(wanted ^ set(stored)))
        raise ValueError(f"{path}: expected the entries of a record, got others: missing or unknown are {wrong}.")
    return Record(**stored)
