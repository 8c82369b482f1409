"""The formula sheet, ``equations.md``: each numbered equation of the book, what it says, and the function behind it.

The formulas are copied from the chapters that derive them, the words from ``equations.yml``. The tests of each formula
are folded away at the end: ``text/equations.py`` knows them. ``make notebooks`` writes the page.
"""

import re

from one_page import formulas
from paths import ROOT, write
from text import equations
from text.chapters import Chapter, chapters

PAGE = ROOT / "book" / "equations.md"
HEAD = """\
# Formula sheet

Every numbered equation of the book, by chapter: the formula, what it says, and the function that computes it. A number
leads to the chapter that derives the formula, a function to its description. [Notation](notation.md) explains the
symbols. The sheet is made to be printed.
"""
TESTS = """\
:::{dropdown} For maintainers: the tests of each equation
:class-container: snf-maintainers

A test of this list has to enter the function of its equation; if it does not, it fails. `make notebooks` writes this
page.

| equation | tests |
|---|---|
"""


def short(link: str) -> str:
    """A link to a function, shown by the function's name, with its class where it is a method."""
    shown, target = re.findall(r"`([\w.]+) <([\w.]+)>`", link)[0]
    parts = shown.split(".")
    kept = 2 if len(parts) > 1 and parts[-2][0].isupper() else 1
    return f"{{py:obj}}`{'.'.join(parts[-kept:])} <{target}>`"


def block(label: str, formula: str) -> str:
    """One formula with its number, what it says, and its function."""
    entry = equations.registry()[label]
    words = f"[](#{label}): {entry['says']}."
    if entry["function"] != equations.DEFINITION:
        words += f" {short(equations.linked(entry['function']))}"
    return f":::{{container}} snf-formula\n$$\n{formula.rstrip(' .,:')}\n$$\n\n{words}\n:::\n"


def section(number: int, chapter: Chapter, found: dict[str, str]) -> str:
    """The formulas of one chapter, in its order."""
    blocks = "\n".join(block(label, found[label]) for label in chapter.labels)
    return f"\n## {number} {chapter.title}\n\n{blocks}"


def row(label: str) -> str:
    """The tests of one equation."""
    listed = "<br>".join(f"`{name}`" for name in equations.proofs().get(label, []))
    return f"| [{label}](#{label}) | {listed} |\n"


def page() -> str:
    """The Markdown of the page."""
    found, book = formulas(), chapters()
    sections = "".join(section(number, chapter, found) for number, chapter in enumerate(book, start=1))
    rows = "".join(row(label) for chapter in book for label in chapter.labels)
    return f"{HEAD}{sections}\n{TESTS}{rows}:::\n"


def main() -> None:
    write(PAGE, page())
