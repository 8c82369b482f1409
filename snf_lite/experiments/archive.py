"""The runs of record that travel with the package, so that a chapter shows them without the repository."""

import hashlib
from pathlib import Path

from snf_lite.runtime import files

#: What a run leaves: of a training, of a benchmark, of measuring what preprocessing adds, of prior work, of forks.
RECORDS = ("record.json", "bench.json", "preprocessing.json", "prior.json", "fork-*.json")


def record_dir(name: str) -> Path:
    """The folder of a run of record: in ``data/runs`` of the repository, or its copy inside the installed package.

    Raises:
        FileNotFoundError: no run has that name; the message lists those that are here.
    """
    folders = {record.parent.name: record.parent for file in RECORDS for record in records_root().glob(f"*/{file}")}
    if name not in folders:
        raise FileNotFoundError(f"Expected a stored run out of {', '.join(sorted(folders)) or 'none'}; got {name!r}.")
    return folders[name]


def record_image(name: str, file: str = "samples.png") -> bytes:
    """A picture that a run of record left, as PNG: g(z) above f⁻¹(z), unless another file is asked for.

    Raises:
        FileNotFoundError: no such run, or it has no such picture.
        ValueError: the picture is not the one whose SHA-256 stands in the index of the runs.
    """
    path = record_dir(name) / file
    if not path.is_file():
        raise FileNotFoundError(f"{name}: expected a picture {file}, got none.")
    picture = path.read_bytes()
    found = hashlib.sha256(picture).hexdigest()
    wanted = files.read_json(records_root() / "index.json", "index of runs").get(name, {}).get(file)
    if found != wanted:
        raise ValueError(f"{name}/{file}: expected the picture with SHA-256 {wanted}, got one with {found}.")
    return picture


def records_root() -> Path:
    """The folder of all of them."""
    installed = Path(__file__).parents[1] / "stored_runs"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "data" / "runs"
