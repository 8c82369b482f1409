"""``python -m snf_book.prior_work.longer``: train the systems longer in the plane, and write the record of a seed.

A system that has finished is kept in the folder of partial results, from which an interrupted command resumes.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from snf_book.prior_work.longer import record as long_record
from snf_book.prior_work.longer.budgets import setting, train_and_measure
from snf_book.prior_work.systems import SYSTEMS
from snf_book.prior_work.third_party import LIBRARIES
from snf_book.prior_work.training import DENSITY, SCALE, TEST, TRAIN, points, true_log_prob
from snf_lite.data.source import sha256_of
from snf_lite.runtime import files
from snf_lite.runtime.provenance import provenance
from snf_lite.runtime.records import write_record


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m snf_book.prior_work.longer", description=__doc__)
    names = [system.name for system in SYSTEMS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help="systems to run; default: all")
    parser.add_argument("--seed", type=int, default=0, help="random seed of weights, order and noise")
    parser.add_argument("--out", type=Path, default=Path("data/runs"), help="folder of the records")
    parser.add_argument("--partial", type=Path, default=Path("_build/long-runs"), help="folder of partial results")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    made = provenance(torch.device("cpu"), **LIBRARIES)
    chosen = [name for name in names if name in (args.only or names)]
    systems = run(chosen, args.seed, args.partial)
    test = points(TEST, args.seed + 1)
    record = long_record.LongRecord(
        command=" ".join([parser.prog, "--seed", str(args.seed), *_only(args.only and chosen)]),
        seed=args.seed,
        data={
            "name": DENSITY, "scale": SCALE, "train": TRAIN, "test": TEST,
            "train_sha256": sha256_of(points(TRAIN, args.seed)), "test_sha256": sha256_of(test),
        },
        truth=float(true_log_prob(test).mean()),
        systems=systems,
        seconds=sum(entry["train_seconds"] for entry in systems.values()),
        **made,
    )  # fmt: skip
    path = args.out / long_record.FOLDER.format(args.seed) / long_record.FILE
    write_record(record, path)
    long_record.read(path)
    print(f"{path}: {len(systems)} systems, {record.seconds:.0f} s")


def run(names: Sequence[str], seed: int, partial: Path) -> dict[str, dict[str, Any]]:
    """The entries of these systems: trained, or read from the folder of partial results."""
    entries = {}
    for name in names:
        path = partial / f"{name}-seed{seed}.json"
        entry = files.read_json(path, "partial result") if path.exists() else {}
        if not setting(name).items() <= entry.items():
            started = time.perf_counter()
            entry = train_and_measure(name, seed)
            files.write_json(entry, path)
            print(f"{name}: log p {entry['log_prob']:.3f}, {time.perf_counter() - started:.0f} s", flush=True)
        entries[name] = entry
    return entries


def _only(names: Sequence[str] | None) -> list[str]:
    quoted = [f'"{name}"' if " " in name else name for name in names or ()]
    return ["--only", *quoted] if quoted else []


if __name__ == "__main__":
    main()
