"""A table that is wider than the window scrolls in a box of its own; here the keyboard can reach that box."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

#: As the theme writes it, around each table.
BOX = '<div class="pst-scrollable-table-container">'
WITHIN_REACH = BOX.replace(">", ' tabindex="0">')


def reach(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Make each box one that the tab key stops at, in the HTML of a page before it is written."""
    if "body" in context:
        context["body"] = context["body"].replace(BOX, WITHIN_REACH)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", reach)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
