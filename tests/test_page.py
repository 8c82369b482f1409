"""Every page of the book, at each size, in a real browser that reaches nothing but this machine."""

import gzip
import io
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from accessible import ALL, CONTRAST, KNOWN, judged
from browser import (
    CUT_OFF,
    FIGURE,
    FITS,
    NARROWEST,
    OFFER_THE_TOP,
    ON_PAPER,
    ON_SCREEN,
    OUT_OF_REACH,
    SCREENSHOTS,
    SHOWN,
    SIZES,
    SLIDERS,
    WORDS,
    Visit,
    dark,
    on_paper,
    opened,
    sized,
    stored_sliders,
)
from PIL import Image, ImageChops, ImageOps
from playwright.sync_api import Browser, BrowserContext, ElementHandle
from project import ROOT, notebooks, pages

pytest_plugins = ["browser_fixtures"]

WITHOUT_WORDS = """main => [...main.querySelectorAll('img')]
    .filter(image => !image.alt.trim()).map(image => image.outerHTML.slice(0, 200))"""
NOT_LOADED = """main => [...main.querySelectorAll('img')]
    .filter(image => image.complete && !image.naturalWidth).map(image => image.outerHTML.slice(0, 200))"""
# The addresses of all fonts that the page's style sheets name, used or not.
FONTS = """() => {
    const fonts = sheet => [...sheet.cssRules].flatMap(rule => {
        if (rule instanceof CSSImportRule) return fonts(rule.styleSheet);
        if (!(rule instanceof CSSFontFaceRule)) return [];
        const base = sheet.href || document.baseURI, source = rule.style.getPropertyValue('src');
        return [...source.matchAll(/url\\("?([^")]+)/g)].map(found => new URL(found[1], base).href);
    });
    return [...document.styleSheets].flatMap(fonts);
}"""
BROKEN_FONTS = "() => [...document.fonts].filter(font => font.status === 'error').map(font => font.family)"
# How far a picture has its own colours, on white.
DIMMED = """() => [...document.querySelectorAll('.bd-article img')].filter(image => {
    for (let box = image; box; box = box.parentElement)
        if (getComputedStyle(box).filter !== 'none' || getComputedStyle(box).opacity !== '1') return true;
    return getComputedStyle(image).backgroundColor !== 'rgb(255, 255, 255)';
}).map(image => image.outerHTML.slice(0, 200))"""
BLUR = "() => document.activeElement.blur()"
LOADED = """() => ['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))
    .map(entry => entry.name).filter(name => name.startsWith(location.origin))"""
FOLDED_TEXT = "main details:not([open]) > :not(summary)"
HIDDEN_TEXT = """() => [...document.querySelectorAll('.bd-article :is(p, li, td, pre, h2, h3)')]
    .filter(text => !text.closest('details:not([open])') && !text.checkVisibility({visibilityProperty: true}))
    .map(text => text.outerHTML.slice(0, 200))"""
CONTROLS = """() => [...document.querySelectorAll(
        'button, input, select, .bd-sidebar-primary, .bd-sidebar-secondary, .prev-next-footer')]
    .filter(control => control.checkVisibility({opacityProperty: true, visibilityProperty: true}))
    .map(control => control.outerHTML.slice(0, 200))"""
WASTE = """() => [...document.querySelectorAll('.tag_hide-input > details.above-input:not([open])')]
    .filter(folded => folded.getBoundingClientRect().height).length"""


@pytest.fixture(scope="module", params=SIZES)
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def context(browser: Browser, size: str) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=SIZES[size], has_touch=size == "phone", reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture(scope="module", params=pages())
def visit(context: BrowserContext, address: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Each page at each size, opened once for all tests below."""
    visit = opened(context, address, request.param)
    yield visit
    visit.page.close()


AT_ONE_SIZE = pytest.mark.parametrize("size", ["desktop"], indirect=True)  # what does not depend on the width


def sliders(visit: Visit) -> list[tuple[ElementHandle, ElementHandle]]:
    """Each slider of a page with the figure it stands in."""
    found = []
    for slider in visit.page.query_selector_all(SLIDERS):
        figure = slider.evaluate_handle(FIGURE).as_element()
        assert figure is not None, "a slider stands outside of a figure"
        found.append((slider, figure))
    return found


def test_opens_without_trouble(visit: Visit, size: str) -> None:
    picture = SCREENSHOTS / f"{Path(visit.name).name}-{size}.jpg"
    visit.page.screenshot(path=picture, type="jpeg", quality=70, full_page=True)
    main = visit.page.wait_for_selector("main")
    assert main is not None and visit.page.title()
    assert not main.evaluate(WITHOUT_WORDS)
    assert not main.evaluate(NOT_LOADED)
    assert not visit.troubles


def test_maths_is_set(visit: Visit) -> None:
    main = visit.page.locator("main")
    written, rendered = main.locator(".math").count(), main.locator(".math mjx-container").count()
    assert rendered == written
    assert not main.locator("mjx-merror, [data-mjx-error]").count()
    assert rendered or ROOT / f"{visit.name}.ipynb" not in notebooks(), "a chapter without a formula"


@AT_ONE_SIZE
def test_fonts_come_from_here(visit: Visit, address: str) -> None:
    fonts = visit.page.evaluate(FONTS)
    assert fonts and not [font for font in fonts if not font.startswith((f"{address}/", "data:"))]
    assert not visit.page.evaluate(BROKEN_FONTS)


def test_nothing_reaches_out_of_the_window(visit: Visit) -> None:
    """The page does not scroll sideways, at this size or on the narrowest screen.

    What is wide scrolls in a box of its own, and the keyboard can get there.
    """
    assert visit.page.evaluate(FITS), "the page is wider than the screen"
    assert not visit.page.evaluate(CUT_OFF, ON_SCREEN)
    assert not visit.page.evaluate(OUT_OF_REACH)
    with sized(visit.page, NARROWEST):
        assert visit.page.evaluate(FITS), "the page is wider than the narrowest screen"
        assert not visit.page.evaluate(CUT_OFF, ON_SCREEN)


def test_sliders_fit_the_narrowest_screen(visit: Visit) -> None:
    with sized(visit.page, NARROWEST):
        for slider, _ in sliders(visit):
            box = slider.bounding_box()
            assert box is not None and box["width"] >= 200 and box["height"] >= 24, "too small for a finger"
            assert box["x"] >= 0 and box["x"] + box["width"] <= NARROWEST["width"]


def test_every_step_of_a_slider_changes_its_picture_and_words(visit: Visit, size: str) -> None:
    """By keyboard, as a reader without a mouse would: the home key, then one step to the right after another."""
    found = sliders(visit)
    assert len(found) == stored_sliders(visit.name)
    for number, (slider, figure) in enumerate(found, start=1):
        slider.press("Home")
        steps = slider.evaluate("slider => Math.round((slider.max - slider.min) / (slider.step || 1))")
        shown, words = [figure.evaluate(SHOWN)], [figure.evaluate(WORDS)]
        for _ in range(steps):
            visit.page.keyboard.press("ArrowRight")
            shown.append(figure.evaluate(SHOWN))
            words.append(figure.evaluate(WORDS))
        assert steps and all(shown), f"slider {number}: no step, or no picture to be seen"
        assert all(before != after for before, after in pairwise(shown)), f"slider {number}: a step changes nothing"
        assert all(before != after for before, after in pairwise(words)), f"slider {number}: a step says nothing new"
        assert all(len(said) == 3 and len(set(said)) == 1 for said in words), f"slider {number} speaks of another frame"
        figure.screenshot(path=SCREENSHOTS / f"{Path(visit.name).name}-{size}-slider-{number}.png")
    assert not visit.troubles


def test_a_slider_follows_the_pointer(visit: Visit, size: str) -> None:
    """A click of the mouse, on the phone a tap of the finger, at the middle of the slider."""
    for slider, figure in sliders(visit):
        slider.press("Home")
        before = figure.evaluate(SHOWN)
        slider.tap() if size == "phone" else slider.click()
        value, last = slider.evaluate("slider => [Number(slider.value), Number(slider.max)]")
        assert 0 < value < last or last == 1, "the middle of the slider is neither its beginning nor its end"
        assert len(figure.evaluate(SHOWN)) == 1 and figure.evaluate(SHOWN) != before
        assert len(set(figure.evaluate(WORDS))) == 1


def pixels(figure: ElementHandle) -> Image.Image:
    """What is seen of a figure, without its rim, which may share a pixel with what lies around."""
    return ImageOps.crop(Image.open(io.BytesIO(figure.screenshot())).convert("RGB"), 2)


def settled(figure: ElementHandle) -> Image.Image:
    """What is seen of a figure once it no longer changes: the end of a focus or a hover may be drawn later."""
    before = pixels(figure)
    for _ in range(10):
        now = pixels(figure)
        if not ImageChops.difference(before, now).getbbox():
            return now
        before = now
    raise AssertionError("the figure goes on changing by itself")


def theme_shows(visit: Visit, figure: ElementHandle) -> tuple[int, int, int, int] | None:
    """The box of a figure that looks different in the dark, or nothing."""
    light = settled(figure)
    with dark(visit.page):
        return ImageChops.difference(light, settled(figure)).getbbox()


@AT_ONE_SIZE
def test_pictures_keep_their_ground_in_the_dark(visit: Visit) -> None:
    """Every picture has its own colours on white, and a moving figure looks the same to the last pixel."""
    visit.page.evaluate(BLUR)
    visit.page.mouse.move(0, 0)
    with dark(visit.page):
        assert not visit.page.evaluate(DIMMED)
    for slider, figure in sliders(visit)[:1]:
        slider.evaluate("slider => {slider.style.pointerEvents = 'none'}")  # under the pointer it has another shade
        # On a busy machine that shade goes late, in the light or in the dark; what the theme does shows every time.
        boxes = [theme_shows(visit, figure)]
        while boxes[-1] and len(boxes) < 3:
            boxes.append(theme_shows(visit, figure))
        slider.evaluate("slider => {slider.style.pointerEvents = ''}")
        assert boxes[-1] is None, f"the theme shows in the figure, in the boxes {boxes}"


@AT_ONE_SIZE
def test_everybody_can_read_it(visit: Visit) -> None:
    """Nothing serious or critical is found by axe-core but what ``accessible.KNOWN`` lists, and that is still there.

    In the light by all of its rules, in the dark by the one that looks at colours.
    """
    new, met = judged(visit.page, visit.name, ALL)
    with dark(visit.page):
        new += judged(visit.page, visit.name, CONTRAST)[0]
    assert not new, "\n\n".join(new)
    assert met == {one for one in KNOWN if one.page == visit.name}, "mended: take it off the list of what is known"


@AT_ONE_SIZE
def test_prints(visit: Visit) -> None:
    """On paper stand the whole text and, of a moving figure, the frame that was shown last and its words.

    Not on paper: other frames, sliders, buttons, side bars, the line that stands for folded code. What a reader has
    left folded (a solution) stays folded. Nothing is cut off at the margin, since nobody can scroll there.
    """
    shown = [figure.evaluate(SHOWN) for _, figure in sliders(visit)]
    visit.page.evaluate(OFFER_THE_TOP)
    with on_paper(visit.page):
        assert not visit.page.evaluate(HIDDEN_TEXT)
        assert not visit.page.evaluate(CONTROLS)
        assert not visit.page.evaluate(WASTE), "folded code takes room"
        assert not visit.page.evaluate(CUT_OFF, ON_PAPER)
        assert [figure.evaluate(SHOWN) for _, figure in sliders(visit)] == shown
        assert all(figure.query_selector("output").is_visible() for _, figure in sliders(visit))


@cache
def sent(file: Path) -> int:
    """How many bytes of a file travel: what is text, a server sends compressed."""
    content = file.read_bytes()
    return min(len(content), len(gzip.compress(content)))


@AT_ONE_SIZE
def test_weighs_less_than_three_megabytes(visit: Visit, html: Path) -> None:
    """All that a first visit loads, scripts and fonts of all pages included: a train goes through tunnels."""
    files = {html / urlsplit(address).path.lstrip("/") for address in visit.page.evaluate(LOADED)}
    files.discard(html / "favicon.ico")  # asked for by the browser itself; there is none
    assert html / f"{visit.name}.html" in files and len(files) > 10
    assert sum(map(sent, files)) < 3_000_000, {file.name: sent(file) for file in files}
