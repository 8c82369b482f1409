"""A test marked ``equation(label)`` has to enter the function that the book binds to that equation.

And: which tests stay together where several processes share the work.
"""

import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "equation(label): checks a numbered equation of the book (book/equations.yml)")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests share their fixtures, a notebook's cells a kernel; mutants share nothing, and take the longest."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if "test_mutants.py" in nodeid else super()._split_scope(nodeid)

    return ByFile(config, log)


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
        pytest.fail(f"marked as a test of {', '.join(missed)}, but never enters the function in book/equations.yml")
    return result


def bound_codes(item: pytest.Item) -> Iterator[tuple[str, CodeType | None]]:
    """(label, code) for each equation that a test is marked with."""
    from equations import DEFINITION, code_of, registry

    for mark in item.iter_markers("equation"):
        for label in mark.args:
            assert label in registry(), f"{item.nodeid} is marked with {label!r}, which is not in book/equations.yml"
            yield label, None if registry()[label]["function"] == DEFINITION else code_of(label)
