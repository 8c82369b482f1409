"""The book where something that a browser usually has is missing or different: scripts, a server, a screen."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from accessible import ALL, CONTRAST, faint, judged
from browser import FIGURE, FRAMES, SHOWN, SIZES, SLIDERS, WORDS, Visit, dark, on_paper, opened, stored_sliders
from chromium import go
from paths import ROOT, notebooks, pages
from PIL import Image, ImageOps
from playwright.sync_api import Browser, BrowserContext, ElementHandle, Page
from pypdf import PdfReader

from snf_lite.analysis.figures import BLUE

pytest_plugins = ["browser_fixtures"]

ALL_TEXT_IS_SEEN = """() => [...document.querySelectorAll('.bd-article :is(h1, h2, p, li, td, pre)')].every(
    text => text.closest('details:not([open])') || text.checkVisibility({visibilityProperty: true}))"""
THEME = "() => [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]"
# The text whose color, on white, has a contrast below 4.5 : 1.
PALE_ON_WHITE = """() => [...document.querySelectorAll('.bd-article *')].filter(element => {
    const text = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!text || !element.checkVisibility()) return false;
    const light = getComputedStyle(element).color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 1.05 / (0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2] + 0.05) < 4.5;
}).map(element => element.outerHTML.slice(0, 200))"""
STAIN = """colors => colors.forEach((color, at) => {
    const text = document.querySelector('.bd-article').appendChild(document.createElement('p'));
    Object.assign(text, {id: `stained-${at}`, textContent: 'Can this be read?'}).style.color = color;
})"""
# Words that stand nowhere else on the page.
RELABEL = """figure => figure.querySelectorAll('.snf-frame').forEach((frame, at) => {
    frame.dataset.label = `printed${at}.`;
})"""
SEARCH_IS_OVER = "() => document.querySelector('.search-summary')?.textContent.startsWith('Search finished')"
MATHS_FONTS = "() => [...document.fonts].filter(font => font.family.startsWith('MJX')).map(font => font.status)"


@pytest.fixture(scope="module")
def chapter() -> str:
    """The first page with a moving figure."""
    return next(page for page in pages() if stored_sliders(page))


@pytest.fixture
def visit(context: BrowserContext, address: str, chapter: str) -> Iterator[Visit]:
    visit = opened(context, address, chapter)
    yield visit
    visit.page.close()


def slider_and_figure(visit: Visit) -> tuple[ElementHandle, ElementHandle]:
    slider = visit.page.wait_for_selector(SLIDERS)
    assert slider is not None
    figure = slider.evaluate_handle(FIGURE).as_element()
    assert figure is not None
    return slider, figure


@pytest.fixture(scope="module")
def without_scripts(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=SIZES["desktop"], java_script_enabled=False)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", pages())
def test_can_be_read_without_scripts(without_scripts: Page, address: str, name: str) -> None:
    """All text, and of a moving figure the frame it starts with and its words. No slider or button that is dead.

    A choice between two pictures that style sheets alone make (the family tree's) works without scripts.
    """
    page = without_scripts
    page.goto(f"{address}/{name}.html")
    assert page.locator("main").inner_text().strip() and page.evaluate(ALL_TEXT_IS_SEEN)
    figures = page.query_selector_all("main figure.snf-explore")
    assert len(figures) == stored_sliders(name)
    for figure in figures:
        output = figure.query_selector("output")
        first = next(frame for frame in figure.query_selector_all(".snf-frame") if frame.is_visible())
        assert output is not None and output.is_visible()
        assert figure.evaluate(WORDS) == [first.get_attribute("data-label")] * 3
    controls = [control for control in page.query_selector_all("main :is(input, button)") if control.is_visible()]
    seen = []
    for control in controls:
        control.click()
        seen.append([picture.is_visible() for picture in page.query_selector_all("main img, main svg")])
    alone = len(controls) == 1
    assert not alone and all(one not in seen[:at] for at, one in enumerate(seen)), "a control that changes nothing"


def test_opens_from_disk(context: BrowserContext, html: Path, chapter: str) -> None:
    visit = opened(context, html.as_uri(), chapter)
    rendered = visit.page.locator("main .math mjx-container").count()
    assert rendered and rendered == visit.page.locator("main .math").count()
    fonts = visit.page.evaluate(MATHS_FONTS)
    assert "loaded" in fonts and "error" not in fonts
    slider, figure = slider_and_figure(visit)
    before = figure.evaluate(SHOWN)
    slider.press("End")
    assert figure.evaluate(SHOWN) != before and len(set(figure.evaluate(WORDS))) == 1
    # The theme fetches the fonts of its icons ahead in a way that browsers refuse from disk; scripts draw the icons.
    refused = re.compile(r"fontawesome|Failed to load resource: net::ERR_FAILED$")
    assert not [trouble for trouble in visit.troubles if not refused.search(trouble)]
    visit.page.close()


def test_the_theme_can_be_switched_and_stays(visit: Visit, address: str) -> None:
    page = visit.page
    assert page.evaluate(THEME)[0] == "light"
    light = page.evaluate(THEME)[1]
    for _ in range(2):  # the button goes through three settings: as the system, dark, light
        if page.evaluate(THEME)[0] == "light":
            page.click(".theme-switch-button:visible")
    assert page.evaluate(THEME)[0] == "dark" and page.evaluate(THEME)[1] != light
    go(page, f"{address}/{pages()[0]}.html")
    assert page.evaluate(THEME)[0] == "dark"
    page.evaluate("() => localStorage.clear()")
    assert not visit.troubles


def pixels(figure: ElementHandle) -> Image.Image:
    """What is seen of a figure, without its rim, which may share a pixel with what lies around."""
    return ImageOps.crop(Image.open(io.BytesIO(figure.screenshot())).convert("RGB"), 2)


def counted(figure: ElementHandle) -> Counter[tuple[int, ...]]:
    """How many pixels of each color are seen."""
    image = pixels(figure)
    return Counter({color: count for count, color in image.getcolors(image.width * image.height) or []})


def test_a_moving_figure_has_the_pages_ground_and_its_own_colors(visit: Visit) -> None:
    """In the light and in the dark, as pixels; of other figures ``test_page`` compares what the style sheets say."""
    _, figure = slider_and_figure(visit)
    grounds = [counted(figure)]
    with dark(visit.page):
        grounds.append(counted(figure))
        ground = visit.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    light, night = grounds
    assert light.most_common(1)[0][0] == (255, 255, 255)
    assert night.most_common(1)[0][0] == tuple(map(int, re.findall(r"\d+", ground)))
    blue = tuple(int(BLUE[at : at + 2], 16) for at in (1, 3, 5))
    assert light[blue] > 50 and night[blue] > 50


def test_faint_letters_are_those_that_axe_finds(visit: Visit) -> None:
    """In the dark, where axe looks at this page only and ``faint`` at all of them."""
    with dark(visit.page):
        assert not faint(visit.page)
        visit.page.evaluate(STAIN, ["#777777", "#c8c8c8", "#ffffff40"])
        found, by_axe = faint(visit.page), judged(visit.page, visit.name, CONTRAST)[0]
    for list_of_faults in (found, by_axe):
        assert [re.findall(r"stained-\d", fault)[:1] for fault in list_of_faults] == [["stained-0"], ["stained-2"]]


def test_search_finds_a_chapter(context: BrowserContext, address: str) -> None:
    visit = opened(context, address, "search")
    visit.page.fill("main input[name=q]", "inverse")
    visit.page.press("main input[name=q]", "Enter")
    visit.page.wait_for_function(SEARCH_IS_OVER)  # results come one by one, those of the package's page first
    found = visit.page.locator("#search-results li a").evaluate_all("links => links.map(link => link.href)")
    chapters = [path.relative_to(ROOT).with_suffix(".html").as_posix() for path in notebooks()]
    assert [link for link in found if link.removeprefix(f"{address}/").split("?")[0].split("#")[0] in chapters]
    assert not judged(visit.page, "search", ALL)[0]
    assert not visit.troubles
    visit.page.close()


def test_a_slider_and_its_picture_agree_after_going_back(visit: Visit, address: str) -> None:
    """A browser may put a slider where it was left; a picture it does not."""
    slider, _ = slider_and_figure(visit)
    slider.press("End")
    go(visit.page, f"{address}/{pages()[0]}.html")
    visit.page.go_back(wait_until="load")
    slider, figure = slider_and_figure(visit)
    words = figure.evaluate(WORDS)
    frame = figure.query_selector_all(".snf-frame")[int(slider.input_value())]
    assert words == [frame.get_attribute("data-label")] * 3


def test_a_printed_file_has_the_frames_meant_for_paper(visit: Visit) -> None:
    _, figure = slider_and_figure(visit)
    frames = figure.evaluate(FRAMES)
    figure.evaluate(RELABEL)
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(visit.page.pdf(format="A4"))).pages)
    assert [at for at, *_ in frames if f"printed{at}." in text] == [at for at, _, meant, *_ in frames if meant]


def test_prints_dark_on_white_from_the_dark_theme_too(visit: Visit) -> None:
    """A browser leaves the dark ground out when it prints; light letters would stand on white paper."""
    with on_paper(visit.page):
        assert not visit.page.evaluate(PALE_ON_WHITE)
    with dark(visit.page):
        assert visit.page.evaluate(PALE_ON_WHITE)
        with on_paper(visit.page):
            assert not visit.page.evaluate(PALE_ON_WHITE)
