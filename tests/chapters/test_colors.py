"""One color for each thing in the whole book: what is named exact or learned in a chapter's figures is drawn as such.

As far as a chapter's code shows it: labels and colors that stand in one call, one dictionary entry, or one loop.
"""

import ast
import re
from collections.abc import Iterator

import nbformat
import pytest
from each_case import check_each
from matplotlib.colors import to_rgb
from paths import notebooks

from snf_lite.analysis import figures
from snf_lite.analysis.figures import LOOKS, SERIES, look

NAMED = {name: value for name, value in vars(figures).items() if name.isupper() and isinstance(value, str)}
#: How a series begins its name, and the thing that it is.
THINGS = (
    (re.compile(r"(\w+-)?exact\b(?!,)"), "exact"),  # "exact, no penalty" is one of several that are exact
    (re.compile(r"self-normalizing|(dense|conv|glow)-selfnorm|selfnorm$"), "learned"),
    (re.compile(r"(dense-)?relative$"), "relative"),
)


def thing(node: ast.AST | None) -> str:
    """What a series is whose name is written there; "" if it is none of ``THINGS``."""
    words = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return next((name for pattern, name in THINGS if pattern.match(words)), "")


def colors(node: ast.AST) -> set[str]:
    """The colors named in an expression."""
    names = {child.id for child in ast.walk(node) if isinstance(child, ast.Name)}
    asked = [call.args[0] for call in ast.walk(node) if isinstance(call, ast.Call) and called(call) == "look"]
    looks = [LOOKS[arg.value][0] for arg in asked if isinstance(arg, ast.Constant)]
    return {NAMED[name] for name in names & NAMED.keys()} | set(looks)


def called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def pairs(tree: ast.AST) -> Iterator[tuple[str, set[str]]]:
    """(thing, colors) wherever both stand together."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) == "zip":
            yield from zipped(node)
        elif isinstance(node, ast.Call):
            named = {keyword.arg: keyword.value for keyword in node.keywords}
            drawn = [value for name, value in named.items() if name in ("color", "colour", None)]
            yield thing(named.get("label")), set().union(*map(colors, drawn))
        elif isinstance(node, ast.Dict):
            entries = {key.value: value for key, value in zip(node.keys, node.values, strict=True) if is_text(key)}
            yield from ((thing(ast.Constant(key)), colors(value)) for key, value in entries.items())
            if "color" in entries:
                yield thing(entries.get("label")), colors(entries["color"])


def is_text(key: ast.AST | None) -> bool:
    return isinstance(key, ast.Constant) and isinstance(key.value, str)


def zipped(call: ast.Call) -> Iterator[tuple[str, set[str]]]:
    """Names in a loop over colors: over ``SERIES``, or over colors that are written there."""
    series = any(isinstance(arg, ast.Name) and arg.id == "SERIES" for arg in call.args)
    rows = [arg.elts for arg in call.args if isinstance(arg, ast.Tuple | ast.List)]
    for at, column in enumerate(zip(*rows, strict=False) if rows else ()):
        drawn = {SERIES[at][0]} if series and at < len(SERIES) else set().union(*map(colors, column))
        yield from ((thing(node), drawn) for node in column)


def wrong(source: str) -> list[str]:
    """The series of a cell that have another color than theirs."""
    found = [(name, drawn) for name, drawn in pairs(ast.parse(source)) if name and drawn]
    return [f"{name} in {sorted(drawn)}" for name, drawn in found if drawn != {LOOKS[name][0]}]


def test_each_thing_has_its_color_in_every_chapter() -> None:
    cells = [
        (path.stem, at, re.sub(r"^(\s*)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE))  # commands of IPython
        for path in notebooks()
        for at, cell in enumerate(nbformat.read(path, as_version=4).cells)
        if cell.cell_type == "code"
    ]

    def check(cell: tuple[str, int, str]) -> None:
        assert not wrong(cell[2]), "ask snf_lite.analysis.figures.look for color and marker"

    check_each(cells, check, lambda cell: f"{cell[0]}[{cell[1]}]")


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("axes.plot(x, y, color=BLUE, label='exact gradient')", 1),
        ("axes.plot(x, y, color=ORANGE, label='exact gradient')", 0),
        ("axes.plot(x, y, label='exact', **look('learned'))", 1),
        ("axes.plot(x, y, label='exact', **look('exact'))", 0),
        ("axes.plot(x, y, color=BLUE, label='inexact')", 0),
        ("for s, v, n in zip(SERIES, values, ('exact', 'difference')): pass", 1),
        ("for s, v, n in zip(SERIES, values, ('learned', 'exact')): pass", 0),
        ("for c, n in zip((ORANGE, BLUE), ('exact', 'self-normalizing')): pass", 0),
        ("for c, n in zip((BLUE, ORANGE), ('exact', 'self-normalizing')): pass", 2),
        ("styles = {'dense-exact': {'color': BLUE, 'marker': 's'}}", 1),
        ("styles = {'conv-exact': (ORANGE, 's'), 'conv-selfnorm': (BLUE, 'o')}", 0),
        ("style = {'color': GREEN, 'label': 'exact'}", 1),
    ],
)
def test_another_color_is_found(source: str, count: int) -> None:
    assert len(wrong(source)) == count


def test_looks_are_told_apart_and_asked_for_by_name() -> None:
    assert look("exact") == {"color": "#D55E00", "marker": "s"} and look("learned")["color"] == "#0072B2"
    with pytest.raises(ValueError, match=r"look: expected one of learned, exact, .*, got 'wrong'"):
        look("wrong")
    method = ("learned", "exact", "relative", "lu", "tracked", "unbiased", "linear")
    assert len({LOOKS[name][0] for name in method}) == len({LOOKS[name][1] for name in method}) == len(method)


def contrast(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """The contrast of two colors, from 1 to 21 (WCAG 2)."""

    def light(color: tuple[float, float, float]) -> float:
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


#: Grounds of the light and of the dark theme.
GROUNDS = "#ffffff", "#121212"


def test_each_color_is_seen_on_either_ground() -> None:
    """Black and grey change with the theme: ``book/_ext/numbered_figures.py``."""
    seen = {name: color for name, (color, _) in LOOKS.items() if color.startswith("#")}
    pale = {
        name: contrast(to_rgb(color), to_rgb(ground))
        for name, color in seen.items()
        for ground in GROUNDS
        if contrast(to_rgb(color), to_rgb(ground)) < 2.8
    }
    assert not pale
