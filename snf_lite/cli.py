"""The command line: ``python -m snf_lite COMMAND``, or ``snf-lite COMMAND``; ``--help`` lists the commands."""

import argparse
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from snf_lite import models
from snf_lite.benchmarks import own_data
from snf_lite.benchmarks.command import run_bench
from snf_lite.benchmarks.record import misplaced
from snf_lite.benchmarks.suites import SUITES
from snf_lite.data.datasets import DataError, dataset_names, image_set_names, load
from snf_lite.experiments import ablation, manifest, preprocessing
from snf_lite.experiments.archive import records_root
from snf_lite.experiments.arguments import (
    HelpFormatter,
    add_fields,
    add_old_name,
    add_output,
    add_settings,
    expand_paths,
    values_of,
)  # fmt: skip
from snf_lite.experiments.paper_tables import PRESETS, ROWS
from snf_lite.experiments.report import report
from snf_lite.experiments.reproduce import ReproduceConfig, default_minutes, plan_name, reproduce
from snf_lite.experiments.results import grouped, read_all
from snf_lite.experiments.run import RunConfig, draw, run
from snf_lite.runtime import checks, distributed
from snf_lite.runtime.devices import choose_device, tune_malloc
from snf_lite.runtime.records import write_record
from snf_lite.training import checkpoints
from snf_lite.training.evaluation import evaluate
from snf_lite.training.settings import TrainingConfig

#: Errors caused by input: shown as one line. Any other is a bug and shows its traceback.
EXPECTED = (ValueError, TypeError, DataError, FloatingPointError, OSError)

T = TypeVar("T")


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: success. 1: failure. 2, from argparse: wrong usage. 130: interrupted. 141, silently: the reader of the output
    left, as in ``results | head``.
    """
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="replace")  # replaces characters that the terminal cannot encode
    args = _parser().parse_args(arguments)
    tune_malloc()
    try:
        expand_paths(args)
        if distributed.launched() and args.run not in (train, reproduce_rows):
            raise ValueError(f"torchrun is for train and reproduce; {args.parser.prog.split()[-1]} takes one process.")
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest of the output goes there
        return 141
    except EXPECTED as error:
        print(f"snf_lite: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        overwrite = " without --overwrite" if getattr(args, "overwrite", False) else ""
        print(f"snf_lite: interrupted. {args.after_interrupt.format(overwrite)}", file=sys.stderr)
        return 130
    return 0


# ---- the commands ----------------------------------------------------------------------------------------------------


def list_names(args: argparse.Namespace) -> None:
    """Print the models and the data sets."""
    for name, model in models.MODELS.items():
        print(f"model  {name:<16}  {model.description}")
    for name in dataset_names():
        print(f"data   {name}")


def train(args: argparse.Namespace) -> None:
    """Train a model, or resume its training, and write its checkpoint, record and figure."""
    weight = {} if args.recon_weight is None else {"recon_weight": args.recon_weight}
    training = _usable(args, lambda: TrainingConfig(**values_of(args, TrainingConfig)))
    config = RunConfig(args.model, args.data, {**dict(args.set), **weight}, training)
    process = distributed.current(choose_device(args.device))
    train_set = process.local_main_first(lambda: load(config.data, "train"))
    flow = _usable(args, lambda: config.fresh_flow(train_set))
    result = run(config, flow, train_set, args.out / (args.name or config.name), process, args.overwrite)
    if process.is_main:
        print(result)


def evaluate_checkpoint(args: argparse.Namespace) -> None:
    """Print the exact likelihood of a checkpoint's flow."""
    flow, data = checkpoints.restore(args.checkpoint), args.data
    if data is None:
        state = checkpoints.read(args.checkpoint)["training"]
        data = state["history"]["settings"]["data"]["name"] if state else "no data set"
        if data not in dataset_names():
            raise ValueError(f"{args.checkpoint}: was trained on {data}, not on data with a name; give --data.")
    print(evaluate(flow, data, args.split, args.batch_size, args.seed, choose_device(args.device)))


def sample(args: argparse.Namespace) -> None:
    """Draw samples of a checkpoint's flow into a figure, and print the distance between its two inverses."""
    flow = checkpoints.restore(args.checkpoint).to(choose_device(args.device))
    distance = draw(flow, args.seed, args.out, args.count)
    print(f"{args.out}: learned inverse above exact inverse; relative distance {distance:.4f}")


def reproduce_rows(args: argparse.Namespace) -> None:
    """Run rows of the paper's tables within a time budget, and write their records."""
    rows = tuple(args.rows or ())
    minutes = default_minutes(args.data) if args.minutes is None else args.minutes
    asked = (rows, args.data, args.preset, minutes, args.epochs, args.seed, args.repeats, dict(args.set))
    config = _usable(args, lambda: ReproduceConfig(*asked))
    process = distributed.current(choose_device(args.device))
    show: Callable[[str], None] = (lambda line: print(line, flush=True)) if process.is_main else (lambda line: None)
    reproduce(config, args.out, args.name or plan_name(args.preset, args.data, rows), process, args.overwrite, show)


def ablate(args: argparse.Namespace) -> None:
    """Continue a trained run with other gradients, and write a record of each variant that has none."""
    ablation.ablate(args.out / args.run_name, args.variant, args.steps, args.lr, args.seed, args.device)


def measure_preprocessing(args: argparse.Namespace) -> None:
    """Measure what the preprocessing of images adds to their log-likelihood, and write a record."""
    record = preprocessing.measure(args.data, args.alpha, args.seed, choose_device(args.device))
    path = args.out / f"preprocessing-{args.data}" / preprocessing.FILE
    write_record(record, path)
    print(f"{path}: {record.results['test']['total']:.2f} nats per test image")


def show_results(args: argparse.Namespace) -> None:
    """Print the paper's tables beside the stored runs, or check that no record is missing or altered."""
    if not args.runs.is_dir():
        here = "a file" if args.runs.exists() else "nothing"
        raise ValueError(f"{args.runs}: expected a folder of runs, got {here}.")
    if args.update_index:
        print(f"{manifest.write_index(args.runs)}: rewritten from the files in {args.runs}")
    wrong = manifest.check(args.runs) + misplaced(args.runs) if args.check else []
    if wrong:
        raise ValueError(f"{args.runs}: {'; '.join(wrong)}. --update-index accepts intended changes.")
    print(f"{args.runs}: nothing missing, nothing altered" if args.check else report(grouped(read_all(args.runs))))


def _usable(args: argparse.Namespace, build: Callable[[], T]) -> T:
    """What ``build`` makes of the arguments; its ValueError or TypeError is wrong usage."""
    try:
        return build()
    except (ValueError, TypeError) as error:
        parser: argparse.ArgumentParser = args.parser
        parser.error(str(error))


# ---- the parser ------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m snf_lite", description="Self-normalizing flows.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add(commands, "list", list_names)
    _add_train(commands)
    _add_evaluate_and_sample(commands)
    _add_reproduce(commands)
    _add_bench(commands)
    _add_ablate_and_preprocessing(commands)
    _add_results(commands)
    own_data.add_options(_add(commands, "own-data", own_data.run_own_data))
    return parser


def _add(commands: Any, name: str, run: Any, after_interrupt: str = "Nothing was written.") -> argparse.ArgumentParser:
    texts = {"help": run.__doc__, "description": run.__doc__}
    parser: argparse.ArgumentParser = commands.add_parser(name, **texts, formatter_class=HelpFormatter)
    parser.set_defaults(run=run, parser=parser, after_interrupt=after_interrupt)
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 … (default: cuda if there is one)")
    return parser


_RESUMES = "Run the same command{} again to resume."


def _add_train(commands: Any) -> None:
    parser = _add(commands, "train", train, _RESUMES)
    add = parser.add_argument
    add("model", metavar="MODEL", choices=models.model_names(), help=", ".join(models.model_names()))
    add("--data", default="digits", choices=dataset_names(), metavar="NAME", help="data set, as `list` names it")
    add_fields(parser, TrainingConfig, skip=("seed",))  # abbreviated, also --warmup and --clip, as in old records
    add("--recon-weight", type=float, metavar="λ", help="weight of the reconstruction penalty (default: the model's)")
    add_settings(parser, "another setting of the model")
    overwrite = "start from scratch, replacing an existing run of this name"
    add_output(parser, "name of the run's folder (default: MODEL-DATA-seedN)", overwrite)


def _add_evaluate_and_sample(commands: Any) -> None:
    parser = _add(commands, "evaluate", evaluate_checkpoint)
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="file that `train` or `snf_lite.save` wrote")
    add("--data", choices=dataset_names(), metavar="NAME", help="data set (default: that of the training run)")
    add("--split", choices=("train", "validation", "test"), default="test", help="split of the data set")
    add("--batch-size", type=int, default=1000, help="examples per batch")

    parser = _add(commands, "sample", sample)
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT", type=Path, help="file that `train` or `snf_lite.save` wrote")
    add("--out", type=Path, default=Path("samples.png"), help="figure to write")
    add("--count", type=int, help="number of samples (default: 8 images or 1000 points)")


def _add_reproduce(commands: Any) -> None:
    parser = _add(commands, "reproduce", reproduce_rows, _RESUMES)
    add = parser.add_argument
    add("--rows", nargs="+", choices=list(ROWS), metavar="ROW", help=f"{', '.join(ROWS)} (default: those of the data)")
    add("--data", default="digits", choices=image_set_names(), metavar="NAME", help="data set to train on")
    preset = (
        "`paper`: the paper's hyperparameters; `fast`: the best found on two CPU cores, the same for both of a pair"
    )
    add("--preset", default="fast", choices=PRESETS, help=preset)
    add("--minutes", type=float, help="time budget of all runs together (default: 5 for the digits, else 60)")
    add("--epochs", type=int, help="epochs of every run, instead of a time budget")
    add("--repeats", type=int, default=1, help="runs of each row, with the seeds --seed, --seed + 1, …")
    add_settings(parser, "setting for all models that have it")
    name = "name of the plan's folder (default: reproduce-PRESET-DATA and the rows)"
    add_output(parser, name, "start from scratch, replacing the plan and its runs")


def _add_bench(commands: Any) -> None:
    parser = _add(commands, "bench", run_bench)
    add = parser.add_argument
    add("--suite", nargs="+", choices=SUITES, default=list(SUITES), metavar="NAME", help=f"{', '.join(SUITES)}")
    add("--features", nargs="+", type=_size, metavar="D", help="features of dense layers (default: each suite's own)")
    add("--shapes", nargs="+", type=_shape, metavar="CxHxW", help="shapes of images (default: each suite's own)")
    add("--batch", nargs="+", type=_size, metavar="B", help="examples per step (default: each suite's own)")
    add("--seconds", type=_duration, default=60.0, help="approximate time per suite (at least 3 rounds)")
    add("--threads", type=_size, help="CPU threads (default: torch's)")
    add("--compile", action="store_true", help="also time whole models through torch.compile, which takes minutes")
    add_output(parser, "name of the record's folder (default: bench-SUITE…)", "replace an existing record of this name")


def _add_ablate_and_preprocessing(commands: Any) -> None:
    parser = _add(commands, "ablate", ablate, "Run the same command again for the variants that are missing.")
    add = parser.add_argument
    add("run_name", metavar="RUN", help="folder of a run with its checkpoint, in --out")
    add("--variant", choices=ablation.VARIANTS, help="variant to train again (default: all that have no record)")
    add("--steps", type=int, default=1000, help=f"steps of {ablation.BATCH} examples each")
    add("--lr", type=float, default=1e-3, help="highest learning rate")
    add("--out", type=Path, default=Path("runs"), help="folder of the runs")

    parser = _add(commands, "preprocessing", measure_preprocessing)
    add = parser.add_argument
    add("--data", default="digits", choices=image_set_names(), metavar="NAME", help="set of images")
    add("--alpha", type=float, default=1e-6, help="α of the logit")
    add("--out", type=Path, default=Path("runs"), help="folder of the runs")


def _add_results(commands: Any) -> None:
    parser = _add(commands, "results", show_results)
    add = parser.add_argument
    add("--runs", type=Path, default=records_root(), metavar="FOLDER", help="folder of the stored runs")
    add("--check", action="store_true", help="verify every record instead; exit code 1 if one is missing or altered")
    add("--update-index", action="store_true", help="rewrite the index from the files present")
    add_old_name(parser, "--seal", "update_index", action="store_true")


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def _duration(text: str) -> float:
    try:
        return checks.number_between(float(text), 0, float("inf"), "the value", "bench")
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}") from None


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split("x")
    if len(sizes) != 3:
        raise argparse.ArgumentTypeError(f"expected CxHxW such as 12x16x16, got {text!r}")
    return tuple(map(_size, sizes))
