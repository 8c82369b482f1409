"""The longest block of tests starts first, and blocks stay whole."""

import json
from pathlib import Path

import pytest
import scheduling
from hypothesis import settings
from paths import ROOT

pytest_plugins = ["pytester"]

CONFTEST = """
import pathlib
import pytest
import scheduling

@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return scheduling.scheduler(config, log)

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(scheduling.Stopwatch())

@pytest.fixture(autouse=True)
def log(request):
    with pathlib.Path("log").open("a", encoding="utf-8") as file:
        print(request.node.nodeid, file=file)
"""


def test_blocks_are_files_and_notebooks_but_for_files_of_long_tests() -> None:
    assert scheduling.block("tests/test_a.py::test_one[x::y]") == "tests/test_a.py"
    assert scheduling.block("book/a.ipynb::Cell 3") == "book/a.ipynb"
    assert scheduling.block("tests/tools/test_mutants.py::test_one[x]") == "tests/tools/test_mutants.py::test_one[x]"


def test_the_longest_comes_first_and_the_unknown_count_as_long_as_the_mean() -> None:
    seconds = {"short": 1.0, "long": 9.0, "middle": 4.0}  # 4.67 on average
    blocks = ["new", "short", "middle", "long", "newer"]
    assert scheduling.longest_first(blocks, seconds) == ["long", "new", "newer", "middle", "short"]
    assert scheduling.longest_first(blocks, {}) == blocks


def test_a_run_follows_the_record_and_can_renew_it(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    record = pytester.path / "durations.json"
    record.write_text(json.dumps({"test_b.py": 5.0, "test_c.py": 3.0, "test_gone.py": 2.0, "test_a.py": 1.0}), "utf-8")
    monkeypatch.setattr(scheduling, "DURATIONS", record)
    pytester.makeconftest(CONFTEST)
    three = "import pytest\n@pytest.mark.parametrize('n', range(3))\ndef test_it(n): pass\n"
    pytester.makepyfile(test_a=three, test_b=three, test_c=three)
    pytester.syspathinsert(ROOT / "tests")
    pytester.runpytest_inprocess("-p", "no:nbval", "-n", "1").assert_outcomes(passed=9)
    order = [line.partition("::")[0] for line in Path("log").read_text("utf-8").splitlines()]
    assert order == ["test_b.py"] * 3 + ["test_c.py"] * 3 + ["test_a.py"] * 3
    assert scheduling.recorded().keys() == {"test_a.py", "test_b.py", "test_c.py"}


def test_the_record_names_what_is_there() -> None:
    seconds = scheduling.recorded()
    assert seconds and not [name for name in seconds if not (ROOT / name.partition("::")[0]).exists()], "make durations"


def test_examples_are_few_and_always_the_same_unless_asked_for() -> None:
    few, nightly = settings.get_profile("few"), settings.get_profile("nightly")
    assert (few.max_examples, few.derandomize, few.deadline) == (25, True, None)
    assert (nightly.max_examples, nightly.derandomize, nightly.deadline, nightly.print_blob) == (500, False, None, True)
