"""Which tests stay together where several processes share the work (pytest-xdist), and in what order they start.

A file's tests share their fixtures and a notebook's cells a kernel: each is one block of work. The block that took the
longest comes first, so that only short ones are left when a process runs out of work. How long each took stands in
``durations.json``; a block that is not in it counts as long as their mean. ``make durations`` measures all anew.
"""

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

DURATIONS = Path(__file__).with_name("durations.json")
#: Files whose tests share nothing and take long: each test is a block of its own.
APART = ("tools/test_mutants.py",)


def block(nodeid: str) -> str:
    """The block that a test belongs to: its file, but in the files named above itself."""
    file = nodeid.partition("::")[0]
    return nodeid if file.endswith(APART) else file


def recorded() -> dict[str, float]:
    """The seconds that each block took."""
    return json.loads(DURATIONS.read_text("utf-8")) if DURATIONS.exists() else {}


def longest_first(blocks: list[str], seconds: dict[str, float]) -> list[str]:
    """Blocks of the same length, which are all those without a record, stay in the order they come in."""
    mean = fmean(seconds.values()) if seconds else 0.0
    return sorted(blocks, key=lambda name: -seconds.get(name, mean))


def scheduler(config: pytest.Config, log: Any) -> Any:
    """What xdist asks for in its hook ``pytest_xdist_make_scheduler``."""
    from xdist.scheduler import LoadScopeScheduling

    class LongestFirst(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return block(nodeid)

        def _assign_work_unit(self, node: Any) -> None:
            self.workqueue.move_to_end(longest_first(list(self.workqueue), seconds)[0], last=False)
            super()._assign_work_unit(node)

    seconds = recorded()
    return LongestFirst(config, log)


class Stopwatch:
    """Adds up what the tests of each block took, and writes it down once all have run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[block(report.nodeid)] += report.duration

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            return  # interrupted: what is left is not known
        taken = {name: round(self.seconds[name], 1) for name in sorted(self.seconds)}
        DURATIONS.write_text(json.dumps(taken, indent=0) + "\n", "utf-8", newline="\n")
