"""Numbers of a chapter may be one unit of their last digit off, a few in a notebook; anything else turns it red."""

import re
from collections.abc import Sequence

import nbformat
import pytest
from comparison.cell_outputs import Numbers, compare_cell, differences, project_sanitize
from comparison.printed_numbers import NUMBER, allowed, compared
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output
from paths import ROOT
from snf_book.tables import table

pytest_plugins = ["pytester"]

ALIKE = [
    ("loss 1.00 nats", "loss 1.01 nats"),
    ("-1.5 and −1.5", "-1.6 and −1.4"),
    ("9.99", "10.00"),  # a carry
    ("  9.99|", " 10.00|"),  # in a column, from the right
    ("9.99  |", "10.00 |"),  # and from the left
    ("a  9.99   9.99", "a 10.00  10.00"),
    ("9.9e-05", "1.0e-04"),
    ("2e-07", "3e-07"),
    ("8\u00a0×\u00a010⁻⁵", "9\u00a0×\u00a010⁻⁵"),
    ("−9.9 × 10⁻⁵|", "−1.0 × 10⁻⁴|"),
    ("9 × 10⁹", "1 × 10¹⁰"),
    ("999.9", "1,000.0"),
    ("-0.1", "-0.0"),
    ("97.8 %, 97.8%, 41.0°", "97.9 %, 97.9%, 41.1°"),
    ('<img alt="size 0.5" data-label="0.5">', '<img alt="size 0.6" data-label="0.6">'),
]
UNLIKE = {
    "two units": ("1.00", "1.02"),
    "two units across a carry": ("9.99", "10.01"),
    "a unit of the larger exponent": ("9.9e-05", "1.1e-04"),
    "another power": ("below 1e-10", "below 1e-09"),
    "a count": ("3 of 60", "2 of 60"),
    "a whole percentage": ("16 %", "17 %"),
    "thousands": ("7,077,888", "7,077,889"),
    "a sign": ("+0.1", "-0.1"),
    "the sign of a zero": ("-0.0", "0.0"),
    "a sign, one unit away": ("-0.1", "0.0"),
    "the kind of minus": ("-0.1", "−0.2"),
    "decimals": ("1.0", "1.00"),
    "a point": ("1", "1.0"),
    "an exponent": ("1.5", "1.5e+00"),
    "how an exponent is written": ("1.5e-05", "1.5e-5"),
    "an exponent in another form": ("1.5e-05", "1.6 × 10⁻⁵"),
    "two units before × 10": ("8 × 10⁻⁵", "6 × 10⁻⁵"),
    "the sign of × 10": ("8 × 10⁻⁵", "8 × 10⁵"),
    "a power of ten alone": ("below 10⁻¹⁰", "below 10⁻⁹"),
    "separators": ("1000.0", "1,000.1"),
    "a number more": ("1.0 ", "1.0 2.0"),
    "what stood before a number that is wider": ("a:|9.99", "a:10.00"),
    "a number moved": ("a 1.0 b", "a b 1.0"),
    "a word": ("loss 1.0", "gain 1.0"),
    "a line": ("1.0\n", "1.0\n\n"),
    "blanks": ("a 1.0", "a  1.1"),
    "no number": ("1.0", "nan"),
    "infinity": ("inf", "nan"),
    "a color": ("#1e90f5", "#1e90f6"),
    "a version": ("1.10.2", "1.10.3"),
    "a name": ("x1.5", "x1.6"),
}


def test_one_unit_of_the_last_digit_is_alike() -> None:
    for stored, fresh in ALIKE:
        found, back = compared(stored, fresh), compared(fresh, stored)
        assert found and back and [pair[::-1] for pair in found] == back, stored
        assert [pair for pair in found if pair[0] != pair[1]], stored


def test_anything_else_is_not() -> None:
    kinds = {kind for kind, (stored, fresh) in UNLIKE.items() if compared(stored, fresh) or compared(fresh, stored)}
    assert not kinds
    assert all(compared(text, text) is not None for pair in UNLIKE.values() for text in pair)


def test_what_counts_as_a_number() -> None:
    text = "x2 -3, +0.5 1,234.5 1,2 2.8e-02 v1.2 1.2.3 #12 #1e90ff 3-4.5 8×8 (−7.) 10px .5em a_1 2026-01-02"
    text += " 2 × 10⁻⁵ 4×10⁵"
    numbers = ["-3", "+0.5", "1,234.5", "1", "2", "2.8e-02", "3", "4.5", "8", "8", "−7", "2026", "01", "02"]
    numbers += ["2 × 10⁻⁵", "4"]
    assert NUMBER.findall(text) == numbers


def test_how_many_may_be_off() -> None:
    assert [allowed(numbers) for numbers in (0, 1, 199, 200, 431)] == [1, 1, 1, 2, 4]


# -- outputs ----------------------------------------------------------------------------------------------------------


def shown(**forms: str) -> NotebookNode:
    """What ``explore`` leaves, say: the same in several forms."""
    return new_output("display_data", data={name.replace("_", "/", 1): text for name, text in forms.items()})


def mark(name: str, text: str) -> NotebookNode:
    """What ``measured`` leaves."""
    data = {"application/papermill.record/text/plain": text}
    return new_output("display_data", data=data, metadata={"scrapbook": {"name": name}})


def numbers_of(stored: Sequence[NotebookNode], fresh: Sequence[NotebookNode]) -> Numbers:
    comparison = compare_cell(stored, fresh, str)
    assert not differences(stored, comparison.outputs, str)
    return comparison.numbers


def test_what_an_output_gives_in_several_forms_counts_once() -> None:
    def figure(value: str) -> NotebookNode:
        return shown(
            text_plain=f"{value} {value}", text_html=f'<img alt="{value} {value}" data-label="{value} {value}">'
        )

    numbers = numbers_of([figure("0.5")], [figure("0.6")])
    assert numbers.off.all == {("0.5", "0.6"): 2} and numbers.all.total() == 2


def test_the_text_of_a_table_is_compared_without_the_blanks_that_align_it() -> None:
    def found(number: str, word: str = "nats") -> list[NotebookNode]:
        made = table([["a", number], ["b", "1.5"]], {"": "", word: ""}, caption="Which is smaller.")
        return [new_output("execute_result", data=made._repr_mimebundle_())]

    assert numbers_of(found("9.99"), found("10.00")).off.all == {("9.99", "10.00"): 1}
    for unlike in (found("10.01"), found("9.99", "bits"), found("8 × 10⁻⁵")):
        assert differences(found("9.99"), compare_cell(found("9.99"), unlike, str).outputs, str)
    columns = [new_output("execute_result", data={"text/plain": f"a  {n}\nb   1.50"}) for n in ("9.99", "10.00 ")]
    assert differences(columns[:1], compare_cell(columns[:1], columns[1:], str).outputs, str)


def test_a_mark_of_a_printed_number_counts_once() -> None:
    def cell(value: str) -> list[NotebookNode]:
        return [new_output("stream", text=f"{value} {value}\n"), mark("gap", value)]

    assert numbers_of(cell("0.5"), cell("0.6")).off.all == {("0.5", "0.6"): 2}
    alone = numbers_of([mark("gap", "0.5"), mark("other", "0.5")], [mark("gap", "0.6"), mark("other", "0.6")])
    assert alone.off.all == {("0.5", "0.6"): 2}


def test_pictures_are_not_compared_and_everything_around_them_is() -> None:
    def figure(number: str, picture: str) -> list[NotebookNode]:
        return [shown(text_html=f'<img alt="{number}" src="data:image/png;base64,{picture}">', image_png=picture)]

    stored, sanitize = figure("0.5", "AAAA"), project_sanitize()
    assert compare_cell(stored, figure("0.6", "BBBB"), sanitize).numbers.off.all == {("0.5", "0.6"): 1}
    unlike = figure("0.7", "BBBB")
    assert differences(stored, compare_cell(stored, unlike, sanitize).outputs, sanitize)
    drawn, other = ([new_output("display_data", data={"image/svg+xml": f"<path d='{x}'/>"})] for x in (0.5, 0.6))
    assert compare_cell(drawn, other, sanitize).outputs == other  # for nbval, which demands equality


def test_an_output_too_many_or_too_few_is_a_difference() -> None:
    one, two = [mark("gap", "0.5")], [mark("gap", "0.5"), mark("other", "0.7")]
    for stored, fresh in ((one, two), (two, one), (one, []), ([], one)):
        assert differences(stored, compare_cell(stored, fresh, str).outputs, str)


# -- notebooks --------------------------------------------------------------------------------------------------------

SHOW = """display({{"application/papermill.record/text/plain": "{}"}}, raw=True, metadata={{"scrapbook": "gap"}})"""
#: What a cell prints, what is stored that it prints, and whether that is alike.
CELLS = [
    ("loss 1.25 of 4 nats", "loss 1.25 of 4 nats", True),
    ("loss 1.25 of 4 nats", "loss 1.26 of 4 nats", True),
    ("loss 1.25 of 4 nats", "loss 1.27 of 4 nats", False),
    ("loss 1.25 of 4 nats", "loss 1.25 of 5 nats", False),
    ("loss 1.25 of 4 nats", "loss -1.25 of 4 nats", False),
    ("loss 1.25 of 4 nats", "gain 1.25 of 4 nats", False),
    ("loss 1.25 of 4 nats", "loss 1.25\nof 4 nats", False),
    ("loss 1.25 of 4 nats", "loss 1.250 of 4 nats", False),
    ("loss 1.25 of 4 nats", "loss 1.25 1.25 of 4 nats", False),
    ("loss 1.25 of 4 nats", None, False),
    (None, "loss 1.25 of 4 nats", False),
]


def notebook(*cells: tuple[str, list[NotebookNode]]) -> NotebookNode:
    made = [new_code_cell(source, outputs=outputs, execution_count=1) for source, outputs in cells]
    return new_notebook(cells=made)


def printing(fresh: str | None, stored: str | None) -> tuple[str, list[NotebookNode]]:
    source = "" if fresh is None else f"print({fresh!r})"
    return source, [] if stored is None else [new_output("stream", text=f"{stored}\n")]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_notebook_is_red_for_what_rounding_does_not_explain(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    many = [printing(f"{n}.25", f"{n}.26" if n < 5 else f"{n}.25") for n in range(10)]
    notebooks = {
        "rules": notebook(*(printing(fresh, stored) for fresh, stored, _ in CELLS)),
        "many": notebook(*many),
        # A carry; the mark of the same number counts with it, one of another number does not.
        "marks": notebook(
            printing("9.99", "10.00"),
            (SHOW.format("9.99"), [mark("gap", "10.00")]),
            (SHOW.format("1.5"), [mark("gap", "1.6")]),
        ),
    }
    for name, made in notebooks.items():
        nbformat.write(made, pytester.path / f"{name}.ipynb")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "book" / "_tools"))
    plugins = ["-p", "comparison.compared_chapter", "-p", "no:cacheprovider"]
    options = ["--nbval", "--nbval-current-env", *plugins, "-n", str(workers)]
    done = pytester.runpytest_subprocess(*options, "--dist=loadscope", "-rA", "--color=no")
    found = [re.fullmatch(r"(PASSED|FAILED) (\S+::Cell \d+)(?: - .*)?", line) for line in done.stdout.lines]
    outcomes = {one[2]: one[1] for one in found if one}
    rules = {f"rules.ipynb::Cell {place}": alike for place, (*_, alike) in enumerate(CELLS)}
    budget = {f"many.ipynb::Cell {place}": place == 0 or place > 4 for place in range(10)}
    marked = {"marks.ipynb::Cell 0": True, "marks.ipynb::Cell 1": True, "marks.ipynb::Cell 2": False}
    assert {cell: outcome == "PASSED" for cell, outcome in outcomes.items()} == {**rules, **budget, **marked}
    told = done.stdout.str().split("numbers one unit of their last digit off ==")[1]
    assert "rules.ipynb::Cell 1: stored 1.26, here 1.25\n" in told
    assert "marks.ipynb::Cell 0: stored 10.00, here 9.99\n" in told and "rules.ipynb::Cell 2: " not in told
    assert (
        "With this cell 5 of the notebook's 10 numbers are one unit of their last digit off; rounding"
        in done.stdout.str()
    )
