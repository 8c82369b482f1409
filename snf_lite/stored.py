"""The runs of record that travel with the package, so that a chapter shows them without the repository."""

from pathlib import Path

#: What a run leaves: of a training, of a benchmark, of measuring what preprocessing adds.
RECORDS = ("record.json", "bench.json", "preprocessing.json")


def stored_run(name: str) -> Path:
    """The folder of a run of record: in ``data/runs`` of the repository, or its copy inside the installed package.

    Raises:
        FileNotFoundError: no run has that name; the message lists those that are here.
    """
    folders = {record.parent.name: record.parent for file in RECORDS for record in home().glob(f"*/{file}")}
    if name not in folders:
        raise FileNotFoundError(f"Expected a stored run out of {', '.join(sorted(folders)) or 'none'}; got {name!r}.")
    return folders[name]


def home() -> Path:
    """The folder of all of them."""
    installed = Path(__file__).parent / "stored_runs"
    return installed if installed.is_dir() else Path(__file__).parents[1] / "data" / "runs"
