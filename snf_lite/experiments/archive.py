"""The stored runs, which the package carries, so that a chapter needs no repository to show them."""

from pathlib import Path

from snf_lite.runtime import files
from snf_lite.runtime.schema import mismatches

#: Name of the manifest, in the folder of the runs.
INDEX = "index.json"
#: File names of the records: training, benchmark, preprocessing, prior work and its longer runs, own data, the study of
#: the gap, the twins, the search among schedules, ablations.
RECORDS = (
    "record.json", "bench.json", "preprocessing.json", "prior.json", "long.json", "own-data.json", "gap.json",
    "twins.json", "schedules.json", "fork-*.json",
)  # fmt: skip


def record_dir(name: str) -> Path:
    """The folder of a stored run: in ``data/runs`` of the repository, or its copy inside the installed package.

    Raises:
        FileNotFoundError: No run has that name; the message lists the names.
    """
    folders = {record.parent.name: record.parent for file in RECORDS for record in records_root().glob(f"*/{file}")}
    if name not in folders:
        raise FileNotFoundError(f"Expected a stored run out of {', '.join(sorted(folders)) or 'none'}; got {name!r}.")
    return folders[name]


def record_image(name: str, file: str = "samples.png") -> bytes:
    """An image of a stored run, as PNG; by default its samples, g(z) above f⁻¹(z).

    Raises:
        FileNotFoundError: There is no such run, or it has no such image.
        ValueError: The SHA-256 of the image is not that of the manifest.
    """
    path = record_dir(name) / file
    if not path.is_file():
        raise FileNotFoundError(f"{name}: expected an image {file}, got none.")
    image = path.read_bytes()
    found = files.sha256(image)
    wanted = read_index(records_root()).get(name, {}).get(file)
    if found != wanted:
        raise ValueError(f"{name}/{file}: expected the image with SHA-256 {wanted}, got one with {found}.")
    return image


def read_index(folder: Path) -> dict[str, dict[str, str]]:
    """The manifest of a folder of runs: SHA-256 by run and file name; raises as ``files.read_json``."""
    index: dict[str, dict[str, str]] = files.read_json(folder / INDEX, "index of runs")
    if wrong := list(mismatches(index, dict[str, dict[str, str]], "the index")):
        raise ValueError(f"{folder / INDEX}: {'; '.join(wrong[:5])}.")
    return index


def records_root() -> Path:
    """The folder of the stored runs."""
    installed = Path(__file__).parents[1] / "stored_runs"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "data" / "runs"
