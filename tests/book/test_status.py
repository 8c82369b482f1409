"""The status page says what the stored notebooks hold."""

import json
from importlib.metadata import version
from pathlib import Path

import nbformat
import pytest
import status
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from text.chapters import Chapter, chapters

SLIDER = new_output("display_data", data={"text/html": '<input type="range">'})
CELLS = [
    new_markdown_cell("# A made-up chapter\n\n$$\nx\n$$ (eq-one)\n\nand $$ y $$ (eq-two), and $$ z $$"),
    new_code_cell("compared = 1"),
    new_code_cell("explore(draw)", outputs=[SLIDER]),
    new_code_cell("exercises.check_it(answer)"),
    new_code_cell("print('# NBVAL_IGNORE_OUTPUT')  # a word in a line is no mark"),
    new_code_cell("# NBVAL_IGNORE_OUTPUT\n\nby_comment()"),
    new_code_cell("by_tag()\nmore()", metadata={"tags": ["nbval-ignore-output"]}),
    new_code_cell("skipped()", metadata={"tags": ["hide-input", "nbval-skip"]}),
]


def test_the_page_says_what_the_notebooks_hold() -> None:
    assert status.PAGE.read_text("utf-8") == status.page(), "run `make notebooks`"


def test_counts_of_a_chapter() -> None:
    chapter = Chapter(Path("a.ipynb"), new_notebook(cells=CELLS))
    assert chapter.title == "A made-up chapter"
    assert dict(zip(status.HEADINGS, status.counts(chapter), strict=True)) == {
        "code cells": 7,
        "not compared": 3,
        "moving figures": 1,
        "exercises": 1,
        "equations": 2,
    }
    assert chapter.uncompared == ["by_comment()", "by_tag()", "skipped()"]


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Chapter]:
    """A book of two chapters, of which one has been measured."""
    for name, value in {"ROOT": tmp_path, "RUNTIMES": tmp_path / "seconds", "VERSIONS": tmp_path / "versions"}.items():
        monkeypatch.setattr(status, name, value)
    (tmp_path / "seconds").write_text('{"a.ipynb": 12.6}', "utf-8")
    found = []
    for name, cells in {"a": CELLS[:4], "b": CELLS}.items():
        path = tmp_path / f"{name}.ipynb"
        path.write_text(f"{name * 1600}", "utf-8")
        found.append(Chapter(path, new_notebook(cells=cells)))
    return found


def test_the_table_adds_up(book: list[Chapter]) -> None:
    rows = [[entry.strip() for entry in line.strip("|").split("|")] for line in status.table(book).splitlines()]
    title = "A made-up chapter"
    assert rows[2] == [f"[{title}](a.ipynb)", "13", "3", "0", "1", "1", "2", "2"]
    assert rows[3] == [f"[{title}](b.ipynb)", "not measured", "7", "3", "1", "1", "2", "2"]
    assert rows[4] == ["**all**", "not measured", "10", "3 (30.0\N{NO-BREAK SPACE}%)", "2", "2", "4", "3"]
    (status.ROOT / "seconds").write_text('{"a.ipynb": 12.6, "b.ipynb": 30.6}', "utf-8")
    assert status.table(book).splitlines()[-1].startswith("| **all** | 43 |")


def test_cells_that_are_not_compared_are_listed(book: list[Chapter]) -> None:
    listed = status.uncompared(book).splitlines()
    assert listed == [f"- A made-up chapter: `` {line} ``" for line in ("by_comment()", "by_tag()", "skipped()")]
    assert status.uncompared(book[:1]).startswith("None")


def test_runs_at_full_size_are_shown_with_what_became_of_their_code(book: list[Chapter]) -> None:
    assert status.full_runs(book) == "None yet."
    record = {
        "code_sha256": book[1].code_sha256, "package": {"commit": "0123456789"}, "threads": 1, "device": "CPU, Made up",
        "date": "2026-01-02T03:04:05+00:00", "seconds": 150.0, "printed": ["a\n", "\nb\n"],
    }  # fmt: skip
    path = status.ROOT / "data" / "runs" / "full-b" / "full.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record), "utf-8")
    told = "[A made-up chapter](b.ipynb), 2026-01-02: 2 minutes, commit 0123456, 1 thread(s) of CPU, Made up; "
    assert status.full_runs(book).startswith(f"{told}its code has not changed since.")
    assert "```text\na\n\nb\n```" in status.full_runs(book)
    book[1].code[1].source += "  # edited"
    assert status.full_runs(book).startswith(f"{told}**its code has been edited since**.")


def test_versions_come_from_the_record(book: list[Chapter]) -> None:
    assert status.versions() == "not recorded"
    status.record_versions()
    record = json.loads(status.VERSIONS.read_text("utf-8"))
    assert list(record) == ["Python", "torch", "numpy", "matplotlib"]
    assert record["torch"] == version("torch")
    assert status.versions().startswith(f"Python {record['Python']}, torch {record['torch']}, numpy ")


def test_notebooks_hold_no_versions() -> None:
    for chapter in chapters():
        assert "version" not in nbformat.writes(new_notebook(metadata=chapter.notebook.metadata)).split("nbformat")[0]
