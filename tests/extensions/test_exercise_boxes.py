"""Each exercise is a box with its number: its task, its stub, its hint and its solution, and nothing of the next."""

import re
from pathlib import Path

import pytest
from _ext.exercise_boxes import begins, grouped, level
from article import article, letters, markdown
from docutils import nodes
from each_case import check_each
from paths import ROOT, pages

CHAPTERS = [name for name in pages() if (ROOT / f"{name}.ipynb").exists()]
TASK = re.compile(r"^\*\*(\d+)\.?\*\*(?: \(([^)]+)\)\.)?\s+(.{20})", re.MULTILINE)


def tasks(name: str) -> list[tuple[str, str, str]]:
    """(number, level, first letters) of each exercise in the source."""
    section = markdown(name).partition("\n## Exercises\n")[2].partition("\n## ")[0]
    return TASK.findall(section)


def test_each_is_a_box_with_its_number_and_its_parts(html: Path) -> None:
    def check(name: str) -> None:
        boxes = article(html, name).select("div.admonition.snf-exercise")
        heading = article(html, name).select_one("h1 .section-number")
        assert heading and len(boxes) == len(tasks(name)) >= 3
        chapter = heading.get_text().strip(" .")
        for box, (number, words, begin) in zip(boxes, tasks(name), strict=True):
            title, text = (
                box.select_one(":scope > p.admonition-title"),
                box.select_one(":scope > p.admonition-title + p"),
            )
            assert title and text and box["id"] == f"exercise-{number}"
            assert title.get_text() == f"Exercise {chapter}.{number}" + (f" ({words})" if words else "")
            assert letters(text.get_text()).startswith(letters(begin)[:8])
            parts = [line.get_text() for line in box.select(":scope > details > summary")]
            alone = not box.select("div.cell")  # without a stub that a checker looks at
            assert alone or parts == ["Hint", "Solution"]
            assert not box.select("details[open]")
        assert sum(bool(box.select("div.cell")) for box in boxes) >= 3

    check_each(CHAPTERS, check)


def test_the_summary_is_in_no_box(html: Path) -> None:
    def check(name: str) -> None:
        assert not article(html, name).select(".snf-exercise section, .snf-exercise h2, .snf-exercise .snf-exercise")

    check_each(CHAPTERS, check)


@pytest.mark.parametrize(
    ("bold", "rest", "number", "words", "text"),
    [
        ("1.", " Let it be.", 1, "", "Let it be."),
        ("2", " (easy). Let it be.", 2, "easy", "Let it be."),
        ("2", " (paper and pencil) Let it be.", 2, "paper and pencil", "Let it be."),
        ("2", ". Let it be.", 2, "", "Let it be."),
        ("12.", " (As above.) Let it be.", 12, "", "(As above.) Let it be."),
    ],
)
def test_number_and_level_of_a_task(bold: str, rest: str, number: int, words: str, text: str) -> None:
    paragraph = nodes.paragraph("", "", nodes.Text(""), nodes.strong("", bold), nodes.Text(rest))
    assert begins(paragraph) == number
    assert level(paragraph) == words and paragraph.astext() == text


def test_a_task_that_begins_with_a_formula() -> None:
    paragraph = nodes.paragraph("", "", nodes.strong("", "1."), nodes.Text(" "), nodes.math("", "x"))
    assert level(paragraph) == "" and paragraph.astext() == "x"


def test_other_paragraphs_begin_no_exercise() -> None:
    strong = nodes.strong("", "Look.")
    for parts in ([], [nodes.Text("1. a")], [strong], [nodes.Text("a "), nodes.strong("", "1.")]):
        assert begins(nodes.paragraph("", "", *parts)) is None


def test_an_exercise_reaches_to_the_next() -> None:
    one, two = (nodes.paragraph("", "", nodes.strong("", text)) for text in ("1.", "2."))
    first, between, last = (nodes.paragraph("", text) for text in "abc")
    section = nodes.section("", nodes.title("", "Exercises"), first, one, between, two, last)
    assert list(grouped(section)) == [(1, [one, between]), (2, [two, last])]
