"""The book as one file for paper: its pages in order, an outline, and links that stay inside."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pdf import joined, links
from playwright.sync_api import Browser
from pypdf import PdfReader

pytest_plugins = ["browser_fixtures"]

#: The third links to the second, and all of them to pages that are not printed here.
NAMES = ["book/glossary", "book/a-learned-inverse", "book/two-dimensional-flows"]


@pytest.fixture(scope="module")
def file(browser: Browser, html: Path) -> PdfReader:
    return PdfReader(BytesIO(joined(browser, html, NAMES)))


def test_the_outline_leads_to_where_each_page_begins(file: PdfReader) -> None:
    begins = {item.title.lstrip("0123456789. "): file.get_destination_page_number(item) for item in file.outline}
    assert list(begins) == ["Glossary", "A learned inverse", "Two-dimensional flows"]
    for title, number in begins.items():
        assert title in file.pages[number].extract_text()
    assert begins["Glossary"] == 0 and len(file.pages) > 10


def test_every_page_has_its_title_and_number_at_its_foot(file: PdfReader) -> None:
    begins = [file.get_destination_page_number(item) for item in file.outline]
    for item, first, end in zip(file.outline, begins, [*begins[1:], len(file.pages)], strict=True):
        for number, page in enumerate(file.pages[first:end], start=1):
            assert f"{item.title}, {number}" in page.extract_text().splitlines()


def test_links_between_pages_stay_in_the_file(file: PdfReader) -> None:
    learned_inverse = file.pages[file.get_destination_page_number(file.outline[1])].indirect_reference
    found = [link.get_object() for page in file.pages for link in page.get("/Annots", [])]
    assert learned_inverse in [link["/Dest"][0] for link in found if "/Dest" in link]


def test_no_link_leads_to_where_the_pages_were_built(file: PdfReader) -> None:
    addresses = [address for page in file.pages for _, address in links(page)]
    assert any(address.startswith("https://arxiv.org") for address in addresses)
    assert not [address for address in addresses if "127.0.0.1" in address]


def fonts(resources: Any) -> Iterator[tuple[str, bool]]:
    """(name, embedded) of each font that a page uses, also inside of its drawings."""
    resources = resources.get_object()
    for font in resources.get("/Font", {}).values():
        font = font.get_object()
        parts = [part.get_object() for part in font.get("/DescendantFonts", [font])]
        held = [part.get("/FontDescriptor", {}) for part in parts]
        embedded = font["/Subtype"] == "/Type3" or all("/FontFile" in str(list(one)) for one in held)
        yield str(font.get("/BaseFont") or held[0].get("/FontName", "a font without a name")), embedded
    for drawing in resources.get("/XObject", {}).values():
        if "/Resources" in drawing.get_object():
            yield from fonts(drawing.get_object()["/Resources"])


def test_its_fonts_are_inside_and_are_those_of_the_pages(file: PdfReader) -> None:
    """Not those of this machine: it would print differently elsewhere. The theme brings Font Awesome's arrows."""
    found = {font for page in file.pages for font in fonts(page["/Resources"])}
    assert not [name for name, embedded in found if not embedded]
    names = {name.lstrip("/").partition("+")[2] or name for name, _ in found}
    assert {"Arimo-Regular", "Arimo-Bold", "Cousine-Regular"} <= names
    own = ("Arimo-", "Cousine", "BookSigns", "MJX", "MathJax", "FontAwesome")
    assert not [name for name in names if not name.startswith(own)]
