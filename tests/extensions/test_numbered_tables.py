"""Tables on the pages: numbered through each chapter, linked to, and readable on a phone and in the dark."""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browser import SIZES, dark, opened, sized
from bs4 import BeautifulSoup, Tag
from built_book import built_book
from each_case import check_each
from paths import ROOT, notebooks
from playwright.sync_api import Browser, Page

pytest_plugins = ["browser_fixtures"]

LINKED = re.compile(r"\[([^\[\]]+)\]\(([\w-]*)(?:\.ipynb)?#(table-[\w-]+)\)")
#: The first cell of the last row, and where the box that scrolls begins.
FIRST_CELL = """box => { box.scrollLeft = 1e4;
    const left = element => element.getBoundingClientRect().left;
    return [box.scrollLeft, left(box), left(box.querySelector('tbody tr:last-child th')), left(box.querySelector(
        'caption > span'))]; }"""
GROUNDS = """() => [...document.querySelectorAll('.text_html:has(.snf-table, .snf-checks)')]
    .map(element => getComputedStyle(element).backgroundColor)"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_book(tmp_path_factory)


def article(built: Path, path: Path) -> Tag:
    page = (built / path.relative_to(ROOT)).with_suffix(".html").read_text("utf-8")
    found = BeautifulSoup(page, "html.parser").select_one("article.bd-article")
    assert found
    return found


def stored_tables(path: Path) -> int:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    html = [output.get("data", {}).get("text/html", "") for cell in cells for output in cell.outputs]
    return sum(text.startswith('<div class="snf-table"') for text in html)


def test_tables_are_numbered_through_their_chapter(built: Path) -> None:
    def check(path: Path) -> None:
        page = article(built, path)
        chapter = page.h1.get_text().split(".")[0]
        numbers = [number.text for number in page.select(".snf-table caption .snf-number")]
        assert numbers == [f"Table {chapter}.{place + 1}" for place in range(stored_tables(path))]
        anchors = [box["id"] for box in page.select(".snf-table[id]")]
        assert len(anchors) == len(set(anchors)), anchors

    check_each(notebooks(), check, lambda path: path.stem)


def test_formulas_of_a_caption_are_set(built: Path) -> None:
    captions = [caption for path in notebooks() for caption in article(built, path).select(".snf-table caption")]
    assert not [caption.text for caption in captions if "$" in caption.text]
    formulas = [formula.text for caption in captions for formula in caption.select("span.math")]
    assert r"\(f^{-1}(z)\)" in formulas and all(re.fullmatch(r"\\\(.+\\\)", formula) for formula in formulas)


def test_links_to_tables_keep_their_words(built: Path) -> None:
    found = 0
    for path in notebooks():
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
        for words, chapter, anchor in LINKED.findall("\n".join(cells)):
            page = article(built, path)
            links = page.select(f'a[href="{f"{chapter}.html" if chapter else ""}#{anchor}"]')
            assert words in [link.get_text() for link in links], f"{path.stem}: {words}"
            target = article(built, path.with_stem(chapter or path.stem)).find(id=anchor)
            assert target and "snf-table" in target["class"], f"{path.stem}: {anchor}"
            found += 1
    assert found >= 2, "a link on the same page, and one to another"


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The chapter with the widest tables."""
    context = browser.new_context(viewport=SIZES["desktop"])
    yield opened(context, address, "book/the-results").page
    context.close()


def test_on_a_phone_the_first_column_and_the_caption_stay(page: Page) -> None:
    with sized(page, SIZES["phone"]):
        wide = [
            box for box in page.query_selector_all(".snf-table") if box.evaluate("b => b.scrollWidth > b.clientWidth")
        ]
        assert len(wide) >= 3
        for box in wide:
            scrolled, edge, cell, caption = box.evaluate(FIRST_CELL)
            assert scrolled > 0 and abs(cell - edge) < 1 and abs(caption - edge) < 1


def test_tables_take_the_ground_of_the_dark_theme(page: Page) -> None:
    with dark(page):
        assert set(page.evaluate(GROUNDS)) == {"rgba(0, 0, 0, 0)"}


def test_numbers_stand_to_the_right(page: Page) -> None:
    sides = page.evaluate(
        """() => [...document.querySelector('#table-gaps tbody tr:nth-child(2)').children]
            .map(cell => getComputedStyle(cell).textAlign)"""
    )
    assert sides == ["left", "right", "right", "right", "left", "left"]  # pair, three numbers, ± error, values by seed
