"""Run every notebook of the book and store what it shows: the command behind ``make notebooks``.

Without arguments all notebooks of ``_toc.yml`` are run; with arguments, those named. Each notebook is written back
whole and in one step, or, when one of its cells fails, not at all. The stored form is the same on every machine:
cells are identified by what they contain, metadata that no page needs is dropped, no times and no versions remain.
The seconds each notebook took stand in ``runtimes.json``, and in the notebook wherever it says
``<!-- runtime -->…<!-- /runtime -->``.
"""

import hashlib
import importlib.util
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[1]
RUNTIMES = ROOT / "book" / "runtimes.json"
LONG = 60  # seconds; a chapter that takes longer is reported, not refused
CELL_TIMEOUT = 600
KEPT_CELL_METADATA = ("jupyter", "mystnb", "tags")
RUNTIME = re.compile(r"(<!-- runtime -->).*?(<!-- /runtime -->)", re.DOTALL)

FIRST_CELL = """\
# Does nothing where snf_lite is installed. Elsewhere (on Colab, say) it installs this book's package alone:
# the torch and the numpy that are there stay as they are.
try:
    import snf_lite as snf
except ModuleNotFoundError:
    %pip install --quiet --no-deps pooch platformdirs "snf-lite @ git+{address}"
    import snf_lite as snf"""


def public_address() -> str:
    """The project's public address, from the one place where it stands."""
    return yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]


def first_cell() -> str:
    """The code cell that every notebook begins with."""
    return FIRST_CELL.format(address=public_address())


def pages() -> list[str]:
    """The pages of ``_toc.yml`` in reading order, as it names them: relative to the root, without suffix."""

    def walk(entry: object) -> Iterator[str]:
        if isinstance(entry, dict):
            for key, value in entry.items():
                yield from [value] if key in ("root", "file") else walk(value)
        elif isinstance(entry, list):
            for item in entry:
                yield from walk(item)

    return list(walk(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))))


def notebooks() -> list[Path]:
    """The notebooks among the pages."""
    return [path for page in pages() if (path := ROOT / f"{page}.ipynb").exists()]


def runtime_words(seconds: float) -> str:
    """A measured time as prose: rounded up to five seconds, so that it does not change with every run."""
    up = 5 * max(1, -int(-seconds // 5))
    return f"{up} seconds"


def normalise(notebook: nbformat.NotebookNode, seconds: float) -> None:
    """Leave in a notebook only what its page shows and its test compares."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        }
    )
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = RUNTIME.sub(rf"\g<1>{runtime_words(seconds)}\g<2>", cell.source)
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        kept = {key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata}
        cell.metadata = nbformat.from_dict(kept)
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join neighbouring pieces of one stream: where the kernel happened to flush says nothing."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def run(path: Path) -> float:
    """Run one notebook, store it, return its seconds."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not code or "import snf_lite as snf" not in code[0].source:
        raise SystemExit(f"{path.name}: the first code cell should be the one that imports or installs snf_lite.")
    code[0].source = first_cell()
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],
    )
    start = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - start
    normalise(notebook, seconds)
    write(path, nbformat.writes(notebook, version=4).rstrip("\n") + "\n")
    return seconds


def write(path: Path, text: str) -> None:
    """Replace a file in one step: a reader sees the old text or the new, never half of one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".tmp")
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
    os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o644)
    os.replace(temporary, path)


def main(arguments: list[str]) -> int:
    if importlib.util.find_spec("snf_lite") is None:
        raise SystemExit("snf_lite is not installed in this environment: pip install -r requirements.txt")
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", JUPYTER_PREFER_ENV_PATH="1")
    os.environ.pop("SNF_FULL", None)  # what is stored is what everybody gets: small data, still figures
    wanted = [Path(name).resolve() for name in arguments] or notebooks()
    record = json.loads(RUNTIMES.read_text("utf-8")) if RUNTIMES.exists() else {}
    failed = False
    for path in wanted:
        name = path.relative_to(ROOT).as_posix()
        print(f"{name} ...", end=" ", flush=True)
        try:
            seconds = run(path)
        except CellExecutionError as error:
            print(f"failed; the file is left as it was.\n{error}")
            failed = True
            continue
        record[name] = round(seconds, 1)
        print(f"{seconds:.1f} s" + (f", past {LONG} s" if seconds > LONG else ""))
    known = {path.relative_to(ROOT).as_posix() for path in notebooks()}
    write(RUNTIMES, json.dumps({name: record[name] for name in sorted(known & set(record))}, indent=2) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
