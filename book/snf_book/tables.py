"""Tables of results: HTML with a caption and row headers in a notebook or page, aligned text elsewhere.

Both forms hold the same words and numbers. The HTML needs no style sheet; the pages add one (``snf-table`` in
``book.css``) and number the caption (``book/_ext/numbered_tables.py``).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, islice
from typing import Any

from snf_book.measured import number, written

#: Heading → the format of the numbers below it; or the name of a group of columns → their headings and formats.
Heads = Mapping[str, str | Mapping[str, str]]
Rows = Iterable[Sequence[Any]]

_WORDS = {True: "yes", False: "no", None: "–"}
#: A number that stands in a column: with or without a unit.
_IN_COLUMN = re.compile(r"[+−]?[0-9][0-9,]*(?P<tail>\.[0-9]+)?(?P<rest>\s×\s10\S+|\s?[%°]|\s\S+)?")
_BOX = "overflow-x:auto;margin:1em 0"
_TABLE = (
    "border-collapse:collapse;white-space:nowrap;font-variant-numeric:tabular-nums;margin:0;min-width:min(100%,34em)"
)
_CAPTION = "caption-side:top;text-align:left;white-space:normal;color:inherit;padding:0 0 .5em"
_PADDING = "padding:.2em .7em"
_WRAPS = ";white-space:normal;min-width:14em"
_HEAD = f"{_PADDING};vertical-align:bottom;border-bottom:1px solid rgba(128,128,128,.6)"


@dataclass(frozen=True)
class Column:
    """A column of texts.

    Attributes:
        group: heading of the group it belongs to, or "".
        head: its own heading.
        cells: its texts, from top to bottom.
        numeric: whether they are numbers, which stand to the right.
        span: how many columns its heading is above: 2 where the next column holds its deviations, of which it is 0.
    """

    group: str
    head: str
    cells: list[str]
    numeric: bool
    span: int

    @property
    def side(self) -> str:
        return "right" if self.numeric else "left"

    @property
    def is_prose(self) -> bool:
        """Whether its texts are so long that they are broken into lines."""
        return not self.numeric and max(map(len, self.cells), default=0) > 40

    @property
    def missing(self) -> list[int]:
        """For each cell, how many characters it lacks, from the decimal point on, of those that others have."""
        found = [_IN_COLUMN.fullmatch(cell) if self.numeric else None for cell in self.cells]
        tails = [len(one["tail"] or "") if one and not one["rest"] else None for one in found]
        most = max((tail for tail in tails if tail is not None), default=0)
        return [0 if tail is None else most - tail for tail in tails]

    def html(self) -> list[str]:
        """Its cells; a blank in place of missing decimals, where the point is half as wide as a digit."""
        style = f"text-align:{self.side};{_PADDING}{';padding-left:0' * (not self.span)}{_WRAPS * self.is_prose}"
        blanks = (f'<span style="display:inline-block;width:{n - 0.5}ch"></span>' if n else "" for n in self.missing)
        return [f'<td style="{style}">{escape(c)}{b}</td>' for c, b in zip(self.cells, blanks, strict=True)]

    def text(self) -> list[str]:
        """Heading and cells, all equally wide."""
        padded = (cell + " " * missing for cell, missing in zip(self.cells, self.missing, strict=True))
        texts = [self.head, *padded]
        width = max(map(len, texts))
        return [text.rjust(width) if self.numeric else text.ljust(width) for text in texts]


@dataclass(frozen=True)
class Table:
    """What ``table`` returns: notebooks and pages show it as HTML, a terminal as text."""

    columns: list[Column]
    sections: dict[str, int]
    """The title of each section, with its number of rows."""
    caption: str
    name: str | None
    notes: Sequence[str]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        texts = [column.text() for column in self.columns]
        heads, *rows = ("  ".join(cells).rstrip() for cells in zip(*texts, strict=True))
        groups = [
            (group, len("  ".join(cells[0] for _, cells in members)))
            for group, members in groupby(zip(self.columns, texts, strict=True), key=lambda pair: pair[0].group)
        ]
        above = "  ".join(group.center(width) for group, width in groups).rstrip()
        body = [line for title, part in self._in_sections(rows) for line in (title, *part) if line]
        rule = "-" * max(map(len, [heads, *rows]))
        return "\n".join([self.caption, "", *[above] * bool(above), heads, rule, *body, *self.notes])

    def html(self) -> str:
        """The table as HTML that needs nothing else."""
        caption, place = written(self.caption), f' id="table-{self.name}"' if self.name else ""
        body = "\n".join(self._html_section(*section) for section in self._in_sections(self._html_rows()))
        notes = "".join(f'\n<p style="margin:.4em 0 0;font-size:.9em">{escape(note)}</p>' for note in self.notes)
        return (
            f'<div class="snf-table"{place} tabindex="0" style="{_BOX}">\n'
            f'<table style="{_TABLE}">\n<caption style="{_CAPTION}"><span>{caption}</span></caption>\n'
            f"<thead>\n{self._html_head()}\n</thead>\n{body}\n</table>{notes}\n</div>"
        )

    def _in_sections(self, rows: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
        """Each section's title and its part of the rows."""
        left = iter(rows)
        return ((title, list(islice(left, count))) for title, count in self.sections.items())

    def _html_head(self) -> str:
        lower = [_head(one.head, one.side, "col", one.span) for one in self.columns if one.group and one.span]
        upper = []
        for group, members in groupby((one for one in self.columns if one.span), key=lambda column: column.group):
            if group:
                upper.append(_head(group, "center", "colgroup", sum(one.span for one in members)))
            else:
                upper += [_head(one.head, one.side, "col", one.span, 1 + bool(lower)) for one in members]
        return "\n".join(f"<tr>{''.join(row)}</tr>" for row in (upper, lower) if row)

    def _html_rows(self) -> Iterator[str]:
        style = f"text-align:{self.columns[0].side};font-weight:normal;{_PADDING}"
        rows = zip(*(column.html() for column in self.columns[1:]), strict=True)
        for head, cells in zip(self.columns[0].cells, rows, strict=True):
            yield f'<tr><th scope="row" style="{style}"><span>{escape(head)}</span></th>{"".join(cells)}</tr>'

    def _html_section(self, title: str, rows: list[str]) -> str:
        style = "text-align:left;padding:.7em .7em .2em"
        heading = f'<tr><th scope="rowgroup" colspan="{len(self.columns)}" style="{style}">{escape(title)}</th></tr>'
        return "\n".join(["<tbody>", *[heading] * bool(title), *rows, "</tbody>"])


def table(
    rows: Rows | Mapping[str, Rows], heads: Heads, *,
    caption: str, name: str | None = None, notes: Sequence[str] = (),
) -> Table:  # fmt: skip
    """A table of results, as the last expression of a cell or for ``display``.

    Args:
        rows: the cells of each row, the first of them its header; or title → rows, for a table in sections. A cell is
            text, a number, a pair (mean, deviation or None), True or False, or None where there is nothing.
        heads: heading → format of the numbers below it, as for ``number``, or "" for text; for a group of columns its
            name → {heading: format}.
        caption: what to see in the table, in a sentence, written as that of a figure: see ``snf_book.slider.explore``.
        name: lower-case letters, digits and hyphens; ``[words](#table-NAME)`` links to the table.
        notes: remarks below the table.

    Raises:
        ValueError: a row with another number of cells than there are headings, or a name of other characters.
    """
    if name is not None and not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError(f"table: expected a name of small letters, digits and hyphens, got {name!r}.")
    sections = {title: list(part) for title, part in (rows if isinstance(rows, Mapping) else {"": rows}).items()}
    every, columns = [row for part in sections.values() for row in part], list(_headings(heads))
    for row in every:
        if len(row) != len(columns):
            raise ValueError(f"table: expected {len(columns)} cells in each row, got {len(row)} in {row!r}.")
    shown = [
        column
        for place, (group, head, spec) in enumerate(columns)
        for column in _columns(group, head, spec, [row[place] for row in every])
    ]
    return Table(shown, {title: len(part) for title, part in sections.items()}, caption, name, tuple(notes))


def _headings(heads: Heads) -> Iterator[tuple[str, str, str]]:
    """The group, heading and format of each column."""
    for head, spec in heads.items():
        if isinstance(spec, str):
            yield "", head, spec
        else:
            yield from ((head, inner, own) for inner, own in spec.items())


def _columns(group: str, head: str, spec: str, cells: list[Any]) -> Iterator[Column]:
    """One column, or two where some of its cells have a deviation."""
    wide = any(isinstance(cell, tuple) for cell in cells)
    pairs = [cell if isinstance(cell, tuple) else (cell, None) for cell in cells]
    texts = [_text(mean, spec) for mean, _ in pairs]
    numeric = bool(spec) or any(not isinstance(mean, str | bool | None) for mean, _ in pairs)
    as_text = [_IN_COLUMN.fullmatch(text) is not None for text in texts if text not in ("", _WORDS[None])]
    yield Column(group, head, texts, numeric or 2 * sum(as_text) > len(as_text), 1 + wide)
    if wide:
        deviations = ["" if one is None else f"± {_text(one, spec.lstrip('+'))}" for _, one in pairs]
        yield Column(group, "", deviations, numeric=False, span=0)


def _text(cell: Any, spec: str) -> str:
    if isinstance(cell, str):
        return cell
    return _WORDS[cell] if cell is None or isinstance(cell, bool) else number(cell, spec)


def _head(text: str, side: str, scope: str, width: int = 1, height: int = 1) -> str:
    spans = f' colspan="{width}"' * (width > 1) + f' rowspan="{height}"' * (height > 1)
    style = f' style="text-align:{"center" if width > 1 else side};{_HEAD}"'
    return f'<th scope="{scope}"{spans}{style}>{escape(text)}</th>' if text else f"<td{spans}{style}></td>"
