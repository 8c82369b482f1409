"""One test for many cases of one property: it tries them all, and names each that fails.

An item of pytest costs some milliseconds to collect in every process that shares the work, and as much to report. Where
a case takes less than that, its cases belong into one test.
"""

from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest

Case = TypeVar("Case")


def check_each(cases: Iterable[Case], check: Callable[[Case], object], name: Callable[[Case], object] = repr) -> None:
    """Call ``check`` with every case; AssertionError with the name and the reason of each for which it raises.

    The first failure is the error's cause, so that pytest shows where it was. No case at all is a failure too.
    """
    count, failures = 0, {}
    for count, case in enumerate(cases, start=1):
        try:
            check(case)
        except (Exception, pytest.fail.Exception) as failure:
            failures[f"{name(case)} (case {count})"] = failure
    assert count, "there is no case to check"
    if failures:
        reasons = [f"- {case}: {type(failure).__name__}: {failure}" for case, failure in failures.items()]
        summary = "\n".join([f"{len(failures)} of {count} cases fail", *reasons])
        raise AssertionError(summary) from next(iter(failures.values()))
