"""The built book as one file for paper: ``python book/_tools/pdf.py`` (or ``make pdf``), beside the pages.

Chromium prints each page as a reader would, its maths set and its moving figures in three of their frames; the files
are then joined in the book's order, with an outline, and the links from page to page lead to places in the file.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chromium import FLAGS, go, installed, served
from paths import ROOT, pages
from playwright.sync_api import Browser, Page, sync_playwright
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.annotations import Link
from pypdf.generic import Fit

from snf_lite.runtime.files import atomic_write

#: Some eighty pages of reference, better searched on a screen.
LEFT_OUT = {"book/api"}
NAME = "snf-book.pdf"
MARGIN = "1cm"
# Without the heading's link to itself, which comes last.
TITLE = """() => [...document.querySelector('.bd-article h1').childNodes]
    .slice(0, -1).map(node => node.textContent).join('')"""
#: In the margin and in the font of the pages. (Playwright's own foot is set in a font of the machine.)
FOOT = """@page {{ @bottom-center {{ content: {title} ", " counter(page); font: 8px "Book Sans", "Book Signs"; }} }}"""


def printed(page: Page, home: str, name: str) -> tuple[str, bytes]:
    """The title of one page, and the page on A4."""
    go(page, f"{home}/{name}.html")
    title = page.evaluate(TITLE).strip()
    page.add_style_tag(content=FOOT.format(title=json.dumps(title, ensure_ascii=False)))
    margins = {side: MARGIN for side in ("top", "bottom", "left", "right")}
    return title, page.pdf(format="A4", margin=margins, print_background=True, tagged=True)


def links(page: PageObject) -> Iterator[tuple[Any, str]]:
    """Each link of a page that leads to an address, and the address."""
    for reference in list(page.get("/Annots", [])):
        action = reference.get_object().get("/A", {})
        if "/URI" in action:
            yield reference, str(action["/URI"])


def turn_inward(writer: PdfWriter, home: str, starts: dict[str, int]) -> None:
    """Lead links between pages to where they begin in the file; a link to what was not printed is taken away."""
    for number, page in enumerate(writer.pages):
        for reference, address in links(page):
            if not address.startswith(home):
                continue
            page["/Annots"].remove(reference)
            name = urlsplit(address).path.strip("/").removesuffix(".html")
            if name in starts:
                place = Link(rect=reference.get_object()["/Rect"], target_page_index=starts[name], fit=Fit.fit())
                writer.add_annotation(number, place)


def joined(browser: Browser, built: Path, names: list[str]) -> bytes:
    """The built pages of these names as one file."""
    writer, starts = PdfWriter(), dict[str, int]()
    page = browser.new_page()
    with served(built) as home:
        for name in names:
            title, file = printed(page, home, name)
            starts[name] = len(writer.pages)
            writer.append(PdfReader(BytesIO(file)), outline_item=title)
    page.close()
    turn_inward(writer, home, starts)
    writer.compress_identical_objects()
    written = BytesIO()
    writer.write(written)
    return written.getvalue()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--html", type=Path, default=ROOT / "_build" / "html", help="the built pages")
    built = asked.parse_args().html
    missing = [name for name in pages() if not (built / f"{name}.html").exists()]
    if missing:
        sys.exit(f"{built} lacks {', '.join(missing)}. Build the pages first: make book")
    if installed() is None:
        sys.exit("Chromium or Chrome prints the pages, and neither is installed.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=installed(), args=FLAGS)
        atomic_write(built / NAME, joined(browser, built, [name for name in pages() if name not in LEFT_OUT]))
    print(built / NAME)


if __name__ == "__main__":
    main()
