"""``reproduce``, ``ablate``, ``preprocessing``, ``bench`` and ``own-data``: studies that leave records."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from snf_lite.benchmarks import own_data
from snf_lite.benchmarks.command import run_bench
from snf_lite.benchmarks.suites import SUITES
from snf_lite.commands import parser as options
from snf_lite.commands.stored import CHECKPOINT
from snf_lite.commands.train import RESUMES
from snf_lite.data.datasets import density_names, image_set_names
from snf_lite.experiments import ablation, preprocessing
from snf_lite.experiments.paper_tables import BEYOND, PRESETS, ROWS, row_of, with_twins
from snf_lite.experiments.reproduce import ReproduceConfig, default_minutes, plan_name, reproduce
from snf_lite.runtime import distributed
from snf_lite.runtime.devices import choose_device
from snf_lite.runtime.records import write_record

#: Name for ``--rows`` that stands for the rows beyond the paper and those that they are held against.
ALL_BEYOND = "beyond"


def add_reproduce(commands: Any) -> None:
    """Add the command ``reproduce``."""
    parser = options.add_command(commands, "reproduce", reproduce_rows, RESUMES)
    add = parser.add_argument
    rows = (
        f"{', '.join(ROWS)} (default: those of the data, all of the paper); beyond the paper: {', '.join(BEYOND)}; "
        f"{ALL_BEYOND}: those of the data, each with its exact twin and the paper's model"
    )
    add("--rows", nargs="+", choices=[*ROWS, *BEYOND, ALL_BEYOND], metavar="ROW", help=rows)
    _add_images(parser, "data set to train on")
    preset = (
        "`paper`: the paper's hyperparameters; `fast`: a schedule for two CPU cores; `best`: the best of the recorded "
        "searches; each is the same for both of a pair"
    )
    add("--preset", default="fast", choices=PRESETS, metavar="NAME", help=preset)
    minutes = "time budget of all runs together (default: 5 for the digits, else 60)"
    add("--minutes", type=float, metavar="N", help=minutes)
    add("--epochs", type=int, metavar="N", help="epochs of every run, instead of a time budget")
    add("--repeats", type=int, default=1, metavar="N", help="runs of each row, with the seeds --seed, --seed + 1, …")
    options.add_settings(parser, "setting of all models that have it; may be repeated")
    options.add_seed_and_device(parser, "seed of the first run of each row")
    options.add_progress(parser)
    name = "name of the plan's folder (default: reproduce-PRESET-DATA and the rows)"
    options.add_output(parser, name, "start from scratch, replacing the plan and its runs")


def reproduce_rows(args: argparse.Namespace) -> None:
    """Run rows of the paper's tables, or beyond them, within a time budget, and write their records."""
    asked = tuple(args.rows or ())
    own = [name for name, row in BEYOND.items() if row_of(row.model, args.data) == row]
    groups = {ALL_BEYOND: [row for name in own for row in with_twins(name)]}
    rows = tuple(dict.fromkeys(row for name in asked for row in groups.get(name, [name])))
    minutes = default_minutes(args.data) if args.minutes is None else args.minutes
    config = ReproduceConfig(
        rows, args.data, args.preset, minutes, args.epochs, args.seed, args.repeats, dict(args.set)
    )
    process = distributed.current(choose_device(args.device))
    show: Callable[[str], None] = (lambda line: print(line, flush=True)) if process.is_main else (lambda line: None)
    name = args.name or plan_name(args.preset, args.data, asked)
    reproduce(config, args.out, name, process, args.overwrite, show, args.progress)


def add_bench(commands: Any) -> None:
    """Add the command ``bench``."""
    parser = options.add_command(commands, "bench", run_bench)
    add = parser.add_argument
    add(
        "--suite",
        nargs="+",
        choices=SUITES,
        default=list(SUITES),
        metavar="NAME",
        help=f"{', '.join(SUITES)} (default: all)",
    )
    add(
        "--features",
        nargs="+",
        type=options.size,
        metavar="D",
        help="features of dense layers (default: each suite's own)",
    )
    add("--shapes", nargs="+", type=options.shape, metavar="CxHxW", help="shapes of images (default: each suite's own)")
    add("--batch", nargs="+", type=options.size, metavar="B", help="examples per step (default: each suite's own)")
    add(
        "--seconds",
        type=options.duration,
        default=60.0,
        metavar="S",
        help="approximate seconds per suite, at least 3 rounds",
    )
    add("--threads", type=options.size, metavar="N", help="CPU threads (default: torch's)")
    add("--compile", action="store_true", help="also time whole models through torch.compile, which takes minutes")
    options.add_seed_and_device(parser)
    options.add_progress(parser)
    name = "name of the record's folder (default: bench-SUITE…)"
    options.add_output(parser, name, "replace an existing record of this name")


def add_ablate(commands: Any) -> None:
    """Add the command ``ablate``."""
    missing = "Run the same command again for the variants that are missing."
    parser = options.add_command(commands, "ablate", ablate, missing, "RUN")
    add = parser.add_argument
    add("run_name", metavar="RUN", type=Path, help="folder of a run with its checkpoint, or its name in --out")
    variants = f"variant to train: {', '.join(ablation.VARIANTS)} (default: all that have no record)"
    add("--variant", choices=ablation.VARIANTS, metavar="NAME", help=variants)
    add("--steps", type=int, default=1000, metavar="N", help=f"steps of {ablation.BATCH} examples each")
    add("--lr", type=float, default=1e-3, metavar="LR", help="highest learning rate")
    options.add_seed_and_device(parser)
    options.add_runs(parser)


def ablate(args: argparse.Namespace) -> None:
    """Continue a trained run with other gradients, and write a record of each variant that has none."""
    named = (args.run_name / CHECKPOINT).exists()
    run = args.run_name if named else args.out / args.run_name
    ablation.ablate(run, args.variant, args.steps, args.lr, args.seed, args.device)


def add_preprocessing(commands: Any) -> None:
    """Add the command ``preprocessing``."""
    parser = options.add_command(commands, "preprocessing", measure_preprocessing)
    add = parser.add_argument
    _add_images(parser, "set of images")
    add("--alpha", type=float, default=1e-6, metavar="α", help="α of the logit")
    options.add_seed_and_device(parser, "seed of the noise")
    options.add_runs(parser)


def measure_preprocessing(args: argparse.Namespace) -> None:
    """Measure what the preprocessing of images adds to their log-likelihood, and write a record."""
    record = preprocessing.measure(args.data, args.alpha, args.seed, choose_device(args.device))
    path = args.out / f"preprocessing-{args.data}" / preprocessing.FILE
    write_record(record, path)
    print(f"{path}: {record.results['test']['total']:.2f} nats per test image")


def add_own_data(commands: Any) -> None:
    """Add the command ``own-data``."""
    parser = options.add_command(commands, "own-data", measure_own_data)
    add, densities, tables = parser.add_argument, density_names(), [*own_data.TABLES, own_data.DOWNLOADED]
    names = f"2-D densities: {', '.join(densities)} (default: all)"
    add("--densities", nargs="*", choices=densities, default=densities, metavar="NAME", help=names)
    names = f"tables of scikit-learn: {', '.join(tables)} (default: all but the last, which is downloaded)"
    add("--tables", nargs="*", choices=tables, default=list(own_data.TABLES), metavar="NAME", help=names)
    budget = "processor time of each training on a density"
    add("--budget", type=options.duration, default=10.0, metavar="S", help=budget)
    repeats = "trainings on a density, from different initial weights"
    add("--repeats", type=options.size, default=3, metavar="N", help=repeats)
    add("--splits", type=options.size, default=5, metavar="N", help="random splits of a table")
    add("--seed", type=int, default=0, help="seed of the first repetition")
    options.add_runs(parser)


def measure_own_data(args: argparse.Namespace) -> None:
    """Compare models for points and tables with zuko's flow and Gaussian mixtures, and write a record."""
    numbers = (args.budget, args.repeats, args.splits, args.seed)
    record = own_data.measure(args.densities, args.tables, *numbers, log=lambda line: print(line, flush=True))
    path = args.out / "own-data" / own_data.FILE
    write_record(record, path)
    print("\n".join([f"{path}: nats per test row", *(f"{name}: {why}" for name, why in record.skipped.items())]))


def _add_images(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--data``, a set of images by name."""
    names = image_set_names()
    parser.add_argument("--data", default="digits", choices=names, metavar="NAME", help=f"{what}: {', '.join(names)}")
