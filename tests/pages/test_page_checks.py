"""Each check of a page fails where something is damaged that it is there to see, and names what it found."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import test_page as checks
from browser import SIZES, Visit, opened, sized, stored_sliders
from paths import pages
from playwright.sync_api import Browser

pytest_plugins = ["browser_fixtures"]

#: A check, the style that does the damage, and words of the message.
STYLES: list[tuple[Callable[[Visit], None], str, str]] = [
    (checks.nothing_reaches_out_of_the_window, "main p { width: 3000px; }", "wider than the window"),
    (checks.nothing_reaches_out_of_the_window, "main p { width: 50px; overflow: hidden; }", "cut off at the edge"),
    (checks.nothing_reaches_out_of_the_window, "main p { font-size: 8px; }", "letters of less than 9 pixels"),
    (checks.sliders_fit, "main input[type=range] { width: 100px !important; }", "too small for a finger"),
    (checks.sliders_fit, "main input[type=range] { height: 9px !important; }", "too small for a finger"),
    (checks.keys_move_every_slider, ".snf-drawing { display: none !important; }", "no picture to be seen"),
    (checks.every_step_of_a_slider_is_seen, ".snf-drawing { opacity: 0 !important; }", "no picture to be seen"),
    (checks.everybody_can_read_it, "main p { color: #aaa !important; }", "color-contrast"),
    (
        checks.everybody_can_read_it,
        "main p a { color: #5a6270 !important; text-decoration: none !important; border: none !important; }",
        "link-in-text",
    ),
    (
        checks.the_dark_theme_can_be_read_and_keeps_colors,
        "[data-theme=dark] main p { color: #555 !important; }",
        "too little contrast in the dark",
    ),
    (
        checks.the_dark_theme_can_be_read_and_keeps_colors,
        "[data-theme=dark] .snf-drawing { filter: invert(1); }",
        "a series changes its color with the theme",
    ),
    (
        checks.the_dark_theme_can_be_read_and_keeps_colors,
        "[data-theme=dark] .snf-drawing path { stroke: red !important; }",
        "a series changes its color with the theme",
    ),
    (
        checks.the_dark_theme_can_be_read_and_keeps_colors,
        "[data-theme=dark] .snf-drawing { color: #555; }",
        "too little contrast in the dark",
    ),
    (checks.labels_stay_in_their_drawings, ".snf-drawing text { font-size: 60px; }", "do not fit into their drawing"),
    (checks.panels_stand_side_by_side, ".snf-frame { flex-direction: column; }", "though there is room"),
    (checks.panels_stack, ".snf-frame > * { max-width: 150px !important; }", "too small to be read"),
    (
        checks.figures_fit,
        ".snf-frame { overflow-x: auto; } .snf-drawing { min-width: 2000px !important; }",
        "other figures scroll",
    ),
    (checks.prints, "@media print { .snf-frames { display: block !important; } }", "assert"),
    (
        checks.prints,
        "@media print { .snf-explore .snf-print:last-child { display: none !important; } }",
        "frames for the screen",
    ),
    (checks.prints, "@media print { main p { visibility: hidden; } }", "text that is not printed"),
    (checks.prints, "@media print { .snf-explore input { display: block !important; } }", "what paper cannot use"),
    (checks.prints, "@media print { main pre { white-space: pre !important; } }", "cut off at the margin"),
    (checks.fonts_come_from_here, ":root { --snf-text: 'Bok Sans', sans-serif !important; }", "a font of the machine"),
    (checks.fonts_come_from_here, ":root { --snf-code: monospace !important; }", "a font of the machine"),
    (checks.fonts_come_from_here, "h1 { font-family: serif !important; }", "a font of the machine"),
    (checks.fonts_come_from_here, "@font-face { font-family: x; src: url(http://a.example/x); }", "a.example"),
    (
        checks.fonts_come_from_here,
        "@font-face { font-family: 'Book Sans'; font-weight: 400; src: local('Bok Sans'); unicode-range: U+61; }",
        "fonts that cannot be read",
    ),
]
#: A check, the script that does the damage, the one that takes it back, and words of the message.
SCRIPTS: list[tuple[Callable[[Visit], None], str, str, str]] = [
    (
        checks.has_what_it_needs,
        "image = document.querySelector('main img'); words = image.alt; image.alt = ' ';",
        "image.alt = words;",
        "pictures without words",
    ),
    (
        checks.maths_is_set,
        "formula = document.querySelector('main mjx-container'); place = formula.parentElement; formula.remove();",
        "place.append(formula);",
        "==",
    ),
    (
        checks.keys_move_every_slider,
        "still = event => event.stopImmediatePropagation(); addEventListener('input', still, true);",
        "removeEventListener('input', still, true);",
        "a step changes nothing",
    ),
    (
        checks.everybody_can_read_it,
        "document.documentElement.removeAttribute('lang');",
        "document.documentElement.lang = 'en';",
        "html-has-lang",
    ),
    (
        checks.fonts_come_from_here,
        "sign = document.querySelector('main p').appendChild(document.createElement('em')); sign.textContent = '漢';",
        "sign.remove();",
        "漢 (U+6F22) in #specimen-text",
    ),
    (
        checks.fonts_come_from_here,
        "sign = document.querySelector('main pre').appendChild(document.createElement('i')); sign.textContent = '漢';",
        "sign.remove();",
        "漢 (U+6F22) in #specimen-code",
    ),
]


@pytest.fixture(scope="module")
def visit(browser: Browser, address: str, html: Path) -> Iterator[Visit]:
    """The first page with a moving figure."""
    context = browser.new_context(viewport=SIZES["desktop"], has_touch=True, reduced_motion="reduce")
    name = next(page for page in pages() if stored_sliders(page))
    yield opened(context, address, name, html)
    context.close()


@pytest.mark.parametrize(("check", "style", "words"), STYLES)
def test_damage_by_a_style_is_seen(visit: Visit, check: Callable[[Visit], None], style: str, words: str) -> None:
    added = visit.page.add_style_tag(content=style)
    try:
        with pytest.raises(AssertionError, match=re.escape(words)):
            check(visit)
    finally:
        added.evaluate("style => style.remove()")


@pytest.mark.parametrize(("check", "script", "back", "words"), SCRIPTS)
def test_damage_by_a_script_is_seen(
    visit: Visit, check: Callable[[Visit], None], script: str, back: str, words: str
) -> None:
    visit.page.evaluate(f"() => {{ {script} }}")
    try:
        with pytest.raises(AssertionError, match=re.escape(words)):
            check(visit)
    finally:
        visit.page.evaluate(f"() => {{ {back} }}")


def test_what_no_key_reaches_is_seen(visit: Visit) -> None:
    """After the theme has made what scrolls reachable, in a window so narrow that code scrolls."""
    with sized(visit.page, SIZES["narrowest"]):
        checks.nothing_reaches_out_of_the_window(visit)
        visit.page.evaluate("() => document.querySelectorAll('pre').forEach(code => { code.tabIndex = -1; })")
        with pytest.raises(AssertionError, match="scrolls, but not by keyboard"):
            checks.nothing_reaches_out_of_the_window(visit)


def test_words_that_do_not_fit_into_their_box_are_seen(visit: Visit, address: str) -> None:
    map_of_chapters = opened(visit.page.context, address, pages()[0])
    map_of_chapters.page.add_style_tag(content=".snf-map foreignObject > div { font-size: 30px; }")
    with pytest.raises(AssertionError, match=r"cut off at the edge|words that do not fit into their frame"):
        checks.nothing_reaches_out_of_the_window(map_of_chapters)
    map_of_chapters.page.close()


def test_a_page_that_weighs_too_much_is_seen(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    checks.weighs_less_than_three_megabytes(visit)
    monkeypatch.setattr(checks, "sent", lambda file: 300_000)
    with pytest.raises(AssertionError, match=r"sphinx-book-theme\.js|: 300000"):
        checks.weighs_less_than_three_megabytes(visit)


def test_all_faults_are_named_with_their_page_and_size(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(visit: Visit) -> None:
        raise AssertionError("as a test")

    monkeypatch.setattr(checks, "PLAN", {"phone": (broken, checks.maths_is_set), "narrowest": (broken,)})
    assert list(checks.faults(visit)) == [f"{visit.name}, {size}, broken: as a test" for size in ("phone", "narrowest")]
    assert not visit.troubles
