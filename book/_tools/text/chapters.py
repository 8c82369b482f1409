"""What a stored chapter holds: read from its notebook, for the pages and tests that speak of chapters."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nbformat
from nbval.plugin import find_comment_markers, find_metadata_tags
from paths import notebooks

from text.placeholders import RUNTIME, marks

LABELLED = re.compile(r"\$\$\s*\((eq-[\w-]+)\)")
REFERRED = re.compile(r"\]\(#(eq-[\w-]+)\)")


@dataclass(frozen=True)
class Chapter:
    """A notebook of the book, as it is stored."""

    path: Path
    notebook: nbformat.NotebookNode

    @cached_property
    def text(self) -> str:
        """Its Markdown."""
        return "\n\n".join(cell.source for cell in self.notebook.cells if cell.cell_type == "markdown")

    @property
    def code(self) -> list[nbformat.NotebookNode]:
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def code_sha256(self) -> str:
        """Of the code that decides what a run prints: of all cells but the first, which installs the package."""
        return hashlib.sha256("\n\n".join(cell.source for cell in self.code[1:]).encode()).hexdigest()

    @property
    def title(self) -> str:
        """The first heading."""
        return self._line(r"^# (.+)$")

    @property
    def link(self) -> str:
        """A link to it, for a table: there a bar would end the column."""
        title = self.title.replace("|", "\\|")
        return f"[{title}]({self.path.name})"

    @property
    def question(self) -> str:
        """What it asks, the quotation in bold."""
        return self._line(r"^> \*\*(.+\?)\*\*$")

    @property
    def needs(self) -> list[str]:
        """File names of the chapters it builds on: the links of its line ``**You need**``."""
        return re.findall(r"\]\(([\w-]+\.ipynb)\)", self._line(r"^(\*\*You need\*\*.*)$"))

    @property
    def runtime(self) -> str:
        """How long it takes, according to its own text."""
        return dict(marks(self.text))[RUNTIME]

    @property
    def labels(self) -> list[str]:
        """Those of its numbered equations, in order."""
        return LABELLED.findall(self.text)

    @property
    def referred(self) -> list[str]:
        """The labels of the equations it refers to."""
        return REFERRED.findall(self.text)

    @property
    def uncompared(self) -> list[str]:
        """The first line of each cell whose outputs the tests do not compare."""
        return [first_line(cell.source) for cell in self.code if not is_compared(cell)]

    @property
    def moving_figures(self) -> int:
        shown = [output.get("data", {}).get("text/html", "") for cell in self.code for output in cell.outputs]
        return "".join(shown).count('type="range"')

    @property
    def exercises(self) -> int:
        return sum("exercises.check_" in cell.source for cell in self.code)

    def _line(self, pattern: str) -> str:
        found = re.search(pattern, self.text, re.MULTILINE)
        if not found:
            raise ValueError(f"{self.path.name}: expected a line of the form {pattern}, found none.")
        return found[1]


def chapters() -> list[Chapter]:
    """The book's notebooks in reading order."""
    return [Chapter(path, nbformat.read(path, as_version=4)) for path in notebooks()]


def is_compared(cell: nbformat.NotebookNode) -> bool:
    """Whether nbval compares what the cell shows: as nbval itself reads the cell's tags and comments."""
    options = {**dict(find_metadata_tags(cell.metadata)), **dict(find_comment_markers(cell.source))}
    return options.get("check", True) and not options.get("skip", False)


def first_line(source: str) -> str:
    """The first line of a cell for a reader: neither empty nor a directive for nbval."""
    lines = (line.strip() for line in source.splitlines())
    return next((line for line in lines if line and not dict(find_comment_markers(line))), "(nothing)")
