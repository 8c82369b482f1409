"""The book as one file for paper: its pages in order, an outline, and links that stay inside."""

from io import BytesIO
from pathlib import Path

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


def test_links_between_pages_stay_in_the_file(file: PdfReader) -> None:
    learned_inverse = file.pages[file.get_destination_page_number(file.outline[1])].indirect_reference
    found = [link.get_object() for page in file.pages for link in page.get("/Annots", [])]
    assert learned_inverse in [link["/Dest"][0] for link in found if "/Dest" in link]


def test_no_link_leads_to_where_the_pages_were_built(file: PdfReader) -> None:
    addresses = [address for page in file.pages for _, address in links(page)]
    assert any(address.startswith("https://arxiv.org") for address in addresses)
    assert not [address for address in addresses if "127.0.0.1" in address]
