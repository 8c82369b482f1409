"""The lists of figures and of tables, ``figures-and-tables.md``: each one's number and what its caption says first.

Captions are those that the chapters have stored. ``make notebooks`` writes the page.
"""

import html
import re

from paths import ROOT, write
from text.chapters import Chapter, chapters

PAGE = ROOT / "book" / "figures-and-tables.md"
HEAD = """\
# Figures and tables

Every figure that has a caption, and every table, by chapter, with the first sentence of its caption. A number leads
to the figure or the table. This page is written by `make notebooks`.
"""
FIGURE = re.compile(r'<figure class="snf-[^>]* id="([\w-]+)".*?<figcaption[^>]*>(.*?)</figcaption>', re.DOTALL)
TABLE = re.compile(r'<div class="snf-table" id="([\w-]+)".*?<caption[^>]*><span>(.*?)</span></caption>', re.DOTALL)
SENTENCE = re.compile(r"(?:\$[^$]*\$|[^$])*?[.?!](?=\s|$)")
#: HTML of a caption → the Markdown that it was written as.
MARKDOWN = (("strong", "**"), ("em", "*"), ("code", "`"))


def shown(chapter: Chapter, kind: re.Pattern[str]) -> list[tuple[str, str]]:
    """Address and caption of each figure or table that the cells of a chapter show, in order."""
    outputs = (output.get("data", {}).get("text/html", "") for cell in chapter.code for output in cell.outputs)
    return [found for text in outputs for found in kind.findall(text)]


def first_sentence(caption: str) -> str:
    """As Markdown."""
    for tag, sign in MARKDOWN:
        caption = re.sub(f"</?{tag}>", sign, caption)
    found = SENTENCE.match(caption)
    return html.unescape(found[0] if found else caption)


def figures(chapter: Chapter) -> list[str]:
    """A line for each figure; on the page its link says the number."""
    return [f"- [Figure](#{name}): {first_sentence(caption)}" for name, caption in shown(chapter, FIGURE)]


def tables(number: int, chapter: Chapter) -> list[str]:
    """A line for each table."""
    return [
        f"- [Table {number}.{place}]({chapter.path.name}#{name}): {first_sentence(caption)}"
        for place, (name, caption) in enumerate(shown(chapter, TABLE), start=1)
    ]


def section(number: int, chapter: Chapter) -> str:
    """The lists of one chapter."""
    lines = "\n".join([*figures(chapter), *tables(number, chapter)])
    return f"\n## {number} {chapter.title}\n\n{lines}\n"


def page() -> str:
    """The Markdown of the page."""
    return HEAD + "".join(section(number, chapter) for number, chapter in enumerate(chapters(), start=1))


def main() -> None:
    write(PAGE, page())
