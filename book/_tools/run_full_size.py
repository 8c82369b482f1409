"""Run a chapter at full size, and keep what it printed: ``python book/_tools/run_full_size.py book/mnist-dense.ipynb``.

The notebook runs as it stands with ``SNF_FULL=1``, in the folder ``full-CHAPTER`` under ``data/runs``, where its
checkpoints stay if it is interrupted. The chapter's file is not touched. When it has run to its end, ``full.json``
says what its cells printed, of which code, on which machine. Seal it afterwards: ``python -m snf_lite results --seal``.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import nbformat
from paths import FULL_RUN, ROOT
from run_notebooks import execute, joined
from text.chapters import Chapter

from snf_lite.runtime import files, provenance
from snf_lite.runtime.devices import choose_device


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """What each cell printed to its standard output, cells that printed nothing left out."""
    outputs = [joined(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    return [one.text for cell in outputs for one in cell if one.get("name") == "stdout"]


def record_of(path: Path, notebook: nbformat.NotebookNode, seconds: float) -> dict[str, Any]:
    """What ``full.json`` holds."""
    return {
        "command": f"python book/_tools/run_full_size.py book/{path.name}",
        "chapter": path.stem,
        "code_sha256": Chapter(path, notebook).code_sha256,
        "printed": printed(notebook),
        **provenance.provenance(choose_device(None)),
        "seconds": seconds,
    }


def run(path: Path, out: Path) -> Path:
    """Run one chapter at full size; the record's path. CellExecutionError, and no record, if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    record = out / FULL_RUN.format(path.stem)
    record.parent.mkdir(parents=True, exist_ok=True)
    os.environ["SNF_FULL"] = "1"
    seconds = execute(notebook, record.parent, None)
    files.write_json(record_of(path, notebook, seconds), record)
    return record


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebook", type=Path, help="a chapter")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "runs", help="where its folder goes")
    given = parser.parse_args(arguments)
    if not given.notebook.is_file():
        raise SystemExit(f"{given.notebook}: expected a notebook, found no such file.")
    print(run(given.notebook.resolve(), given.out.resolve()))


if __name__ == "__main__":
    main(sys.argv[1:])
