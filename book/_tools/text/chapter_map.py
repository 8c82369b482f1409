"""The first page of the book: its drawing, the list of chapters, and the map of which chapter builds on which.

List and map are read from the chapters: the question is the quotation in bold (``> **…?**``), what a chapter builds on
are the links in its line ``**You need**``; the parts are those of ``_toc.yml``. ``make notebooks`` writes all of it
between the marks of ``welcome.md``.
"""

import html
from itertools import pairwise

import yaml
from paths import ROOT, public_address, unpublished, write
from snf_book.swap import Swap

from text.chapters import Chapter, chapters
from text.map_layout import Placed, Point, Sizes, lay_out
from text.placeholders import fill

PAGE = ROOT / "book" / "welcome.md"
TITLE = "Which chapter builds on which"
SIZES = Sizes(box=(114, 62), gap=(12, 34), slot=10)


def levels(book: list[Chapter]) -> dict[str, int]:
    """File name → 0 for a chapter that builds on none, else one more than the highest it builds on."""
    found: dict[str, int] = {}
    for chapter in book:
        unknown = ", ".join(sorted(set(chapter.needs) - set(found)))
        if unknown:
            raise ValueError(f"{chapter.path.name} builds on {unknown}, which comes later or nowhere.")
        found[chapter.path.name] = max((found[name] + 1 for name in chapter.needs), default=0)
    return found


def placed(book: list[Chapter]) -> Placed:
    """Where each chapter's box and each line of the map stand."""
    return lay_out(levels(book), {chapter.path.name: _direct(chapter, book) for chapter in book}, SIZES)


def drawing(book: list[Chapter]) -> str:
    """The map as a drawing: chapters as boxes that link to their pages, lines from what each builds on."""
    layout = placed(book)
    (width, height), lines = layout.size, [_line(points) for points in layout.lines]
    boxes = [_box(number, chapter, layout.boxes[chapter.path.name]) for number, chapter in enumerate(book, start=1)]
    box = f'viewBox="0 0 {width} {height}" width="{width}"'
    head = f'<svg class="snf-map" aria-labelledby="map-title" {box}><title id="map-title">{TITLE}</title>'
    return "\n".join([head, *lines, *boxes, "</svg>"])


def _direct(chapter: Chapter, book: list[Chapter]) -> list[str]:
    """What it builds on, but for what those chapters need themselves."""
    below: dict[str, set[str]] = {}
    for other in book:
        below[other.path.name] = set(other.needs).union(*(below[name] for name in other.needs))
    return [name for name in chapter.needs if not any(name in below[other] for other in chapter.needs)]


def _line(points: list[Point]) -> str:
    """A line that bends between two rows only, and goes straight down where it passes one."""
    start, bend = "M{:g} {:g}".format(*points[0]), SIZES.gap[1] / 2
    pieces = []
    for (x, y), (to_x, to_y) in list(pairwise(points))[::2]:
        pieces.append(f"V{y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}")
    return f'<path d="{start}{"".join(pieces)}" fill="none" stroke="currentColor"/>'


def _box(number: int, chapter: Chapter, corner: Point) -> str:
    """A frame around words that the browser sets: in whatever font, they break where they have to."""
    place = f'x="{corner[0]:g}" y="{corner[1]:g}" width="{SIZES.box[0]}" height="{SIZES.box[1]}"'
    rect = f'<rect {place} rx="6" fill="none" stroke="currentColor"/>'
    words = f"<div>{html.escape(f'{number}  {chapter.title}')}</div>"
    return f'<a href="{chapter.path.stem}.html">{rect}<foreignObject {place}>{words}</foreignObject></a>'


def parts() -> list[tuple[str, list[str]]]:
    """The numbered parts of the book with the names of their chapters' files."""
    table = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    found = [(part["caption"], [entry["file"] for entry in part["chapters"]]) for part in table["parts"]]
    return [(caption, [f"{file.removeprefix('book/')}.ipynb" for file in files]) for caption, files in found]


def listed(book: list[Chapter]) -> str:
    """An item for each chapter, under the name of its part: its title, its question, and what it takes to run."""
    items = {
        chapter.path.name: f"{number}. {chapter.link} *({chapter.runtime})*  \n   {chapter.question}"
        for number, chapter in enumerate(book, start=1)
    }
    found = [(caption, [items[name] for name in names if name in items]) for caption, names in parts()]
    blocks = [f"**{caption}**\n\n" + "\n".join(lines) for caption, lines in found if lines]
    return "\n\n".join(blocks)


def page() -> str:
    """The first page as it should stand."""
    book = chapters()
    blocks = {"map": f"\n<div>\n{drawing(book)}\n</div>\n", "chapters": f"\n\n{listed(book)}\n\n"}
    blocks["swap"] = f"\n{Swap().html()}\n"
    blocks["placeholder"] = unpublished(public_address())
    return fill(PAGE.read_text("utf-8"), blocks)


def main() -> None:
    write(PAGE, page())
