"""The map of the book on its first page: which chapter asks what, and which ones it builds on.

All of it is read from the chapters: the question is the quotation in bold (``> **…?**``), what a chapter builds on are
the links in its line ``**You need**``. ``make notebooks`` writes the map between the marks of ``welcome.md``.
"""

import html

from paths import ROOT, public_address, unpublished, write

from text.chapters import Chapter, chapters
from text.placeholders import fill

PAGE = ROOT / "book" / "welcome.md"
TITLE = "Which chapter builds on which"
BOX, GAP = (215, 40), (16, 34)  # pixels of the drawing: a chapter's box, and the space between two


def levels(book: list[Chapter]) -> dict[str, int]:
    """File name → 0 for a chapter that builds on none, else one more than the highest it builds on."""
    found: dict[str, int] = {}
    for chapter in book:
        unknown = ", ".join(sorted(set(chapter.needs) - set(found)))
        if unknown:
            raise ValueError(f"{chapter.path.name} builds on {unknown}, which comes later or nowhere.")
        found[chapter.path.name] = max((found[name] + 1 for name in chapter.needs), default=0)
    return found


def drawing(book: list[Chapter]) -> str:
    """The map as a drawing: chapters as boxes that link to their pages, lines from what each builds on."""
    rows, places = levels(book), {}
    for chapter in book:
        row = rows[chapter.path.name]
        column = sum(rows[name] == row for name in places)
        places[chapter.path.name] = (column * (BOX[0] + GAP[0]) + 1, row * (BOX[1] + GAP[1]) + 1)
    width = max(x for x, _ in places.values()) + BOX[0] + 1
    height = max(y for _, y in places.values()) + BOX[1] + 1
    lines = [_line(places[name], places[chapter.path.name]) for chapter in book for name in _direct(chapter, book)]
    boxes = [_box(number, chapter, *places[chapter.path.name]) for number, chapter in enumerate(book, start=1)]
    box = f'viewBox="0 0 {width} {height}" width="{width}"'
    head = f'<svg class="snf-map" aria-labelledby="map-title" {box}><title id="map-title">{TITLE}</title>'
    return "\n".join([head, *lines, *boxes, "</svg>"])


def _direct(chapter: Chapter, book: list[Chapter]) -> list[str]:
    """What it builds on, but for what those chapters need themselves."""
    below: dict[str, set[str]] = {}
    for other in book:
        below[other.path.name] = set(other.needs).union(*(below[name] for name in other.needs))
    return [name for name in chapter.needs if not any(name in below[other] for other in chapter.needs)]


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    x, y, to_x, to_y = start[0] + BOX[0] // 2, start[1] + BOX[1], end[0] + BOX[0] // 2, end[1]
    return f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="currentColor"/>'


def _box(number: int, chapter: Chapter, x: int, y: int) -> str:
    """A frame around words that the browser sets: in whatever font, they break where they have to."""
    rect = f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="6" fill="none" stroke="currentColor"/>'
    place = f'x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}"'
    words = f"<div>{html.escape(f'{number}  {chapter.title}')}</div>"
    return f'<a href="{chapter.path.stem}.html">{rect}<foreignObject {place}>{words}</foreignObject></a>'


def table(book: list[Chapter]) -> str:
    """A row for each chapter: its number, title, question, and what it takes to run."""
    rows = [
        f"| {number} | {chapter.link} | {chapter.question} | {chapter.runtime} |"
        for number, chapter in enumerate(book, start=1)
    ]
    return "\n".join(["| | chapter | its question | runs in |", "|---|---|---|---|", *rows])


def page() -> str:
    """The first page as it should stand."""
    book = chapters()
    blocks = {"map": f'\n<div class="snf-wide">\n{drawing(book)}\n</div>\n', "chapters": f"\n\n{table(book)}\n\n"}
    blocks["placeholder"] = unpublished(public_address())
    return fill(PAGE.read_text("utf-8"), blocks)


def main() -> None:
    write(PAGE, page())
