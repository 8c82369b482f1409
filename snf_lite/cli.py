"""The command line: ``python -m snf_lite list | train | evaluate | sample | reproduce | bench | results``."""

import argparse
import ast
import io
import math
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from snf_lite import models
from snf_lite.benchmarks.command import run_bench
from snf_lite.benchmarks.suites import SUITES
from snf_lite.data.datasets import DataError, dataset_names, image_set_names
from snf_lite.experiments import manifest
from snf_lite.experiments.archive import records_root
from snf_lite.experiments.paper_tables import PRESETS, ROWS
from snf_lite.experiments.report import report
from snf_lite.experiments.reproduce import ReproduceConfig, default_minutes, plan_name, reproduce
from snf_lite.experiments.results import grouped, read_all
from snf_lite.experiments.run import RunConfig, draw, run
from snf_lite.runtime import checks, distributed
from snf_lite.runtime.devices import choose_device, tune_malloc
from snf_lite.training import checkpoints
from snf_lite.training.evaluation import evaluate
from snf_lite.training.step import PRECISIONS

#: What a user can cause; anything else is a mistake of ours and shows its traceback.
EXPECTED = (ValueError, TypeError, DataError, FloatingPointError, OSError)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0, or 1 after a failure (2, from argparse, after a wrong command line), 130 when interrupted.

    141, without a word, when nobody reads on, as in ``results | head``: a shell says the same of its own programs.
    """
    for stream_out in (sys.stdout, sys.stderr):
        if isinstance(stream_out, io.TextIOWrapper):
            stream_out.reconfigure(errors="replace")  # a terminal without λ shows a question mark, and goes on
    args = _parser().parse_args(arguments)
    tune_malloc()
    try:
        _meet_the_others(args)
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to print at the end goes there
        return 141
    except EXPECTED as error:
        print(f"snf_lite: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"snf_lite: interrupted. {_advice(args)}", file=sys.stderr)
        return 130
    return 0


def _advice(args: argparse.Namespace) -> str:
    """What to do after an interruption."""
    advice: str = args.after_interrupt
    again = getattr(args, "restart", False)
    return advice.replace("The same command", "The same command without --restart") if again else advice


# ---- the commands ----------------------------------------------------------------------------------------------------


def list_names(args: argparse.Namespace) -> None:
    """Print the models and the data sets."""
    for name, model in models.MODELS.items():
        print(f"model  {name:<16}  {model.description}")
    for name in dataset_names():
        print(f"data   {name}")


def train(args: argparse.Namespace) -> None:
    """Train a model, or take its training up again, and write its checkpoint, record and picture."""
    recipe = _recipe(args)
    try:
        flow = recipe.fresh_flow()
    except (ValueError, TypeError) as error:
        args.parser.error(str(error))
    _say(run(recipe, flow, args.out / (args.name or recipe.name), args.device, args.restart))


def evaluate_checkpoint(args: argparse.Namespace) -> None:
    """Print the exact likelihood of a checkpoint's flow."""
    data = args.data or _data_of(args.checkpoint)
    flow = checkpoints.restore(args.checkpoint)
    print(evaluate(flow, data, args.split, args.batch_size, args.seed, choose_device(args.device)))


def sample(args: argparse.Namespace) -> None:
    """Draw samples of a checkpoint's flow into a picture, and print how far the two inverses are apart."""
    flow = checkpoints.restore(args.checkpoint).to(choose_device(args.device))
    distance = draw(flow, args.seed, args.out, args.count)
    print(f"{args.out}: learned inverse above exact inverse; relative distance {distance:.4f}")


def reproduce_rows(args: argparse.Namespace) -> None:
    """Run the rows of the paper's tables again, as far as the minutes go, and write their records."""
    minutes = args.minutes or default_minutes(args.data)
    rows = tuple(args.rows or ())
    wish = ReproduceConfig(rows, args.data, args.preset, minutes, args.epochs, args.seed, args.repeats, dict(args.set))
    name = args.name or plan_name(args.preset, args.data, rows)
    reproduce(wish, args.out, name, args.device, args.restart, _say)


def show_results(args: argparse.Namespace) -> None:
    """Print the paper's tables beside the runs of record, or check that no record is missing or altered."""
    if not args.runs.is_dir():
        here = "a file" if args.runs.exists() else "nothing"
        raise ValueError(f"{args.runs}: expected a folder of runs, got {here}.")
    if args.seal:
        print(f"{manifest.write_index(args.runs)}: holds what {args.runs} holds now")
    wrong = manifest.check(args.runs) if args.check else []
    if wrong:
        raise ValueError(f"{args.runs}: {'; '.join(wrong)}. What was done on purpose is accepted by --seal.")
    print(f"{args.runs}: nothing missing, nothing altered" if args.check else report(grouped(read_all(args.runs))))


# ---- what they share -------------------------------------------------------------------------------------------------


def _meet_the_others(args: argparse.Namespace) -> None:
    """Where torchrun has started several processes: let those of ``train`` and ``reproduce`` work as one."""
    if not distributed.launched():
        return
    if args.run not in (train, reproduce_rows):
        raise ValueError(f"torchrun is for train and reproduce; {args.parser.prog.split()[-1]} takes one process.")
    distributed.init(choose_device(args.device))


def _say(line: object) -> None:
    if distributed.is_main_process():
        print(line, flush=True)


def _recipe(args: argparse.Namespace) -> RunConfig:
    weight = {} if args.recon_weight is None else {"recon_weight": args.recon_weight}
    given = {choice.name: getattr(args, choice.name) for choice in fields(RunConfig) if choice.name != "settings"}
    return RunConfig(settings={**dict(args.set), **weight}, **given)


def _data_of(checkpoint: Path) -> str:
    """The name of the data set that a training checkpoint was trained on."""
    state = checkpoints.read(checkpoint)["training"]
    name = state["history"]["settings"]["data"]["name"] if state else "no data set"
    if name not in dataset_names():
        raise ValueError(f"{checkpoint}: was trained on {name}, not on data with a name; give --data.")
    return str(name)


# ---- the parser ------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m snf_lite", description="Self-normalizing flows.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "list", list_names)
    _add_train(commands)
    _add_evaluate(commands)
    _add_sample(commands)
    _add_reproduce(commands)
    _add_bench(commands)
    _add_results(commands)
    return parser


def _add(commands: Any, name: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=run.__doc__, description=run.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    goes_on = "The same command goes on from the last checkpoint."
    parser.set_defaults(run=run, parser=parser, after_interrupt=goes_on)
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 …; unset: cuda if there is one")
    return parser


def _add_train(commands: Any) -> None:
    parser = _add(commands, "train", train)
    add = parser.add_argument
    add("model", metavar="MODEL", choices=models.model_names(), help=", ".join(models.model_names()))
    add("--data", default="digits", choices=dataset_names(), metavar="NAME", help="a data set that `list` names")
    add("--epochs", type=_positive_integer, default=100, help="in all; more than before go on with a run")
    add("--batch-size", type=_positive_integer, default=100, help="events in a step")
    add("--lr", type=_positive_number, default=1e-3, help="Adam's learning rate")
    add("--warmup", type=_non_negative, default=1.0, metavar="EPOCHS", help="epochs over which the learning rate rises")
    add("--decay", choices=("constant", "cosine"), default="constant", help="of the learning rate after that")
    add("--clip", type=_positive_number, metavar="NORM", help="scale larger gradients down to this norm")
    add("--compile", action="store_true", help="compile the loss: faster steps after a slow beginning")
    add("--cuda-graph", action="store_true", help="replay each step as one CUDA graph")
    add("--precision", choices=PRECISIONS, default="float32", help="of products and convolutions in training")
    add("--whiten", action="store_true", help="start from dense layers that whiten the training data")
    add("--augment", action="store_true", help="mirror and move training images by chance")
    add("--recon-weight", type=_non_negative, metavar="λ", help="of the reconstruction term; unset: the model's own")
    add("--set", type=_setting, action="append", default=[], metavar="KEY=VALUE", help="another setting of the model")
    add("--out", type=Path, default=Path("data/runs"), help="folder of the runs")
    add("--name", help="of the run's folder; unset: MODEL-DATA-seedN")
    add("--restart", action="store_true", help="throw away the run that has this name")


def _add_evaluate(commands: Any) -> None:
    parser = _add(commands, "evaluate", evaluate_checkpoint)
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="a file that `train` or `snf_lite.save` wrote")
    add("--data", choices=dataset_names(), metavar="NAME", help="unset: the data set of the training run")
    add("--split", choices=("train", "validation", "test"), default="test", help="which part of it")
    add("--batch-size", type=_positive_integer, default=1000, help="events at a time")


def _add_sample(commands: Any) -> None:
    parser = _add(commands, "sample", sample)
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="a file that `train` or `snf_lite.save` wrote")
    add("--out", type=Path, default=Path("samples.png"), help="the picture to write")
    add("--count", type=_positive_integer, help="how many; unset: 8 images or 1000 points")


def _add_reproduce(commands: Any) -> None:
    parser = _add(commands, "reproduce", reproduce_rows)
    add = parser.add_argument
    add("--rows", nargs="+", choices=list(ROWS), metavar="ROW", help=f"out of {', '.join(ROWS)}; unset: the data's own")
    add("--data", default="digits", choices=image_set_names(), metavar="NAME", help="what to train on")
    add("--preset", default="fast", choices=PRESETS, help="the paper's settings, or the best ones found, twins alike")
    add("--minutes", type=_positive_number, help="for all runs together; unset: 5 for the digits, 60 for other data")
    add("--epochs", type=_positive_integer, help="for every run, whatever time they take")
    add("--repeats", type=_positive_integer, default=1, help="runs of each row, with the seeds --seed and on")
    add("--set", type=_setting, action="append", default=[], metavar="KEY=VALUE", help="for all models that know it")
    add("--out", type=Path, default=Path("data/runs"), help="folder of the runs")
    add("--name", help="of the plan's folder; unset: reproduce-PRESET-DATA and the rows")
    add("--restart", action="store_true", help="plan anew, and throw away the runs of the plan")


def _add_bench(commands: Any) -> None:
    parser = _add(commands, "bench", run_bench)
    parser.set_defaults(after_interrupt="Nothing was written.")
    add = parser.add_argument
    add("--suite", nargs="+", choices=SUITES, default=list(SUITES), metavar="NAME", help=f"out of {', '.join(SUITES)}")
    add("--features", nargs="+", type=_positive_integer, metavar="D", help="of dense layers; unset: each suite's own")
    add("--shapes", nargs="+", type=_shape, metavar="CxHxW", help="of images; unset: each suite's own")
    add("--batch", nargs="+", type=_positive_integer, metavar="B", help="events in a step; unset: each suite's own")
    add("--seconds", type=_positive_number, default=60.0, help="for each suite, about; at least 3 rounds are run")
    add("--threads", type=_positive_integer, help="of the CPU; unset: as many as torch takes")
    add("--compile", action="store_true", help="whole models through torch.compile too; takes minutes")
    add("--out", type=Path, default=Path("data/runs"), help="folder of the runs")
    add("--name", help="of the folder in it; unset: bench-SUITE…")
    add("--restart", action="store_true", help="throw away the record that has this name")


def _add_results(commands: Any) -> None:
    parser = _add(commands, "results", show_results)
    add = parser.add_argument
    add("--runs", type=Path, default=records_root(), metavar="FOLDER", help="where the runs of record are")
    add("--check", action="store_true", help="print no tables: read every record again; 1 if one is missing or altered")
    add("--seal", action="store_true", help="take the records as they are now for right")


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split("x")
    if len(sizes) != 3:
        raise argparse.ArgumentTypeError(f"expected CxHxW such as 12x16x16, got {text!r}")
    return tuple(_positive_integer(size) for size in sizes)


def _positive_integer(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def _positive_number(text: str) -> float:
    try:
        return checks.number_between(float(text), 0, math.inf, "the value", "argument")
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}") from None


def _non_negative(text: str) -> float:
    try:
        return checks.non_negative(float(text), "the value", "argument")
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a finite number of at least 0, got {text!r}") from None


def _setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE, the value a Python literal, true or false as a shell has them, else the text itself."""
    key, equals, value = text.partition("=")
    if not (key.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, got {text!r}")
    try:
        return key, ast.literal_eval(value.capitalize() if value in ("true", "false") else value)
    except (ValueError, SyntaxError):
        return key, value
