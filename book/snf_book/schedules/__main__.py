"""``python -m snf_book.schedules``: train the models of a family by each candidate, and write the record."""

import argparse
from functools import partial
from pathlib import Path

import torch

from snf_book.schedules import study
from snf_book.unfinished import run_all, store
from snf_lite.data.datasets import load
from snf_lite.runtime.provenance import provenance


def main(arguments: list[str] | None = None) -> None:
    """Run the command. It continues an unfinished one with the same settings and code."""
    parser = argparse.ArgumentParser(prog="python -m snf_book.schedules", description=__doc__)
    parser.add_argument("--family", choices=study.CANDIDATES, default="dense", help="name of the search")
    parser.add_argument("--data", default="mnist", help="data set")
    parser.add_argument("--epochs", type=int, default=5, help="passes of each training over the data")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and noise")
    parser.add_argument("--out", type=Path, default=Path("data/runs"), help="folder of the records")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    origin, folder = provenance(torch.device("cpu")), args.out / study.FOLDER.format(args.family, args.data)
    names, schedules = study.MODELS[args.family], study.CANDIDATES[args.family]
    trainings = {
        f"{schedule}, {name}": partial(study.train, name, args.data, schedule, args.epochs, args.seed)
        for schedule in schedules for name in names
    }  # fmt: skip
    settings = {"family": args.family, "epochs": args.epochs, "seed": args.seed}
    key = {**settings, "data": args.data, "package": origin["package"]}
    runs, seconds = run_all(trainings, key, folder, digits=1)
    options = f"--family {args.family} --data {args.data} --epochs {args.epochs} --seed {args.seed}"
    made = study.SearchRecord(
        command=f"python -m snf_book.schedules {options}", **settings, models=names,
        data={"name": args.data, **{split: load(args.data, split).sha256 for split in ("train", "validation")}},
        candidates={str(one): {name: runs[f"{one}, {name}"] for name in names} for one in schedules},
        **origin, seconds=seconds,
    )  # fmt: skip
    store(made, folder / study.FILE, study.read)
    print(f"{folder / study.FILE}: best of {len(schedules)}: {made.best()}; {made.seconds:.0f} s")


if __name__ == "__main__":
    main()
