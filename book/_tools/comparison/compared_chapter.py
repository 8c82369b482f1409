"""The book's notebooks under pytest: nbval's comparison, with numbers compared as numbers (``printed_numbers.py``).

``conftest.py`` takes its hooks from here; elsewhere: ``pytest -p comparison.compared_chapter``. A cell fails where it
prints what rounding does not explain, or where with it more of the notebook's numbers are off by one unit than
``allowed``.
What was off is listed at the end of the run, also where all cells pass, and where several processes share the work.
"""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from comparison.cell_outputs import Numbers, compare_cell
from comparison.printed_numbers import allowed

#: By this name a cell's report takes what was off to the process that prints it.
PROPERTY = "numbers one unit off"


class ComparedCell(IPyNbCell):
    """A cell whose numbers may be one unit of their last digit off, a few in a notebook."""

    def compare_outputs(self, test: list[Any], ref: list[Any], skip_compare: Sequence[str] | None = None) -> bool:
        """Whether nbval finds the outputs equal, after equivalent texts have been made equal."""
        comparison = compare_cell(ref, test, self.sanitize)
        if not super().compare_outputs(comparison.outputs, ref, skip_compare):
            return False
        off = comparison.numbers.off
        return not off.all or self._may_be_off(off)

    def _may_be_off(self, off: Numbers) -> bool:
        self.parent.off += off
        listed = "; ".join(f"stored {stored}, here {fresh}" for stored, fresh in sorted(off.all.elements()))
        self.user_properties.append((PROPERTY, listed))
        count, numbers = self.parent.off.all.total(), self.parent.numbers
        if count <= allowed(numbers):
            return True
        self.comparison_traceback = [
            f"{listed}\nWith this cell {count} of the notebook's {numbers} numbers are one unit of their "
            f"last digit off; rounding explains {allowed(numbers)} at most."
        ]
        return False


class ComparedFile(IPyNbFile):
    """A notebook of such cells: how many numbers it stores, and which were off so far."""

    def collect(self) -> Iterator[ComparedCell]:
        self.off = Numbers()
        self.cells = [
            ComparedCell.from_parent(self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options)
            for cell in super().collect()
        ]
        return iter(self.cells)

    @property
    def numbers(self) -> int:
        """How many numbers its cells have stored, those left out that are not compared."""
        cells = [cell for cell in self.cells if cell.options["check"] and not cell.options["skip"]]
        stored = (compare_cell(cell.cell.outputs, cell.cell.outputs, cell.sanitize).numbers for cell in cells)
        return sum(stored, Numbers()).all.total()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(parent: pytest.Collector) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Take nbval's notebooks as they come, and compare their cells in this way."""
    found = yield
    return [ComparedFile.from_parent(parent, path=one.path) if isinstance(one, IPyNbFile) else one for one in found]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report numbers that were one unit off, in notebooks that pass and in those that fail."""
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    cells = [report for report in reports if getattr(report, "when", None) == "call"]
    listed = [f"{cell.nodeid}: {text}" for cell in cells for name, text in cell.user_properties if name == PROPERTY]
    if listed:
        terminalreporter.section("numbers one unit of their last digit off")
        terminalreporter.write_line("\n".join(listed))
