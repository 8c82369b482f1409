"""Each mutant of the package turns the test red that is named as its killer, and that is green without it.

A mutant is one wrong line: the mistake one would make there (``mutants/``). It is loaded in the place of the right one
in a process of its own (``mutation.py``). A mutant that survives names a check that is missing.
"""

import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from mutants import MUTANTS
from mutation import FORKS, Mutant, answer_of, run

KILLER = "theory/test_layers.py::test_log_det_without_gradient_is_the_same[ExactLinear]"


@pytest.mark.parametrize("name", MUTANTS)
def test_the_killer_finds_the_mutant(name: str) -> None:
    mutant = MUTANTS[name]
    status, text = run([mutant.killer], mutant)
    assert status == pytest.ExitCode.TESTS_FAILED, (
        f"{mutant.killer} stays green (pytest's exit {status}):\n{text[-2000:]}"
    )
    assert text.splitlines()[-1].startswith("1 failed"), text[-2000:]  # and not an import that broke


def test_every_killer_is_green_without_a_mutant() -> None:
    killers = sorted({mutant.killer for mutant in MUTANTS.values()})
    status, text = run(killers, limit=600)
    assert status == pytest.ExitCode.OK, text[-4000:]
    assert text.splitlines()[-1].startswith(f"{len(killers)} passed"), text[-2000:]


# ---- the harness itself ----------------------------------------------------------------------------------------------


def what_is_loaded(answer: Connection) -> None:
    answer.send([name for name in ("torch", "hypothesis", "snf_lite", "layer_table") if name in sys.modules])


@pytest.mark.skipif(not FORKS, reason="processes are not forked here")
def test_a_child_begins_with_the_libraries_loaded_and_without_the_project() -> None:
    assert answer_of(what_is_loaded, (), 60) == ["torch", "hypothesis"]


def test_a_mutant_without_an_effect_survives() -> None:
    harmless = Mutant("snf_lite/dense.py", "class ExactLinear", "pass\n\n\nclass ExactLinear", KILLER)
    assert run([KILLER], harmless).status == pytest.ExitCode.OK


def test_a_package_that_cannot_be_imported_is_not_taken_for_a_failing_test() -> None:
    wrong = "import nothing_of_the_kind\n\n\nclass ExactLinear"
    broken = Mutant("snf_lite/dense.py", "class ExactLinear", wrong, KILLER)
    status, text = run([KILLER], broken)
    assert status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and "nothing_of_the_kind" in text


def test_a_killer_that_is_not_there_is_not_taken_for_a_failing_test() -> None:
    assert run(["theory/test_layers.py::test_of_nothing"]).status == pytest.ExitCode.USAGE_ERROR


def test_a_child_that_never_ends_is_stopped() -> None:
    endless = Mutant("snf_lite/dense.py", "class ExactLinear", "while True:\n    pass\n\n\nclass ExactLinear", KILLER)
    status, text = run([KILLER], endless, limit=5)
    assert status is None and "stopped after 5 seconds" in text


def test_a_line_that_is_no_longer_there_is_told() -> None:
    with pytest.raises(ValueError, match=r"dense\.py no longer holds 'nowhere': bring this mutant up to date"):
        run([KILLER], Mutant("snf_lite/dense.py", "nowhere", "here", KILLER))


def test_the_package_on_disk_and_in_this_process_stays_as_it_is() -> None:
    import snf_lite.dense as before

    mutant = MUTANTS["dense: sign of the log-det's gradient"]
    text = Path(before.__file__).read_text("utf-8")
    run([mutant.killer], mutant)
    import snf_lite.dense as after

    assert after is before and Path(before.__file__).read_text("utf-8") == text
