"""Figures of a benchmark: times and ratios over D, or the ratios of each case."""

from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from snf_lite.analysis.figures import BLUE, GREEN, GREY, ORANGE, PINK, InlineFigure

COLORS = (BLUE, ORANGE, GREEN, PINK, "black")
#: Seven markers and five colors: the pairs repeat only after 35 methods.
MARKERS = "os^DvPX"

Style = dict[str, Any]


def bench_figure(cases: dict[str, dict[str, Any]], suite: str) -> Figure:
    """One suite of a record's cases: log-log over D for dense layers, otherwise ratios by method and case.

    Raises:
        ValueError: There is no case of that suite.
    """
    chosen = {name: case for name, case in cases.items() if case["suite"] == suite}
    if not chosen:
        known = ", ".join(dict.fromkeys(case["suite"] for case in cases.values()))
        raise ValueError(f"bench_figure: expected a suite out of {known}, got {suite!r}.")
    return _over_features(chosen) if suite == "dense" else _by_case(chosen)


def styles(names: list[str], baseline: str) -> dict[str, Style]:
    """Color, marker and line of each method: gray and dashed for the baseline, dotted once the colors repeat."""
    found: dict[str, Style] = {baseline: {"color": GREY, "marker": ".", "linestyle": "--"}}
    others = zip((name for name in names if name != baseline), cycle(COLORS), cycle(MARKERS), strict=False)
    for index, (name, color, marker) in enumerate(others):
        found[name] = {"color": color, "marker": marker, "linestyle": "-" if index < len(COLORS) else ":"}
    return {name: found[name] for name in names}


# ---- over D ----------------------------------------------------------------------------------------------------------


def _over_features(cases: dict[str, Any]) -> Figure:
    """Two panels per batch size: milliseconds per step, and the ratio to the baseline."""
    batches = list(dict.fromkeys(case["batch"] for case in cases.values()))
    figure = InlineFigure(figsize=(8.0, 3.6 * len(batches)), facecolor="white", layout="constrained")
    rows = figure.subplots(len(batches), 2, squeeze=False)
    for (times, ratios), batch in zip(rows, batches, strict=True):
        chosen = [case for case in cases.values() if case["batch"] == batch]
        _lines(times, chosen, "median", 1000)
        _lines(ratios, chosen, "ratio", 1)
        times.set(title=f"a training step, B = {batch}", ylabel="milliseconds, median")
        ratios.set(title="in units of the dashed line", ylabel="ratio of medians")
    lines = rows[0][0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def _lines(axes: Axes, cases: list[dict[str, Any]], entry: str, unit: float) -> None:
    names = list(dict.fromkeys(name for case in cases for name in case["contenders"]))
    for name, style in styles(names, cases[0]["floor"]).items():
        found = [(case["event_shape"][0], case["contenders"].get(name, {}).get(entry)) for case in cases]
        points = np.array([(size, unit * value) for size, value in found if value is not None]).reshape(-1, 2)
        axes.plot(*points.T, label=name, markersize=4, linewidth=1.2, **style)
    axes.set(xscale="log", yscale="log", xlabel="D")
    sizes = sorted({case["event_shape"][0] for case in cases})
    axes.set_xticks(sizes, [str(size) for size in sizes], rotation=45)
    _plain_numbers(axes.yaxis)
    axes.xaxis.set_minor_locator(NullLocator())


def _plain_numbers(axis: Axis) -> None:
    """Ticks at 1, 2, 5, 10 … instead of powers of ten, because ratios rarely span a factor of ten."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


# ---- case by case ----------------------------------------------------------------------------------------------------


def _by_case(cases: dict[str, Any]) -> Figure:
    """One panel per case, with a row per method: the ratio to the baseline and its quartiles."""
    names = list(dict.fromkeys(name for case in cases.values() for name in case["contenders"]))
    columns = 2
    lines = -(-len(cases) // columns)
    figure = InlineFigure(figsize=(8.0, 0.6 + 1.9 * lines), facecolor="white", layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False, sharex=True).flat)
    for axes, (name, case) in zip(panels, cases.items(), strict=False):
        _rows(axes, case, styles(names, case["floor"]))
        axes.set_title(name.partition(": ")[2], fontsize=9)
    for axes in panels[len(cases) :]:
        axes.set_axis_off()
    figure.supxlabel("time in units of the first row's, medians and quartiles", fontsize=9)
    return figure


def _rows(axes: Axes, case: dict[str, Any], looks: dict[str, Style]) -> None:
    results = {name: result for name, result in case["contenders"].items() if result["ratio"] is not None}
    for row, (name, result) in enumerate(results.items()):
        style, (low, high) = looks[name], result["ratio_quartiles"]
        axes.plot([low, high], [row, row], color=style["color"], linewidth=1.5)
        axes.plot(result["ratio"], row, marker=style["marker"], color=style["color"], markersize=5)
    axes.axvline(1, color=GREY, linestyle="--", linewidth=0.8)
    axes.set_yticks(range(len(results)), list(results), fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    _plain_numbers(axes.xaxis)
