"""What a reader meets first: the drawing, the doors, the map, the table, and the picture of a shared link."""

import re
from pathlib import Path

import pytest
from _ext.identity import IMAGE, SIZE, properties, site
from browser import CUT_OFF, FITS, ON_SCREEN, OUT_OF_FRAME, SIZES, TOO_SMALL, Visit, dark, none, opened, sized
from bs4 import BeautifulSoup
from paths import ROOT, public_address
from PIL import Image
from playwright.sync_api import Browser, BrowserContext
from snf_book.swap import file
from text import share_image
from text.chapters import chapters

pytest_plugins = ["browser_fixtures"]

WELCOME = (ROOT / "book" / "welcome.md").read_text("utf-8")
STATIC = ROOT / "book" / "_static"
WIDTHS = (320, 390, 600, 768, 992, 1200, 1600)
FONTS = ("Book Sans", "serif", "monospace")
# Words of the drawing, arrows and strokes, with the contrast that they need, against what lies below them.
PALE = """() => {
    const light = color => {
        const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
        pen.fillStyle = color; pen.fillRect(0, 0, 1, 1);
        const part = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map(one => one / 255)
            .map(one => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
        return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2] + 0.05;
    };
    const contrast = (one, other) => {
        const [low, high] = [light(one), light(other)].sort((a, b) => a - b); return high / low; };
    const ground = getComputedStyle(document.querySelector('.bd-main')).backgroundColor;
    const page = ground === 'rgba(0, 0, 0, 0)' ? getComputedStyle(document.body).backgroundColor : ground;
    const svg = [...document.querySelectorAll('.snf-swap svg')].find(one => one.checkVisibility());
    const found = [];
    for (const text of svg.querySelectorAll('text')) {
        const own = text.previousElementSibling, fill = getComputedStyle(own).fill;
        const below = own.tagName === 'rect' && fill !== 'none' ? fill : page;
        const has = contrast(getComputedStyle(text).fill, below);
        if (has < 4.5) found.push(`${text.textContent}: ${has.toFixed(2)}`);
    }
    for (const path of svg.querySelectorAll('path, polygon, circle:not([class])')) {
        const style = getComputedStyle(path), color = style.fill === 'none' ? style.stroke : style.fill;
        const has = contrast(color, page).toFixed(2);
        if (has < 3) found.push(`${path.outerHTML.slice(0, 80)}: ${has}`);
    }
    return found;
}"""


@pytest.fixture(scope="module")
def visit(context: BrowserContext, address: str) -> Visit:
    return opened(context, address, "book/welcome")


# ---- the drawing and the doors ---------------------------------------------------------------------------------------


def test_the_drawing_is_there_at_first_paint_without_scripts(browser: Browser, address: str) -> None:
    """Whole, and on the part of the page that is seen without scrolling, on a desk and on a phone."""
    for size, layout in (("desktop", "swap-wide"), ("phone", "swap-tall")):
        context = browser.new_context(viewport=SIZES[size], java_script_enabled=False)
        page = context.new_page()
        page.goto(f"{address}/book/welcome.html")
        drawing = page.locator(f".snf-swap .{layout}")
        box = drawing.bounding_box()
        assert box and box["y"] + box["height"] < SIZES[size]["height"]
        assert all(text.is_visible() for text in drawing.locator("text").all())
        context.close()


@pytest.mark.parametrize("font", FONTS)
def test_words_stay_in_their_boxes(visit: Visit, font: str) -> None:
    """Those of map, drawing, doors and list, at any width."""
    style = visit.page.add_style_tag(content=f".bd-article, .bd-article * {{ font-family: {font!r} !important }}")
    for width in WIDTHS:
        with sized(visit.page, {"width": width, "height": 900}):
            assert visit.page.evaluate(FITS), width
            none(visit.page, OUT_OF_FRAME, f"words that leave their frame at {width}")
            none(visit.page, CUT_OFF, f"cut off at {width}", ON_SCREEN)
            none(visit.page, TOO_SMALL, f"small letters at {width}", 9)
            map_, column = visit.page.locator(".snf-map"), visit.page.locator(".snf-only-wide").bounding_box()
            assert column and map_.is_visible() == (column["width"] > 560)
    style.evaluate("style => style.remove()")


def test_the_drawing_can_be_seen_in_both_themes(visit: Visit) -> None:
    none(visit.page, PALE, "too little contrast in the light")
    with dark(visit.page):
        none(visit.page, PALE, "too little contrast in the dark")
        visit.page.add_style_tag(content=".snf-swap text { fill: #444 }").evaluate(
            "style => { if (!(" + PALE + ")().length) throw 'pale words are not found'; style.remove(); }"
        )


def test_every_link_to_a_figure_has_its_figure() -> None:
    links = re.findall(r'href="([\w-]+)\.html#(explore-[\w-]+)"', WELCOME)
    assert len(links) > 7
    shown = {
        (chapter.path.stem, f"explore-{name}")
        for chapter in chapters()
        for cell in chapter.code
        for name in re.findall(r'\bexplore\(.*?\bname="([\w-]+)"', cell.source, re.DOTALL)
    }
    assert not set(links) - shown


def test_the_doors_lead_to_the_page_a_figure_and_both_parts(html: Path) -> None:
    soup = BeautifulSoup((html / "book" / "welcome.html").read_text("utf-8"), "html.parser")
    targets = [str(link["href"]) for link in soup.select(".snf-doors li p > a:first-child, .snf-doors strong > a")]
    assert [target.split("#")[0] for target in targets if "#half" not in target] == [
        "one-page.html", "densities-that-move.html", "densities-that-move.html", "where-the-gap-comes-from.html",
    ]  # fmt: skip


def test_the_one_page_fits_in_any_font(context: BrowserContext, address: str) -> None:
    visit = opened(context, address, "book/one-page")
    for font in FONTS:
        style = visit.page.add_style_tag(content=f".bd-article, .bd-article * {{ font-family: {font!r} !important }}")
        for width in WIDTHS:
            with sized(visit.page, {"width": width, "height": 900}):
                assert visit.page.evaluate(FITS), (font, width)
                none(visit.page, OUT_OF_FRAME, f"{font}: words that leave their frame at {width}")
        style.evaluate("style => style.remove()")
    visit.page.close()


# ---- what is shared --------------------------------------------------------------------------------------------------


def test_stored_pictures_show_the_drawing_of_today() -> None:
    assert (STATIC / "swap.svg").read_text("utf-8") == file(), "run `make pages`"
    assert share_image.is_current(), "run `make pages`, with Chromium installed"
    with Image.open(STATIC / IMAGE) as image:
        assert image.size == SIZE == share_image.SIZE
    assert (STATIC / IMAGE).stat().st_size < 150_000


def test_another_drawing_needs_another_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_image, "source", lambda: "something else")
    assert not share_image.is_current()


def test_each_page_names_its_title_and_a_picture_that_is_there(html: Path) -> None:
    for name in ("book/welcome", "book/a-learned-inverse"):
        soup = BeautifulSoup((html / f"{name}.html").read_text("utf-8"), "html.parser")
        said = {str(tag["property"]): str(tag["content"]) for tag in soup.find_all("meta", property=re.compile("^og:"))}
        assert soup.h1 and said["og:title"] == re.sub(r"^\d+\. |#$", "", soup.h1.text)
        home = site(public_address())
        assert said["og:url"] == f"{home}/{name}.html"
        assert (html / said["og:image"].removeprefix(f"{home}/")).is_file()
        assert soup.select_one('link[rel~="icon"]') and soup.select_one(".navbar-brand img[src$='logo.svg']")


def test_the_address_of_a_picture_moves_with_the_repository() -> None:
    said = properties("https://github.com/Someone/their.flows", "book/glow", "Glow", "Flows")
    assert said["og:image"] == "https://someone.github.io/their.flows/_static/share.png"
    assert said["og:url"] == "https://someone.github.io/their.flows/book/glow.html"
    with pytest.raises(ValueError, match="on GitHub"):
        site("https://example.org/flows")
