"""A page shows the code that teaches; the notebook has all of it."""

from pathlib import Path

import nbformat
import pytest
from _ext.page_code import INSTALL, ends_with_measuring, taught
from article import article
from bs4 import Tag
from each_case import check_each
from paths import ROOT, first_cell, pages

CHAPTERS = [name for name in pages() if (ROOT / f"{name}.ipynb").exists()]


def code(cell: Tag) -> str:
    shown = cell.select_one(".cell_input pre")
    return shown.get_text().strip("\n") if shown else ""


def stored(name: str) -> list[str]:
    cells = nbformat.read(ROOT / f"{name}.ipynb", as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


def test_the_cell_that_installs_is_one_folded_line(html: Path) -> None:
    def check(name: str) -> None:
        cells = article(html, name).select("div.cell")
        folded = cells[0].select_one(":scope > details.hide:not([open])")
        assert folded and INSTALL in cells[0]["class"] and code(cells[0]) == first_cell()
        assert [line.get_text() for line in folded.select("summary > p")] == [
            f"{verb}: import or install the package" for verb in ("Show", "Hide")
        ]
        assert not [cell for cell in cells[1:] if INSTALL in cell["class"]]

    check_each(CHAPTERS, check)


def test_what_is_measured_for_the_text_is_not_on_the_page(html: Path) -> None:
    """Nor does it leave anything behind: each cell has an output, or code of its own."""

    def check(name: str) -> None:
        for cell in article(html, name).select("div.cell"):
            shown = code(cell)
            assert "\nmeasured(" not in f"\n{shown}" and not ends_with_measuring(shown), shown
            assert shown or cell.select_one(".cell_output"), "an empty cell"

    check_each(CHAPTERS, check)


def test_all_other_code_is_on_the_page(html: Path) -> None:
    """In order and to the letter, but for cells that only measure."""

    def check(name: str) -> None:
        wanted = [taught(source) for source in stored(name)]
        shown = [code(cell) for cell in article(html, name).select("div.cell")]
        missing = list(wanted)
        for source in filter(None, shown):
            assert source in missing, f"changed, or out of order:\n{source}"
            del missing[: missing.index(source) + 1]
        gone = [source for source, kept in zip(stored(name), wanted, strict=True) if kept not in shown]
        assert not [source for source in gone if not ends_with_measuring(source)]

    check_each(CHAPTERS, check)


def test_no_page_shows_a_verdict_on_a_stub(html: Path) -> None:
    def check(name: str) -> None:
        checked = [cell for cell in article(html, name).select("div.cell") if "exercises.check_" in code(cell)]
        assert len(checked) >= 3 and not [cell for cell in checked if cell.select_one(".cell_output")]

    check_each(CHAPTERS, check)


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("a = 1\nmeasured(a=f'{a}')\nb = 2", "a = 1\nb = 2"),
        ("a = 1\n\n\nmeasured(\n    a=f'{a}',\n)\n\nb = 2", "a = 1\n\n\nb = 2"),
        ("from snf_book.measured import measured\n\na = 1", "a = 1"),
        ("from snf_book.measured import measured, other", "from snf_book.measured import measured, other"),
        ("measured(a='1')", ""),
        ("for a in '12':\n    measured(a=a)", "for a in '12':\n    measured(a=a)"),
        ("measured = 3", "measured = 3"),
        ("%pip install this", "%pip install this"),
    ],
)
def test_what_is_kept_of_a_cell(source: str, kept: str) -> None:
    assert taught(source) == kept


def test_a_cell_whose_last_lines_measure() -> None:
    assert ends_with_measuring("a = 1\nmeasured(\n    a='1',\n)\n")
    assert not ends_with_measuring("measured(a='1')\na = 1")
    assert not ends_with_measuring("a = 1")


def test_a_chapter_shows_less_than_eighty_lines_of_code() -> None:
    """Of what is not folded. The rest is drawing, reading records and formatting: to be folded by ``hide-input``."""

    def check(name: str) -> None:
        cells = nbformat.read(ROOT / f"{name}.ipynb", as_version=4).cells
        shown = [
            taught(cell.source) for cell in cells[2:]
            if cell.cell_type == "code" and not {"hide-input", "hide-cell"} & set(cell.metadata.get("tags", []))
        ]  # fmt: skip
        lines = [line for source in shown for line in source.splitlines() if line.strip()]
        assert len(lines) < 80, f"{len(lines)} lines"

    check_each(CHAPTERS, check)
