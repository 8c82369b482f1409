"""A link to a numbered equation keeps the words that were written for it, and the number follows them.

Notebooks say ``[the angle](#eq-angle)``, which Jupyter and Colab show as it is meant. MyST gives such a link to the
domain of mathematics, which puts "equation 4.3" in the place of the words. Here the words stay: "the angle (4.3)".
A link without words, or with the label in their place, is left to MyST.
"""

import re
from typing import Any, cast

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.math import MathDomain
from sphinx.transforms.post_transforms import SphinxPostTransform

CLASS = "snf-equation-link"


def followed(words: str, number: str, before: str, after: str) -> str:
    """What to write behind the words of a link: nothing if they have the number already.

    The number stands in parentheses, or behind a comma where the link is the end of a parenthesis: "(the sum, 1.4)".
    """
    if re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.]*\d)", words):
        return ""
    closes = after.startswith(")") and before.count("(") > before.count(")")
    return f",\N{NO-BREAK SPACE}{number}" if closes else f"\N{NO-BREAK SPACE}({number})"


def around(node: nodes.Node) -> tuple[str, str]:
    """The text of a paragraph in front of a node and behind it."""
    place, before, after = node, "", ""
    while isinstance(place.parent, (nodes.Inline, nodes.TextElement)):
        at = place.parent.index(place)
        before = "".join(one.astext() for one in place.parent[:at]) + before
        after += "".join(one.astext() for one in place.parent[at + 1 :])
        place = place.parent
    return before, after


class KeepWords(SphinxPostTransform):
    """Resolves the links to equations that have words of their own, before MyST would."""

    default_priority = 8  # MystReferenceResolver has 9

    def run(self, **kwargs: Any) -> None:
        for node in list(self.document.findall(pending_xref)):
            written = node["reftype"] == "myst" and node["refdomain"] != "doc" and node["refexplicit"]
            if written and node.astext() != node["reftarget"] and (link := self.linked(node)) is not None:
                node.replace_self(link)

    def linked(self, node: pending_xref) -> nodes.Element | None:
        """The link with its words and the number; None if it leads to no equation."""
        domain = cast(MathDomain, self.env.get_domain("math"))
        target, page = node["reftarget"], node.get("refdoc", self.env.docname)
        link = domain.resolve_xref(self.env, page, self.app.builder, "eq", target, node, node)
        if link is None:
            return None
        prefix, _, suffix = self.config.math_eqref_format.partition("{number}")
        number = link.astext().removeprefix(prefix).removesuffix(suffix)
        words = nodes.inline("", "", *node[0].children, classes=[CLASS])
        words += nodes.Text(followed(words.astext(), number, *around(node)))
        link.children = []
        link += words
        return link


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(KeepWords)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
