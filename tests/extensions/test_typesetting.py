"""A formula keeps the signs around it, and rows with fractions keep their distance."""

from pathlib import Path

import pytest
from _ext.typesetting import keep_together, spaced
from article import article
from docutils import nodes
from each_case import check_each
from paths import ROOT, pages

CHAPTERS = [name for name in pages() if (ROOT / f"{name}.ipynb").exists()]


@pytest.mark.parametrize(
    ("before", "behind", "kept"),
    [
        ("is ", ", and", "x,"),
        ("is (", ") and", "(x)"),
        ("is (", " and", "(x"),
        ("the ", "-dimensional", "x-"),
        ("the ", "th row", "xth"),
        ("is ", " and", ""),
        ("is) ", " (and", ""),
        ("", "", ""),
    ],
)
def test_signs_stay_with_a_formula(before: str, behind: str, kept: str) -> None:
    formula = nodes.math("", "x")
    text = [nodes.Text(before)] if before else []
    paragraph = nodes.paragraph("", "", *text, formula, *([nodes.Text(behind)] if behind else []))
    keep_together(formula)
    assert paragraph.astext() == f"{before}x{behind}"
    assert "".join(part.astext() for part in paragraph if isinstance(part, nodes.inline)) == kept


def test_rows_with_fractions_are_set_apart() -> None:
    formula = (
        "a &= \\frac 1 2 \\\\\nb &= \\tfrac 1 2 \\\\\nc &= \\frac 1 3 \\\\\nd &= \\frac 1 4 \\\\[2ex]\ne &= \\frac 1 5"
    )
    assert spaced(formula) == formula.replace("\\frac 1 3 \\\\\n", "\\frac 1 3 \\\\[1.2ex]\n")
    assert spaced("\\begin{pmatrix} \\frac 1 2 \\\\ \\frac 1 2 \\end{pmatrix}").count("ex") == 0


def test_no_line_of_a_page_can_begin_with_the_end_of_a_sentence(html: Path) -> None:
    """Wherever a formula stands right before a full stop or a comma, the two are one element."""

    def check(name: str) -> None:
        for formula in article(html, name).select("p span.math"):
            behind = str(formula.next_sibling or "")
            if behind[:1] in set(".,;:!?)"):
                assert formula.parent and "snf-nowrap" in formula.parent.get("class", []), f"{formula}{behind[:20]}"

    check_each(CHAPTERS, check)


def test_neighboring_fractions_of_the_book_are_set_apart(html: Path) -> None:
    shown = [block.get_text() for name in pages() for block in article(html, name).select("div.math")]
    assert sum("\\\\[1.2ex]" in formula for formula in shown) >= 3
