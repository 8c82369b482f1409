"""The book's numbered equations, each with the function that computes it and the tests that check it.

``equations.yml`` gives the function; a test is marked ``@pytest.mark.equation("eq-…")`` and fails unless it enters that
function (``tests/conftest.py``). An equation that only defines a term has ``definition`` in place of a function.
This file reads all three; ``reference/formula_sheet.py`` writes the page ``equations.md`` from them.
"""

import ast
import functools
import importlib
import inspect
from collections.abc import Iterator
from types import CodeType
from typing import Any

import yaml
from paths import ROOT

import snf_lite

DEFINITION = "definition"


@functools.cache
def registry() -> dict[str, dict[str, str]]:
    """Label → ``says``, what the equation states, and ``function``, its dotted name, or ``definition``."""
    return yaml.safe_load((ROOT / "book" / "_data" / "equations.yml").read_text("utf-8"))


def resolved(name: str) -> Any:
    """The object with a dotted name. Raises ModuleNotFoundError or AttributeError if there is none."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            if split == 1:
                raise
            continue
        return functools.reduce(getattr, parts[split:], found)
    raise ModuleNotFoundError(f"No module begins {name!r}.")


def code_of(label: str) -> CodeType:
    """The code that a test of this equation has to enter."""
    return inspect.unwrap(resolved(registry()[label]["function"])).__code__


@functools.cache
def proofs() -> dict[str, list[str]]:
    """Label → the tests marked with it, as file and function."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").glob("*/test_*.py")):
        for label, name in _marked(ast.parse(path.read_text("utf-8"))):
            found.setdefault(label, []).append(f"{path.parent.name}/{path.name}::{name}")
    return found


def _marked(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in module.body:
        for decorator in node.decorator_list if isinstance(node, ast.FunctionDef) else []:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.equation":
                yield from ((ast.literal_eval(argument), node.name) for argument in decorator.args)


def linked(name: str) -> str:
    """A function's name as a link to what the page of the package describes: the function, or its class."""
    owner, function = resolved(name.rpartition(".")[0]), resolved(name)
    target = name
    if inspect.isclass(owner):
        parent = f"snf_lite.{owner.__name__}" if hasattr(snf_lite, owner.__name__) else name.rpartition(".")[0]
        target = parent + (f".{function.__name__}" if function.__doc__ else "")
    return f"{{py:obj}}`{name.removeprefix('snf_lite.')} <{target}>`"
