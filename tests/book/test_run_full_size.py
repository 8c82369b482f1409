"""A chapter at full size: what it printed is kept, with the code that printed it; a failure leaves nothing."""

from pathlib import Path

import nbformat
import pytest
import run_full_size
from nbclient.exceptions import CellExecutionError

from snf_lite.runtime import provenance, records


def notebook(path: Path, *cells: str) -> Path:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    book.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nbformat.write(book, path)
    return path


@pytest.fixture(autouse=True)
def small_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNF_FULL", "0")


def test_what_a_full_run_prints_is_kept(tmp_path: Path) -> None:
    chapter = notebook(
        tmp_path / "short.ipynb", "import os\nprint(os.environ['SNF_FULL'])", "1 + 1", "print('a')\nprint('b')",
        "from snf_book.tables import table\nprint('c')\ntable([['d', 1]], {'': '', 'e': 'd'}, caption='f')",
    )  # fmt: skip
    before = chapter.read_bytes()
    path = run_full_size.run(chapter, tmp_path / "out")
    assert path == tmp_path / "out" / "full-short" / "full.json"
    found = records.read_record(path, run_full_size.ChapterRecord)
    assert found.printed == ["1\n", "a\nb\n", "c\n\nf\n\n   e\n----\nd  1\n"]
    assert found.chapter == "short" and found.command.endswith("book/_tools/run_full_size.py book/short.ipynb")
    assert found.package == provenance.package_identity() and found.seconds > 0
    assert chapter.read_bytes() == before


def test_the_code_decides_the_hash(tmp_path: Path) -> None:
    cells = [("install = 1", "print(1)"), ("install = 1", "print(2)"), ("install = 2", "print(1)")]
    books = [nbformat.read(notebook(tmp_path / "x.ipynb", *sources), 4) for sources in cells]
    first, other, elsewhere = (run_full_size.record_of(tmp_path / "x.ipynb", book, 1.0).code_sha256 for book in books)
    assert first != other
    assert first == elsewhere, "the first cell of all chapters, which installs the package, decides nothing"


def test_a_failure_leaves_no_record(tmp_path: Path) -> None:
    chapter = notebook(tmp_path / "fails.ipynb", "print('so far')", "1 / 0")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run_full_size.run(chapter, tmp_path)
    assert not (tmp_path / "full-fails" / "full.json").exists()


def test_a_missing_chapter_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"none.ipynb: expected a notebook"):
        run_full_size.main([str(tmp_path / "none.ipynb")])
