"""A page of the book in Chromium that reaches nothing but this machine, and what can be asked of it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from chromium import go
from paths import ROOT
from playwright.sync_api import (
    BrowserContext,
    ConsoleMessage,
    ElementHandle,
    Page,
    Request,
    Response,
    TimeoutError,
    ViewportSize,
)

SCREENSHOTS = ROOT / "_build" / "screenshots"
SIZES: dict[str, ViewportSize] = {
    "desktop": {"width": 1280, "height": 900},
    "phone": {"width": 390, "height": 844},
    "narrowest": {"width": 320, "height": 640},
}
PAPER: ViewportSize = {"width": 718, "height": 1047}  # A4 less a margin of a centimetre, at 96 to the inch
SLIDERS = "main .snf-explore input[type=range]"

# Brings every movement to its end: themes fade in, and a colour halfway is nobody's colour.
SETTLE = """() => document.getAnimations()
    .filter(moving => moving.effect.getComputedTiming().endTime < Infinity)
    .forEach(moving => moving.finish())"""
# The theme's button back to the top is seen only by who has scrolled down and turned round. It counts as well.
OFFER_THE_TOP = "() => { document.querySelector('#pst-back-to-top').style.display = 'block'; }"
# The pictures of a figure that can be seen now, by the end of their data: there a PNG keeps its checksums.
SHOWN = """figure => [...figure.querySelectorAll('img, svg, canvas')]
    .filter(picture => picture.checkVisibility({opacityProperty: true, visibilityProperty: true}))
    .map(picture => (picture.currentSrc || picture.src || '').slice(-64) || picture.outerHTML)"""
# Which frames can be seen, and which are meant for paper.
FRAMES = """figure => [...figure.querySelectorAll('.snf-frame')].map((frame, at) => [
    at, frame.checkVisibility(), frame.classList.contains('snf-print'),
    frame.getBoundingClientRect().left, frame.getBoundingClientRect().top])"""
# The element that a slider and its pictures share.
FIGURE = "slider => slider.closest('figure, .snf-explore')"
# What a moving figure says: beside the slider, aloud, and what it should say of the picture that is seen.
WORDS = """figure => [
    figure.querySelector('output').textContent,
    figure.querySelector('input').getAttribute('aria-valuetext'),
    ...[...figure.querySelectorAll('.snf-frame')].filter(frame => frame.checkVisibility())
        .map(frame => frame.dataset.label),
]"""
FITS = "() => document.documentElement.scrollWidth <= window.innerWidth"
# What nobody can read: it reaches out of the window, or of a box that hides the rest, and nothing around it scrolls.
CUT_OFF = """scrolls => [...document.querySelectorAll('.bd-article *')].filter(element => {
    if (!element.checkVisibility() || element.closest('mjx-container > *, svg.snf-drawing > *')) return false;
    const {left, right} = element.getBoundingClientRect(), overflow = getComputedStyle(element).overflowX;
    const reached = overflow === 'visible' || scrolls.includes(overflow);
    if (!reached && element.scrollWidth > element.clientWidth + 1) return true;
    if (left > -1 && right < innerWidth + 1) return false;
    for (let box = element.parentElement; !box.matches('.bd-article'); box = box.parentElement)
        if (scrolls.includes(getComputedStyle(box).overflowX)) return false;
    return true;
}).map(element => element.outerHTML.slice(0, 200))"""
# Figures that scroll sideways, by their addresses.
SIDEWAYS = """() => [...document.querySelectorAll('.bd-article figure[id]')].filter(figure =>
    [...figure.querySelectorAll('*')].some(box => ['auto', 'scroll'].includes(getComputedStyle(box).overflowX)
        && box.checkVisibility() && box.scrollWidth > box.clientWidth + 1)).map(figure => figure.id)"""
# What scrolls sideways and no key reaches.
OUT_OF_REACH = """() => [...document.querySelectorAll('.bd-article *')].filter(box =>
    ['auto', 'scroll'].includes(getComputedStyle(box).overflowX) && box.scrollWidth > box.clientWidth + 1
    && box.checkVisibility() && box.tabIndex < 0 && !box.querySelector('a[href], input, button, [tabindex="0"]')
).map(box => box.outerHTML.slice(0, 200))"""
# The letters of a drawing shrink with it.
TOO_SMALL = """smallest => [...document.querySelectorAll('.bd-article *')].filter(element => {
    if (element.closest('mjx-container') || !element.checkVisibility()) return false;
    if (![...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim())) return false;
    const drawing = element.closest('svg'), scale = drawing ? drawing.getScreenCTM().a : 1;
    const least = smallest - (element.closest('.snf-drawing') ? element.matches('tspan') ? 4 : 2 : 0);  // exponents
    return parseFloat(getComputedStyle(element).fontSize) * scale < least;
}).map(element => element.outerHTML.slice(0, 200))"""
# Words of a drawing that reach out of it, or out of the frame they are set in.
# (A font leaves some room above and below its letters.)
OUT_OF_FRAME = """() => [...document.querySelectorAll('.bd-article svg :is(text, foreignObject > *)')].filter(words => {
    const frame = words.closest('foreignObject, svg').getBoundingClientRect(), range = document.createRange();
    range.selectNodeContents(words);
    const {left, right, top, bottom} = range.getBoundingClientRect();
    const empty = 1 + (words.closest('.snf-drawing') ? (bottom - top) / 6 : 0);
    return left < frame.left - 1 || right > frame.right + 1 || top < frame.top - empty || bottom > frame.bottom + empty;
}).map(words => words.outerHTML.slice(0, 200))"""
ON_SCREEN, ON_PAPER = ["auto", "scroll"], []  # the boxes in which the rest can be reached


@dataclass
class Visit:
    """One page, opened, and what went wrong on it."""

    name: str
    page: Page
    folder: Path = Path()  # where the built pages are, for who asks for their files
    troubles: list[str] = field(default_factory=list)


def opened(context: BrowserContext, home: str, name: str, folder: Path = Path()) -> Visit:
    """A page below ``home``, loaded, its maths set. What it asks of anybody else is among its troubles."""
    visit = Visit(name, context.new_page(), folder)

    def asked(request: Request) -> None:
        if not request.url.startswith((f"{home}/", "data:", "blob:")):
            visit.troubles.append(f"asked for {request.url}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            visit.troubles.append(f"status {response.status} for {response.url}")

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            visit.troubles.append(f"console {message.type}: {message.text}")

    visit.page.on("request", asked)
    visit.page.on("response", answered)
    visit.page.on("requestfailed", lambda request: visit.troubles.append(f"failed: {request.url}"))
    visit.page.on("pageerror", lambda error: visit.troubles.append(f"script error: {error}"))
    visit.page.on("console", said)
    go(visit.page, f"{home}/{name}.html")
    return visit


@contextmanager
def dark(page: Page) -> Iterator[None]:
    """The page as a reader sees it whose system is set to dark."""
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.documentElement.dataset.theme === 'dark'")
    page.evaluate(SETTLE)
    try:
        yield
    finally:
        page.emulate_media(color_scheme="light")
        page.wait_for_function("() => document.documentElement.dataset.theme === 'light'")
        page.evaluate(SETTLE)


@contextmanager
def sized(page: Page, size: ViewportSize) -> Iterator[None]:
    """The page in a window of another size."""
    before = page.viewport_size
    assert before is not None
    page.set_viewport_size(size)
    page.evaluate(SETTLE)
    try:
        yield
    finally:
        page.set_viewport_size(before)
        page.evaluate(SETTLE)


@contextmanager
def on_paper(page: Page) -> Iterator[None]:
    """The page as it is laid out for a printer."""
    with sized(page, PAPER):
        page.emulate_media(media="print")
        try:
            yield
        finally:
            page.emulate_media(media="screen")


def none(page: Page, script: str, trouble: str, argument: Any = None) -> None:
    """Fail with what a script finds on a page, if it finds anything."""
    found = page.evaluate(script, argument)
    if found:
        raise AssertionError("\n    ".join([f"{trouble}:", *map(str, found[:10]), *["..."] * (len(found) > 10)]))


def eventually_none(page: Page, script: str, trouble: str) -> None:
    """The same once the theme's scripts have followed a change of the window, which they do after a pause."""
    with suppress(TimeoutError):
        page.wait_for_function(f"() => !({script})().length", timeout=3000)
    none(page, script, trouble)


def sliders(page: Page) -> list[tuple[ElementHandle, ElementHandle]]:
    """Each slider of a page with the figure it stands in."""
    found = []
    for slider in page.query_selector_all(SLIDERS):
        figure = slider.evaluate_handle(FIGURE).as_element()
        assert figure is not None, "a slider stands outside of a figure"
        found.append((slider, figure))
    return found


def stored_sliders(name: str) -> int:
    """How many sliders the notebook behind a page has stored."""
    path = ROOT / f"{name}.ipynb"
    if not path.exists():
        return 0
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    html = [output.get("data", {}).get("text/html", "") for cell in cells for output in cell.outputs]
    return sum(text.count('type="range"') for text in html)
