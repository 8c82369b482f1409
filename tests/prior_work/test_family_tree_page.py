"""The family tree of prior work in a browser: labels in their cells with any font, a switch, a list on a phone."""

from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser, Page
from snf_book.prior_work import record
from snf_book.prior_work.tree import family

from snf_lite.experiments.archive import record_dir

pytest_plugins = ["browser_fixtures"]

# Cells whose content is taller or wider than the cell, or that reach out of the figure.
OUT_OF_CELL = """() => [...document.querySelectorAll('.member')].filter(cell => {
    const box = cell.getBoundingClientRect(), figure = document.querySelector('figure').getBoundingClientRect();
    return cell.scrollHeight > cell.clientHeight + 1 || cell.scrollWidth > cell.clientWidth + 1
        || box.right > figure.right + 1;
}).map(cell => cell.innerText)"""
LAPPING = """() => {
    const boxes = [...document.querySelectorAll('.member')].map(cell => [cell.innerText, cell.getBoundingClientRect()]);
    return boxes.flatMap(([words, a], i) => boxes.slice(i + 1).filter(([_, b]) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1)
        .map(([others]) => [words, others]));
}"""
SEEN = "() => [...document.querySelectorAll('img')].filter(image => image.checkVisibility()).map(image => image.alt)"


@pytest.fixture(scope="module")
def figure() -> str:
    short = record.read(record_dir("prior-work") / record.FILE)
    truth = (short["truth"], torch.zeros(8, 8, dtype=torch.float64))
    longer = {name: entry["plane"] for name, entry in short["systems"].items()}
    return family.FamilyTree(short["systems"], truth, "Densities.", longer).html()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page()
    yield opened
    opened.close()


@pytest.mark.parametrize("font", ["sans-serif", "serif", "DejaVu Sans", "Arimo, Arial"])
@pytest.mark.parametrize("width", [784, 720, 400, 320])
def test_labels_stay_in_their_cells(page: Page, figure: str, font: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.set_content(f'<body style="margin:0;font-family:{font}">{figure}')
    assert page.evaluate(OUT_OF_CELL) == []
    assert page.evaluate(LAPPING) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_narrow_window_gets_a_list_by_bargain(page: Page, figure: str) -> None:
    page.set_viewport_size({"width": 400, "height": 900})
    page.set_content(figure)
    lefts = page.evaluate("() => [...document.querySelectorAll('.member')].map(c => c.getBoundingClientRect().left)")
    assert len(set(lefts)) == 1 and not page.locator(".arrows").is_visible()
    words = page.locator("figure").inner_text()
    assert [words.index(heading) for heading, _ in family.HEADINGS] == sorted(
        words.index(heading) for heading, _ in family.HEADINGS
    )


def test_the_switch_works_by_keyboard(browser: Browser, figure: str) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.set_content(figure)
        longer = page.evaluate(SEEN)
        page.focus("#family-tree-long")
        page.keyboard.press("ArrowRight")
        short = page.evaluate(SEEN)
    assert len(longer) == len(short) == 21
    assert all("600 steps" not in alt for alt in longer) and all("longer run" not in alt for alt in short)
