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
#: What is counted: its files, and how many lines they may have together.
LINES = {
    "the theory, to be read in an evening": (THEORY, 1750),
    "the core: theory, layers and linear algebra": (CORE, 3500),
    "snf_lite": (LIBRARY.rglob("*.py"), 9100),
    "snf_book": (BOOK.rglob("*.py"), 4400),
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


def names(tree: ast.AST) -> Iterator[str]:
    """Each use of a name, bare or as an attribute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def private(tree: ast.AST) -> Iterator[str]:
    """The functions and methods whose name begins with one underscore."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("_") and not node.name.startswith("__"):
            yield node.name


def test_few_private_functions_have_one_caller() -> None:
    """A private function has two callers, or a name that says more than its body; a reader follows no others."""
    trees = [ast.parse(path.read_text("utf-8")) for root in PACKAGES.values() for path in root.rglob("*.py")]
    used = Counter(name for tree in trees for name in names(tree))
    defined = [name for tree in trees for name in private(tree)]
    alone = sorted(name for name in defined if used[name] == 1)
    assert len(alone) < 0.25 * len(defined), f"{len(alone)} of {len(defined)}: {', '.join(alone)}"
