"""The chapter *The results* shows every pair of twins that the records hold."""

import nbformat
import pytest
from bs4 import BeautifulSoup, Tag
from paths import ROOT
from snf_book.measured import number

from snf_lite.experiments import results
from snf_lite.experiments.archive import records_root
from snf_lite.experiments.paper_tables import BEYOND_TWINS, TWINS


@pytest.fixture(scope="module")
def page() -> BeautifulSoup:
    notebook = nbformat.read(ROOT / "book" / "the-results.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return BeautifulSoup("".join(output.get("data", {}).get("text/html", "") for output in outputs), "html.parser")


@pytest.fixture(scope="module")
def pairs() -> list[results.Parity]:
    groups = results.grouped(results.read_all(records_root()))
    return [*results.parities(groups, TWINS), *results.parities(groups, BEYOND_TWINS)]


def rows(page: BeautifulSoup, name: str) -> list[list[str]]:
    """The texts of a table's rows that have cells."""
    box = page.find(id=f"table-{name}")
    assert isinstance(box, Tag)
    found = [[cell.get_text(" ", strip=True) for cell in row.find_all(["th", "td"])] for row in box.find_all("tr")]
    return [cells for cells, row in zip(found, box.find_all("tr"), strict=True) if row.find("td")]


def test_every_stored_pair_has_its_row(page: BeautifulSoup, pairs: list[results.Parity]) -> None:
    shown = rows(page, "gaps")
    assert len(shown) == len(pairs)
    for pair in pairs:
        gaps = ", ".join(number(gap, "+.2f") for gap in pair.gaps.values())
        mean, epochs = number(pair.mean, "+.2f"), str(pair.learned.epochs)
        assert any({mean, epochs, gaps} <= set(cells) for cells in shown), f"no row for {list(pair.learned.records)}"


def test_every_stored_pair_is_in_the_figure(page: BeautifulSoup, pairs: list[results.Parity]) -> None:
    [figure] = page.find_all(id="explore-table")
    assert isinstance(figure, Tag)
    frames = figure.find_all(class_="snf-frame")
    assert len(frames) == 2
    for frame in frames:
        words = " ".join(image["alt"] for image in frame.find_all("img"))
        assert words.count("epochs, ") == len(pairs)
        assert all(f": {number(pair.mean, '+.2f')}" in words for pair in pairs)


def test_no_smaller_model_is_listed_as_the_papers(page: BeautifulSoup) -> None:
    for cells in rows(page, "first") + rows(page, "second"):
        if "Glow" in cells[0]:
            paper, here = cells[1:3]
            assert "width" in paper and (here == "not run" or ("width" in here and here != paper))
