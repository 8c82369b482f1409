"""The idea of the book as one drawing: two maps that undo each other, each with the other's matrix in its gradient.

The drawing has two layouts, a wide one and one for a narrow column, as SVG whose words the reader's browser sets. Words
take the color of the text around them, so it can be read in a light theme and in a dark one. Without scripts, and where
a reader prefers no motion, it is a still.
"""

import html
from typing import Any

from snf_book.swap.drawing import TITLE, drawing
from snf_book.swap.layouts import TALL, WIDE

#: Width of the column, in pixels, from which on the wide layout is shown.
WIDE_FROM = 640
#: Which of the layouts is shown; without style sheets the wide one.
CHOICE = (
    ".snf-swap{container-type:inline-size;margin:0 0 1rem}.snf-swap svg{max-width:100%;height:auto;margin:auto}"
    f"@container (max-width:{WIDE_FROM}px){{.snf-swap .swap-wide{{display:none!important}}"
    ".snf-swap .swap-tall{display:block!important}}"
)


class Swap:
    """The drawing for a notebook or a page, in the layout that fits the column.

    Args:
        moving: let a point travel by f and back by g; a still is left where no motion is preferred.
        caption: text below it, with formulas between $; a page numbers the figure if it has one. Its anchor is #swap.
    """

    def __init__(self, moving: bool = True, caption: str = "") -> None:
        self.moving, self.caption = moving, caption

    def __repr__(self) -> str:
        return TITLE

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html()}

    def html(self) -> str:
        """The figure as self-contained HTML, without an empty line, which would end it in Markdown."""
        wide = drawing(WIDE, self.moving, 'style="display:block" ')
        tall = drawing(TALL, self.moving, 'style="display:none" ')
        below = f"<figcaption>{html.escape(self.caption, quote=False)}</figcaption>" if self.caption else ""
        kind = "snf-figure snf-swap" if self.caption else "snf-swap"
        return f'<figure class="{kind}" id="swap">\n<style>{CHOICE}</style>\n{wide}\n{tall}\n{below}</figure>'


def file() -> str:
    """The wide still as a file of its own, black on white."""
    width, height = WIDE.size
    own = 'xmlns="http://www.w3.org/2000/svg" color="black" font-family="Arial, Liberation Sans, sans-serif" '
    head, rest = drawing(WIDE, moving=False, extra=own).split("</desc>\n", 1)
    return f'{head}</desc>\n<rect width="{width}" height="{height}" fill="white"/>\n{rest}\n'
