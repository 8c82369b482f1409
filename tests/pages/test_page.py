"""Every page of the book in a real browser that reaches nothing but this machine.

A page is loaded once and looked at in windows of several sizes. All that is wrong with it is in one message.
"""

import gzip
import os
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from accessible import ALL, KNOWN, faint, judged
from browser import (
    CUT_OFF,
    FITS,
    FRAMES,
    OFFER_THE_TOP,
    ON_PAPER,
    ON_SCREEN,
    OUT_OF_FRAME,
    OUT_OF_REACH,
    SCREENSHOTS,
    SHOWN,
    SIDEWAYS,
    SIZES,
    TOO_SMALL,
    WORDS,
    Visit,
    dark,
    eventually_none,
    none,
    on_paper,
    opened,
    sized,
    sliders,
    stored_sliders,
)
from page_fonts import ADDRESSES, BROKEN, REMOVE, SPECIMENS, STRANGE, STRANGE_MATHS, Taken
from paths import ROOT, notebooks, pages
from playwright.sync_api import Browser, BrowserContext
from playwright.sync_api import Error as BrowserError

pytest_plugins = ["browser_fixtures"]

#: Ask for pictures of all pages at all sizes, in ``_build/screenshots``, by setting this in the environment.
PICTURES = "SNF_SCREENSHOTS"
#: Families as a notebook's reader may have them, beside the page's own.
FONTS = "inherit", "'DejaVu Sans', Verdana, sans-serif", "serif"
SMALLEST = 9  # pixels, of any letter but those of formulas

#: Figures that may scroll on a phone: images in rows, which nobody could judge if they were smaller; a map with a
#: number in each cell; rows with long names beside a wide scale.
SCROLLING = {
    "explore-digits-samples", "explore-weights", "explore-digits-dense", "explore-digits-convolutional",
    "explore-cifar", "explore-nine-samples", "explore-samples", "explore-batch", "explore-table",
}  # fmt: skip

# Of a frame of several pictures the first has the words of all.
WITHOUT_WORDS = """() => [...document.querySelectorAll('main img, main svg.snf-drawing')]
    .filter(image => !(image.alt || image.getAttribute('aria-label') || '').trim())
    .filter(image => !image.matches('.snf-frame > :not(:first-child)'))
    .map(image => image.outerHTML.slice(0, 200))"""
# The number of each caption and the address of its figure.
NUMBERS = """() => [...document.querySelectorAll('.bd-article figcaption .caption-number')].map(number =>
    [number.textContent.replace('Figure', '').trim(), number.closest('figure').id])"""
NOT_LOADED = """() => [...document.querySelectorAll('main img')]
    .filter(image => image.complete && !image.naturalWidth).map(image => image.outerHTML.slice(0, 200))"""
# How far a picture has its own colors, on white.
DIMMED = """() => [...document.querySelectorAll('.bd-article img')].filter(image => {
    for (let box = image; box; box = box.parentElement)
        if (getComputedStyle(box).filter !== 'none' || getComputedStyle(box).opacity !== '1') return true;
    return getComputedStyle(image).backgroundColor !== 'rgb(255, 255, 255)';
}).map(image => image.outerHTML.slice(0, 200))"""
# The colors of the series in drawings, as they are seen: not black, white and grey, nor text, which follow the theme.
COLORS = """() => {
    const known = new Map(), changed = box => {
        if (box.matches('article')) return '';
        if (!known.has(box)) {
            const style = getComputedStyle(box), own = box.matches('.snf-ink') ? '' : style.filter;
            known.set(box, [own, style.opacity, style.mixBlendMode, changed(box.parentElement)].join());
        }
        return known.get(box);
    };
    return [...document.querySelectorAll('.snf-drawing :not(text, tspan)')].map(element => {
        const style = getComputedStyle(element), named = ['fill', 'stroke'].filter(
            name => (element.getAttribute(name) || '').startsWith('#'));
        return [element.tagName, ...named.map(name => style[name]), changed(element)].join();
    });
}"""
# All frames, to look at their letters in another font; and back.
ALL_FRAMES = """font => {
    const style = document.head.appendChild(document.createElement('style'));
    style.id = 'all-frames';
    style.textContent = `.snf-frame { display: flex !important; } .snf-drawing { font-family: ${font}; }`;
}"""
# Frames that are seen and whose pictures stand neither beside one another (wide) nor below (narrow).
STACKED = """wide => [...document.querySelectorAll('.snf-frame')].filter(frame => {
    if (!frame.checkVisibility()) return false;
    const boxes = [...frame.children].map(picture => picture.getBoundingClientRect());
    const small = frame.children[0].getBoundingClientRect().width < 0.7 * getComputedStyle(frame.children[0]).flexGrow;
    return boxes.slice(1).some((box, at) =>
        wide ? box.left < boxes[at].right - 1 : small && box.top < boxes[at].bottom - 1);
}).map(frame => frame.outerHTML.slice(0, 200))"""
LOADED = """() => ['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))
    .map(entry => entry.name).filter(name => name.startsWith(location.origin))"""
HIDDEN_TEXT = """() => [...document.querySelectorAll('.bd-article :is(p, li, td, pre, h2, h3)')]
    .filter(text => !text.closest('details:not([open])') && !text.checkVisibility({visibilityProperty: true}))
    .map(text => text.outerHTML.slice(0, 200))"""
CONTROLS = """() => [...document.querySelectorAll(
        'button, input, select, .bd-sidebar-primary, .bd-sidebar-secondary, .prev-next-footer')]
    .filter(control => control.checkVisibility({opacityProperty: true, visibilityProperty: true}))
    .map(control => control.outerHTML.slice(0, 200))"""
WASTE = """() => [...document.querySelectorAll('.tag_hide-input > details.above-input:not([open])')]
    .filter(folded => folded.getBoundingClientRect().height).map(folded => folded.outerHTML.slice(0, 200))"""
# What a figure shows and says at one step after another; without a key, each step is set by script.
STATE = f"figure => [({SHOWN})(figure), ({WORDS})(figure)]"
EVERY_STATE = f"""figure => {{
    const slider = figure.querySelector('input'), states = [];
    for (let value = Number(slider.min); value <= Number(slider.max); value += Number(slider.step || 1)) {{
        slider.value = value;
        slider.dispatchEvent(new Event('input', {{bubbles: true}}));
        states.push([({SHOWN})(figure), ({WORDS})(figure)]);
    }}
    return states;
}}"""


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """With a mouse and a touch screen: no style sheet of the pages asks which of them there is."""
    context = browser.new_context(viewport=SIZES["desktop"], has_touch=True, reduced_motion="reduce")
    yield context
    context.close()


# -- what is looked at, once or at each size ---------------------------------------------------------------------------


def has_what_it_needs(visit: Visit) -> None:
    assert visit.page.title() and visit.page.locator("main").count() == 1
    none(visit.page, WITHOUT_WORDS, "pictures without words")
    none(visit.page, NOT_LOADED, "pictures that are not there")


def maths_is_set(visit: Visit) -> None:
    main = visit.page.locator("main")
    written, rendered = main.locator(".math").count(), main.locator(".math mjx-container").count()
    assert rendered == written
    assert not main.locator("mjx-merror, [data-mjx-error]").count()
    assert rendered or ROOT / f"{visit.name}.ipynb" not in notebooks(), "a chapter without a formula"


def weighs_less_than_three_megabytes(visit: Visit) -> None:
    """All that a first visit loads, scripts and fonts of all pages included: a train goes through tunnels."""
    html = visit.folder
    files = {html / urlsplit(address).path.lstrip("/") for address in visit.page.evaluate(LOADED)}
    files.discard(html / "favicon.ico")  # asked for by the browser itself; there is none
    assert html / f"{visit.name}.html" in files and len(files) > 10
    assert sum(map(sent, files)) < 3_000_000, {file.name: sent(file) for file in files}


@cache
def sent(file: Path) -> int:
    """How many bytes of a file travel: what is text, a server sends compressed."""
    content = file.read_bytes()
    return min(len(content), len(gzip.compress(content)))


def fonts_come_from_here(visit: Visit) -> None:
    """All of them, for every character of the page; a page that lacks some is to be named in ``fonts.py``."""
    home = visit.page.evaluate("() => location.origin")
    fonts = visit.page.evaluate(ADDRESSES)
    assert fonts and not [font for font in fonts if not font.startswith((f"{home}/", "data:"))]
    none(visit.page, STRANGE, "text that asks for a font of the machine")
    none(visit.page, STRANGE_MATHS, "signs in formulas that their fonts lack")
    taken = Taken(visit.page)
    for selector in ("main h1", "main p", "main pre, main code"):
        strange = taken.strange(selector) if visit.page.locator(selector).count() else []
        assert not strange, f"the letters in {selector} come from the machine"
    signs = visit.page.evaluate(SPECIMENS)
    lost = [f"{sign} in {selector}" for selector, text in signs.items() for sign in taken.unknown(selector, text)]
    visit.page.evaluate(REMOVE)
    taken.close()
    assert not lost, "signs that no font of the pages has: see book/_tools/fonts.py"
    none(visit.page, BROKEN, "fonts that cannot be read")


def nothing_reaches_out_of_the_window(visit: Visit) -> None:
    """The page does not scroll sideways. What is wide scrolls in a box of its own, and the keyboard can get there."""
    assert visit.page.evaluate(FITS), "the page is wider than the window"
    none(visit.page, CUT_OFF, "cut off at the edge", ON_SCREEN)
    none(visit.page, OUT_OF_FRAME, "words that do not fit into their frame")
    none(visit.page, TOO_SMALL, f"letters of less than {SMALLEST} pixels", SMALLEST)
    eventually_none(visit.page, OUT_OF_REACH, "scrolls, but not by keyboard")


def labels_stay_in_their_drawings(visit: Visit) -> None:
    """Of all frames, in the page's font and in those that a notebook may be read with."""
    for font in FONTS:
        visit.page.evaluate(ALL_FRAMES, font)
        try:
            none(visit.page, OUT_OF_FRAME, f"words that do not fit into their drawing in {font}")
        finally:
            visit.page.evaluate("() => document.querySelector('#all-frames').remove()")


def panels_stand_side_by_side(visit: Visit) -> None:
    none(visit.page, STACKED, "pictures of a frame below one another though there is room", True)


def panels_stack(visit: Visit) -> None:
    none(visit.page, STACKED, "pictures of a frame side by side, too small to be read", False)


def figures_fit(visit: Visit) -> None:
    """No figure scrolls sideways but those that ``SCROLLING`` lists, and these do."""
    named = {name for name in SCROLLING if visit.page.locator(f"#{name}").count()}
    assert not set(visit.page.evaluate(SIDEWAYS)) ^ named, "other figures scroll than those that may"


def figures_are_numbered_in_their_order(visit: Visit) -> None:
    """Those with a caption, and each has an address."""
    found = visit.page.evaluate(NUMBERS)
    chapters = {number.partition(".")[0] for number, _ in found}
    assert len(chapters) <= 1 and [number.partition(".")[2] or number for number, _ in found] == [
        str(count) for count in range(1, len(found) + 1)
    ]
    assert all(name for _, name in found)


def sliders_fit(visit: Visit) -> None:
    window = visit.page.viewport_size
    for slider, _ in sliders(visit.page):
        box = slider.bounding_box()
        assert box is not None and window is not None
        assert box["width"] >= 200 and box["height"] >= 24, "too small for a finger"
        assert box["x"] >= 0 and box["x"] + box["width"] <= window["width"]


def keys_move_every_slider(visit: Visit) -> None:
    """As a reader without a mouse would: the home key, then one step to the right after another."""
    found = sliders(visit.page)
    assert len(found) == stored_sliders(visit.name)
    for number, (slider, figure) in enumerate(found, start=1):
        slider.press("Home")
        steps = slider.evaluate("slider => Math.round((slider.max - slider.min) / (slider.step || 1))")
        states = [figure.evaluate(STATE)]
        for _ in range(steps):
            visit.page.keyboard.press("ArrowRight")
            states.append(figure.evaluate(STATE))
        assert_each_step_differs(number, states)


def every_step_of_a_slider_is_seen(visit: Visit) -> None:
    for number, (_, figure) in enumerate(sliders(visit.page), start=1):
        assert_each_step_differs(number, figure.evaluate(EVERY_STATE))


def assert_each_step_differs(number: int, states: list[tuple[list[str], list[str]]]) -> None:
    shown, words = [state[0] for state in states], [state[1] for state in states]
    assert len(states) > 1 and all(shown), f"slider {number}: no step, or no picture to be seen"
    assert all(before != after for before, after in pairwise(shown)), f"slider {number}: a step changes nothing"
    assert all(before != after for before, after in pairwise(words)), f"slider {number}: a step says nothing new"
    assert all(len(said) == 3 and len(set(said)) == 1 for said in words), f"slider {number} speaks of another frame"


def sliders_follow_the_mouse(visit: Visit) -> None:
    follow(visit, tap=False)


def sliders_follow_the_finger(visit: Visit) -> None:
    follow(visit, tap=True)


def follow(visit: Visit, tap: bool) -> None:
    """To the middle of the slider."""
    for slider, figure in sliders(visit.page):
        slider.press("Home")
        before = figure.evaluate(SHOWN)
        slider.tap() if tap else slider.click()
        value, last = slider.evaluate("slider => [Number(slider.value), Number(slider.max)]")
        assert 0 < value < last or last == 1, "the middle of the slider is neither its beginning nor its end"
        assert figure.evaluate(SHOWN) and figure.evaluate(SHOWN) != before
        assert len(set(figure.evaluate(WORDS))) == 1


def everybody_can_read_it(visit: Visit) -> None:
    """Nothing serious or critical is found by axe-core but what ``accessible.KNOWN`` lists, and that is still there."""
    new, met = judged(visit.page, visit.name, ALL)
    assert not new, "\n\n".join(new)
    assert met == {one for one in KNOWN if one.page == visit.name}, "mended: take it off the list of what is known"


def the_dark_theme_can_be_read_and_keeps_colors(visit: Visit) -> None:
    """Letters can be told from their ground; pictures have their own colors on white, and drawings those of series."""
    visit.page.evaluate("() => document.activeElement.blur()")
    visit.page.mouse.move(0, 0)
    light = visit.page.evaluate(COLORS)
    with dark(visit.page):
        none(visit.page, DIMMED, "pictures that lose their colors")
        changed = [
            f"{before} became {now}"
            for before, now in zip(light, visit.page.evaluate(COLORS), strict=True)
            if before != now
        ]
        pale = faint(visit.page)
    assert not changed, "a series changes its color with the theme"
    assert not pale, "too little contrast in the dark"


def prints(visit: Visit) -> None:
    """On paper stand the whole text and, of a moving figure, side by side its first frame, its last, and one between.

    Not on paper: other frames, sliders, buttons, side bars, the line that stands for folded code. What a reader has
    left folded (a solution) stays folded. Nothing is cut off at the margin, since nobody can scroll there.
    """
    visit.page.evaluate(OFFER_THE_TOP)
    with on_paper(visit.page):
        none(visit.page, HIDDEN_TEXT, "text that is not printed")
        none(visit.page, CONTROLS, "what paper cannot use")
        none(visit.page, WASTE, "folded code takes room")
        none(visit.page, CUT_OFF, "cut off at the margin", ON_PAPER)
        none(visit.page, OUT_OF_FRAME, "words that do not fit into their frame")
        for _, figure in sliders(visit.page):
            frames = figure.evaluate(FRAMES)
            printed = [(at, left, top) for at, seen, _, left, top in frames if seen]
            assert [at for at, *_ in printed] == [at for at, _, meant, *_ in frames if meant], "frames for the screen"
            assert len(printed) == min(3, len(frames)) and {0, len(frames) - 1} <= {at for at, *_ in printed}
            assert len({top for *_, top in printed}) == 1 and all(a[1] < b[1] for a, b in pairwise(printed))
            assert not figure.query_selector("output").is_visible(), "the words of another frame"


def nothing_went_wrong(visit: Visit) -> None:
    assert not visit.troubles


# -- all of it ---------------------------------------------------------------------------------------------------------

PLAN: dict[str, tuple[Callable[[Visit], None], ...]] = {
    "desktop": (
        weighs_less_than_three_megabytes,
        has_what_it_needs,
        maths_is_set,
        nothing_reaches_out_of_the_window,
        labels_stay_in_their_drawings,
        panels_stand_side_by_side,
        figures_are_numbered_in_their_order,
        keys_move_every_slider,
        sliders_follow_the_mouse,
        everybody_can_read_it,
        the_dark_theme_can_be_read_and_keeps_colors,
        prints,
        fonts_come_from_here,
    ),
    "phone": (
        nothing_reaches_out_of_the_window,
        panels_stack,
        figures_fit,
        every_step_of_a_slider_is_seen,
        sliders_follow_the_finger,
    ),
    "narrowest": (nothing_reaches_out_of_the_window, sliders_fit, nothing_went_wrong),
}


def faults(visit: Visit) -> Iterator[str]:
    """What is wrong with a page, each with the size of the window at which it was seen."""
    for size, checks in PLAN.items():
        with sized(visit.page, SIZES[size]):
            for check in checks:
                try:
                    check(visit)
                except (AssertionError, BrowserError) as error:
                    yield f"{visit.name}, {size}, {check.__name__}: {error}"
            if os.environ.get(PICTURES):
                picture = SCREENSHOTS / f"{Path(visit.name).name}-{size}.jpg"
                visit.page.screenshot(path=picture, type="jpeg", quality=70, full_page=True)


@pytest.mark.parametrize("name", pages())
def test_page(context: BrowserContext, address: str, html: Path, name: str) -> None:
    visit = opened(context, address, name, html)
    try:
        found = list(faults(visit))
    finally:
        visit.page.close()
    if found:
        pytest.fail("\n\n".join(found), pytrace=False)
