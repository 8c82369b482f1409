"""The sweeps of λ are read from what chapters show, whatever form their tables have."""

import re
from pathlib import Path

import nbformat
import pytest
from reference.sweeps import NLL, SWEEPS, Sweep, Value, all_sweeps, fresh, read, tables, value
from text.chapters import Chapter, chapters

PRINTED = """\
a first table        numbers
10                   1

lambda   best epoch   test nats   last nats   ‖RW − I‖   angle
     0           23       108.5       180.9       1.66     67°
   100          100       110.0       108.7  below 0.1      0°
exact           100       101.0
"""
AS_TABLE = """\
What the weight does

λ     test NLL  largest ‖E‖  samples apart
------------------------------------------
0        −1.50    8 × 10⁻⁵             0.2
0.01      1.25         0.11            0.05

A note.
"""
GROUPED = """\
Without the penalty the training breaks off early.

          NLL in nats  largest angle in degrees
  λ  epoch  test   last  at step 40  at any step  ‖RW − I‖
----------------------------------------------------------
  0     23  108.5  180.9         10           67  1.1 × 10¹
  1    100  101.8  100.5          4            5  below 0.1
"""
WANTED = Sweep("x", "a model", 1, ("nll", "error"))


def chapter(text: str, kind: str = "stream") -> Chapter:
    shown = {"stream": {"name": "stdout", "text": text}, "display_data": {"data": {"text/plain": text}}}[kind]
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell("print()", outputs=[nbformat.v4.new_output(kind, **shown)])]
    return Chapter(Path("x.ipynb"), notebook)


def test_a_printed_table_is_read() -> None:
    [(heads, rows)] = tables(chapter(PRINTED).notebook)
    assert heads[0] == "lambda" and list(rows) == [0.0, 100.0]
    sweep = read(fresh(WANTED), chapter(PRINTED))
    assert sweep.rows[0.0] == {"nll": Value(108.5), "error": Value(1.66)}
    assert sweep.rows[100.0] == {"nll": Value(110.0), "error": Value(0.1, below=True)}
    assert sweep.best == 0 and sweep.excess(100) == 1.5 and sweep.within(1) == [0.0]


def test_the_text_of_a_table_is_read() -> None:
    sweep = read(fresh(WANTED), chapter(AS_TABLE, "display_data"))
    assert sweep.rows == {
        0.0: {"nll": Value(-1.5), "error": Value(8e-5)},
        0.01: {"nll": Value(1.25), "error": Value(0.11)},
    }


def test_the_columns_of_a_group_are_read() -> None:
    sweep = read(Sweep("x", "a model", 1, ("nll", "error", "angle")), chapter(GROUPED, "display_data"))
    assert sweep.rows[0.0] == {"nll": Value(108.5), "error": Value(11.0), "angle": Value(67.0)}


def test_a_chapter_without_its_sweep_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"x\.ipynb: expected a table with λ .* columns for nll, distance, found none"):
        read(Sweep("x", "a model", 1, ("nll", "distance")), chapter(PRINTED))


@pytest.mark.parametrize(
    ("cell", "found"),
    [("67°", Value(67)), ("−0.28", Value(-0.28)), ("below 0.02", Value(0.02, True)), ("2,184.5", Value(2184.5)),
     ("6e+09", Value(6e9)), ("6 × 10⁹", Value(6e9)), ("4.9\xa0×\xa010⁻³", Value(4.9 * 10.0**-3)),
     ("–", None), ("", None)],
)  # fmt: skip
def test_numbers_are_read_as_chapters_write_them(cell: str, found: Value | None) -> None:
    assert value(cell) == found


def is_sweep(heads: list[str], rows: dict[float, list[str]]) -> bool:
    """Whether a table gives the likelihood at three or more λ."""
    return len(rows) > 2 and bool(re.match("λ|lambda", heads[0])) and any(re.search(NLL, head) for head in heads)


def test_every_chapter_with_a_sweep_is_on_the_page() -> None:
    listed = {sweep.place for sweep in SWEEPS}
    for chapter in chapters():
        swept = any(is_sweep(heads, rows) for heads, rows in tables(chapter.notebook))
        assert not swept or chapter.path.stem in listed, chapter.path.name


def test_sweeps_hold_what_they_promise() -> None:
    found = all_sweeps()
    assert len(found) == len(SWEEPS) + 1
    for sweep in found:
        assert sweep.paper in sweep.rows and len(sweep.rows) > 1
        assert all(set(row) == set(sweep.wanted) for row in sweep.rows.values()), sweep.place
