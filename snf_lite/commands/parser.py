"""The parser of the command line: short messages that suggest the nearest name, and the options that commands share."""

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from snf_lite.data.datasets import dataset_names
from snf_lite.experiments.arguments import setting
from snf_lite.models import known_settings, model_names
from snf_lite.runtime import checks
from snf_lite.runtime.files import expanded

#: Width of help and tables.
WIDTH = 80
#: Characters of the longest message.
_LONGEST = 800


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Appends the default to an option's help unless the help names it or there is none; 80 columns."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=WIDTH)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        named = action.help is not None and "(default" in action.help
        if named or action.default in (None, argparse.SUPPRESS) or action.default is False or action.default == []:
            return action.help
        if isinstance(action.default, list):
            return f"{action.help} (default: {' '.join(map(str, action.default))})"
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """A parser whose messages are one line and name the nearest known word; they end with status 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, **options)

    def error(self, message: str) -> NoReturn:
        """Print the message and where help is to be had, without the usage of all options."""
        command = self.prog.removeprefix(program()).strip()
        line = " ".join(message.removeprefix("argument ").split())
        if len(line) > _LONGEST:  # a value of thousands of characters
            line = f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"
        end = "" if line.endswith("?") else "."
        name = " ".join(["snf_lite", *command.split()])
        print(f"{name}: {line.rstrip('.')}{end}", file=sys.stderr)
        print(f"Help: {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, unknown(value, map(str, action.choices)))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; an unknown option is compared with those of the command that was given."""
        words = sys.argv[1:] if args is None else args
        if empty := [word for word in words if word.startswith("--") and word.endswith("=--")]:
            self.error(f"{empty[0][:-3]}: expected a value, got '--'")  # argparse takes it for no value
        parsed, left = self.parse_known_args(args, namespace)
        if left:
            parser: argparse.ArgumentParser = getattr(parsed, "parser", self)
            known = [
                flag for action in parser._actions if action.help != argparse.SUPPRESS for flag in action.option_strings
            ]
            parser.error(f"unknown argument {left[0]!r}{checks.nearest(left[0].partition('=')[0], known)}")
        return parsed


def program() -> str:
    """How the command line was called: the name of the console script, else the module."""
    return "snf-lite" if Path(sys.argv[0]).stem == "snf-lite" else "python -m snf_lite"


def unknown(word: Any, known: Iterable[str], what: str = "one") -> str:
    """The message about a word that is not known, with the known ones and the nearest of them."""
    names = list(known)
    return f"expected {what} of {', '.join(names)}; got {str(word)!r}{checks.nearest(str(word), names)}"


def require_model(name: str) -> str:
    """Refuse an unknown model, after ``--import``, which may have defined one."""
    if name not in model_names():
        raise ValueError(unknown(name, model_names(), "a model out"))
    return name


def require_data(name: str) -> str:
    """Refuse what is neither a data set's name nor, by its looks, a path."""
    if name not in dataset_names() and not expanded(name).exists() and not re.search(r"[./\\~]", name):
        raise ValueError(f"--data: {unknown(name, dataset_names(), 'a path, or a name out')}")
    return name


def require_settings(model: str, settings: Iterable[str]) -> None:
    """Refuse a setting that the model does not have."""
    for key in settings:
        known = known_settings(model)
        if key not in known:
            raise ValueError(f"{model} has no setting {key!r}; it has {', '.join(known)}{checks.nearest(key, known)}")


# ---- options that commands share -------------------------------------------------------------------------------------


def add_command(
    commands: Any, name: str, run: Any, after_interrupt: str = "Nothing was written.", wanted: str = ""
) -> Parser:
    """Add a command that calls ``run`` with its arguments; the docstring of ``run`` is its help.

    ``wanted`` are the arguments without which it does not run, for the first line of the help.
    """
    description = run.__doc__ or ""  # none under python -OO
    first, _, _ = description.partition("\n\n")
    text = " ".join(first.split())
    usage = " ".join([*program().split(), name, *wanted.split(), "[options]"])
    parser: Parser = commands.add_parser(name, help=text.rstrip("."), description=description, usage=usage)
    parser.set_defaults(run=run, parser=parser, after_interrupt=after_interrupt)
    return parser


def add_seed_and_device(parser: argparse.ArgumentParser, seed: str = "random seed") -> None:
    """Add ``--seed`` and ``--device``."""
    parser.add_argument("--seed", type=int, default=0, metavar="N", help=seed)
    parser.add_argument("--device", help="cpu, cuda, cuda:1 … (default: cuda if there is one)")


def add_ignored(parser: argparse.ArgumentParser, *flags: str) -> None:
    """Accept options that the command does not use, which stored commands may have; the help does not show them."""
    for flag in flags:
        parser.add_argument(flag, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_settings(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--set KEY=VALUE``, which may be given several times."""
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="KEY=VALUE", help=text)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add ``--out``, the folder of the runs."""
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="FOLDER", help="folder of the runs")


def add_output(parser: argparse.ArgumentParser, name: str, overwrite: str) -> None:
    """Add ``--out``, ``--name`` and ``--overwrite``."""
    add_runs(parser)
    parser.add_argument("--name", help=name)
    parser.add_argument("--overwrite", action="store_true", help=overwrite)
    add_old_name(parser, "--restart", "overwrite", action="store_true")


def add_old_name(parser: argparse.ArgumentParser, flag: str, dest: str, **options: Any) -> None:
    """Accept the former name of an option, which the commands in old records use; the help does not show it."""
    parser.add_argument(flag, dest=dest, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **options)


def add_progress(parser: argparse.ArgumentParser) -> None:
    """Add ``--progress`` and ``--quiet``; the argument ``progress`` is that of ``fit``."""
    group = parser.add_mutually_exclusive_group()
    shown = "show the progress, also where the output is no terminal"
    group.add_argument("--progress", action="store_true", default=None, help=shown)
    group.add_argument("--quiet", action="store_false", dest="progress", help="show no progress, only the result")
    parser.set_defaults(progress=None)


def add_imports(parser: argparse.ArgumentParser) -> None:
    """Add ``--import MODULE``, which may be given several times."""
    text = "module, or .py file, that defines own layers or models; may be repeated"
    parser.add_argument("--import", dest="imports", action="append", default=[], metavar="MODULE", help=text)


# ---- types of values -------------------------------------------------------------------------------------------------


def size(text: str) -> int:
    """A positive integer."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def duration(text: str) -> float:
    """A positive number."""
    try:
        return checks.number_between(float(text), 0, float("inf"), "the value", "bench")
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}") from None


def shape(text: str) -> tuple[int, ...]:
    """CxHxW as three positive integers."""
    sizes = text.split("x")
    if len(sizes) != 3:
        raise argparse.ArgumentTypeError(f"expected CxHxW such as 12x16x16, got {text!r}")
    return tuple(map(size, sizes))
