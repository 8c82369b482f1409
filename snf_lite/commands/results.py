"""``results`` and ``list``: what was run, and what can be."""

import argparse
import textwrap
from pathlib import Path
from typing import Any

from snf_lite import models
from snf_lite.benchmarks.record import misplaced, step_ratios
from snf_lite.commands import parser as options
from snf_lite.data.datasets import dataset_names, density_names, image_set_names, shape_of
from snf_lite.experiments import manifest
from snf_lite.experiments.archive import INDEX, records_root
from snf_lite.experiments.paper_tables import BEYOND_TWINS, TWINS
from snf_lite.experiments.report import own_runs, report
from snf_lite.experiments.results import grouped, read_all
from snf_lite.runtime.records import RecordError

#: Folder of own runs.
RUNS = Path("runs")


def add_list(commands: Any) -> None:
    """Add the command ``list``."""
    options.add_ignored(options.add_command(commands, "list", list_names), "--seed", "--device")


def add_results(commands: Any) -> None:
    """Add the command ``results``."""
    parser = options.add_command(commands, "results", show_results)
    add = parser.add_argument
    runs = "folder of runs (default: the records of this project, then the runs in ./runs)"
    add("--runs", "--out", type=Path, metavar="FOLDER", help=runs)
    check = "verify every record of the folder instead; status 1 if one is missing or altered"
    add("--check", action="store_true", help=check)
    add("--update-index", action="store_true", help="rewrite the index that --check compares with")
    options.add_old_name(parser, "--seal", "update_index", action="store_true")
    options.add_ignored(parser, "--seed", "--device")


def show_results(args: argparse.Namespace) -> None:
    """Print the paper's tables beside the stored runs, or check the records."""
    runs = args.runs or records_root()
    if not runs.is_dir():
        raise NotADirectoryError(f"{runs}: expected a folder of runs, got {'a file' if runs.exists() else 'nothing'}.")
    try:
        if args.update_index:
            print(f"{manifest.write_index(runs)}: rewritten from the files in {runs}")
        if args.check and not (runs / INDEX).exists():
            raise FileNotFoundError(f"{runs / INDEX}: there is no such index of runs; see --update-index.")
        if args.check:
            wrong = manifest.check(runs) + misplaced(runs)
            if wrong:
                raise RecordError(f"{runs}: {'; '.join(wrong)}. --update-index accepts intended changes.")
            print(f"{runs}: nothing missing, nothing altered")
        else:
            print(_tables(args.runs))
    except ValueError as error:
        raise error if isinstance(error, RecordError) else RecordError(str(error)) from error


def _tables(folder: Path | None) -> str:
    """The tables of the records in a folder; of None, of this project's records and of those in ``RUNS``."""
    steps = step_ratios(folder or records_root(), TWINS | BEYOND_TWINS)
    if folder is None:
        own = read_all(RUNS)
        tables = report(grouped(read_all(records_root())), steps=steps)
        return f"{tables}\n\n{own_runs(own, str(RUNS))}" if own else tables
    records = read_all(folder)
    if not records:
        raise FileNotFoundError(
            f"{folder}: expected runs with a record.json, got none. `train` and `reproduce` make some."
        )
    named = {name: record for name, record in records.items() if record.data["train"]["name"] in dataset_names()}
    groups = grouped(named)
    shown = [report(groups, str(folder), steps)] if groups else []
    return "\n\n".join([*shown, own_runs(records, str(folder))])


def list_names(args: argparse.Namespace) -> None:
    """Print the models with their settings, and the data sets."""
    for kind in dict.fromkeys(model.data for model in models.MODELS.values()):
        print(f"Models for {kind}, with the settings that --set takes")
        for name, model in models.MODELS.items():
            if model.data == kind:
                settings = ", ".join(f"{key}={value}" for key, value in models.known_settings(name).items())
                for text, start in ((model.description, f"  {name:<18} "), (settings, " " * 21)):
                    print(textwrap.fill(text, options.WIDTH, initial_indent=start, subsequent_indent=" " * 21))
    print("Data sets for --data")
    for name in image_set_names():
        shape, levels = shape_of(name)
        print(f"  {name:<18} images {shape}, {levels} levels")
    for name in density_names():
        print(f"  {name:<18} points (2,)")
    print("  PATH               own data: a folder of images, or a file .npy, .npz, .csv")
