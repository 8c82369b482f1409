"""The page on choosing λ, ``choosing-lambda.md``: its figure, its tables and its numbers.

They come from the sweeps that chapters and records hold (``sweeps.py``) and from the stored trial of a tolerance
(``lambda_trial.py``). An author writes the text; ``make notebooks`` writes what stands between its marks.
"""

import html
import math
from collections.abc import Iterable

from paths import ROOT, write
from text.chapters import chapters
from text.charts import Scale, drawing, line, marker, text
from text.placeholders import fill

from reference import lambda_trial
from reference.sweeps import Sweep, Value, all_sweeps
from snf_lite.analysis.figures import BLUE, GREEN, GREY

PAGE = ROOT / "book" / "choosing-lambda.md"
SIZE = (240, 232)
LEFT, RIGHT = 38, 222
#: Where the two curves of a panel lie: from the bottom of each to its top, in pixels.
UPPER, LOWER = (98, 26), (202, 134)
MOST = 40.0  # nats at the top of a panel
ERRORS = (0.005, 20.0)
WEIGHTS = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0)
CLOSE = 1.0  # nats that count as equally good
SHOWN = {"error": "‖E‖", "distance": "samples apart"}


def across(weight: float) -> float:
    """The place of a λ; 0 has no logarithm and stands one decade to the left of 0.01."""
    decades = -3.0 if weight == 0 else math.log10(weight)
    return LEFT + (RIGHT - LEFT) * (decades + 3) / 5


def gentle(value: float) -> float:
    """Straight near zero, a logarithm further out."""
    return math.asinh(value)


EXCESS, ERROR = Scale(0, MOST, *UPPER, gentle), Scale(*ERRORS, *LOWER)


def quality(sweep: Sweep) -> str:
    """What a panel shows of the learned inverse: the error matrix, or the samples where only these were measured."""
    return "error" if "error" in sweep.wanted else "distance"


def panel(sweep: Sweep, number: int) -> str:
    """The curves of one sweep: the nats lost against its best λ, and below them the error of the learned inverse."""
    name, weights = quality(sweep), sorted(sweep.rows)
    lines = [text(0, 8, "nats above the best λ"), text(0, 116, SHOWN[name])]
    lines += [text(LEFT - 6, EXCESS(tick), f"{tick}", "end") for tick in (0, 1, 10)]
    lines += [text(LEFT - 6, ERROR(tick), f"{tick:g}", "end") for tick in (0.01, 0.1, 1, 10)]
    lines += [text(across(weight), SIZE[1] - 14, f"{weight:g}", "middle") for weight in WEIGHTS]
    lines.append(line([(across(sweep.paper), UPPER[1] - 6), (across(sweep.paper), LOWER[0] + 4)], GREY, "2 4"))
    lines += [line([(LEFT, level), (RIGHT, level)], GREY, "4 3") for level in (EXCESS(0), ERROR(1))]
    losses = [(across(weight), EXCESS(sweep.excess(weight))) for weight in weights]
    errors = [(across(weight), height(sweep.rows[weight][name])) for weight in weights]
    lines += [line(losses, BLUE, width=1.5), *(marker("o", *place, BLUE) for place in losses)]
    lines.append(line(errors, GREEN, width=1.5))
    for weight, place in zip(weights, errors, strict=True):
        shown = sweep.rows[weight][name]
        lines.append(marker("^", *place, GREEN, hollow=shown.below or shown.number < ERRORS[0]))
    words = "; ".join(f"λ = {weight:g}: {told(sweep, weight)}" for weight in weights)
    return drawing(f"lambda-{number}", SIZE, f"{sweep.model}: what λ costs", f"{words}.", lines)


def height(value: Value) -> float:
    """Where an error is drawn: one below the scale at its lower end."""
    return ERROR(min(max(value.number, ERRORS[0]), ERRORS[1]))


def told(sweep: Sweep, weight: float) -> str:
    name = quality(sweep)
    loss = f"{sweep.excess(weight):.{decimals(sweep)}f} nats above the best"
    return f"{loss}, {SHOWN[name]} {shown(sweep.rows[weight][name])}"


def shown(value: Value | None) -> str:
    """A value as its chapter gives it."""
    return "" if value is None else f"{'below ' if value.below else ''}{value.number:g}"


def decimals(sweep: Sweep) -> int:
    """With how many decimals a sweep gives its likelihoods."""
    return max(len(f"{row['nll'].number:g}".partition(".")[2]) for row in sweep.rows.values())


def linked(sweep: Sweep) -> str:
    """The chapter of a sweep, by number and title, as a link."""
    numbered = {chapter.path.stem: (number, chapter) for number, chapter in enumerate(chapters(), start=1)}
    number, chapter = numbered[sweep.place]
    return f'<a href="{sweep.place}.html">{number}\N{NO-BREAK SPACE}{html.escape(chapter.title)}</a>'


def figure(sweeps: list[Sweep]) -> str:
    """A panel for each sweep, beside one another where they fit."""
    panels = [
        f'<figure class="snf-panel">\n<figcaption>{linked(sweep)}: {html.escape(sweep.model)}</figcaption>\n'
        f"{panel(sweep, number)}\n</figure>"
        for number, sweep in enumerate(sweeps, start=1)
    ]
    return '<div class="snf-panels">\n' + "\n".join(panels) + "\n</div>"


def summary(sweeps: list[Sweep]) -> str:
    """A row for each sweep: the best λ, those about as good, and what the paper's costs."""
    heads = ["trained", "λ tried", "best λ", f"within {CLOSE:g} nat", "the paper's λ", "costs, in nats"]
    rows = []
    for sweep in sweeps:
        weights = ", ".join(f"{weight:g}" for weight in sorted(sweep.rows))
        close = ", ".join(f"{weight:g}" for weight in sweep.within(CLOSE))
        paper = f"{sweep.excess(sweep.paper):.{decimals(sweep)}f}"
        rows.append([f"{linked(sweep)}: {sweep.model}", weights, f"{sweep.best:g}", close, f"{sweep.paper:g}", paper])
    return markdown(heads, rows, right=(2, 4, 5))


def everything(sweeps: list[Sweep]) -> str:
    """A row for each training."""
    heads = ["trained", "λ", "test NLL", "‖E‖", "angle", "data reconstructed", "samples apart"]
    names = ("nll", "error", "angle", "reconstruction", "distance")
    rows = [
        [f"{linked(sweep)}: {sweep.model}", f"{weight:g}"]
        + [cell(sweep.rows[weight].get(name), name, decimals(sweep)) for name in names]
        for sweep in sweeps
        for weight in sorted(sweep.rows)
    ]
    return markdown(heads, rows, right=range(1, len(heads)))


def cell(value: Value | None, name: str, digits: int) -> str:
    if value is None:
        return ""
    return f"{value.number:.{digits}f}" if name == "nll" else shown(value) + "°" * (name == "angle")


def markdown(heads: list[str], rows: list[list[str]], right: Iterable[int]) -> str:
    """A table in Markdown, with the columns ``right`` aligned to the right."""
    numeric = set(right)
    rule = ["---:" if place in numeric else "---" for place in range(len(heads))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, rule, *rows])


def counted(sweeps: list[Sweep]) -> dict[str, str]:
    """The numbers of the rules."""
    fine = sum(sweep.excess(sweep.paper) <= CLOSE for sweep in sweeps)
    none = [sweep for sweep in sweeps if 0.0 in sweep.rows]
    harmless = sum(sweep.excess(0.0) <= CLOSE for sweep in none)
    strong = [sweep.excess(100.0) for sweep in sweeps if 100.0 in sweep.rows]
    sampling = next(sweep for sweep in sweeps if sweep.place == "sampling")
    fashion = sweeps[-1]
    return {
        "paper_fine": f"{fine} of {len(sweeps)}",
        "zero_harmless": f"{harmless} of {len(none)}",
        "hundred_low": f"{min(strong):.1f}",
        "hundred_high": f"{max(strong):.0f}",
        "apart_one": shown(sampling.rows[1.0]["distance"]),
        "apart_ten": shown(sampling.rows[10.0]["distance"]),
        "ten_costs": f"{sampling.excess(10.0) - sampling.excess(1.0):.0f}",
        "fashion_one": shown(fashion.rows[1.0]["distance"]),
        "fashion_ten": shown(fashion.rows[10.0]["distance"]),
        "fashion_costs": f"{fashion.excess(10.0):.0f}",
    }


def values() -> dict[str, str]:
    """Name of a mark → what stands there."""
    sweeps = all_sweeps()
    trial = lambda_trial.read()
    blocks = {
        "figure": figure(sweeps),
        "summary": summary(sweeps),
        "everything": everything(sweeps),
        "trial": lambda_trial.table(trial),
    }
    return {
        **{name: f"\n\n{block}\n\n" for name, block in blocks.items()},
        **counted(sweeps),
        **lambda_trial.numbers(trial),
    }


def page() -> str:
    """The page as it should stand."""
    return fill(PAGE.read_text("utf-8"), values())


def main() -> None:
    write(PAGE, page())
