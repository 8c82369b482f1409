"""The manifest of the stored runs: SHA-256 of every file, so that a missing or altered file is noticed."""

from pathlib import Path
from typing import Any

from snf_lite.experiments import ablation, preprocessing, record
from snf_lite.runtime import files

#: Name of the manifest, in the folder of the runs.
INDEX = "index.json"
#: Suffixes of the files that are kept; checkpoints and data are not.
KEPT = (".json", ".png")


def checksums(folder: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of each kept file, by run and file name."""
    index: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*/*")):
        if path.suffix in KEPT and not path.name.startswith("."):
            index.setdefault(path.parent.name, {})[path.name] = files.sha256(path.read_bytes())
    return index


def write_index(folder: Path) -> Path:
    """Write the manifest of the files as they are."""
    path = folder / INDEX
    files.write_json(checksums(folder), path)
    return path


def check(folder: Path) -> list[str]:
    """Problems of the runs in a folder; empty if there are none.

    A file may be missing, altered or absent from the manifest; a record of a training run, an ablation or a
    preprocessing may be unreadable or contradict itself.

    Raises:
        FileNotFoundError, ValueError: There is no manifest, or it is not JSON.
    """
    index, found = files.read_json(folder / INDEX, "index of runs"), checksums(folder)
    changed = [problem for name in sorted({*index, *found}) for problem in _changes(name, index, found)]
    return changed + [problem for name in found for problem in _unreadable(folder / name)]


def _changes(name: str, index: dict[str, Any], found: dict[str, Any]) -> list[str]:
    there, here = index.get(name, {}), found.get(name, {})
    missing = [f"{name}/{file}: is missing" for file in there if file not in here]
    new = [f"{name}/{file}: is not in {INDEX}" for file in here if file not in there]
    altered = [f"{name}/{file}: has been altered" for file in here if there.get(file, here[file]) != here[file]]
    return missing + new + altered


def _unreadable(run: Path) -> list[str]:
    try:
        if (run / "record.json").exists():
            record.read_record(run / "record.json")
        if (run / preprocessing.FILE).exists():
            preprocessing.read(run / preprocessing.FILE)
        if any(run.glob(ablation.FILE.format("*"))):
            ablation.read(run)
    except (ValueError, OSError) as error:
        return [str(error)]
    return []
