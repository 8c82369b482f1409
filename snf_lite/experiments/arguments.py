"""Command-line options that are derived from the fields of a dataclass, and the words that give them again."""

import argparse
import ast
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from snf_lite.runtime.files import expanded

#: Characters of a value of ``--set``, such as a list of sizes.
LONGEST_VALUE = 1000


def add_fields(parser: argparse.ArgumentParser, config: type, skip: Iterable[str] = ()) -> None:
    """Add an option for each field of a dataclass: ``--batch-size`` for ``batch_size``.

    The option has the field's type and default, and the ``help`` and ``choices`` of its metadata. It checks nothing
    else: the dataclass refuses other values itself.
    """
    hints = get_type_hints(config)
    for field in fields(config):
        flag, text, hint = _flag(field.name), field.metadata["help"], hints[field.name]
        if field.name in skip:
            continue
        if hint is bool:
            parser.add_argument(flag, action="store_true", help=text)
        else:
            kind = get_args(hint)[0] if get_args(hint) else hint  # float of float | None
            metavar = None if field.metadata["choices"] else kind.__name__.upper()
            parser.add_argument(
                flag, type=kind, default=field.default, choices=field.metadata["choices"], metavar=metavar, help=text
            )


def _flag(name: str) -> str:
    """The option of a field, for the parser and for the commands that records keep."""
    return f"--{name.replace('_', '-')}"


def values_of(args: argparse.Namespace, config: type) -> dict[str, Any]:
    """The arguments that are fields of the dataclass, by name."""
    return {field.name: getattr(args, field.name) for field in fields(config)}


def words_of(config: Any) -> tuple[list[str], list[str]]:
    """The options that set the fields of a dataclass object: those with a value, and the flags that are set."""
    given = {_flag(field.name): getattr(config, field.name) for field in fields(config)}
    valued = [f"{flag} {value}" for flag, value in given.items() if not (value is None or isinstance(value, bool))]
    return valued, [flag for flag, value in given.items() if value is True]


def setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE; the value is a Python literal, true or false as in a shell, else the text itself."""
    key, equals, value = text.partition("=")
    if not (key.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    if len(value) > LONGEST_VALUE:
        raise argparse.ArgumentTypeError(f"expected a value of at most {LONGEST_VALUE} characters, got {len(value)}")
    try:
        return key, ast.literal_eval(value.capitalize() if value in ("true", "false") else value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two from thousands of signs or brackets
        return key, value


def expand_paths(args: argparse.Namespace) -> None:
    """Replace ``~`` in the paths among the arguments, which a shell leaves alone in ``--out=~/runs``."""
    for name, value in vars(args).items():
        if isinstance(value, Path):
            setattr(args, name, expanded(value))
