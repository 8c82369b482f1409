"""Studies of many trainings: what is finished is kept, and an interrupted command continues with the rest."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from snf_lite.runtime import files
from snf_lite.runtime.records import Record, write_record

#: Results so far, in the folder of the record; ``store`` removes them when the record is written.
UNFINISHED = ".unfinished.json"


def run_all(
    trainings: Mapping[str, Callable[[], Mapping[str, Any]]], key: Mapping[str, Any], folder: Path, digits: int
) -> tuple[dict[str, Any], float]:
    """The results of the trainings by name, and the seconds of all; those of an interrupted command are not repeated.

    Args:
        trainings: Name → a training, which returns its results, ``nats`` among them, None if it diverged.
        key: Settings and code; results that were made with others are not taken over.
        folder: Folder of the record.
        digits: Decimals of the printed nats.
    """
    partial: dict[str, Any] = {"key": dict(key), "runs": {}, "seconds": 0.0}
    if (folder / UNFINISHED).exists():
        stored = files.read_json(folder / UNFINISHED, "unfinished study")
        partial = stored if stored["key"] == partial["key"] else partial
    for name, train in trainings.items():
        if name in partial["runs"]:
            continue
        started = time.perf_counter()
        partial["runs"][name] = train()
        partial["seconds"] += time.perf_counter() - started
        files.write_json(partial, folder / UNFINISHED)
        nats = partial["runs"][name]["nats"]
        print(f"{name}: {'diverged' if nats is None else f'{nats:.{digits}f} nats'}", flush=True)
    return partial["runs"], partial["seconds"]


def store(record: Record, path: Path, read: Callable[[Path], Any]) -> None:
    """Write the record of a study whose trainings are all finished, read it back, and remove the results so far.

    Args:
        record: Record of the study.
        path: File of the record, in the folder that ``run_all`` was given.
        read: Reader of the record, which refuses one that contradicts itself.
    """
    write_record(record, path)
    read(path)
    (path.parent / UNFINISHED).unlink()
