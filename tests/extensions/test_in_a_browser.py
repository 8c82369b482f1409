"""Boxes, links and formulas of the chapters as a reader sees them, in narrow and in wide windows."""

from collections.abc import Iterator

import pytest
from article import markdown
from browser import CUT_OFF, FITS, ON_SCREEN, SIZES, Visit, dark, none, on_paper, opened, sized
from paths import ROOT, pages
from playwright.sync_api import Browser

pytest_plugins = ["browser_fixtures"]

#: The chapters with the most links to equations, and the page of the paper.
CHAPTERS = [name for name in pages() if (ROOT / f"{name}.ipynb").exists()]
LOOKED_AT = [*sorted(CHAPTERS, key=lambda name: -markdown(name).count("](#eq-"))[:3], "book/one-page"]
WIDTHS = (320, 400, 1600)

# Distances between a box and what comes before and after it.
CLOSE = """() => [...document.querySelectorAll('.snf-exercise')].filter(box => {
    const {top, bottom} = box.getBoundingClientRect();
    const above = box.previousElementSibling, below = box.nextElementSibling;
    return (above && top - above.getBoundingClientRect().bottom < 8)
        || (below && below.getBoundingClientRect().top - bottom < 12);
}).map(box => box.outerHTML.slice(0, 100))"""
# A formula, and a sign beside it that stands on another line.
PARTED = """() => [...document.querySelectorAll('.bd-article .snf-nowrap')].filter(kept => {
    if (!kept.checkVisibility()) return false;
    const formula = kept.querySelector('.math').getBoundingClientRect(), range = document.createRange();
    return [...kept.childNodes].filter(node => node.nodeType === Node.TEXT_NODE && node.data.trim()).some(text => {
        range.selectNodeContents(text);
        const {top, bottom} = range.getBoundingClientRect();
        return top > formula.bottom || bottom < formula.top;
    });
}).map(kept => kept.outerHTML.slice(0, 100))"""
# An equation whose number is neither beside it nor right below it.
FAR = """() => [...document.querySelectorAll('.bd-article div.math:has(> .eqno)')].filter(block => {
    const number = block.querySelector('.eqno').getBoundingClientRect();
    const formula = block.querySelector('mjx-container > mjx-math').getBoundingClientRect();
    return number.top - formula.bottom > 24 || number.right > innerWidth;
}).map(block => block.textContent.slice(0, 100))"""
# Parts of an exercise that are folded and could still be seen, in the height of what is unfolded.
FOLDED_ON_PAPER = """() => [...document.querySelectorAll('.snf-exercise > details:not([open]), .snf-install > details')]
    .filter(folded => folded.getBoundingClientRect().height).map(folded => folded.outerHTML.slice(0, 100))"""
# The contrast of the comments of code with what is behind them.
COMMENTS = """() => {
    const light = color => color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    return [...document.querySelectorAll('.highlight .c1')].map(comment => {
        let ground = comment;
        while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)') ground = ground.parentElement;
        const pair = [getComputedStyle(comment).color, getComputedStyle(ground).backgroundColor].map(light);
        const code = light(getComputedStyle(comment.closest('pre')).color);
        return [(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), pair[0] - code];
    });
}"""


@pytest.fixture(scope="module", params=LOOKED_AT)
def visit(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Visit]:
    context = browser.new_context(viewport=SIZES["desktop"], reduced_motion="reduce")
    yield opened(context, address, request.param)
    context.close()


def test_nothing_is_cut_or_parted_at_any_width(visit: Visit) -> None:
    visit.page.evaluate("() => document.querySelectorAll('.snf-exercise > details').forEach(part => part.open = true)")
    for width in WIDTHS:
        with sized(visit.page, {"width": width, "height": 800}):
            assert visit.page.evaluate(FITS), f"wider than {width} pixels"
            none(visit.page, CUT_OFF, f"cut off at {width} pixels", ON_SCREEN)
            none(visit.page, PARTED, f"a sign is parted from its formula at {width} pixels")
            none(visit.page, FAR, f"a number far from its equation at {width} pixels")
            none(visit.page, CLOSE, f"too close to a box at {width} pixels")
    visit.page.evaluate("() => document.querySelectorAll('.snf-exercise > details').forEach(part => part.open = false)")


def test_no_link_has_lost_its_words(visit: Visit) -> None:
    links = visit.page.locator(".bd-article a[href*='#equation-eq-']:not(.headerlink)").all_inner_texts()
    assert links
    if visit.name in CHAPTERS:
        assert not [words for words in links if words.startswith("equation ")]


def test_a_key_unfolds_a_hint(visit: Visit) -> None:
    for line in visit.page.locator(".snf-exercise > details > summary").all()[:2]:
        answer = line.locator("xpath=..")
        before = answer.bounding_box()
        line.press("Enter")
        after = answer.bounding_box()
        assert before and after and after["height"] > before["height"] + 20
        line.press("Enter")


def test_paper_has_no_line_of_what_is_folded(visit: Visit) -> None:
    with on_paper(visit.page):
        none(visit.page, FOLDED_ON_PAPER, "folded, and on paper")


def test_comments_of_code_can_be_read_in_the_dark_and_are_calmer_than_the_code(visit: Visit) -> None:
    with dark(visit.page):
        found = visit.page.evaluate(COMMENTS)
    assert found or visit.name not in CHAPTERS
    assert all(contrast >= 4.5 and lighter < 0 for contrast, lighter in found)
