"""The built pages in a real browser that reaches nothing but this machine."""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from built_book import built_book
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, Route, ViewportSize, sync_playwright
from refresh import ROOT, notebooks, pages

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCREENSHOTS = ROOT / "_build" / "screenshots"
SIZES: dict[str, ViewportSize] = {
    "desktop": {"width": 1280, "height": 900},
    "phone": {"width": 390, "height": 844},
}
FLAGS = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]

# The pictures of a figure that can be seen now, by what they show.
SHOWN = """figure => [...figure.querySelectorAll('img, svg, canvas')]
    .filter(picture => picture.checkVisibility({opacityProperty: true, visibilityProperty: true}))
    .map(picture => picture.currentSrc || picture.src || picture.outerHTML)"""
# The element that a slider and its pictures share.
FIGURE = "slider => slider.closest('figure, .snf-explore')"
MATHS_IS_READY = "() => !window.MathJax || (MathJax.startup && MathJax.startup.promise.then(() => true))"
WITHOUT_WORDS = """main => [...main.querySelectorAll('img')]
    .filter(image => !image.alt.trim()).map(image => image.outerHTML.slice(0, 200))"""
NOT_LOADED = """main => [...main.querySelectorAll('img')]
    .filter(image => image.complete && !image.naturalWidth).map(image => image.outerHTML.slice(0, 200))"""
FITS = "() => document.documentElement.scrollWidth <= window.innerWidth"


@dataclass
class Visit:
    """One page, opened, and what went wrong on it."""

    name: str
    page: Page
    troubles: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None and os.environ.get("CI"):
        pytest.fail("No Chromium or Chrome is installed, and in continuous integration the pages have to be tested.")
    if path is None:
        pytest.skip("No Chromium or Chrome is installed, so nobody looked at the pages.")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing: what failed is reported by the browser's side."""


@pytest.fixture(scope="module")
def address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The built book, served on this machine. (After the browser: without one there is no need to build.)"""
    handler = functools.partial(Quiet, directory=str(built_book(tmp_path_factory)))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def opened(browser: Browser, address: str, name: str, size: str) -> Visit:
    """A page with everything but this machine blocked, loaded, its maths set."""
    visit = Visit(name, browser.new_page(viewport=SIZES[size]))

    def only_here(route: Route, request: Request) -> None:
        if request.url.startswith((f"{address}/", "data:", "blob:")):
            return route.continue_()
        visit.troubles.append(f"asked for {request.url}")
        return route.abort()

    def answered(response: Response) -> None:
        if response.status >= 400:
            visit.troubles.append(f"status {response.status} for {response.url}")

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            visit.troubles.append(f"console {message.type}: {message.text}")

    visit.page.route("**/*", only_here)
    visit.page.on("response", answered)
    visit.page.on("requestfailed", lambda request: visit.troubles.append(f"failed: {request.url}"))
    visit.page.on("pageerror", lambda error: visit.troubles.append(f"script error: {error}"))
    visit.page.on("console", said)
    visit.page.goto(f"{address}/{name}.html", wait_until="load")
    visit.page.wait_for_function(MATHS_IS_READY)
    visit.page.wait_for_load_state("networkidle")
    return visit


@pytest.fixture(scope="module", params=SIZES)
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=pages())
def visit(browser: Browser, address: str, size: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Each page at each size, opened once for all tests below."""
    visit = opened(browser, address, request.param, size)
    yield visit
    visit.page.close()


def test_opens_without_trouble(visit: Visit, size: str) -> None:
    visit.page.screenshot(path=SCREENSHOTS / f"{Path(visit.name).name}-{size}.png", full_page=True)
    main = visit.page.wait_for_selector("main")
    assert main is not None and visit.page.title()
    assert not main.evaluate(WITHOUT_WORDS)
    assert not main.evaluate(NOT_LOADED)
    assert visit.page.evaluate(FITS), "the page is wider than the screen"
    assert not visit.troubles


def test_maths_is_set(visit: Visit) -> None:
    main = visit.page.locator("main")
    written, rendered = main.locator(".math").count(), main.locator(".math mjx-container").count()
    assert rendered == written
    assert not main.locator("mjx-merror, [data-mjx-error]").count()
    assert rendered or ROOT / f"{visit.name}.ipynb" not in notebooks(), "a chapter without a formula"


def stored_sliders(name: str) -> int:
    """How many sliders the notebook behind a page has stored."""
    path = ROOT / f"{name}.ipynb"
    if not path.exists():
        return 0
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    html = [output.get("data", {}).get("text/html", "") for cell in cells for output in cell.outputs]
    return sum(text.count('type="range"') for text in html)


def test_every_step_of_a_slider_changes_its_picture(visit: Visit, size: str) -> None:
    """By keyboard, as a reader without a mouse would: the home key, then one step to the right after another."""
    sliders = visit.page.query_selector_all("main input[type=range]")
    assert len(sliders) == stored_sliders(visit.name)
    for number, slider in enumerate(sliders, start=1):
        figure = slider.evaluate_handle(FIGURE).as_element()
        assert figure is not None, f"slider {number} stands outside of a figure"
        slider.press("Home")
        steps = slider.evaluate("slider => Math.round((slider.max - slider.min) / (slider.step || 1))")
        shown = [figure.evaluate(SHOWN)]
        for _ in range(steps):
            slider.press("ArrowRight")
            shown.append(figure.evaluate(SHOWN))
        assert steps and all(shown), f"slider {number}: no step, or no picture to be seen"
        assert all(before != after for before, after in pairwise(shown)), f"slider {number}: a step changes nothing"
        figure.screenshot(path=SCREENSHOTS / f"{Path(visit.name).name}-{size}-slider-{number}.png")
    assert not visit.troubles
