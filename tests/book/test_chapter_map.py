"""The map on the first page is the one that the chapters draw themselves."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_markdown_cell, new_notebook
from text.chapter_map import PAGE, drawing, levels, page
from text.chapters import Chapter, chapters


def entry(name: str, needs: str = "nothing") -> Chapter:
    text = f"# A <{name}>\n\n**You need** {needs}.\n\n> **Why {name}?**\n"
    return Chapter(Path(f"{name}.ipynb"), new_notebook(cells=[new_markdown_cell(text)]))


def test_the_first_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make notebooks`"


def test_every_chapter_is_on_the_map_with_its_question() -> None:
    words = page()
    for chapter in chapters():
        assert f'href="{chapter.path.stem}.html"' in words and f"({chapter.path.name})" in words
        assert chapter.question in words and chapter.title in words


def test_levels_follow_what_a_chapter_needs() -> None:
    a, b, c = "[a](a.ipynb)", "[b](b.ipynb)", "[c](c.ipynb)"
    chain = [entry("a"), entry("b", a), entry("c", a), entry("d", f"{a}, {b}, {c}")]
    assert levels(chain) == {"a.ipynb": 0, "b.ipynb": 1, "c.ipynb": 1, "d.ipynb": 2}
    soup = BeautifulSoup(drawing(chain), "html.parser")
    assert len(soup.find_all("line")) == 4
    words = [box.text for box in soup.select("a > foreignobject > div")]
    assert words == ["1  A <a>", "2  A <b>", "3  A <c>", "4  A <d>"]
    corners = [(rect["x"], rect["y"]) for rect in soup.find_all("rect")]
    assert len(set(corners)) == 4 and corners[1][1] == corners[2][1]


def test_a_chapter_cannot_build_on_a_later_one() -> None:
    with pytest.raises(ValueError, match=r"a\.ipynb builds on b\.ipynb, which comes later or nowhere"):
        levels([entry("a", "[b](b.ipynb)"), entry("b")])


def test_a_chapter_without_a_question_is_named() -> None:
    bare = Chapter(Path("bare.ipynb"), new_notebook(cells=[new_markdown_cell("# Bare")]))
    with pytest.raises(ValueError, match=r"bare\.ipynb: expected a line of the form .*, found none"):
        _ = bare.question
