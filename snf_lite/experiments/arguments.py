"""Command-line arguments that are derived from the fields of a dataclass, and those that several commands share."""

import argparse
import ast
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from snf_lite.runtime.files import expanded

#: Characters of a value of ``--set``, such as a list of sizes.
LONGEST_VALUE = 1000


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Appends the default to an option's help unless the help names it or there is none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        named = action.help is not None and "(default" in action.help
        has_default = action.default is not None and action.default is not False and action.default != []
        return super()._get_help_string(action) if has_default and not named else action.help


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


def add_settings(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--set KEY=VALUE``, which may be given several times."""
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="KEY=VALUE", help=text)


def setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE; the value is a Python literal, true or false as in a shell, else the text itself."""
    key, equals, value = text.partition("=")
    if not (key.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    if len(value) > LONGEST_VALUE:
        raise argparse.ArgumentTypeError(f"expected a value of at most {LONGEST_VALUE} characters, got {len(value)}")
    try:
        return key, ast.literal_eval(value.capitalize() if value in ("true", "false") else value)
    except (ValueError, SyntaxError):
        return key, value
    except (RecursionError, MemoryError):  # so Python's parser says that it is nested too deeply
        raise argparse.ArgumentTypeError(f"expected a value, got one that is nested too deeply: {text[:40]}…") from None


def expand_paths(args: argparse.Namespace) -> None:
    """Replace ``~`` in the paths among the arguments, which a shell leaves alone in ``--out=~/runs``."""
    for name, value in vars(args).items():
        if isinstance(value, Path):
            setattr(args, name, expanded(value))


def add_output(parser: argparse.ArgumentParser, name: str, overwrite: str) -> None:
    """Add ``--out``, ``--name`` and ``--overwrite``."""
    parser.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--name", help=name)
    parser.add_argument("--overwrite", action="store_true", help=overwrite)
    add_old_name(parser, "--restart", "overwrite", action="store_true")


def add_old_name(parser: argparse.ArgumentParser, flag: str, dest: str, **options: Any) -> None:
    """Accept the former name of an option, which the commands in old records use; the help does not show it."""
    parser.add_argument(flag, dest=dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **options)
