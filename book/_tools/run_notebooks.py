"""Run every notebook of the book and store what it shows: the command behind ``make notebooks``.

Without arguments all notebooks of ``_toc.yml`` are run; with arguments, those named; with ``--records``, those that
show records, which a new record may change. Each notebook is written back whole and in one step, or, when one of its
cells fails, not at all. The stored form is the same on every machine: cells are identified by what they contain,
metadata that no page needs is dropped, no times and no versions remain. The numbers that a run measured, and the
seconds it took, are written into the notebook's text between their marks (``marks.py``). The seconds also stand in
``runtimes.json``.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import nbformat
import one_page
import status
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from paths import ROOT, RUNTIMES, cell_names, first_cell, notebooks, write
from reference import choosing_lambda, families, figures_and_tables, formula_sheet, paper_map
from text import chapter_map, package_map, share_image
from text.placeholders import RUNTIME, fill, measurements

LONG = 60  # seconds; a chapter that takes longer is reported, not refused
CELL_TIMEOUT = 600
FOLDED = ["hide-input"]  # the first cell, the same on every page
KEPT_CELL_METADATA = ("jupyter", "mystnb", "tags")
READS_RECORDS = "snf_lite.experiments.archive"


def runtime_words(seconds: float) -> str:
    """A measured time as prose: rounded up to five seconds, so that it does not change with every run."""
    up = 5 * max(1, -int(-seconds // 5))
    return f"{up} seconds"


def normalize(notebook: nbformat.NotebookNode, seconds: float) -> None:
    """Leave in a notebook only what its page shows and its test compares."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        }
    )
    values = {RUNTIME: runtime_words(seconds), **measurements(notebook)}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = fill(cell.source, values)
        kept = {key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata}
        cell.metadata = nbformat.from_dict(kept)
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    for cell, name in zip(notebook.cells, cell_names(cell.source for cell in notebook.cells), strict=True):
        cell.id = name


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Join adjacent pieces of one stream: the positions of the kernel's flushes are arbitrary."""
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
    code[0].source, code[0].metadata.tags = first_cell(), FOLDED
    seconds = execute(notebook, path.parent, CELL_TIMEOUT)
    normalize(notebook, seconds)
    write(path, nbformat.writes(notebook, version=4).rstrip("\n") + "\n")
    return seconds


def execute(
    notebook: nbformat.NotebookNode, folder: Path, cell_timeout: int | None, variables: Mapping[str, str] = os.environ
) -> float:
    """Run the cells in ``folder``, in a kernel with these environment variables, and return the seconds.

    Raises CellExecutionError if one of them fails.
    """
    client = NotebookClient(
        notebook,
        timeout=cell_timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
        extra_arguments=["--log-level=ERROR"],
    )
    start = time.perf_counter()
    client.execute(env={**variables, "TQDM_DISABLE": "1"})  # no progress bars in what is stored
    return round(time.perf_counter() - start, 1)  # as it is stored: the chapter's words come from the same number


def main(arguments: list[str]) -> int:
    if arguments == ["--pages"]:
        write_pages()
        return 0
    if importlib.util.find_spec("snf_lite") is None:
        raise SystemExit("snf_lite is not installed in this environment: pip install -r requirements.txt")
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", JUPYTER_PREFER_ENV_PATH="1")
    os.environ.pop("SNF_FULL", None)  # what is stored is what everybody gets: small data, still figures
    if arguments == ["--records"]:
        wanted = showing_records()
    else:
        wanted = [Path(name).resolve() for name in arguments] or notebooks()
    measured = run_all(wanted)
    known = {place(path) for path in notebooks()}
    record = json.loads(RUNTIMES.read_text("utf-8")) if RUNTIMES.exists() else {}
    record = {name: seconds for name, seconds in sorted({**record, **measured}.items()) if name in known}
    write(RUNTIMES, json.dumps(record, indent=2) + "\n")
    if known <= set(measured):
        status.record_versions()
    write_pages()
    return int(len(measured) < len(wanted))


def write_pages() -> None:
    """Write the pages, and the parts of README and CONTRIBUTING, that follow from other files."""
    pages = (
        status, chapter_map, formula_sheet, figures_and_tables, one_page, paper_map, package_map, families,
        choosing_lambda, share_image,
    )  # fmt: skip
    for page in pages:
        page.main()


def showing_records() -> list[Path]:
    """The notebooks that read records under ``data/runs``."""
    return [path for path in notebooks() if READS_RECORDS in path.read_text("utf-8")]


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run_all(paths: list[Path]) -> dict[str, float]:
    """Run the notebooks one by one and report each result; the seconds of those that ran to their end."""
    measured = {}
    for path in paths:
        print(f"{place(path)} ...", end=" ", flush=True)
        try:
            seconds = run(path)
        except CellExecutionError as error:
            print(f"failed; the file is left as it was.\n{error}")
            continue
        measured[place(path)] = seconds
        print(f"{seconds:.1f} s" + (f", past {LONG} s" if seconds > LONG else ""))
    return measured


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
