"""The command line: ``python -m snf_lite COMMAND``, or ``snf-lite COMMAND``; ``--help`` lists the commands."""

import argparse
import io
import os
import platform
import sys
import warnings
from typing import Any, NoReturn

import torch

from snf_lite import __version__
from snf_lite.commands import flows, results, studies, train
from snf_lite.commands.parser import Parser, program
from snf_lite.data.image_files import DataError
from snf_lite.experiments.arguments import expand_paths
from snf_lite.runtime import distributed
from snf_lite.runtime.checks import NotInvertibleError
from snf_lite.runtime.devices import tune_malloc
from snf_lite.runtime.records import RecordError
from snf_lite.training.checkpoints import CheckpointError

#: The work failed: what the command names is missing, damaged or in the way, or the training diverged.
FAILURES = (DataError, CheckpointError, RecordError, NotInvertibleError, FloatingPointError, MemoryError, OSError)
#: A value on the command line is wrong, wherever that was noticed. Any other error is a bug and shows its traceback.
WRONG_USAGE = (ValueError, TypeError, OverflowError)
#: Words of the RuntimeErrors by which torch reports that memory is used up.
_NO_MEMORY = ("not enough memory", "out of memory", "allocate memory", "Storage size calculation overflowed")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    0: success. 1: the work failed. 2, as SystemExit: wrong usage. 130: interrupted. 141, silently: the reader of the
    output left, as in ``results | head``.
    """
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")  # replaces characters that the terminal cannot encode
    args = _parser().parse_args(arguments)
    tune_malloc()
    try:
        expand_paths(args)
        if distributed.launched() and args.run not in (train.train, studies.reproduce_rows):
            raise ValueError(f"torchrun is for train and reproduce; {args.parser.prog.split()[-1]} takes one process.")
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest of the output goes there
        return 141
    except FAILURES as error:
        print(f"snf_lite: {_words(error)}", file=sys.stderr)
        return 1
    except WRONG_USAGE as error:
        args.parser.error(str(error))
    except RuntimeError as error:
        if "without overflow" in str(error):  # torch, of a number beyond 64 bits
            args.parser.error(str(error))
        if not any(words in str(error) for words in _NO_MEMORY):
            raise
        print(f"snf_lite: the memory is not enough for what was asked: {_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        overwrite = " without --overwrite" if getattr(args, "overwrite", False) else ""
        print(f"snf_lite: interrupted. {args.after_interrupt.format(overwrite)}", file=sys.stderr)
        return 130
    return 0


def _words(error: BaseException) -> str:
    """The message in one line; of the system's errors, the file and the reason without a number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Show a warning as one line, without the place in the code from which it comes."""
    print(f"snf_lite: {' '.join(str(message).split())}", file=sys.stderr)


class _Version(argparse.Action):
    """Prints the versions on which a result depends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        print(f"snf_lite {__version__}, torch {torch.__version__}, Python {platform.python_version()}")
        parser.exit()


def _parser() -> Parser:
    description = "Self-normalizing flows. `train` and `evaluate` take your own data by --data PATH."
    parser = Parser(prog=program(), description=description)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the versions of snf_lite, torch and Python")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    results.add_list(commands)
    train.add(commands)
    flows.add(commands)
    results.add_results(commands)
    studies.add_reproduce(commands)
    studies.add_bench(commands)
    studies.add_ablate(commands)
    studies.add_preprocessing(commands)
    studies.add_own_data(commands)
    return parser
