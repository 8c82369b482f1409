"""``python -m snf_book.prior_work``: train and measure every system of the comparison, and write the record."""

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from snf_book.prior_work import record
from snf_book.prior_work.compare import compare
from snf_book.prior_work.systems import SYSTEMS
from snf_book.prior_work.third_party import LIBRARIES
from snf_book.prior_work.training import DENSITY, SCALE, TEST, TRAIN, points
from snf_lite.data.datasets import load
from snf_lite.data.source import sha256_of
from snf_lite.runtime.provenance import provenance
from snf_lite.runtime.records import write_record


def main(arguments: list[str] | None = None) -> None:
    """Run the command; with ``--only`` it prints the measurements and writes no record."""
    parser = argparse.ArgumentParser(prog="python -m snf_book.prior_work", description=__doc__)
    names = [system.name for system in SYSTEMS]
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="NAME", help=f"systems to run, out of {', '.join(names)}"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of weights, order and noise")
    parser.add_argument("--out", type=Path, default=Path("data/runs/prior-work"), help="folder of the record")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started = time.perf_counter()
    measured = compare(args.only or names, args.seed, print)
    if args.only:
        return
    plane: dict[str, Any] = {"name": DENSITY, "scale": SCALE, "train": TRAIN, "test": TEST}
    plane["train_sha256"] = sha256_of(points(TRAIN, args.seed))
    plane["test_sha256"] = sha256_of(points(TEST, args.seed + 1))
    digits = {"name": "digits", **{split: load("digits", split).sha256 for split in ("train", "test")}}
    made = record.PriorRecord(
        command=f"python -m snf_book.prior_work --seed {args.seed}",
        seed=args.seed,
        data={"plane": plane, "digits": digits},
        **provenance(torch.device("cpu"), **LIBRARIES),
        seconds=time.perf_counter() - started,
        **measured,
    )
    write_record(made, args.out / record.FILE)
    record.read(args.out / record.FILE)
    print(f"{args.out / record.FILE}: {len(made.systems)} systems, {made.seconds:.0f} s")


if __name__ == "__main__":
    main()
