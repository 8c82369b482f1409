"""Which fonts a page asks for, and which ones the browser really took, letter by letter."""

from typing import Any

from playwright.sync_api import Page

#: The families in the files of ``book/_static/fonts``, as the files name themselves.
BROUGHT = {"Arimo", "Cousine", "Book Signs", "Book Signs Mono"}

# The addresses of all fonts that the page's style sheets name, used or not.
ADDRESSES = """() => {
    const fonts = sheet => [...sheet.cssRules].flatMap(rule => {
        if (rule instanceof CSSImportRule) return fonts(rule.styleSheet);
        if (!(rule instanceof CSSFontFaceRule)) return [];
        const base = sheet.href || document.baseURI, source = rule.style.getPropertyValue('src');
        return [...source.matchAll(/url\\("?([^")]+)/g)].map(found => new URL(found[1], base).href);
    });
    return [...document.styleSheets].flatMap(fonts);
}"""
BROKEN = "() => [...document.fonts].filter(font => font.status === 'error').map(font => font.family)"
# The pieces of text, seen or not yet, that ask for another font first than one that comes with the pages.
TEXTS = """const texts = [...document.querySelectorAll('body, body *')].filter(element =>
    !element.closest('script, style, noscript, title, desc, mjx-container, mjx-container *') &&
    [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim()));"""
STRANGE = f"""() => {{
    {TEXTS}
    return texts.filter(text => !/^"?(Book (Sans|Mono)|Font ?Awesome)/.test(getComputedStyle(text).fontFamily))
        .map(text => `${{getComputedStyle(text).fontFamily}} in ${{text.outerHTML.slice(0, 200)}}`);
}}"""
# Formulas have fonts of their own; a sign that these lack would be taken from whatever the machine has.
STRANGE_MATHS = "() => [...document.querySelectorAll('mjx-utext')].map(text => text.textContent)"
# All signs of the page once more, as text and as code, at the end of it: words that a script shows later as well.
SPECIMENS = f"""async () => {{
    {TEXTS}
    const found = {{text: new Set(), code: new Set()}};
    const note = (element, words) => [...words].forEach(sign => found[
        getComputedStyle(element).fontFamily.includes('Mono') ? 'code' : 'text'].add(sign));
    for (const text of texts)
        for (const node of text.childNodes) if (node.nodeType === Node.TEXT_NODE) note(text, node.data);
    for (const element of document.querySelectorAll('body *'))
        for (const name of ['alt', 'title', 'placeholder', 'value', 'data-label', 'aria-label', 'aria-valuetext'])
            note(element, element.getAttribute(name) || '');
    const box = document.body.appendChild(document.createElement('div'));
    box.id = 'specimens';
    for (const [name, signs] of Object.entries(found)) {{
        const line = box.appendChild(document.createElement('p'));
        line.id = `specimen-${{name}}`;
        line.style.fontFamily = `var(--snf-${{name}})`;
        line.textContent = [...signs].filter(sign => sign.trim()).join('');
    }}
    box.getBoundingClientRect();
    await document.fonts.ready;
    return Object.fromEntries([...box.children].map(line => [`#${{line.id}}`, line.textContent]));
}}"""
# The signs that are drawn as the box which stands for all that no font has: the brought ones nor the machine's.
BOXES = """([selector, signs]) => {
    const canvas = document.createElement('canvas'), pen = canvas.getContext('2d', {willReadFrequently: true});
    canvas.width = canvas.height = 40;
    pen.font = `24px ${getComputedStyle(document.querySelector(selector)).fontFamily}`;
    const drawn = sign => {
        pen.clearRect(0, 0, 40, 40);
        pen.fillText(sign, 8, 30);
        return pen.getImageData(0, 0, 40, 40).data.join();
    };
    const box = drawn(String.fromCodePoint(0x10FFFF));
    return [...signs].filter(sign => drawn(sign) === box);
}"""
REMOVE = "() => document.querySelector('#specimens').remove()"
SHOW = "([selector, words]) => { document.querySelector(selector).textContent = words; }"


class Taken:
    """The fonts that the browser takes for the text of an element, by the protocol of its developer tools."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.session = page.context.new_cdp_session(page)
        self.session.send("DOM.enable")
        self.session.send("CSS.enable")

    def fonts(self, selector: str) -> list[dict[str, Any]]:
        root = self.session.send("DOM.getDocument", {"depth": 0})["root"]["nodeId"]
        node = self.session.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        found: list[dict[str, Any]] = self.session.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        return found

    def strange(self, selector: str) -> list[str]:
        """The fonts that do not come with the pages."""
        fonts = self.fonts(selector)
        return [font["familyName"] for font in fonts if not font["isCustomFont"] or font["familyName"] not in BROUGHT]

    def unknown(self, selector: str, signs: str) -> list[str]:
        """The signs of an element that no font of the pages has, so that the machine's was taken or none."""
        lost: list[str] = self.page.evaluate(BOXES, [selector, signs])
        for sign in signs if self.strange(selector) else "":
            self.page.evaluate(SHOW, [selector, sign])
            lost += [sign] if self.strange(selector) else []
        return [f"{sign} (U+{ord(sign):04X})" for sign in lost]

    def close(self) -> None:
        self.session.detach()
