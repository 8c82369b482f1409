"""``python -m snf_lite bench``: run the suites, print the table of each case, and write the record and figures."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from snf_lite.benchmarks.record import FITTED_FROM, BenchmarkRecord, case_name, make_bench_record, suites
from snf_lite.benchmarks.suites import SUITES, SuiteOptions
from snf_lite.benchmarks.timing import run_comparisons
from snf_lite.runtime.devices import choose_device, device_name
from snf_lite.runtime.files import atomic_write
from snf_lite.runtime.records import write_record


def run_bench(args: argparse.Namespace) -> None:
    """Time layers, log-determinants, sampling and whole models against baselines, and write a record and figures."""
    device = choose_device(args.device)
    options = SuiteOptions(args.features, args.shapes, args.batch, device, args.seed, args.compile)
    folder = args.out / (args.name or default_name(args, device))
    if (folder / "bench.json").exists() and not args.overwrite:
        raise FileExistsError(f"{folder}: holds a record already. Give another --name, or --overwrite to replace it.")
    started = time.perf_counter()
    with threads(args.threads):
        machine = f"{device_name(device)}, threads: {torch.get_num_threads()}"
        print(f"{machine}; ratios are to each table's first row", flush=True)
        cases = []
        for number, suite in enumerate(args.suite, start=1):
            if args.progress is not False:  # also where stderr is no terminal: a suite takes a minute
                where = f"suite {suite}, {number} of {len(args.suite)}"
                print(f"{where}: about {args.seconds:g} s, at least 3 rounds …", file=sys.stderr, flush=True)
            for case in run_comparisons(SUITES[suite](options), args.seconds):
                print(f"\n{table(case)}", flush=True)
                cases.append(case)
        seconds = time.perf_counter() - started
        record = make_bench_record(command(args, device), args.seed, device, seconds, cases)
    write_all(record, folder)


def write_all(record: BenchmarkRecord, folder: Path) -> None:
    """Write the record and one figure per suite; print the exponents and the names of the files."""
    from snf_lite.analysis.figures import figure_png
    from snf_lite.benchmarks.figures import bench_figure  # imports matplotlib, which takes a second

    for batch, powers in record.exponents.items():
        shown = ", ".join(f"{name} {power:.2f}" for name, power in powers.items())
        print(f"\nexponents p of a time that grows as D^p, {batch}, D ≥ {FITTED_FROM}: {shown}")
    figures = {f"{suite}.png": figure_png(bench_figure(record.cases, suite)) for suite in suites(record.cases)}
    write_record(record, folder / "bench.json")
    for name, image in figures.items():
        atomic_write(folder / name, image)
    print(f"\n{folder}: bench.json, {', '.join(figures)}")


def default_name(args: argparse.Namespace, device: torch.device) -> str:
    """Name of the folder: the suites, and the type of the device unless it is the CPU."""
    chosen = [] if args.suite == list(SUITES) else args.suite
    return "-".join(["bench", *chosen, *[device.type] * (device.type != "cpu")])


def command(args: argparse.Namespace, device: torch.device) -> str:
    """Command line that repeats the benchmark, without paths."""
    words = ["python -m snf_lite bench --suite", *args.suite]
    for option, values in (("features", args.features), ("batch", args.batch)):
        words += [f"--{option}", *map(str, values)] if values else []
    words += ["--shapes", *("x".join(map(str, shape)) for shape in args.shapes)] if args.shapes else []
    words += [f"--seconds {args.seconds:g}", f"--threads {torch.get_num_threads()}"]
    words += [f"--device {device.type}", f"--seed {args.seed}"]
    return " ".join([*words, *["--compile"] * args.compile])


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Number of torch threads within the block; None leaves it unchanged."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ---- the table -------------------------------------------------------------------------------------------------------

COLUMNS = f"  {'':<20}{'ratio':>7}{'in one round':>13}{'ms':>10}{'products':>9}{'mult-adds':>10}{'saved MB':>9}"


def table(entry: dict[str, Any]) -> str:
    """Table of one case: ratio of medians, quartiles of the ratio within a round, time and counts."""
    head = f"{case_name(entry)}, {entry['rounds']} rounds"
    rows = [_row(name, result) for name, result in entry["contenders"].items()]
    skipped = [f"  {name:<20} skipped: {reason}" for name, reason in entry["skipped"].items()]
    return "\n".join([head, COLUMNS, *rows, *skipped])


def _row(name: str, result: dict[str, Any]) -> str:
    ratio = f"{result['ratio']:.2f}" if result["ratio"] else "–"
    spread = "–".join(f"{quartile:.2f}" for quartile in result["ratio_quartiles"] or ())
    products = "–" if result["products"] is None else f"{result['products']:g}"
    adds, saved = _millions(result["multiply_adds"], " M"), _millions(result["saved_bytes"], "")
    return f"  {name:<20}{ratio:>7}{spread:>13}{1000 * result['median']:>10.3f}{products:>9}{adds:>10}{saved:>9}"


def _millions(value: int | None, unit: str) -> str:
    return "–" if value is None else f"{value / 1e6:.1f}{unit}"
