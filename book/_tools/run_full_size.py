"""Run a chapter at full size and store its output: ``python book/_tools/run_full_size.py book/mnist-dense.ipynb``.

The notebook runs unchanged with ``SNF_FULL=1``, in the folder ``full-CHAPTER`` under ``data/runs``, which keeps its
checkpoints if it is interrupted. The file of the chapter is not changed. At the end, ``full.json`` holds what was
printed, the hash of the code and the machine. Add it to the manifest: ``python -m snf_lite results --update-index``.
"""

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import nbformat
from comparison.cell_outputs import is_table
from paths import FULL_RUN, ROOT
from run_notebooks import execute, joined
from text.chapters import Chapter

from snf_lite.runtime import provenance, records
from snf_lite.runtime.devices import choose_device


@dataclass(frozen=True, kw_only=True)
class ChapterRecord(records.Record):
    """Printed output of a chapter at full size.

    Attributes:
        chapter: Name of the notebook, without suffix.
        code_sha256: ``Chapter.code_sha256`` of the notebook.
        printed: Standard output and tables, as text, of each cell that printed or showed some.
    """

    kind: ClassVar[str] = "chapter"

    chapter: str
    code_sha256: str
    printed: list[str]


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """Standard output and tables, as text, of each cell that printed or showed some."""
    outputs = [joined(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    return [text for cell in outputs if (text := "\n".join(filter(None, map(_as_text, cell))))]


def _as_text(output: nbformat.NotebookNode) -> str:
    if is_table(output.get("data", {})):
        return f"{output.data['text/plain']}\n"
    return output.text if output.get("name") == "stdout" else ""


def record_of(path: Path, notebook: nbformat.NotebookNode, seconds: float) -> ChapterRecord:
    """The record of a notebook that has run."""
    return ChapterRecord(
        command=f"python book/_tools/run_full_size.py book/{path.name}",
        **provenance.provenance(choose_device(None)),
        seconds=seconds,
        chapter=path.stem,
        code_sha256=Chapter(path, notebook).code_sha256,
        printed=printed(notebook),
    )


def run(path: Path, out: Path) -> Path:
    """Run one chapter at full size; returns the path of its record. A failing cell raises, and no record is written."""
    notebook = nbformat.read(path, as_version=4)
    record = out / FULL_RUN.format(path.stem)
    record.parent.mkdir(parents=True, exist_ok=True)
    os.environ["SNF_FULL"] = "1"
    seconds = execute(notebook, record.parent, None)
    records.write_record(record_of(path, notebook, seconds), record)
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
