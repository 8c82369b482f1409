"""The drawing of the idea: what it shows, that any font at any width leaves it readable, and when it moves."""

import re
from collections.abc import Iterator
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from _ext.numbered_figures import FIGURE
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, BrowserContext, Page
from snf_book.swap import WIDE_FROM, Swap, file
from snf_book.swap.drawing import SECONDS, drawing
from snf_book.swap.layouts import TALL, WIDE, Layout, clouds
from snf_book.swap.svg import point_at

pytest_plugins = ["browser_fixtures"]

LAYOUTS = (WIDE, TALL)
WIDTHS = (320, 400, 640, 641, 768, 1100, 1600)
FONTS = ("sans-serif", "serif", "monospace")
SMALLEST = 9
# What a reader could not tell apart or not read, of the drawing that is seen: words out of the drawing or out of the
# colored ground behind them, on one another, on a line or on a ground that is not theirs, and small letters.
MESSY = """smallest => [...document.querySelectorAll('.snf-swap svg')].filter(one => one.checkVisibility())
.flatMap(svg => {
    const found = [], texts = [...svg.querySelectorAll('text')], frame = svg.getBoundingClientRect();
    const inside = (a, b) =>
        a.left > b.left - 1 && a.right < b.right + 1 && a.top > b.top - 1 && a.bottom < b.bottom + 1;
    const apart = (a, b) => a.right < b.left || b.right < a.left || a.bottom < b.top || b.bottom < a.top;
    const core = box => ({left: box.left, right: box.right,
        top: box.top + box.height / 4, bottom: box.bottom - box.height / 4});
    const boxes = texts.map(text => text.getBoundingClientRect());
    const matrix = svg.getScreenCTM();
    texts.forEach((text, n) => {
        const says = text.textContent, rect = text.previousElementSibling;
        if (!inside(boxes[n], frame)) found.push(`${says} leaves the drawing`);
        for (const part of [text, ...text.children])
            if (parseFloat(getComputedStyle(part).fontSize) * matrix.a < smallest) found.push(`${says} is small`);
        const own = rect.tagName === 'rect' ? rect : null, ground = own && own.getBoundingClientRect();
        if (ground && (boxes[n].left < ground.left || boxes[n].right > ground.right))
            found.push(`${says} leaves its ground`);
        texts.slice(0, n).forEach((other, m) => {
            if (!apart(core(boxes[n]), core(boxes[m]))) found.push(`${says} on ${other.textContent}`); });
        svg.querySelectorAll('rect').forEach(other => {
            if (other !== own && !apart(core(boxes[n]), other.getBoundingClientRect()))
                found.push(`${says} on a ground`); });
        if (own) return;
        svg.querySelectorAll('path:not([stroke-width="3"])').forEach(path => {
            for (let at = 0; at <= path.getTotalLength(); at += 2) {
                const {x, y} = path.getPointAtLength(at).matrixTransform(matrix), box = core(boxes[n]);
                if (x > box.left && x < box.right && y > box.top && y < box.bottom)
                    return found.push(`a line through ${says}`);
            }});
    });
    return found;
})"""
SEEN = """() => [...document.querySelectorAll('.snf-swap svg')].filter(one => one.checkVisibility())
    .map(one => one.classList[0])"""
MOVING = """() => document.getAnimations().filter(one => one.effect.target.checkVisibility({visibilityProperty: true}))
    .map(one => [one.effect.target.classList[0], one.effect.getComputedTiming().duration])"""


@pytest.fixture(scope="module", params=["reduce", "no-preference"])
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    context = browser.new_context(reduced_motion=request.param)
    yield context
    context.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.set_content(f"<body style='margin:0'>{Swap().html()}")
    yield page
    context.close()


# ---- what it shows ---------------------------------------------------------------------------------------------------


def test_latents_are_round_and_the_map_is_triangular_and_increasing() -> None:
    x, z = clouds()
    assert np.abs(z.mean(0)).max() < 0.1 and np.abs(np.cov(z.T) - np.eye(2)).max() < 0.2
    assert np.abs(np.corrcoef(x.T)[0, 1]) > 0.3, "the data are no cloud without form"
    assert (np.argsort(x[:, 0]) == np.argsort(z[:, 0])).all()
    near = np.abs(x[:, None, 0] - x[None, :, 0]) < 1e-2
    order = (x[:, None, 1] - x[None, :, 1]) * (z[:, None, 1] - z[None, :, 1])
    assert (order[near] >= -1e-3).all()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_each_gradient_gets_the_other_matrix(layout: Layout) -> None:
    """∂ log|det W| / ∂W is W⁻ᵀ, near Rᵀ where R is near W⁻¹; and the same with the letters exchanged."""
    words = [text.text for text in BeautifulSoup(drawing(layout), "html.parser").find_all("text")]
    first, second = words.index("∂ log|det W| / ∂W ="), words.index("= ∂ log|det R| / ∂R")
    assert words[first : first + 5] == ["∂ log|det W| / ∂W =", "W−T", "D³", "RT", "already there"]
    assert words[second : second + 5] == ["= ∂ log|det R| / ∂R", "R−T", "D³", "WT", "already there"]
    assert words[-2:] == ["W", "R"] and "reconstruction, λ" in words


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_arrow_comes_from_the_box_of_the_matrix_that_it_brings(layout: Layout) -> None:
    for formula, (x, y) in zip(layout.formulas, reversed(layout.boxes), strict=True):
        start, end = formula.brought[0], formula.brought[3]
        assert abs(start[0] - x) <= 29 and abs(start[1] - y) <= 21
        assert abs(end[0] - formula.swapped[0]) < 1 and abs(end[1] - formula.swapped[1]) <= 22


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_point_goes_by_f_to_z_and_by_g_back_beside_itself(layout: Layout) -> None:
    path, (x, z) = layout.travel(), layout.chosen()
    assert all(one[3] == other[0] for one, other in pairwise(path))
    assert path[0][0] == path[-1][3] == x and z in [piece[3] for piece in path]
    assert 8 < np.hypot(*np.subtract(path[-1][0], x)) < 25
    assert point_at(path[1], 0) == path[1][0] and point_at(path[1], 1) == path[1][3]


def test_the_same_text_every_time_and_no_empty_line() -> None:
    assert Swap().html() == Swap().html() and "\n\n" not in Swap().html()
    names = re.findall(r'\bid="([^"]+)"', Swap().html())
    assert len(names) == len(set(names)) == 5


def test_with_a_caption_it_is_a_figure_that_pages_number() -> None:
    text = Swap(caption="Who gets $R^T$ & what").html()
    found = FIGURE.fullmatch(text)
    assert found and found["name"] == "swap" and found["classes"] == "snf-figure snf-swap"
    assert found["caption"] == "Who gets $R^T$ &amp; what" and "snf-figure" not in Swap().html()


def test_the_file_has_its_own_ground_and_does_not_move() -> None:
    text = file()
    assert text.startswith("<svg xmlns=") and 'fill="white"' in text.split("<path")[0]
    assert "<style" not in text and "var(" not in text
    assert ElementTree.fromstring(text).get("viewBox") == "0 0 760 300"


# ---- how it is read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("font", FONTS)
def test_words_stay_where_they_belong(page: Page, font: str) -> None:
    page.evaluate("font => document.body.style.fontFamily = font", font)
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate(SEEN) == ["swap-wide" if width > WIDE_FROM else "swap-tall"]
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        if messy := page.evaluate(MESSY, SMALLEST):
            found[width] = messy
    assert not found


def test_messy_words_are_found(page: Page) -> None:
    """The check above sees each fault that it is there for."""
    page.set_viewport_size({"width": 800, "height": 800})
    for style, wanted in (
        ("svg text { font-size: 40px }", "leaves its ground"),
        ("svg text { font-size: 30px }", " on "),
        ("svg text { font-size: 30px }", "a line through"),
        ("svg text { font-size: 5px }", "is small"),
        ("svg text { transform: translateX(300px) }", "leaves the drawing"),
    ):
        added = page.add_style_tag(content=style)
        assert any(wanted in fault for fault in page.evaluate(MESSY, SMALLEST)), wanted
        added.evaluate("style => style.remove()")


def test_without_styles_the_wide_still_is_left(page: Page) -> None:
    """As in an untrusted notebook."""
    bare = page.context.new_page()
    bare.set_content(re.sub(r"<style>.*?</style>", "", Swap(moving=False).html()))
    assert bare.evaluate(SEEN) == ["swap-wide"]
    bare.close()


def test_it_moves_only_where_motion_is_welcome(context: BrowserContext) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 900, "height": 600})
    page.set_content(Swap().html())
    welcome = page.evaluate("() => matchMedia('(prefers-reduced-motion: no-preference)').matches")
    assert page.evaluate(MOVING) == ([["swap-wide-point", 1000 * SECONDS]] if welcome else [])
    page.emulate_media(media="print")
    assert page.evaluate(MOVING) == []
    page.close()


def test_the_words_of_the_drawing_say_where_the_data_are() -> None:
    for layout, first in ((WIDE, "Left, data"), (TALL, "At the top, data")):
        described = BeautifulSoup(drawing(layout), "html.parser").find("desc")
        assert described is not None and described.get_text().startswith(first)
        (data, *_), (latents, *_) = layout.data, layout.latents
        sideways, downwards = latents[0] - data[0], latents[1] - data[1]
        assert (sideways > downwards) == (layout is WIDE)
