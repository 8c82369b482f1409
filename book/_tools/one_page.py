"""The page that summarizes the paper in five equations, a chart and a table, ``one-page.md``.

Its text is written by an author. Between its marks (``placeholders.py``) stand the formulas, copied from the chapters
that derive them, and the results of the stored runs: chart, table and numbers. ``make notebooks`` writes them; so does
``python book/_tools/one_page.py`` alone.
"""

import re

from paths import ROOT, write
from text import equations
from text.chapters import chapters
from text.charts import Scale, drawing, line, marker, text
from text.pair_table import ahead, beyond, distance, rows, table
from text.placeholders import fill

from snf_lite.analysis.figures import GREY, SERIES
from snf_lite.benchmarks.record import dense_cases, is_stable, read_bench, time_ratio
from snf_lite.experiments.archive import record_dir

PAGE = ROOT / "book" / "one-page.md"
FIVE = ("eq-change", "eq-jacobi", "eq-objective", "eq-general", "eq-dense-gradients")
FORMULA = re.compile(r"\$\$\n((?:(?!\$\$).)+?)\n?\$\$\s*\((eq-[\w-]+)\)", re.DOTALL)
BATCHES = (8, 32, 128, 1024)
#: Below this D both steps are mostly the price of calling.
LARGE = 256


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


def cases() -> dict[tuple[int, int], float]:
    """(batch, D) → the time of the exact dense step over that of the self-normalizing one, where both are stable."""
    pair = "exact", "selfnorm"
    records = [read_bench(record_dir(f"bench-{name}") / "bench.json") for name in ("dense", "batches", "beyond")]
    found = dense_cases(records, *pair)
    return {key: time_ratio(case, *pair)[1] for key, case in found.items() if is_stable(case, *pair)}


def whole_models(family: str) -> list[float]:
    """The time of the exact model's step over that of the self-normalizing one, 28×28 pixels, in each record of it."""
    records = (read_bench(record_dir(name) / "bench.json") for name in ("bench-models", "bench-beyond"))
    timed = (case for record in records for case in record["cases"].values() if case["model"] == family)
    return sorted(time_ratio(case, f"{family}-exact", f"{family}-selfnorm")[1] for case in timed)


def between(ratios: list[float], digits: int) -> str:
    """The smallest and the largest of them."""
    ends = [f"{ratio:.{digits}f}" for ratio in (ratios[0], ratios[-1])]
    return " to ".join(dict.fromkeys(ends))


# ---- the figure ------------------------------------------------------------------------------------------------------

LEFT = (350, 232)


def picture() -> str:
    """The chart of costs and the table of pairs, one above the other or beside it."""
    boxed = f'<div class="snf-scroll" tabindex="0">\n{table(rows())}\n</div>'
    return f'<div class="snf-charts">\n{cost_chart(cases())}\n{boxed}\n</div>'


def cost_chart(ratios: dict[tuple[int, int], float]) -> str:
    """A line for each batch: how many times as long the exact step takes, over D, where that was stable."""
    sizes = sorted({size for batch, size in ratios if batch in BATCHES and size >= LARGE})
    drawn = {batch: [(size, ratios[batch, size]) for size in sizes if (batch, size) in ratios] for batch in BATCHES}
    values = [value for points in drawn.values() for _, value in points]
    across = Scale(sizes[0], sizes[-1], 34, LEFT[0] - 16)
    up = Scale(min(0.4, *values), max(10, *values), LEFT[1] - 40, 42)
    lines = [text(0, 8, "exact step ÷ self-normalizing step, by time")]
    lines += _cost_axes(sizes, across, up)
    for at, ((color, kind), (batch, points)) in enumerate(zip(SERIES, drawn.items(), strict=True)):
        places = [(across(size), up(value)) for size, value in points]
        lines += [line(places, color, width=1.5), *(marker(kind, *place, color) for place in places)]
        lines += [marker(kind, 40 + 76 * at, 24, color), text(48 + 76 * at, 24, f"B = {batch}")]
    told = "; ".join(f"B = {batch}: {points[0][1]:.1f} to {points[-1][1]:.1f}" for batch, points in drawn.items())
    words = f"From D = {sizes[0]} to {sizes[-1]}, B data points in a batch. {told}. Below 1 the exact step is faster."
    return drawing("cost", LEFT, "How many times as long the exact dense step takes", words, lines)


def _cost_axes(sizes: list[int], across: Scale, up: Scale) -> list[str]:
    ticks = [tick for tick in (0.25, 0.5, 1, 2, 5, 10, 20, 50) if up.low <= tick <= up.high]
    lines = [text(28, up(tick), f"{tick:g}", "end") for tick in ticks]
    lines += [text(across(size), LEFT[1] - 26, str(size), "middle") for size in sizes]
    lines.append(text((across.start + across.end) / 2, LEFT[1] - 8, "D, dimension of a data point", "middle"))
    lines.append(line([(across.start, up.start), (across.end, up.start)], GREY))
    return [*lines, line([(across.start, up(1)), (across.end, up(1))], GREY, "4 3")]


# ---- the numbers in the text -----------------------------------------------------------------------------------------


def counted(ratios: dict[tuple[int, int], float]) -> dict[str, str]:
    """How often the learned inverse was the faster one with small batches, and the exact step with large ones."""
    small = [ratio > 1 for (batch, size), ratio in ratios.items() if 8 * batch <= size]
    large = [ratio <= 1 for (batch, size), ratio in ratios.items() if batch > size >= LARGE]
    return {"learned_wins": f"{sum(small)} of {len(small)}", "exact_wins": f"{sum(large)} of {len(large)}"}


def values() -> dict[str, str]:
    """Name of a mark → what stands there."""
    found, ratios = rows(), cases()
    blocks = {label.removeprefix("eq-").replace("-", "_"): shown(label) for label in FIVE}
    blocks["picture"] = picture()
    return {
        **{name: f"\n\n{block}\n\n" for name, block in blocks.items()},
        **counted(ratios),
        **ahead(found),
        **beyond(found),
        **distance(found),
        "dense_step": between(whole_models("dense"), 1),
        "conv_step": between(whole_models("conv"), 2),
    }


def page() -> str:
    """The page as it should stand."""
    return fill(PAGE.read_text("utf-8"), values())


def main() -> None:
    write(PAGE, page())


if __name__ == "__main__":
    main()
