"""What axe-core, the accessibility checker, finds on a page, and what of it is known and not ours to mend."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from browser import OFFER_THE_TOP, SETTLE
from playwright.sync_api import Page

# All rules but one that takes long and whose violations are moderate: text outside of landmarks.
ALL: dict[str, Any] = {"rules": {"region": {"enabled": False}}}
CONTRAST = {"runOnly": ["color-contrast"]}


@dataclass(frozen=True)
class Known:
    """A rule broken by markup that neither a style sheet nor a setting of ours changes: on one page, by one element."""

    page: str
    rule: str
    selector: str
    why: str


KNOWN = (
    Known(
        page="book/bibliography",
        rule="aria-required-children",
        selector="div.citation-list[role=list]",
        why="docutils lists citations whose own roles are not those of list items",
    ),
)

# Contrast depends on the colors, the size and the weight of letters. One piece of text for each combination is judged
# in the place of thousands: a page of code has a hundred spans for each color. So it is with links, of which axe asks
# whether they can be told from the text around.
MARK_LOOKS = """() => {
    const looks = new Set(), grounds = new Map();
    for (const element of document.querySelectorAll('body, body *')) {
        const style = getComputedStyle(element), below = grounds.get(element.parentElement) || ['', 1];
        const clear = style.backgroundColor === 'rgba(0, 0, 0, 0)' && style.backgroundImage === 'none';
        const ground = clear ? below[0] : below[0] + style.backgroundColor + style.backgroundImage;
        grounds.set(element, [ground, below[1] * style.opacity]);
        delete element.dataset.look;
        delete element.dataset.link;
        if (element.matches('a[href]')) {
            const of = one => one ? ['color', 'fontWeight', 'fontSize', 'textDecoration', 'borderBottom',
                'backgroundColor', 'display'].map(name => getComputedStyle(one)[name]) : '';
            const link = ['link', of(element), of(element.parentElement), of(element.firstElementChild)].join();
            if (!looks.has(link)) element.dataset.link = '';
            looks.add(link);
        }
        const text = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (!text || !element.checkVisibility({visibilityProperty: true})) continue;
        const look = [...grounds.get(element), style.color, style.fontSize, style.fontWeight].join();
        if (!looks.has(look)) element.dataset.look = '';
        looks.add(look);
    }
    axe.configure({rules: [
        {id: 'color-contrast', selector: '[data-look]'}, {id: 'link-in-text-block', selector: 'a[data-link]'},
    ]});
    return looks.size;
}"""
# What folded text says is judged too. While axe looks, code has only those of its spans whose look is judged, and a
# formula only its text for screen readers: the rest has no meaning of its own, and walking it takes most of the time.
# Afterwards everything is as it was.
THIN = """() => {
    const boxes = [...document.querySelectorAll('.highlight pre, dt.sig, mjx-math')];
    const before = boxes.map(box => [box, [...box.childNodes]]);
    for (const [box, nodes] of before) {
        box.replaceChildren(...(box.matches('mjx-math') ? [] : nodes.map(node => node.cloneNode(true))));
        box.querySelectorAll('span:not([data-look])').forEach(span => span.replaceWith(...span.childNodes));
    }
    window.thicken = () => before.forEach(([box, nodes]) => box.replaceChildren(...nodes));
}"""
THICKEN = "() => thicken()"
UNFOLD = """() => document.querySelectorAll('main details:not([open])').forEach(details => {
    details.open = true; details.dataset.folded = ''; })"""
FOLD = """() => document.querySelectorAll('details[data-folded]').forEach(details => {
    details.open = false; delete details.dataset.folded; })"""
RUN = """async ([options, known]) => {
    const found = await axe.run(document, {resultTypes: ['violations'], elementRef: true, preload: false, ...options});
    return found.violations.flatMap(({id, impact, nodes}) => nodes.map(node => ({
        rule: id, impact, html: node.html.slice(0, 200), says: node.failureSummary,
        known: known.findIndex(one => one.rule === id && node.element.matches(one.selector)),
    })));
}"""


# The text whose color is too close to what lies below it, by the bounds of the same rule of axe, of which this is the
# part that a theme can change: colors and opacity, not what overlaps.
FAINT = """() => {
    const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true}), known = new Map();
    const parts = color => {
        if (!known.has(color)) {
            pen.clearRect(0, 0, 1, 1); pen.fillStyle = color; pen.fillRect(0, 0, 1, 1);
            const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
            known.set(color, [[red, green, blue], alpha / 255]);
        }
        return known.get(color);
    };
    const over = (color, below, opacity = 1) => {
        const [above, alpha] = parts(color), share = alpha * opacity;
        return below.map((part, at) => above[at] * share + part * (1 - share));
    };
    const light = color => color.map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const canvas = getComputedStyle(document.documentElement).colorScheme.includes('dark') ? [18, 18, 18]
        : [255, 255, 255];
    const grounds = new Map(), found = [];
    for (const element of document.querySelectorAll('html, body, body *')) {
        const style = getComputedStyle(element), [below, clear] = grounds.get(element.parentElement) || [canvas, 1];
        const opacity = clear * style.opacity, ground = over(style.backgroundColor, below, opacity);
        grounds.set(element, [ground, opacity]);
        const text = [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
        if (!text || !element.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
        if (element.closest('mjx-assistive-mml, :disabled')) continue;
        if (element.matches('.snf-drawing [fill^="#"]')) continue;  // over a picture, in any theme
        const inSvg = element instanceof SVGElement;
        const lights = [light(over(inSvg ? style.fill : style.color, ground, opacity)), light(ground)];
        const contrast = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05), size = parseFloat(style.fontSize);
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
        if (contrast < (large ? 3 : 4.5) - 0.01)
            found.push(`${contrast.toFixed(2)} : 1 in ${element.outerHTML.slice(0, 200)}`);
    }
    return found;
}"""


@contextmanager
def laid_open(page: Page) -> Iterator[None]:
    """The page unfolded, its looks marked, and thinned."""
    page.evaluate(OFFER_THE_TOP)
    page.evaluate(UNFOLD)
    page.evaluate(SETTLE)
    assert page.evaluate(MARK_LOOKS), "a page without text"
    page.evaluate(THIN)
    yield
    page.evaluate(THICKEN)
    page.evaluate(FOLD)


def faint(page: Page) -> list[str]:
    """What nobody with weak eyes can read, in the page as it is shown now, unfolded."""
    page.evaluate(OFFER_THE_TOP)
    page.evaluate(UNFOLD)
    page.evaluate(SETTLE)
    found: list[str] = page.evaluate(FAINT)
    page.evaluate(FOLD)
    return found


def judged(page: Page, name: str, options: dict[str, Any]) -> tuple[list[str], set[Known]]:
    """(serious and critical violations that are new, known ones that were met), in the page as it is shown now."""
    known = [one for one in KNOWN if one.page == name]
    page.evaluate(AXE_SCRIPT)
    with laid_open(page):
        found = page.evaluate(RUN, [options, [{"rule": one.rule, "selector": one.selector} for one in known]])
    new = [
        f"{one['rule']} ({one['impact']}): {one['html']}\n{one['says']}"
        for one in found
        if one["impact"] in ("serious", "critical") and one["known"] < 0
    ]
    return new, {known[one["known"]] for one in found if one["known"] >= 0}
