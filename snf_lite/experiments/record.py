"""A run's record: what was computed, from what, by which code, on what machine, and what came out. Small, in JSON."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from snf_lite.analysis.sampling import SamplePair
from snf_lite.flow import Flow
from snf_lite.runtime.files import read_json, write_json
from snf_lite.runtime.provenance import provenance
from snf_lite.training.evaluation import Evaluation
from snf_lite.training.history import History

FORMAT = 1


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
    command: str, model: str, settings: dict[str, Any], flow: Flow, history: History, test: Evaluation, pair: SamplePair
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


def write_record(record: Record, path: str | Path) -> None:
    """Write a record as JSON, whole or not at all; OSError as ``atomic_write``."""
    write_json({"format": FORMAT, **asdict(record)}, path)


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
