"""The index of the runs of record: which files there are and what they hold, so that none is lost or altered unseen."""

import hashlib
from pathlib import Path
from typing import Any

from snf_lite.experiments import ablation, preprocessing, record, results
from snf_lite.runtime import files

#: The index, in the folder of the runs.
INDEX = "index.json"
#: What is kept of a run; checkpoints and data are not.
KEPT = (".json", ".png")


def checksums(folder: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of each kept file by run and name."""
    files = sorted(path for path in folder.glob("*/*") if path.suffix in KEPT and not path.name.startswith("."))
    index: dict[str, dict[str, str]] = {}
    for path in files:
        index.setdefault(path.parent.name, {})[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return index


def write_index(folder: Path) -> Path:
    """Take the files as they are for the runs of record."""
    path = folder / INDEX
    files.write_json(checksums(folder), path)
    return path


def check(folder: Path) -> list[str]:
    """What is wrong with the runs in a folder; empty if nothing is.

    A file missing, altered or unknown to the index; a record that cannot be read or does not agree with itself.

    Raises:
        FileNotFoundError, ValueError: there is no index, or it is no JSON.
    """
    index, found = files.read_json(folder / INDEX, "index of runs"), checksums(folder)
    wrong = [problem for name in sorted({*index, *found}) for problem in _compared(name, index, found)]
    return wrong + [problem for name in found for problem in _unread(folder / name)]


def _compared(name: str, index: dict[str, Any], found: dict[str, Any]) -> list[str]:
    there, here = index.get(name, {}), found.get(name, {})
    lost = [f"{name}/{file}: is missing" for file in there if file not in here]
    new = [f"{name}/{file}: is not in {INDEX}" for file in here if file not in there]
    altered = [f"{name}/{file}: has been altered" for file in here if there.get(file, here[file]) != here[file]]
    return lost + new + altered


def _unread(run: Path) -> list[str]:
    """What its own reader says against a run's record."""
    try:
        if (run / preprocessing.FILE).exists():
            preprocessing.read(run / preprocessing.FILE)
        if any(run.glob(ablation.FILE.format("*"))):
            ablation.read(run)
        if (run / "record.json").exists():
            return results.problems(record.read_record(run / "record.json"), run.name)
    except (ValueError, OSError) as error:
        return [str(error)]
    except (KeyError, IndexError, TypeError) as error:
        return [f"{run.name}: its record lacks an entry or has one of another kind: {error!r}"]
    return []
