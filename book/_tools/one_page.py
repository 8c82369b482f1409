"""The page that summarizes the paper in five equations and one figure, ``one-page.md``.

Its text is written by an author. Between its marks (``placeholders.py``) stand the formulas, copied from the chapters
that derive them, and the results of the runs of record: the figure and the numbers. ``make notebooks`` writes them; so
does ``python book/_tools/one_page.py`` alone.
"""

import re
import statistics
from typing import Any

from paths import ROOT, write
from text import equations
from text.chapters import chapters
from text.charts import Scale, drawing, line, marker, text, through_zero
from text.placeholders import fill

from snf_lite.analysis.figures import GREY, ORANGE, SERIES
from snf_lite.benchmarks.record import read_bench
from snf_lite.experiments.archive import record_dir, records_root
from snf_lite.experiments.paper_tables import ROWS, TWINS, PaperRow
from snf_lite.experiments.results import Comparison, Parity, comparisons, grouped, parities, read_all

PAGE = ROOT / "book" / "one-page.md"
FIVE = ("eq-change", "eq-jacobi", "eq-objective", "eq-general", "eq-dense-gradients")
FORMULA = re.compile(r"\$\$\n((?:(?!\$\$).)+?)\n?\$\$\s*\((eq-[\w-]+)\)", re.DOTALL)
BATCHES = (32, 128, 512, 2048)
FAMILIES = {"dense": "dense", "conv": "convolutions", "glow": "Glow"}
DATA = {"mnist": "MNIST", "digits": "small digits"}
#: Below this D both steps are mostly the price of calling.
LARGE = 256

Place = tuple[str, str]  # a family of models, and a data set


# ---- the formulas ----------------------------------------------------------------------------------------------------


def formulas() -> dict[str, str]:
    """Label → the numbered formula of the book, as its chapter has it."""
    return {label: formula for chapter in chapters() for formula, label in FORMULA.findall(chapter.text)}


def shown(label: str) -> str:
    """A formula of a chapter without its number, beside it links to the numbered one and to its function."""
    formula = formulas()[label].rstrip(" .,")
    links = f"[{label}](#{label}) {equations.linked(equations.registry()[label]['function'])}"
    return f":::{{container}} snf-equation\n$$\n{formula}\n$$\n\n{links}\n:::"


# ---- what was measured -----------------------------------------------------------------------------------------------


def pairs() -> dict[Place, list[Parity]]:
    """The twins of the record, by family and data, the longest training last; a place is empty if none was run."""
    found: dict[Place, list[Parity]] = {(family, data): [] for family in FAMILIES for data in DATA}
    for pair in sorted(parities(grouped(read_all(records_root()))), key=lambda pair: pair.learned.epochs):
        if (place := (pair.learned.row.family, pair.learned.data)) in found:
            found[place].append(pair)
    return found


def reported(family: str) -> tuple[PaperRow, PaperRow]:
    """The paper's self-normalizing row of a family on MNIST, and its exact one."""
    learned, exact = f"{family}-selfnorm", TWINS[f"{family}-selfnorm"]
    return ROWS[learned], ROWS[exact]


def paper_gap(family: str) -> float:
    learned, exact = reported(family)
    return learned.reported.value - exact.reported.value


def cases() -> dict[tuple[int, int], float]:
    """(batch, D) → the time of the exact dense step over that of the self-normalizing one, by the records."""
    found = {}
    for run in ("bench-batches", "bench-dense"):
        for case in read_bench(record_dir(run) / "bench.json")["cases"].values():
            found[case["batch"], case["event_shape"][0]] = _over(case, "exact", "selfnorm")
    return found


def _over(case: dict[str, Any], one: str, other: str) -> float:
    return float(case["contenders"][one]["median"] / case["contenders"][other]["median"])


def whole_models() -> dict[str, float]:
    """Family → the time of the exact model's step over that of the self-normalizing one, for images of 28×28 pixels."""
    record = read_bench(record_dir("bench-models") / "bench.json")
    timed = {case["model"]: case for case in record["cases"].values()}
    return {family: _over(case, f"{family}-exact", f"{family}-selfnorm") for family, case in timed.items()}


# ---- the figure ------------------------------------------------------------------------------------------------------

LEFT, RIGHT = (350, 232), (350, 232)


def picture() -> str:
    """Both charts, side by side where they fit."""
    return f'<div class="snf-charts">\n{cost_chart(cases())}\n{gap_chart(pairs())}\n</div>'


def cost_chart(ratios: dict[tuple[int, int], float]) -> str:
    """A line for each batch: how many times as long the exact step takes, over D."""
    measured = [{size for other, size in ratios if other == batch and size >= LARGE} for batch in BATCHES]
    sizes = sorted(set.intersection(*measured))
    drawn = {batch: [(size, ratios[batch, size]) for size in sizes] for batch in BATCHES}
    values = [value for points in drawn.values() for _, value in points]
    across = Scale(sizes[0], sizes[-1], 34, LEFT[0] - 66)
    up = Scale(min(0.4, *values), max(10, *values), LEFT[1] - 40, 30)
    lines = [text(0, 8, "exact step ÷ self-normalizing step, by time")]
    lines += _cost_axes(sizes, across, up)
    for (color, kind), (batch, points) in zip(SERIES, drawn.items(), strict=True):
        places = [(across(size), up(value)) for size, value in points]
        lines += [line(places, color, width=1.5), *(marker(kind, *place, color) for place in places)]
        lines.append(text(places[-1][0] + 8, places[-1][1], f"B = {batch}"))
    told = "; ".join(f"B = {batch}: {points[0][1]:.1f} to {points[-1][1]:.1f}" for batch, points in drawn.items())
    words = f"From D = {sizes[0]} to {sizes[-1]}, with batches of B events. {told}. Below 1 the exact step is faster."
    return drawing("cost", LEFT, "How many times as long the exact dense step takes", words, lines)


def _cost_axes(sizes: list[int], across: Scale, up: Scale) -> list[str]:
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 5, 10, 20, 50) if up.low <= tick <= up.high]
    lines = [text(28, up(tick), f"{tick:g}", "end") for tick in ticks]
    lines += [text(across(size), LEFT[1] - 26, str(size), "middle") for size in sizes]
    lines.append(text((across.start + across.end) / 2, LEFT[1] - 8, "D, numbers in an event", "middle"))
    lines.append(line([(across.start, up.start), (across.end, up.start)], GREY))
    return [*lines, line([(across.start, up(1)), (across.end, up(1))], GREY, "4 3")]


def gap_chart(found: dict[Place, list[Parity]]) -> str:
    """A row for each family and data: the gaps of the twins that were run, and the paper's."""
    gaps = [pair.mean for row in found.values() for pair in row] + [paper_gap(family) for family in FAMILIES]
    across = Scale(min(-1.5, *gaps), max(25, *gaps), 128, RIGHT[0] - 14, through_zero)
    ticks = [tick for tick in (-10, -3, -1, 0, 1, 3, 10, 30) if across.low <= tick <= across.high]
    lines = [text(0, 8, "self-normalizing − exact, test nats")]
    lines += [text(across(tick), RIGHT[1] - 26, f"{tick:g}".replace("-", "−"), "middle") for tick in ticks]
    lines.append(text(across(0) + 8, RIGHT[1] - 8, "exact is better →"))
    lines.append(line([(across(0), 20), (across(0), RIGHT[1] - 36)], GREY, "4 3"))
    for number, (place, row) in enumerate(found.items()):
        lines += _gap_row(place, row, across, 38 + 28 * number)
    words = f"{'; '.join(_said(place, row) for place, row in found.items())}."
    return drawing("gaps", RIGHT, "By how many nats the exact twin is better", words, lines)


def _gap_row(place: Place, row: list[Parity], across: Scale, y: float) -> list[str]:
    family, data = place
    color, kind = SERIES[0]
    lines = [text(0, y, f"{FAMILIES[family]}, {DATA[data]}")]
    if data == "mnist":
        lines.append(marker("s", across(paper_gap(family)), y, ORANGE, 6.5, hollow=True))
    for pair in row:
        if len(pair.gaps) > 1:
            lines.append(line([(across(gap), y) for gap in sorted(pair.gaps.values())], color, width=2))
        lines.append(marker(kind, across(pair.mean), y, color))
        if data == "mnist":
            lines.append(_above(across(pair.mean), y - 12, f"{pair.learned.epochs} epochs"))
    return lines


def _above(x: float, y: float, words: str) -> str:
    """Words over a marker; beside the edge of the chart they end there, so that none is cut off in a wide font."""
    edge = RIGHT[0] - 2
    return text(edge, y, words, "end") if x > edge - 50 else text(x, y, words, "middle")


def _said(place: Place, row: list[Parity]) -> str:
    family, data = place
    paper = f"the paper's {signed(paper_gap(family))}, " if data == "mnist" else ""
    here = ", ".join(f"{signed(pair.mean, 2)} after {pair.learned.epochs} epochs" for pair in row)
    return f"{FAMILIES[family]} on {DATA[data]}: {paper}here {here or 'not run as a pair yet'}"


# ---- the numbers in the text -----------------------------------------------------------------------------------------


def signed(value: float, digits: int = 1) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def on_mnist(found: dict[Place, list[Parity]]) -> str:
    """For each family what its longest pair on MNIST came to, beside the paper's, or that there is none."""
    return "; ".join(_on_mnist(family, found[family, "mnist"]) for family in FAMILIES)


def _on_mnist(family: str, row: list[Parity]) -> str:
    learned, exact = reported(family)
    paper = f"the paper's pair: {signed(paper_gap(family))} of {exact.reported.value:g}"
    if not row:
        return f"{FAMILIES[family]} not run as a pair yet ({paper})"
    pair = row[-1]
    seeds = f", {len(pair.gaps)} seeds" if len(pair.gaps) > 1 else ", one seed"
    here = f"{FAMILIES[family]} {signed(pair.mean)} nats of {pair.exact.mean:.1f} after {pair.learned.epochs} epochs"
    return f"{here}{seeds} ({paper}, after {learned.reported.epochs})"


def ahead(found: dict[Place, list[Parity]]) -> dict[str, str]:
    """In how many of all pairs the exact twin was the better one, the median of their gaps, and the largest."""
    run = [pair for row in found.values() for pair in row]
    most = max(run, key=lambda pair: abs(pair.mean))
    family, data = FAMILIES[most.learned.row.family], DATA[most.learned.data]
    where = f"{signed(most.mean)} ({family}, {data}, {most.learned.epochs} epochs)"
    middle = signed(statistics.median(pair.mean for pair in run))
    ended = f"{sum(pair.mean > 0 for pair in run)} of {len(run)}"
    return {"exact_ahead": ended, "median_gap": middle, "largest_gap": where}


def on_digits(found: dict[Place, list[Parity]]) -> str:
    """The least and the largest gap on the small digits."""
    gaps = [pair.mean for (_, data), row in found.items() for pair in row if data == "digits"]
    return f"{signed(min(gaps), 2)} to {signed(max(gaps), 2)}"


def beyond() -> str:
    """For each family the gap of the model beyond the paper: on MNIST if it was run there, by its longest training."""
    run = [one for one in comparisons(grouped(read_all(records_root()))) if one.beyond.exact.data in DATA]
    run.sort(key=lambda one: (one.beyond.exact.data == "mnist", one.beyond.exact.epochs))
    last = {one.beyond.exact.row.family: one for one in run}
    return "; ".join(_beyond(last[family]) for family in FAMILIES if family in last)


def _beyond(one: Comparison) -> str:
    pair, paper = one.beyond, one.paper
    error = "" if pair.standard_error is None else f" ± {pair.standard_error:.2f}"
    where = f"{DATA[pair.exact.data]}, {len(pair.gaps)} seed{'s' * (len(pair.gaps) > 1)}"
    beside = f"; the paper's way {signed(paper.mean, 2)}" if paper else ""
    return f"{FAMILIES[pair.exact.row.family]} {signed(pair.mean, 2)}{error} ({where}{beside})"


def counted(ratios: dict[tuple[int, int], float]) -> dict[str, str]:
    """How often the learned inverse was the faster one with small batches, and the exact step with large ones."""
    small = [ratio > 1 for (batch, size), ratio in ratios.items() if 8 * batch <= size]
    large = [ratio <= 1 for (batch, size), ratio in ratios.items() if batch > size >= LARGE]
    return {"learned_wins": f"{sum(small)} of {len(small)}", "exact_wins": f"{sum(large)} of {len(large)}"}


def distance(found: dict[Place, list[Parity]]) -> dict[str, str]:
    """How far samples through g lie from exact ones, in units of these: of the longest trainings, median and most."""
    apart = [row[-1].learned.sampling("relative_distance") for row in found.values() if row]
    return {"apart": f"{statistics.median(apart):.2f}", "most_apart": f"{max(apart):.2f}"}


def values() -> dict[str, str]:
    """Name of a mark → what stands there."""
    found, ratios, models = pairs(), cases(), whole_models()
    blocks = {label.removeprefix("eq-").replace("-", "_"): shown(label) for label in FIVE}
    blocks["picture"] = picture()
    return {
        **{name: f"\n\n{block}\n\n" for name, block in blocks.items()},
        **counted(ratios),
        **ahead(found),
        "on_mnist": on_mnist(found),
        "on_digits": on_digits(found),
        "beyond": beyond(),
        **distance(found),
        "dense_step": f"{models['dense']:.1f}",
        "conv_step": f"{models['conv']:.2f}",
    }


def page() -> str:
    """The page as it should stand."""
    return fill(PAGE.read_text("utf-8"), values())


def main() -> None:
    write(PAGE, page())


if __name__ == "__main__":
    main()
