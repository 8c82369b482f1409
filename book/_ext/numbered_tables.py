"""Tables that cells show (``snf_book/tables.py``) get a number in their chapter, "Table 11.1", and can be linked to.

``[words](#table-NAME)`` leads to the table from its own page, ``[words](CHAPTER.ipynb#table-NAME)`` from any other. The
words stay as they are written; a link without words gets the table's caption.
"""

import re
from collections.abc import Iterator
from functools import partial
from html import unescape
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

TABLE = re.compile(r'<div class="snf-table"(?: id="(table-[a-z0-9-]+)")?.*?<caption[^>]*><span>(.*?)</span>', re.DOTALL)
CAPTION = re.compile(r"(<caption[^>]*><span>)(.*?)(?=</span></caption>)", re.DOTALL)
TAG, MATHS = re.compile(r"<[^>]+>"), re.compile(r"\$([^$]+)\$")


def tables(page: nodes.document) -> Iterator[tuple[nodes.raw, re.Match[str]]]:
    """Each table of a page, in order."""
    for node in page.findall(nodes.raw):
        if node.get("format") == "html" and (found := TABLE.match(node.astext())):
            yield node, found


class Targets(SphinxTransform):
    """Let MyST find a page's tables where it looks for headings: by names that count on this page alone."""

    default_priority = 870  # MyST resolves links at 879

    def apply(self, **kwargs: Any) -> None:
        found = (match.groups() for _, match in tables(self.document))
        slugs = {anchor: (0, anchor, unescape(TAG.sub("", caption))) for anchor, caption in found if anchor}
        if slugs:
            self.document.myst_slugs = {**getattr(self.document, "myst_slugs", {}), **slugs}
            self.env.metadata[self.env.docname]["myst_slugs"] = self.document.myst_slugs


def numbered(label: str, caption: re.Match[str]) -> str:
    """A caption with its number, its formulas as MathJax looks for them."""
    maths = MATHS.sub(r'<span class="math notranslate nohighlight">\\(\1\\)</span>', caption[2])
    return f'{caption[1]}<span class="snf-number">Table {label}</span> {maths}'


def number(app: Sphinx, page: nodes.document, name: str) -> None:
    """For ``doctree-resolved``, when the numbers of the chapters are known."""
    chapter = app.env.toc_secnumbers.get(name, {}).get("", ())
    for place, (node, _) in enumerate(tables(page), start=1):
        label = ".".join(map(str, [*chapter[:1], place]))
        shown = CAPTION.sub(partial(numbered, label), node.astext(), count=1)
        node.children[:] = [nodes.Text(shown)]
        node.rawsource = shown


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(Targets)
    app.connect("doctree-resolved", number)
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
