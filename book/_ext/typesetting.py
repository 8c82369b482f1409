"""Formulas and what stands beside them: no full stop begins a line, no fraction touches the one above it."""

import re
from itertools import pairwise
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

CLASS = "snf-nowrap"
#: What may not be parted from a formula in front of it: signs, or letters as in "$n$th"; and from one behind it.
BEHIND, BEFORE = re.compile(r"[^\w\s]+|\w+"), re.compile(r"[^\w\s]*[(\[“‘\"'/][^\w\s]*$")
#: The end of a row of a formula, with no space of its own.
ROW = re.compile(r"\\\\(?=[ \t]*\n)")
FRACTION, SPACE = re.compile(r"\\d?frac\b"), r"\\[1.2ex]"


def spaced(formula: str) -> str:
    """A formula in several rows, with room between two rows that both have fractions."""
    rows = ROW.split(formula)
    text = rows[0]
    for above, below in pairwise(rows):
        both = FRACTION.search(above) and FRACTION.search(below)
        text += (SPACE if both else r"\\") + below
    return text


class Typeset(SphinxTransform):
    """Spaces the rows of formulas, and keeps a formula in the text on one line with the signs around it."""

    default_priority = 839  # before words of the text become links

    def apply(self, **kwargs: Any) -> None:
        for block in self.document.findall(nodes.math_block):
            formula = block.astext()
            if (text := spaced(formula)) != formula:
                block.children = []
                block += nodes.Text(text)
        for formula in list(self.document.findall(nodes.math)):
            keep_together(formula)


def keep_together(formula: nodes.math) -> None:
    """Put a formula and the signs right beside it into one element that is not broken."""
    around = formula.parent
    at = around.index(formula)
    before = around[at - 1] if at else None
    behind = around[at + 1] if at + 1 < len(around) else None
    head = BEFORE.search(before) if isinstance(before, nodes.Text) else None
    tail = BEHIND.match(behind) if isinstance(behind, nodes.Text) else None
    if not head and not tail:
        return
    kept = nodes.inline("", classes=[CLASS])
    around[at] = kept
    kept += [*([nodes.Text(head[0])] if head else []), formula, *([nodes.Text(tail[0])] if tail else [])]
    if tail:
        around[at + 1] = nodes.Text(behind[tail.end() :])
    if head:
        around[at - 1] = nodes.Text(before[: head.start()])


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(Typeset)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
