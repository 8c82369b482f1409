"""The systems as a family tree: time from top to bottom, one column for each bargain, a density in each cell.

The browser lays it out: a grid that becomes a list where it is narrow, with arrows that need no script. A switch shows
the densities of the short comparison or of the longer runs.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from torch import Tensor

from snf_book.measured import number
from snf_book.prior_work import glyphs, long_record, record
from snf_book.prior_work.systems import system_named
from snf_book.prior_work.tiles import tile

#: Rows from top to bottom: year, and whether they hold densities or words alone.
ROWS: tuple[tuple[str, bool], ...] = (
    ("before", False), ("2014", True), ("2015", True), ("2015", True), ("2016", True), ("2017", True), ("2018", True),
    ("2018", False), ("2019", True), ("2019", True), ("2019", True), ("2020", False), ("2020", True), ("2020", True),
    ("since", False),
)  # fmt: skip
#: Heights of the two kinds of rows, and of the headings, in pixels.
TALL, LOW, HEADING = 204, 92, 66
#: What gives the columns their names, and their number of columns.
HEADINGS: tuple[tuple[str, int], ...] = (
    ("1 Put the numbers in order", 2),
    ("2 Change little", 1),
    ("3 Sum a series, 4 stay on the lattice", 1),
    ("Leave the map alone", 1),
)
COLUMNS = sum(width for _, width in HEADINGS)


@dataclass(frozen=True)
class Member:
    """A work in the tree.

    Attributes:
        name: name of a system, or of a work that has no model here.
        column, row: place, from 0.
        after: the work that it builds on.
        year: year of a work without a model.
        paper: its address.
        restricted: False in the column that is not about a restriction of the map: continuous time.
    """

    name: str
    column: int
    row: int
    after: str = ""
    year: int | None = None
    paper: str = ""
    restricted: bool = True


MEMBERS: tuple[Member, ...] = (
    Member("NICE", 0, 1),
    Member("Real NVP", 0, 4, "NICE"),
    Member("Glow", 0, 6, "Real NVP"),
    Member("Flow++", 0, 8, "Glow"),
    Member("emerging convolutions", 0, 9, "Glow"),
    Member("IAF", 1, 4),
    Member("MAF", 1, 5, "IAF"),
    Member("NAF", 1, 6, "MAF"),
    Member("B-NAF", 1, 8, "NAF"),
    Member("sum-of-squares polynomial", 1, 9, "MAF"),
    Member("neural spline", 1, 10, "MAF"),
    Member("TarFlow", 1, 14, "MAF", 2024, "https://arxiv.org/abs/2412.06329"),
    Member("radial", 2, 2),
    Member("planar", 2, 3),
    Member("Sylvester", 2, 6, "planar"),
    Member("FFJORD", 2, 7, "", 2018, "https://arxiv.org/abs/1810.01367", restricted=False),
    Member("flow matching", 2, 14, "FFJORD", 2022, "https://arxiv.org/abs/2210.02747", restricted=False),
    Member("i-ResNet", 3, 6),
    Member("residual flows", 3, 8, "i-ResNet"),
    Member("integer discrete flows", 3, 9, "NICE"),
    Member("convolution exponential", 3, 12, "emerging convolutions"),
    Member("independent component analysis", 4, 0, "", 1995, "https://doi.org/10.1162/neco.1995.7.6.1129"),
    Member("relative gradient", 4, 11, "independent component analysis", 2020, "https://arxiv.org/abs/2006.15090"),
    Member("self-normalizing flow", 4, 12),
    Member("its exact twin", 4, 13),
    Member("free-form flows", 4, 14, "self-normalizing flow", 2023, "https://arxiv.org/abs/2310.16624"),
)  # fmt: skip
#: Place of the true density, beside the key of the signs.
TRUTH = Member("the true density", 3, 1)
KEY = Member("key", 3, 2)

_STYLE = f"""
#family-tree {{margin:1em 0}}
#family-tree .tree {{display:grid;grid-template-columns:2.6em repeat({COLUMNS},minmax(0,1fr));
 grid-template-rows:{HEADING}px {" ".join(f"{TALL if tall else LOW}px" for _, tall in ROWS)};
 line-height:1.2;font-size:12px}}
#family-tree .tree>section {{display:contents}}
#family-tree h4,#family-tree .year {{margin:0;font-size:13px;font-weight:bold;padding:4px}}
#family-tree h4 {{border-bottom:2px solid currentColor;margin-right:8px}}
#family-tree .year {{border-top:1px solid rgba(128,128,128,.45);grid-column:1/-1}}
#family-tree .member {{padding:5px 12px;min-width:0;overflow-wrap:break-word}}
#family-tree .member img {{display:block;width:100%;max-width:150px;aspect-ratio:1;background:none;padding:0}}
#family-tree .member svg {{float:right;margin:2px 0 0 4px}}
#family-tree .member small {{display:block;font-size:12px}}
#family-tree .aside {{opacity:.75;font-style:italic}}
#family-tree .arrows {{width:100%;height:100%;overflow:visible;pointer-events:none}}
#family-tree label {{margin-right:1em}}
#family-tree .switch-short:checked~.tree .long,#family-tree .switch-long:checked~.tree .short {{display:none}}
@media (max-width:720px) {{
 #family-tree .tree,#family-tree .tree>section {{display:block}}
 #family-tree .arrows,#family-tree .year {{display:none}}
 #family-tree .member {{display:flow-root;padding:5px 0;font-size:14px}}
 #family-tree .member img {{float:left;width:110px;margin-right:12px}}
}}
"""


@dataclass(frozen=True)
class FamilyTree:
    """The figure; a notebook or page shows it as HTML, a terminal as a list."""

    short: Mapping[str, Any]
    longer: Mapping[str, Any]
    truth: tuple[float, Tensor]
    caption: str

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return "\n".join(f"{year_of(one)} {one.name}{_after(one)}" for one in MEMBERS)

    def html(self) -> str:
        """The figure as HTML with its own style sheet; nothing is loaded."""
        switches = "".join(
            f'<input type="radio" name="family-tree" class="switch-{which}" id="family-tree-{which}"{checked}>'
            f' <label for="family-tree-{which}">{words}</label>\n'
            for which, words, checked in (("long", "longer runs", " checked"), ("short", "600 steps", ""))
        )
        years = "".join(
            f'<div class="year" style="grid-row:{row + 2}">{label}</div>\n'
            for row, (label, _) in enumerate(ROWS)
            if row == 0 or label != ROWS[row - 1][0]
        )
        return (
            f'<figure class="snf-family" id="family-tree">\n<style>{_STYLE}</style>\n{switches}<div class="tree">\n'
            f"{years}{arrows()}\n{''.join(self._sections())}</div>\n"
            f"<figcaption>{escape(self.caption)}</figcaption>\n</figure>"
        )

    def _sections(self) -> Iterator[str]:
        start = 0
        for heading, width in HEADINGS:
            members = [one for one in MEMBERS if start <= one.column < start + width]
            if start <= TRUTH.column < start + width:
                members = [TRUTH, KEY, *members]
            place = f"grid-row:1;grid-column:{start + 2}/span {width}"
            cells = "".join(self._cell(one) for one in members)
            yield f'<section>\n<h4 style="{place}">{heading}</h4>\n{cells}</section>\n'
            start += width

    def _cell(self, one: Member) -> str:
        aside = "" if one.restricted else " aside"
        place = f"grid-row:{one.row + 2};grid-column:{one.column + 2}"
        return f'<div class="member{aside}" style="{place}">{self._content(one)}</div>\n'

    def _content(self, one: Member) -> str:
        if one is KEY:
            return glyphs.key()
        if one is TRUTH:
            value, density = self.truth
            image = _image(density, "The true density: eight round spots on a circle.")
            return f"{image}{one.name}<small>{number(value, '.2f')}</small>"
        if one.paper:
            kind = "" if one.restricted else "continuous time: "
            link = f'<a href="{escape(one.paper)}">{escape(one.name)}</a>'
            return f"{kind}{link}<small>{one.year}{escape(_after(one))}</small>"
        densities = "".join(self._density(one.name, which) for which in ("long", "short"))
        name = f'<a href="#{anchor(one.name)}">{escape(one.name)}</a>'
        return f"{densities}{glyphs.glyph(one.name)}{name}<small>{year_of(one)}{escape(_after(one))}</small>"

    def _density(self, name: str, which: str) -> str:
        if which == "long":
            entry, density, words = self.longer[name], long_record.density_of(self.longer[name]), "longer run"
        else:
            entry, density, words = self.short[name]["plane"], record.density_of(self.short[name]), "600 steps"
        found = number(entry["log_prob"], ".2f")
        image = _image(density, f"Density of {name}, {words}")
        return f'<div class="{which}">{image}<small>log p {found}</small></div>'


def year_of(one: Member) -> int:
    """Year of the first version of a work."""
    return one.year or system_named(one.name).year


def anchor(name: str) -> str:
    """The id of a system's paragraph in the chapter."""
    return "flow-" + name.lower().replace(" ", "-").replace("+", "p")


def arrows() -> str:
    """SVG lines from each work to those after it in the same column: straight down, or along the column's left side."""
    lines = "".join(line for one in MEMBERS for line in _arrow(one))
    head = '<path d="M0 0L8 4L0 8z" fill="currentColor"/>'
    size = 'viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"'
    return (
        f'<svg class="arrows" aria-hidden="true" style="grid-row:2/{len(ROWS) + 2};grid-column:2/-1">'
        f'<defs><marker id="family-tree-head" {size}>{head}</marker></defs>'
        f'<g fill="none" stroke="currentColor" stroke-opacity=".6" stroke-width="1.5">{lines}</g></svg>'
    )


def _arrow(one: Member) -> Iterator[str]:
    column = [other for other in MEMBERS if other.column == one.column]
    for parent in (other for other in column if other.name == one.after):
        head = ' marker-end="url(#family-tree-head)"' + ' stroke-dasharray="4 4"' * (not one.restricted)
        end, between = _top(one.row), range(parent.row + 1, one.row)
        if any(other.row in between for other in column):
            # beside the column's content, in lengths that do not depend on the figure's width
            start, end = _top(parent.row) + 30, end + 30
            path = f'<path d="M11 {start}H4V{end}H11"{head}/>'
            yield f'<svg x="{100 * one.column / COLUMNS:g}%" overflow="visible">{path}</svg>'
        else:
            middle = f"{100 * (one.column + 0.5) / COLUMNS:g}%"
            yield f'<line x1="{middle}" y1="{_top(parent.row + 1) - 8}" x2="{middle}" y2="{end + 4}"{head}/>'


def _top(row: int) -> int:
    """Distance of a row from the top of the first, in pixels."""
    return sum(TALL if tall else LOW for _, tall in ROWS[:row])


def _after(one: Member) -> str:
    return f", after {one.after}" if one.after else ""


def _image(density: Tensor, words: str) -> str:
    data = base64.b64encode(tile(density)).decode("ascii")
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'
