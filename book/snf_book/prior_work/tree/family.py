"""The systems as a family tree: time from top to bottom, one column for each bargain, a density in each cell.

The browser lays it out: a grid that becomes a list where it is narrow, with arrows that need no script. Where there are
longer runs, a switch shows their densities or those of the short comparison.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from torch import Tensor

from snf_book.measured import number
from snf_book.prior_work import record
from snf_book.prior_work.longer import record as long_record
from snf_book.prior_work.systems import system_named
from snf_book.prior_work.tree import glyphs
from snf_book.prior_work.tree.tiles import tile

#: Rows from top to bottom: years, and the height in pixels. Years of several rows are written once, above the first.
ROWS: tuple[tuple[str, int], ...] = (
    ("before 2014", 56), ("2014–2016", 190), ("2014–2016", 190), ("2017", 190), ("2018", 190), ("2018", 62),
    ("2019", 190), ("2019", 206), ("2019", 190), ("2020", 62), ("2020", 220), ("2020", 190), ("since 2021", 78),
)  # fmt: skip
#: Height of the headings.
HEADING = 66
#: What gives the columns their names, and their number of columns.
HEADINGS: tuple[tuple[str, int], ...] = (
    ("1 Put the coordinates in order", 2),
    ("2 Change little; below: continuous time", 1),
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
        restricted: False for continuous time, which is neither a bargain nor a free map of one step.
        height: number of rows.
    """

    name: str
    column: int
    row: int
    after: str = ""
    year: int | None = None
    paper: str = ""
    restricted: bool = True
    height: int = 1


MEMBERS: tuple[Member, ...] = (
    Member("NICE", 0, 1),
    Member("Real NVP", 0, 2, "NICE"),
    Member("Glow", 0, 4, "Real NVP"),
    Member("Flow++", 0, 6, "Glow"),
    Member("emerging convolutions", 0, 7, "Glow"),
    Member("IAF", 1, 2),
    Member("MAF", 1, 3, "IAF"),
    Member("NAF", 1, 4, "MAF"),
    Member("B-NAF", 1, 6, "NAF"),
    Member("sum-of-squares polynomial", 1, 7, "MAF"),
    Member("neural spline", 1, 8, "MAF"),
    Member("TarFlow", 1, 12, "MAF", 2024, "https://arxiv.org/abs/2412.06329"),
    Member("radial", 2, 1),
    Member("planar", 2, 2),
    Member("Sylvester", 2, 4, "planar"),
    Member("FFJORD", 2, 5, "", 2018, "https://arxiv.org/abs/1810.01367", restricted=False),
    Member("flow matching", 2, 12, "FFJORD", 2022, "https://arxiv.org/abs/2210.02747", restricted=False),
    Member("i-ResNet", 3, 4),
    Member("residual flows", 3, 6, "i-ResNet"),
    Member("integer discrete flows", 3, 7, "NICE"),
    Member("convolution exponential", 3, 10, "emerging convolutions"),
    Member("ICA", 4, 0, "", 1995, "https://doi.org/10.1162/neco.1995.7.6.1129"),
    Member("relative gradient", 4, 9, "ICA", 2020, "https://arxiv.org/abs/2006.15090"),
    Member("self-normalizing flow", 4, 10),
    Member("its exact twin", 4, 11),
    Member("free-form flows", 4, 12, "self-normalizing flow", 2023, "https://arxiv.org/abs/2310.16624"),
)  # fmt: skip
#: Place of the true density, above the key of the signs.
TRUTH = Member("the true density", 3, 1)
KEY = Member("key", 3, 2, height=2)

_STYLE = f"""
.snf-family {{margin:1em 0}}
.snf-family .tree {{display:grid;grid-template-columns:3.6em repeat({COLUMNS},minmax(0,1fr));
 grid-template-rows:{HEADING}px {" ".join(f"{height}px" for _, height in ROWS)};
 line-height:1.2;font-size:12px;text-align:left}}
.snf-family .tree>section {{display:contents}}
.snf-family .heading,.snf-family .year {{font-size:13px;font-weight:bold;padding:4px}}
.snf-family .heading {{border-bottom:2px solid currentColor;margin-right:8px;align-self:end}}
.snf-family .year {{border-top:1px solid rgba(128,128,128,.45);grid-column:1/-1}}
.snf-family .year span {{display:block;width:2.6em}}
.snf-family .member {{position:relative;padding:5px 12px;min-width:0;overflow-wrap:break-word}}
.snf-family .member img {{display:block;width:100%;max-width:150px;aspect-ratio:1}}
.snf-family .tile {{display:block;position:relative;max-width:150px}}
.snf-family .tile svg {{position:absolute;right:3px;bottom:3px;background:#fff;color:#000}}
.snf-family .sign {{display:flex;gap:6px;margin-bottom:3px}}
.snf-family .sign svg {{flex:none}}
.snf-family .member small {{display:block;font-size:12px}}
.snf-family .aside {{font-style:italic}}
.snf-family .drawn {{display:none}}
.snf-family .arrows {{width:100%;height:100%;overflow:visible}}
.snf-family label {{margin-right:1em}}
.snf-family .switch-short:checked~.tree .long,.snf-family .switch-long:checked~.tree .short {{display:none}}
@media print {{
.snf-family input,.snf-family input:not(:checked)+label {{display:none}}
}}
@media (max-width:720px) {{
 .snf-family .tree,.snf-family .tree>section {{display:block}}
 .snf-family .arrows,.snf-family .year {{display:none}}
 .snf-family .drawn {{display:inline}}
 .snf-family .member {{display:flow-root;padding:5px 0;font-size:14px}}
 .snf-family .tile,.snf-family .member>img {{float:left;width:110px;margin-right:12px}}
}}
"""


@dataclass(frozen=True)
class FamilyTree:
    """The figure; a notebook or page shows it as HTML, a terminal as a list."""

    short: Mapping[str, Any]
    truth: tuple[float, Tensor]
    caption: str
    longer: Mapping[str, Any] | None = None

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return "\n".join(f"{year_of(one)} {one.name}{f', after {one.after}' * bool(one.after)}" for one in MEMBERS)

    def html(self) -> str:
        """The figure as HTML with its own style sheet; nothing is loaded."""
        switches = "".join(
            f'<input type="radio" name="family-tree" class="switch-{which}" id="family-tree-{which}"{checked}>'
            f' <label for="family-tree-{which}">{words}</label>\n'
            for which, words, checked in (("long", "longer runs", " checked"), ("short", "600 steps", ""))
            if self.longer
        )
        years = "".join(
            f'<div class="year" style="grid-row:{row + 2}"><span>{label.replace("–", "–<wbr>")}</span></div>\n'
            for row, (label, _) in enumerate(ROWS)
            if row == 0 or label != ROWS[row - 1][0]
        )
        sections = "".join(self._sections())
        # the pages draw what has the class snf-frames on their own ground, dark or light
        return (
            f'<figure class="snf-figure snf-family" id="family-tree">\n<style>{_STYLE}</style>\n{switches}'
            f'<div class="tree snf-frames">\n{years}{arrows()}\n{sections}</div>\n'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>"
        )

    def _sections(self) -> Iterator[str]:
        yield f"<section>\n{self._cell(TRUTH)}{self._cell(KEY)}</section>\n"
        start = 0
        for heading, width in HEADINGS:
            members = [one for one in MEMBERS if start <= one.column < start + width]
            place = f"grid-row:1;grid-column:{start + 2}/span {width}"
            cells = "".join(self._cell(one) for one in members)
            yield f'<section>\n<div class="heading" style="{place}">{heading}</div>\n{cells}</section>\n'
            start += width

    def _cell(self, one: Member) -> str:
        aside = "" if one.restricted else " aside"
        place = f"grid-row:{one.row + 2}/span {one.height};grid-column:{one.column + 2}"
        return f'<div class="member{aside}" style="{place}">{self._content(one)}</div>\n'

    def _content(self, one: Member) -> str:
        if one is KEY:
            return glyphs.key()
        if one is TRUTH:
            value, density = self.truth
            image = _image(density, "The true density: eight round spots on a circle.")
            return f"{image}{one.name}<small>log p {number(value, '.2f')}</small>"
        if one.paper:
            link = f'<a href="{escape(one.paper)}">{escape(one.name)}</a>'
            return f"{link}<small>{one.year}{'' if one.restricted else ', continuous time'}{_after(one)}</small>"
        shown = {"short": (self.short[one.name]["plane"], record.density_of(self.short[one.name]), "600 steps")}
        if self.longer:
            run = self.longer[one.name]
            shown = {"long": (run, long_record.density_of(run), "longer run"), **shown}
        images = "".join(_image(shown[key][1], f"Density of {one.name}, {shown[key][2]}", key) for key in shown)
        values = "".join(f'<span class="{key}">{number(shown[key][0]["log_prob"], ".2f")}</span>' for key in shown)
        name = f'<a href="#{anchor(one.name)}">{escape(one.name)}</a>'
        image = f'<span class="tile">{images}{glyphs.glyph(one.name)}</span>'
        return f"{image}{name}<small>{year_of(one)}, log p {values}{_after(one)}</small>"


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
    return sum(height for _, height in ROWS[:row])


def _after(one: Member) -> str:
    """What a work builds on, in words; where there is an arrow they are shown in the list alone."""
    drawn = ' class="drawn"' * any(other.name == one.after and other.column == one.column for other in MEMBERS)
    return f"<span{drawn}>, after {escape(one.after)}</span>" * bool(one.after)


def _image(density: Tensor, words: str, which: str = "") -> str:
    place, data = f' class="{which}"' * bool(which), base64.b64encode(tile(density)).decode("ascii")
    return f'<img{place} alt="{escape(words)}" src="data:image/png;base64,{data}">'
