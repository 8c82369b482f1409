"""The packages stay small: lines of a part, files of a folder, lines of a file, helpers with one caller."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT
from text.package_map import PACKAGES, READING

LIBRARY, BOOK = PACKAGES["snf_lite"], PACKAGES["snf_book"]
THEORY = [LIBRARY / f"{name}.py" for name in READING]
CORE = {*THEORY, *LIBRARY.glob("layers/*.py"), *LIBRARY.glob("linalg/*.py")}
#: What is counted: its files, and how many lines they may have together. A bound is lowered when lines go, never raised
#: without a reason.
LINES = {
    "the theory, to be read in an evening": (THEORY, 2300),
    "the core: theory, layers and linear algebra": (CORE, 5400),
    # With checks of what readers gave it: tables without names, own samplers, batch normalization:
    "snf_lite": (LIBRARY.rglob("*.py"), 17_570),
    # With the family tree and longer runs of prior work, twins, switches, schedules, the sheets of temperatures:
    "snf_book": (BOOK.rglob("*.py"), 7_950),
}


def lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


@pytest.mark.parametrize("name", LINES)
def test_lines_of_a_part(name: str) -> None:
    paths, most = LINES[name]
    assert sum(map(lines, paths)) <= most


@pytest.mark.parametrize(("folders", "most"), [(("snf_lite", "book"), 300), (("tests",), 400)])
def test_lines_of_a_file(folders: tuple[str, ...], most: int) -> None:
    found = {path: lines(path) for folder in folders for path in (ROOT / folder).rglob("*.py")}
    assert {path: count for path, count in found.items() if count > most} == {}


def test_files_of_a_folder() -> None:
    found = Counter(path.parent for folder in ("snf_lite", "book", "tests") for path in (ROOT / folder).rglob("*.py"))
    assert {folder: count for folder, count in found.items() if count > 12} == {}


def named(node: ast.AST) -> str | None:
    """The name that an expression uses, bare or as an attribute."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def private(tree: ast.AST) -> Iterator[str]:
    """The functions and methods whose name begins with one underscore."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("_") and not node.name.startswith("__"):
            yield node.name


def test_few_private_functions_are_called_in_one_place() -> None:
    """A private function has two callers, or a name that says more than its body: each costs a reader a jump.

    An entry of a table of functions, and what a framework calls by its name, is not counted: nothing to inline there.
    """
    trees = [ast.parse(path.read_text("utf-8")) for root in PACKAGES.values() for path in root.rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    used = Counter(name for node in nodes if (name := named(node)))
    called = Counter(named(node.func) for node in nodes if isinstance(node, ast.Call))
    defined = [name for tree in trees for name in private(tree)]
    alone = sorted(name for name in defined if used[name] == called[name] == 1)
    assert len(alone) <= 0.33 * len(defined), f"{len(alone)} of {len(defined)}: {', '.join(alone)}"
