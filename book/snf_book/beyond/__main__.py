"""``python -m snf_book.beyond``: train each variant with each seed, and write the record."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch

from snf_book.beyond import study
from snf_book.unfinished import run_all, store
from snf_lite.data.datasets import load
from snf_lite.runtime.provenance import provenance


def main(arguments: list[str] | None = None) -> None:
    """Run the command. It continues an unfinished one with the same settings and code."""
    parser = argparse.ArgumentParser(prog="python -m snf_book.beyond", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0 on")
    parser.add_argument("--epochs", type=int, default=100, help="passes over the digits")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate, constant after an epoch of warm-up")
    parser.add_argument("--front", action="store_true", help="put a fixed whitening in front of the layers")
    parser.add_argument("--out", type=Path, default=Path("data/runs/gap-digits"), help="folder of the record")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    origin = provenance(torch.device("cpu"))
    seeds = list(range(args.seeds))
    settings: dict[str, Any] = {"epochs": args.epochs, "lr": args.lr, "front": args.front}
    trainings = {
        study.run_name(name, seed): partial(study.train, name, seed, **settings)
        for seed in seeds for name in study.VARIANTS
    }  # fmt: skip
    runs, seconds = run_all(trainings, {**settings, "package": origin["package"]}, args.out, digits=2)
    options = f"--seeds {args.seeds} --epochs {args.epochs} --lr {args.lr:g}{' --front' * args.front}"
    made = study.GapRecord(
        command=f"python -m snf_book.beyond {options}", seeds=seeds, **settings,
        data={"name": "digits", **{split: load("digits", split).sha256 for split in ("train", "validation", "test")}},
        variants=study.gathered(runs, seeds), **origin, seconds=seconds,
    )  # fmt: skip
    store(made, args.out / study.FILE, study.read)
    print(f"{args.out / study.FILE}: {len(made.variants)} variants, {len(seeds)} seeds, {made.seconds:.0f} s")


if __name__ == "__main__":
    main()
