"""The page that leads from the paper to the book, ``paper-map.md``: slide or equation → section → function → test.

``paper-map.yml`` holds the assignment. Where a line names a numbered equation, its section is the one in which the
equation stands, its function and tests those of ``equations.yml``. ``make notebooks`` writes the page; so does
``PYTHONPATH=book/_tools python -m reference.paper_map`` alone.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any

import yaml
from docutils.nodes import make_id
from paths import ROOT, write
from text import equations
from text.chapters import Chapter, chapters

SOURCE, PAGE = ROOT / "book" / "_data" / "paper-map.yml", ROOT / "book" / "paper-map.md"
FIELDS = {"place", "says", "equation", "section", "function", "test", "absent", "rows"}
HEAD = """\
# From paper to book

Where each part of the paper {cite:p}`keller2021` is in this book: each slide of the authors' talk of July 2021 that
has something on it, each equation, table and figure of the paper's first public version, and what its public code
taught its readers. Slides are told apart by their headings, in their order. Each line leads to a section, to a
numbered equation and to the function that computes it. Where the book has nothing, the line says why; what only the
book has stands in a part of its own. The tests are folded away below each part. This page is written by `make
notebooks`.
"""
HEADING = "| in the paper | in this book |\n|---|---|\n"
#: The dropdown of a part: what checks its lines.
FOLDED = ":::{dropdown} For maintainers: the tests\n:class-container: snf-maintainers\n\n| line | tests |\n|---|---|\n"

Line = dict[str, Any]


@functools.cache
def groups() -> dict[str, list[Line]]:
    """Heading → its lines, as ``paper-map.yml`` has them."""
    return yaml.safe_load(SOURCE.read_text("utf-8"))


def listed(line: Line, field: str) -> list[str]:
    """What a line has under a field: none, one or several."""
    found = line.get(field, [])
    return found if isinstance(found, list) else [found]


@functools.cache
def book() -> dict[str, tuple[int, Chapter]]:
    """A chapter's file name without its ending → its number and itself."""
    return {chapter.path.stem: (number, chapter) for number, chapter in enumerate(chapters(), start=1)}


def headings(chapter: Chapter) -> list[str]:
    """The sections of a chapter."""
    return re.findall(r"^## (.+)$", chapter.text, re.MULTILINE)


def section_of(label: str) -> str:
    """The section, as ``file#Heading``, in which a numbered equation stands. KeyError if no chapter has it."""
    for name, (_, chapter) in book().items():
        if label in chapter.labels:
            before = chapter.text.split(f"({label})")[0]
            return f"{name}#{re.findall(r'^## (.+)$', before, re.MULTILINE)[-1]}"
    raise KeyError(label)


def sections(line: Line) -> list[str]:
    """Those that the line names, and those of its equations, each once."""
    return list(dict.fromkeys([*listed(line, "section"), *map(section_of, listed(line, "equation"))]))


def functions(line: Line) -> list[str]:
    """Those that the line names, and those of its equations, definitions left out."""
    own = [equations.registry()[label]["function"] for label in listed(line, "equation")]
    return [name for name in dict.fromkeys([*listed(line, "function"), *own]) if name != equations.DEFINITION]


def checks(line: Line) -> list[str]:
    """Those that the line names, and those marked with its equations."""
    own = [test for label in listed(line, "equation") for test in equations.proofs().get(label, [])]
    return list(dict.fromkeys([*listed(line, "test"), *own]))


def link(section: str) -> str:
    """A link to a section of a chapter, by the chapter's number and the section's heading."""
    name, _, heading = section.partition("#")
    words = heading.replace("|", "&#124;")  # in a table a bar would end the column
    return f'<a href="{name}.html#{make_id(heading)}">{book()[name][0]}\N{NO-BREAK SPACE}{words}</a>'


def place_in_book(line: Line) -> Iterator[str]:
    """What stands in the right column: sections and equations, or that there are none and why; then functions."""
    if why := line.get("absent"):
        yield f"**not in the book:** {why}"
    yield from map(link, sections(line))
    if labels := listed(line, "equation"):
        yield ", ".join(f"[](#{label})" for label in labels)
    yield from map(equations.linked, functions(line))


def row(line: Line) -> str:
    """A row of a table."""
    return f"| **{line['place']}**: {line['says']} | {'<br>'.join(place_in_book(line))} |\n"


def tests(lines: list[Line]) -> str:
    """The tests of a part, folded away; nothing where it has none."""
    rows = [
        f"| {line['place']} | {'<br>'.join(f'`{name}`' for name in checks(line))} |\n" for line in lines if checks(line)
    ]
    return f"\n{FOLDED}{''.join(rows)}:::\n" if rows else ""


def table(heading: str, lines: list[Line]) -> str:
    """A section of the page."""
    shown = f":::{{container}} snf-paper-map\n{HEADING}{''.join(map(row, lines))}:::\n"
    return f"\n## {heading}\n\n{shown}{tests(lines)}"


def page() -> str:
    """The Markdown of the page."""
    return HEAD + "".join(table(heading, lines) for heading, lines in groups().items())


def main() -> None:
    write(PAGE, page())


if __name__ == "__main__":
    main()
