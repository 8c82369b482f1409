"""Numbers go from the run into the text, and nowhere else do they come from."""

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from paths import ROOT
from snf_book.measured import measured
from text.placeholders import fill, marks, measurements, without_marks

pytest_plugins = ["pytester"]

TEXT = "It took <!-- time -->?<!-- / --> and lost <!-- gap -->9.99<!-- / --> nats."


@pytest.fixture(scope="module")
def ran() -> nbformat.NotebookNode:
    """A notebook whose run measures two things."""
    code = 'from snf_book.measured import measured\nmeasured(gap=f"{1.084:.2f}", time="a minute")'
    return NotebookClient(new_notebook(cells=[new_code_cell(code)]), kernel_name="python3", timeout=120).execute()


def test_what_a_run_measures_reaches_the_text(ran: nbformat.NotebookNode) -> None:
    assert measurements(ran) == {"gap": "1.08", "time": "a minute"}
    filled = fill(TEXT, measurements(ran))
    assert filled == "It took <!-- time -->a minute<!-- / --> and lost <!-- gap -->1.08<!-- / --> nats."
    assert fill(filled, measurements(ran)) == filled
    assert marks(filled) == [("time", "a minute"), ("gap", "1.08")]
    assert without_marks(filled) == "It took  and lost  nats."


def test_a_measurement_is_no_output_that_anybody_sees(ran: nbformat.NotebookNode) -> None:
    for output in ran.cells[0].outputs:
        assert output.output_type == "display_data"
        assert list(output.data) == ["application/papermill.record/text/plain"]


def test_nothing_is_measured_twice_or_stated_without_a_measurement(ran: nbformat.NotebookNode) -> None:
    with pytest.raises(ValueError, match="'gap' was measured twice"):
        measurements(nbformat.from_dict({"cells": 2 * ran.cells}))
    with pytest.raises(KeyError, match="time"):
        fill(TEXT, {"gap": "1.08"})


def test_numbers_are_rounded_by_whoever_gives_them() -> None:
    with pytest.raises(TypeError, match=r"expected gap as rounded text, such as number\(x, '.2f'\), got 1.0842"):
        measured(gap=1.0842)  # type: ignore[arg-type]


def test_outside_of_a_notebook_it_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    measured(gap="1.08")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("stored", "outcome"), [("1.07", "passed"), ("1.06", "failed")])
def test_the_comparison_sees_what_was_measured(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    ran: nbformat.NotebookNode,
    stored: str,
    outcome: str,
) -> None:
    """A measured number that a fresh run gives neither again nor within a unit of its last digit is red."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "book" / "_tools"))
    notebook = nbformat.from_dict(ran)
    notebook.cells[0].outputs[0].data = {"application/papermill.record/text/plain": stored}
    nbformat.write(notebook, pytester.path / "chapter.ipynb")
    options = ["--nbval", "--nbval-current-env", "-p", "comparison.compared_chapter", "-p", "no:cacheprovider"]
    done = pytester.runpytest_subprocess(*options, "chapter.ipynb")
    done.assert_outcomes(**{outcome: 1})
