"""``python -m snf_book.twins``: train the twins on each density, and write the record."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch

from snf_book.twins import study
from snf_book.unfinished import run_all, store
from snf_lite.data.datasets import load
from snf_lite.runtime.provenance import provenance


def main(arguments: list[str] | None = None) -> None:
    """Run the command. It continues an unfinished one with the same settings."""
    parser = argparse.ArgumentParser(prog="python -m snf_book.twins", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and order")
    parser.add_argument("--steps", type=int, default=5000, help="training steps of each flow")
    parser.add_argument("--lr", type=float, default=1e-2, help="initial learning rate")
    parser.add_argument("--out", type=Path, default=Path("data/runs/twins"), help="folder of the record")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    origin = provenance(torch.device("cpu"))
    settings: dict[str, Any] = {"seed": args.seed, "steps": args.steps, "lr": args.lr}
    trainings = {
        f"{name}, {kind}": partial(study.train, kind, name, **settings)
        for name in study.DENSITIES for kind in study.KINDS
    }  # fmt: skip
    runs, seconds = run_all(trainings, {**settings, "package": origin["package"]}, args.out, digits=3)
    made = study.TwinsRecord(
        command=f"python -m snf_book.twins --seed {args.seed} --steps {args.steps} --lr {args.lr:g}", **settings,
        data={name: {split: load(name, split).sha256 for split in ("train", "test")} for name in study.DENSITIES},
        pairs={name: {kind: runs[f"{name}, {kind}"] for kind in study.KINDS} for name in study.DENSITIES},
        **origin, seconds=seconds,
    )  # fmt: skip
    store(made, args.out / study.FILE, study.read)
    print(f"{args.out / study.FILE}: {len(made.pairs)} densities, {made.seconds:.0f} s")


if __name__ == "__main__":
    main()
