"""The words of a link to an equation are on the page, and the equation's number behind them."""

import re
from pathlib import Path

import pytest
from _ext.equation_links import followed
from article import article, letters, markdown
from bs4 import Tag
from each_case import check_each
from paths import pages

WRITTEN = re.compile(r"\[([^\[\]]*)\]\(#(eq-[\w-]+)\)")
#: Behind the words, in parentheses or, at the end of one, behind a comma.
NUMBERED = re.compile(r"(.*?)(?:\s\((\d+\.\d+)\)|,\s(\d+\.\d+))", re.DOTALL)
API = "book/api"  # written by Sphinx: its links have no words of their own


def number(html: Path, name: str, link: Tag) -> str:
    """What stands beside the equation that a link of a page leads to."""
    chapter, _, place = str(link["href"]).partition("#")
    target = article(html, f"book/{chapter.removesuffix('.html')}" if chapter else name).find(id=place)
    assert isinstance(target, Tag), f"{link['href']} leads nowhere"
    shown = target.select_one(".eqno")
    assert shown, f"{place} has no number"
    return re.sub(r"[^\d.]", "", shown.get_text())


def test_every_link_keeps_its_words_and_shows_the_number(html: Path) -> None:
    def check(name: str) -> None:
        links = article(html, name).select('a[href*="#equation-eq-"]:not(.headerlink)')
        assert [str(link["href"]).partition("#equation-")[2] for link in links] == [
            label for _, label in WRITTEN.findall(markdown(name))
        ]
        for link, (words, label) in zip(links, WRITTEN.findall(markdown(name)), strict=True):
            shown, wanted = link.get_text(), number(html, name, link)
            if words in ("", label):
                assert shown == f"equation {wanted}"
                continue
            found = NUMBERED.fullmatch(shown)
            assert found, f"{words!r} is shown as {shown!r}, without the number"
            assert letters(found[1]) == letters(words), f"{words!r} is shown as {shown!r}"
            assert wanted in (found[2], found[3]), f"{shown!r} leads to ({wanted})"

    check_each([name for name in pages() if name != API and "#eq-" in markdown(name)], check)


@pytest.mark.parametrize(
    ("words", "before", "after", "added"),
    [
        ("the angle", "Predict how ", " changes.", " (4.3)"),
        ("the sum", "add up (", "). Next", ", 4.3"),
        ("the sum", "add up (by ", ", which", " (4.3)"),
        ("the sum", "in (a) ", ") here", " (4.3)"),
        ("equation 4.3", "by ", ".", ""),
        ("(4.3)", "by ", ".", ""),
        ("the 14.3 of before", "by ", ".", " (4.3)"),
    ],
)
def test_what_follows_the_words(words: str, before: str, after: str, added: str) -> None:
    assert followed(words, "4.3", before, after).replace("\N{NO-BREAK SPACE}", " ") == added
