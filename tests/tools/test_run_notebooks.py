"""Which notebooks a new record may change: those that read one, by whatever name."""

import re
from pathlib import Path

import nbformat
import pytest
from paths import notebooks
from run_notebooks import place, showing_records

#: What reads a record under ``data/runs``, or shows what one of them holds.
READERS = re.compile(r"\b(record_dir|records_root|record_image|read_\w*record|read_bench|read_all)\b")
SHOWING = showing_records()


@pytest.mark.parametrize("chapter", [pytest.param(path, id=place(path)) for path in notebooks()])
def test_the_notebooks_that_show_records_are_run_again_for_a_new_one(chapter: Path) -> None:
    cells = nbformat.read(chapter, as_version=4).cells
    reads = any(READERS.search(cell.source) for cell in cells if cell.cell_type == "code")
    assert (chapter in SHOWING) == reads
