"""The sweeps of λ, the weight of the reconstruction penalty, that chapters and records hold.

A chapter shows a sweep as a table whose first column is λ. It is read from the text of the stored output, where columns
are two or more spaces apart; ``SWEEPS`` says which chapter has one and how its columns are headed. A chapter that does
not show its sweep any more is an error: the page would be wrong without a word.
"""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import nbformat
from text.chapters import Chapter, chapters

from snf_lite.experiments.archive import records_root
from snf_lite.experiments.results import Parity, grouped, parities, read_all

NUMBER = re.compile(r"[-−+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
WEIGHT = re.compile(r"^(?:\w+, )?(?:λ\s*=\s*)?(\d+(?:\.\d+)?)$")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
#: Quantity → how a column of it is headed, whatever its unit.
NLL = r"nats|NLL|log-likelihood"
HEADS = {
    "nll": rf"(?i)^test$|(?=.*(?:{NLL}))(?=.*(?:test|best|end))",  # "test" alone stands below a heading of its group
    "error": r"(?i)‖|^(?:relative )?error",
    "angle": r"(?i)widest|at any step|^angle|largest angle$",
    "distance": r"(?i)apart|distance of (?:the )?samples|sample distance",
    "reconstruction": r"(?i)reconstruct",
}


@dataclass(frozen=True)
class Value:
    """A number as a chapter shows it; ``below``: only that it is smaller was shown."""

    number: float
    below: bool = False


@dataclass(frozen=True)
class Sweep:
    """Trainings that differ in λ alone.

    Attributes:
        place: Chapter that holds them, by the name of its file.
        model: What was trained, on what.
        paper: λ of the paper for layers of this kind.
        wanted: Quantities of ``HEADS`` that the chapter measures.
        rows: λ → quantity → value.
    """

    place: str
    model: str
    paper: float
    wanted: tuple[str, ...]
    rows: dict[float, dict[str, Value]] = field(default_factory=dict)

    @property
    def best(self) -> float:
        """The λ with the smallest negative log-likelihood; the smaller one of equals."""
        return min(self.rows, key=lambda weight: (self.rows[weight]["nll"].number, weight))

    def excess(self, weight: float) -> float:
        """By how many nats a λ is worse than the best one."""
        return self.rows[weight]["nll"].number - self.rows[self.best]["nll"].number

    def within(self, nats: float) -> list[float]:
        """The λ that are at most so many nats worse than the best one, in order."""
        return sorted(weight for weight in self.rows if self.excess(weight) <= nats)


SWEEPS = (
    Sweep("two-dimensional-flows", "two moons, four dense layers and splines", 1, ("nll", "error", "angle")),
    Sweep("a-learned-inverse", "digits, two dense layers", 1, ("nll", "error", "angle", "reconstruction")),
    Sweep("mnist-dense", "digits, two dense layers, a high learning rate", 1, ("nll", "error")),
    Sweep("sampling", "digits, four dense layers, 10 epochs", 1, ("nll", "distance", "reconstruction")),
    Sweep("mnist-convolutional", "digits, nine convolutions", 1, ("nll", "error", "distance")),
    Sweep("glow", "digits, a small Glow", 100, ("nll", "error", "distance")),
)
FASHION = Sweep("mnist-dense", "Fashion-MNIST, two dense layers, 20 epochs", 1, ("nll", "distance"))


def value(cell: str) -> Value | None:
    """The number of a cell, with its power of ten; None where it has none."""
    found = NUMBER.search(cell)
    if not found:
        return None
    number = float(found[0].replace("−", "-").replace(",", ""))
    if power := re.search(r"×\s?10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", cell):
        number *= 10.0 ** int(power[1].translate(SUPERSCRIPTS))
    return Value(number, below="below" in cell or "<" in cell)


def printed(notebook: nbformat.NotebookNode) -> Iterator[list[list[str]]]:
    """The text of each stored output, as lines of cells."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            lines = [line for line in text.splitlines() if set(line.strip()) - set("-─ ")]
            yield [re.split(r"\s{2,}|\s*\|\s*", line.strip()) for line in lines]


def tables(notebook: nbformat.NotebookNode) -> Iterator[tuple[list[str], dict[float, list[str]]]]:
    """The headings and rows, by λ, of each table whose first column holds at least two λ."""
    for lines in printed(notebook):
        heads: list[str] = []
        rows: dict[float, list[str]] = {}
        for cells in lines:
            weight = WEIGHT.match(cells[0])
            if weight and len(cells) == len(heads):
                rows[float(weight[1])] = cells
            elif len(rows) < 2:
                heads, rows = cells, {}
        if len(rows) > 1:
            yield heads, rows


def read(sweep: Sweep, chapter: Chapter) -> Sweep:
    """A sweep with its rows, from the first table of the chapter that has its columns. ValueError if none has."""
    for heads, rows in tables(chapter.notebook):
        places = {name: [k for k, head in enumerate(heads) if re.search(HEADS[name], head)] for name in sweep.wanted}
        if all(places.values()):
            for weight, cells in rows.items():
                found = {name: value(cells[at[0]]) for name, at in places.items()}
                sweep.rows[weight] = {name: one for name, one in found.items() if one is not None}
            return sweep
    raise ValueError(
        f"{chapter.path.name}: expected a table with λ in its first column and columns for {', '.join(sweep.wanted)}, "
        "found none. Where its headings have changed, change HEADS in book/_tools/reference/sweeps.py."
    )


def fresh(sweep: Sweep) -> Sweep:
    return Sweep(sweep.place, sweep.model, sweep.paper, sweep.wanted)


def weight_of(pair: Parity) -> float:
    """λ of a recorded pair; its model's own where none was set."""
    return float(pair.learned.configuration.get("recon_weight", FASHION.paper))


def from_records() -> Sweep:
    """The pairs on Fashion-MNIST that differ in λ, from the records of their runs."""
    sweep = fresh(FASHION)
    for pair in parities(grouped(read_all(records_root()))):
        if pair.learned.data == "fashion_mnist" and pair.learned.row.family == "dense":
            distance = Value(round(pair.learned.sampling("relative_distance"), 2))
            seed = min(pair.learned.values)  # the one that both have
            sweep.rows[weight_of(pair)] = {"nll": Value(round(pair.learned.values[seed], 1)), "distance": distance}
    return sweep


@functools.cache
def all_sweeps() -> list[Sweep]:
    """Those of the chapters, in the order of the page, and that of the records."""
    book = {chapter.path.stem: chapter for chapter in chapters()}
    return [*(read(fresh(sweep), book[sweep.place]) for sweep in SWEEPS), from_records()]
