"""Typical wrong answers to the book's exercises, and the words each of them gets.

One file a chapter, with ``WRONG``: checker → words → the arguments of its call. The words are a piece of the verdict.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

WRONG: dict[str, dict[str, tuple[Any, ...]]] = {}
for path in sorted(Path(__file__).parent.glob("*/[a-z]*.py")):
    WRONG |= import_module(f"{__name__}.{path.parent.name}.{path.stem}").WRONG
