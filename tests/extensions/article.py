"""The text of a built page, and of the source that it was made from."""

import re
from functools import cache
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from paths import ROOT


@cache
def article(html: Path, name: str) -> Tag:
    """What a page holds between its bars and menus."""
    soup = BeautifulSoup((html / f"{name}.html").read_text("utf-8"), "html.parser")
    found = soup.select_one("article.bd-article")
    assert found, f"{name} has no text"
    return found


@cache
def markdown(name: str) -> str:
    """The Markdown of a page, a notebook's cells one behind the other."""
    path = ROOT / f"{name}.md"
    if path.exists():
        return path.read_text("utf-8")
    cells = nbformat.read(ROOT / f"{name}.ipynb", as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def letters(text: str) -> str:
    """Without the signs of Markdown, of formulas and of quotations."""
    return re.sub(r"[\W_]+", "", text)
