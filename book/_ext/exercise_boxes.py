"""The exercises of a chapter as boxes with numbers and anchors.

A notebook has them as plain Markdown, which reads well everywhere: below a heading "Exercises" a paragraph that begins
with ``**1.**`` or, with its level, with ``**1** (paper and pencil).``, then the cell with the stub, then ``<details>``
with the hint and the solution. On the page all of this is a box "Exercise 11.1 (paper and pencil)", which
``[words](#exercise-1)`` and, from other pages, ``[words](chapter.ipynb#exercise-1)`` lead to.
"""

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

HEADING, CLASS = "Exercises", "snf-exercise"
NUMBER = re.compile(r"(\d+)\.?")
LEVEL = re.compile(r"\s*\(([^()]+)\)\.?\s*")


def begins(node: nodes.Node) -> int | None:
    """The number of the exercise that a paragraph begins; None if it begins none."""
    parts = [part for part in node.children if part.astext()]  # MyST puts an empty text in front
    if not (isinstance(node, nodes.paragraph) and parts and isinstance(parts[0], nodes.strong)):
        return None
    found = NUMBER.fullmatch(parts[0].astext())
    return int(found[1]) if found else None


def level(paragraph: nodes.paragraph) -> str:
    """Take the number and the level from the beginning of an exercise, and return the level; empty if none is given.

    Behind a number with its full stop, ``**1.** (…)``, a parenthesis is text.
    """
    while not isinstance(paragraph[0], nodes.strong):
        del paragraph[0]
    final = paragraph[0].astext().endswith(".")
    del paragraph[0]
    if not (paragraph.children and isinstance(paragraph[0], nodes.Text)):
        return ""
    text = paragraph[0].astext()
    found = None if final else LEVEL.match(text)
    paragraph[0] = nodes.Text(text[found.end() :] if found else text.lstrip(" .\n"))
    return found[1] if found else ""


def grouped(section: nodes.section) -> Iterator[tuple[int, list[nodes.Node]]]:
    """Each exercise of a section: its number, and all up to the next one."""
    number, parts = None, list[nodes.Node]()
    for node in section.children:
        if (new := begins(node)) is not None:
            if number is not None:
                yield number, parts
            number, parts = new, []
        parts.append(node)
    if number is not None:
        yield number, parts


class Boxes(SphinxTransform):
    """Puts each exercise into a box with an anchor, when its page is read."""

    default_priority = 840  # SphinxDomains, which collects what links can lead to, has 850

    def apply(self, **kwargs: Any) -> None:
        for section in list(self.document.findall(nodes.section)):
            if section[0].astext() == HEADING:
                for number, parts in list(grouped(section)):
                    self.enclose(section, number, parts)

    def enclose(self, section: nodes.section, number: int, parts: list[nodes.Node]) -> None:
        name = f"exercise-{number}"
        box = nodes.admonition(classes=[CLASS], ids=[name], exercise=number)
        box.source, box.line = section.source, parts[0].line
        box["level"] = level(parts[0])
        place = section.index(parts[0])
        section.children[place : place + len(parts)] = []
        box += nodes.title("", f"Exercise {number}")
        box += parts
        section.insert(place, box)
        self.document.ids[name] = box
        # MyST looks for anchors of the page itself in the first of these, for those of another page in the second.
        for slugs in (self.document.myst_slugs, self.env.metadata[self.env.docname].setdefault("myst_slugs", {})):
            slugs[name] = (box.line or 0, name, f"Exercise {number}")


class Titles(SphinxPostTransform):
    """Writes the number of the chapter into the titles, once it is known."""

    default_priority = 8

    def run(self, **kwargs: Any) -> None:
        chapter = self.env.toc_secnumbers.get(self.env.docname, {}).get("") or ()
        for box in self.document.findall(nodes.admonition):
            if CLASS in box["classes"]:
                number = ".".join(map(str, (*chapter, box["exercise"])))
                box[0].replace_self(nodes.title("", "", nodes.Text(f"Exercise {number}"), *level_node(box["level"])))


def level_node(words: str) -> list[nodes.Node]:
    return [nodes.Text(" "), nodes.inline("", f"({words})", classes=["snf-level"])] if words else []


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(Boxes)
    app.add_post_transform(Titles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
