"""All pairs of twins among the stored runs, as a table with a chart in its last column.

Twins are two models that differ in nothing but their gradient. A row holds a self-normalizing model beside its exact
twin and, where it was run, the model beyond the paper beside the same exact one.
"""

import html
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

from snf_book.measured import number

from snf_lite.analysis.figures import BLUE, GREEN, GREY, ORANGE
from snf_lite.experiments.archive import records_root
from snf_lite.experiments.paper_tables import ROWS, TWINS, PaperRow
from snf_lite.experiments.results import Comparison, Group, Parity, comparisons, grouped, parities, read_all
from text.charts import Scale, line, marker, text, through_zero

FAMILIES = {"dense": "dense", "conv": "convolutions", "glow": "Glow", "glow-cifar10": "Glow"}
DATA = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "digits": "small digits"}
#: What sets a pair apart from the usual one of its place, in the order in which it is looked for.
VARIANTS = {
    "recon_weight": "λ = {:g}", "kernel_size": "{0}×{0}", "steps": "{} steps a scale", "decay": "{} rate",
    "lr": "rate {:g}", "batch_size": "batches of {}", "epochs": "{} epochs",
}  # fmt: skip
#: What a model beyond the paper was run without, where the usual one of its place has it.
WITHOUT = {"tolerance": "the paper's settings, R updated at every tenth step"}
#: Pixels of a row of the chart, and where its scale ends.
STRIP, EDGE = (190, 18), 9
TICKS = (-10, -3, -1, 0, 1, 3, 10, 30, 100, 300)


@dataclass(frozen=True)
class Row:
    """Models at equal settings on one data set.

    Attributes:
        exact: Runs of the exact twin.
        learned: Self-normalizing model beside it; None if it was not run.
        beyond: Model beyond the paper beside it; None if it was not run.
        variant: What sets it apart from other rows of its family and data; may be empty.
    """

    exact: Group
    learned: Parity | None
    beyond: Parity | None
    variant: str = ""

    @property
    def name(self) -> str:
        words = f"{FAMILIES[self.exact.row.family]}, {DATA[self.exact.data]}"
        return f"{words}, {self.variant}" if self.variant else words

    @property
    def usual(self) -> bool:
        return not self.variant

    @property
    def seeds(self) -> int:
        return max(len(pair.gaps) for pair in (self.learned, self.beyond) if pair)


def rows() -> list[Row]:
    """Every pair of the stored runs, in the order of the paper's tables.

    Raises KeyError for a family or a data set that has no name here: no pair is left out silently.
    """
    groups = grouped(read_all(records_root()))
    compared = sorted(comparisons(groups), key=_unlike, reverse=True)
    usual = {id(one.beyond.exact): one for one in compared}  # of several the last, the most like its row
    beside = {id(one.paper.learned): one.beyond for one in usual.values() if one.paper}
    found = [Row(pair.exact, pair, beside.get(id(pair.learned))) for pair in parities(groups)]
    found += [Row(one.beyond.exact, None, one.beyond) for one in usual.values() if not one.paper]
    pairs = ((usual[id(one.beyond.exact)], one) for one in compared)
    found += [Row(one.beyond.exact, None, one.beyond, _lacks(like, one)) for like, one in pairs if one is not like]
    order = [(family, data) for family in FAMILIES for data in DATA]
    found.sort(key=lambda row: (order.index(_place(row)), _has_own_weight(row), -row.seeds, -row.exact.epochs))
    return [_named(row, [other for other in found if _place(other) == _place(row)]) for row in found]


def _has_own_weight(row: Row) -> bool:
    """Whether the self-normalizing model has a λ that is not the paper's."""
    return row.learned is not None and not row.learned.is_as_in_paper


def _unlike(one: Comparison) -> int:
    """In how many settings a model beyond the paper differs from its row."""
    return len(one.beyond.learned.differences())


def _lacks(usual: Comparison, other: Comparison) -> str:
    """What sets a model apart from the usual one beside the same exact twin; KeyError without words for it."""
    (key,) = usual.beyond.own_settings.keys() - other.beyond.own_settings.keys()
    return WITHOUT[key]


def _place(row: Row) -> tuple[str, str]:
    family, data = row.exact.row.family, row.exact.data
    if family not in FAMILIES or data not in DATA:
        raise KeyError(f"expected a name for the pair {family}, {data} in FAMILIES and DATA of pair_table.py")
    return family, data


def _named(row: Row, same: list[Row]) -> Row:
    """A row with what sets it apart from the first of the same family and data."""
    if row is same[0] and row.learned and _has_own_weight(row):
        words = VARIANTS["recon_weight"].format(row.learned.own_settings["recon_weight"])
        return replace(row, variant=words)
    if row is same[0] or row.variant:
        return row
    usual, own = ((one.learned or one.beyond) for one in (same[0], row))
    assert usual and own
    before, here = usual.learned.configuration, own.learned.configuration
    changed = [key for key in VARIANTS if here.get(key) not in (None, before.get(key))]
    words = VARIANTS[changed[0]].format(here.get(changed[0])) if changed else "again"
    if row.exact.data == "mnist" and all(one.startswith("epochs") for one in row.exact.differences()):
        words = "the paper's settings"
    return replace(row, variant=words)


def reported(family: str) -> tuple[PaperRow, PaperRow]:
    """The paper's self-normalizing row of a family on MNIST, and its exact one."""
    learned, exact = f"{family}-selfnorm", TWINS[f"{family}-selfnorm"]
    return ROWS[learned], ROWS[exact]


def paper_gap(row: Row) -> float | None:
    """What the paper reports for the pair, beside the usual row on MNIST."""
    if row.exact.data != "mnist" or not row.usual:
        return None
    learned, exact = (one.reported for one in reported(row.exact.row.family))
    assert learned and exact
    return learned.value - exact.value


def signed(value: float, digits: int = 2) -> str:
    return number(value, f"+.{digits}f")


# ---- the table -------------------------------------------------------------------------------------------------------

HEADS = (
    ("twins", "the model, and what it was trained on"),
    ("epochs", "the length of the training"),
    ("seeds", "how many pairs"),
    ("exact", "negative log-likelihood of the exact twin on test data, in nats"),
    ("self-norm.", "self-normalizing minus exact"),
    ("paper", "the same in the paper"),
    ("beyond", "tracked or unbiased minus exact"),
)


def table(found: list[Row]) -> str:
    """All rows as HTML, each with its strip of the chart; the last head is the axis."""
    scale = axis(found)
    heads = "".join(f'<th scope="col" title="{told}">{head}</th>' for head, told in HEADS)
    body = [f"<tr>{''.join(_cells(row, scale))}</tr>" for row in found]
    head = f"<thead><tr>{heads}<th>{_ticks(scale)}</th></tr></thead>"
    caption = "<caption>Gap to the exact twin, in nats a picture; above zero the exact twin is better.</caption>"
    return "\n".join(['<table class="snf-pairs">', caption, head, "<tbody>", *body, "</tbody>", "</table>"])


def _cells(row: Row, scale: Scale) -> Iterator[str]:
    paper = paper_gap(row)
    yield f'<th scope="row">{html.escape(row.name)}</th>'
    numbers = (
        str(row.exact.epochs),
        str(row.seeds),
        f"{statistics.mean((row.learned or row.beyond).values(row.exact)):.1f}",  # type: ignore[union-attr]
        signed(row.learned.mean) if row.learned else "",
        "" if paper is None else signed(paper, 1),
        signed(row.beyond.mean) if row.beyond else "",
    )
    yield from (f"<td>{number}</td>" for number in numbers)
    yield f'<td class="snf-strip">{strip(row, scale)}</td>'


def axis(found: list[Row]) -> Scale:
    """Where a gap lies in the chart: a signed logarithm, so that small and large ones are both seen."""
    gaps = [gap for row in found for pair in (row.learned, row.beyond) if pair for gap in pair.gaps.values()]
    return Scale(min(-1.5, *gaps), max(25, *gaps), EDGE, STRIP[0] - EDGE, through_zero)


def _svg(lines: list[str], height: int, hidden: str) -> str:
    return f'<svg viewBox="0 0 {STRIP[0]} {height}" width="{STRIP[0]}" {hidden}>{"".join(lines)}</svg>'


def _ticks(scale: Scale) -> str:
    ticks = [tick for tick in TICKS if scale.low <= tick <= scale.high]
    lines = [text(STRIP[0] / 2, 7, "nats, signed logarithm", "middle")]
    lines += [text(scale(tick), 22, f"{tick:g}".replace("-", "−"), "middle") for tick in ticks]
    return _svg(lines, 30, 'role="img" aria-label="The axis of the chart: nats, on a signed logarithmic scale"')


def strip(row: Row, scale: Scale) -> str:
    """The gaps of a row as marks: a line spans the seeds. Numbers beside it say the same, so it is not read aloud."""
    middle = STRIP[1] / 2
    lines = [line([(scale(0), 0), (scale(0), STRIP[1])], GREY, "4 3")]
    if (paper := paper_gap(row)) is not None:
        lines.append(marker("s", scale(paper), middle, ORANGE, 6, hollow=True))
    for pair, color, kind in ((row.learned, BLUE, "o"), (row.beyond, GREEN, "^")):
        if pair and len(pair.gaps) > 1:
            lines.append(line([(scale(gap), middle) for gap in sorted(pair.gaps.values())], color, width=2))
        if pair:
            lines.append(marker(kind, scale(pair.mean), middle, color))
    return _svg(lines, STRIP[1], 'aria-hidden="true"')


# ---- the sentences ---------------------------------------------------------------------------------------------------


def ahead(found: list[Row]) -> dict[str, str]:
    """In how many of all pairs the exact twin was the better one, the median of their gaps, and the largest."""
    run = [(row, row.learned) for row in found if row.learned]
    most, largest = max(run, key=lambda one: abs(one[1].mean))
    return {
        "exact_ahead": f"{sum(pair.mean > 0 for _, pair in run)} of {len(run)}",
        "median_gap": signed(statistics.median(pair.mean for _, pair in run), 1),
        "largest_gap": f"{signed(largest.mean, 1)} ({most.name})",
    }


def beyond(found: list[Row]) -> dict[str, str]:
    """Of the models beyond the paper how many were run beside an exact twin, and the largest of their gaps.

    One whose inverse does not follow is not exact, and is named apart.
    """
    run = [(row, row.beyond) for row in found if row.beyond]
    following = [(row, pair) for row, pair in run if row.variant not in WITHOUT.values()]
    lost = [f"{signed(pair.mean, 1)} ({row.name})" for row, pair in run if row.variant in WITHOUT.values()]
    most, largest = max(following, key=lambda one: abs(one[1].mean))
    return {
        "beyond_run": str(len(following)),
        "beyond_most": f"{signed(largest.mean)} ({most.name})",
        "beyond_lost": ", ".join(lost) or "not run",
    }


def distance(found: list[Row]) -> dict[str, str]:
    """How far samples through g lie from exact ones, in units of these: median and largest over all pairs."""
    apart = [(row.learned.learned.sampling("relative_distance"), row.name) for row in found if row.learned]
    most, name = max(apart)
    return {"apart": f"{statistics.median(value for value, _ in apart):.2f}", "most_apart": f"{most:.2f} ({name})"}
