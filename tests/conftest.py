"""What holds for all tests: how many examples hypothesis draws, who takes which test, what a test of an equation owes.

A test marked ``equation(label)`` has to enter the function that the book binds to that equation.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from hypothesis import settings
from scheduling import DURATIONS, Stopwatch, scheduler

# By default the same few examples on every machine and in every run; at night many, and others each time, of which a
# failing one is printed in a form to be run again (@reproduce_failure).
settings.register_profile("few", max_examples=25, derandomize=True, deadline=None, print_blob=True)
settings.register_profile("nightly", max_examples=500, derandomize=False, deadline=None, print_blob=True)
settings.load_profile("few")  # --hypothesis-profile=nightly takes the other: make test-nightly


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--store-durations", action="store_true", help=f"write {DURATIONS.name} anew: make durations")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "equation(label): checks a numbered equation of the book (book/_data/equations.yml)"
    )
    if config.getoption("--store-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Stopwatch())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return scheduler(config, log)


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the user's folder of data sets and cache of downloads."""
    monkeypatch.delenv("SNF_DATA", raising=False)
    monkeypatch.setenv("SNF_CACHE", str(tmp_path / "cache"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    owed = {label: code for label, code in bound_codes(item) if code is not None}
    if not owed:
        return (yield)
    entered: set[CodeType] = set()
    wanted = set(owed.values())

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code in wanted:
            entered.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        result = yield
    finally:
        sys.setprofile(before)
    missed = [label for label, code in owed.items() if code not in entered]
    if missed:
        pytest.fail(
            f"marked as a test of {', '.join(missed)}, but never enters the function in book/_data/equations.yml"
        )
    return result


def bound_codes(item: pytest.Item) -> Iterator[tuple[str, CodeType | None]]:
    """(label, code) for each equation that a test is marked with."""
    marks = list(item.iter_markers("equation"))
    if not marks:
        return  # without an import of the whole package
    from text.equations import DEFINITION, code_of, registry

    for mark in marks:
        for label in mark.args:
            assert label in registry(), (
                f"{item.nodeid} is marked with {label!r}, which is not in book/_data/equations.yml"
            )
            yield label, None if registry()[label]["function"] == DEFINITION else code_of(label)
