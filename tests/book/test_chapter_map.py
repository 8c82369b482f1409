"""The map on the first page is the one that the chapters draw themselves."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_markdown_cell, new_notebook
from text.chapter_map import PAGE, SIZES, drawing, levels, listed, page, parts, placed
from text.chapters import Chapter, chapters
from text.map_layout import Placed, crossings, lay_out


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
    assert len(soup.find_all("path")) == 4
    words = [box.text for box in soup.select("a > foreignobject > div")]
    assert words == ["1  A <a>", "2  A <b>", "3  A <c>", "4  A <d>"]
    corners = [(rect["x"], rect["y"]) for rect in soup.find_all("rect")]
    assert len(set(corners)) == 4 and corners[1][1] == corners[2][1]


def crossed(map_: Placed) -> list[str]:
    """The boxes that a line goes through: between two rows it may bend, in a row it goes straight down."""
    found = []
    for line in map_.lines:
        bends = zip(line[::2], line[1::2], strict=True)
        assert all(enters[1] - leaves[1] == SIZES.gap[1] for leaves, enters in bends), "bends beyond the next row"
    for name, (x, y) in map_.boxes.items():
        for line in map_.lines:
            passing = [(enters, leaves) for enters, leaves in zip(line[1:-1:2], line[2:-1:2], strict=True)]
            assert all(enters[0] == leaves[0] for enters, leaves in passing), "bends in a row"
            if any(x <= at <= x + SIZES.box[0] and top <= y < bottom for (at, top), (_, bottom) in passing):
                found.append(name)
    return found


def test_no_line_goes_through_a_box() -> None:
    assert not crossed(placed(chapters()))
    through = Placed((0, 0), {"a": (0.0, 96.0)}, [[(50.0, 62.0), (50.0, 96.0), (50.0, 158.0), (50.0, 192.0)]])
    assert crossed(through) == ["a"]


def test_boxes_stand_apart_and_each_line_leads_from_one_to_one_below() -> None:
    map_ = placed(chapters())
    corners = list(map_.boxes.values())
    for number, (x, y) in enumerate(corners):
        assert 0 < x < map_.size[0] - SIZES.box[0] and 0 < y < map_.size[1] - SIZES.box[1]
        assert not [one for one in corners[:number] if one[1] == y and abs(one[0] - x) < SIZES.box[0] + SIZES.gap[0]]
    middles = {(x + SIZES.box[0] / 2, y) for x, y in corners}
    for line in map_.lines:
        (x, y), end = line[0], line[-1]
        assert (x, y - SIZES.box[1]) in middles and end in middles and end[1] > y


def test_orders_with_fewer_crossings_are_found() -> None:
    assert crossings([["a", "b"], ["c", "d"]], [("a", "d"), ("b", "c")]) == 1
    rows, needs = {"a": 0, "b": 0, "c": 1, "d": 1}, {"a": [], "b": [], "c": ["b"], "d": ["a"]}
    boxes = lay_out(rows, needs, SIZES).boxes
    assert (boxes["a"][0] < boxes["b"][0]) == (boxes["d"][0] < boxes["c"][0])


def test_the_list_names_each_part_of_the_book_before_its_chapters() -> None:
    words = listed(chapters())
    for caption, names in parts():
        held = [chapter for chapter in chapters() if chapter.path.name in names]
        assert (f"**{caption}**" in words) == bool(held)
        for chapter in held:
            assert words.index(f"**{caption}**") < words.index(f"({chapter.path.name}) *({chapter.runtime})*")
    assert words.count(".ipynb)") == len(chapters())


def test_a_chapter_cannot_build_on_a_later_one() -> None:
    with pytest.raises(ValueError, match=r"a\.ipynb builds on b\.ipynb, which comes later or nowhere"):
        levels([entry("a", "[b](b.ipynb)"), entry("b")])


def test_a_chapter_without_a_question_is_named() -> None:
    bare = Chapter(Path("bare.ipynb"), new_notebook(cells=[new_markdown_cell("# Bare")]))
    with pytest.raises(ValueError, match=r"bare\.ipynb: expected a line of the form .*, found none"):
        _ = bare.question
