"""Tests, benchmarks and trainings on a graphics processor, within a given time: the command behind ``make gpu``.

    make gpu                                15 minutes, on the CUDA device
    make gpu GPU="--minutes 60"             four times as long: more epochs
    make gpu GPU="--out runs/other"         records in another folder

The tests that need a GPU come first, then the benchmarks (dense layers, convolutions, whole models; these also as a
CUDA graph and in bf16), then rows of the paper's first table by its settings and the rows beyond it. What is finished
is kept and not done again; a training that was cut off resumes from its checkpoint when the command is given again.
The records are sealed like all others: ``python -m snf_lite results FOLDER`` shows them.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paths import ROOT

from snf_lite.benchmarks.suites import IMAGE
from snf_lite.runtime import files
from snf_lite.runtime.devices import choose_device, device_name

#: The parts that are finished, each with its arguments: with others it is another part.
STATE = "gpu.json"
#: Seconds without which no part is begun.
LEAST = 5.0
TABLE_ROWS = (
    "dense-exact", "dense-selfnorm", "dense-tracked", "conv-exact", "conv-selfnorm", "conv-unbiased",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A command of the plan: its name, and its arguments for Python."""

    name: str
    arguments: tuple[str, ...]


def plan(minutes: float, device: str, data: str, out: Path) -> list[Part]:
    """The parts in their order; together they take about the minutes given.

    Args:
        minutes: time of all parts. A tenth is for the tests, a third for the benchmarks, half for the trainings.
        device: device to work on.
        data: data set to train on.
        out: folder of the records.
    """
    shared = ("--device", device, "--out", str(out), "--quiet")
    seconds = f"{60 * minutes / 9:g}"

    def bench(suite: str, *more: str) -> Part:
        return Part(
            f"bench {suite}", ("-m", "snf_lite", "bench", "--suite", suite, *more, "--seconds", seconds, *shared)
        )

    table = ("--preset", "paper", "--data", data, "--minutes", f"{minutes / 2:g}", "--rows", *TABLE_ROWS)
    return [
        Part("tests", ("-m", "pytest", "-q", "-m", "gpu", "tests")),
        bench("dense", "--features", "64", "256", "784", "1568", "3072"),
        bench("conv"),
        bench("models", "--shapes", "x".join(map(str, IMAGE))),
        Part("tables", ("-m", "snf_lite", "reproduce", *table, *shared)),
    ]


def run(parts: list[Part], minutes: float, out: Path) -> dict[str, str]:
    """Run what is not finished, as long as there is time; what became of each part, by name."""
    state = out / STATE
    finished: dict[str, list[str]] = files.read_json(state, "state") if state.exists() else {}
    deadline = time.monotonic() + 60 * minutes
    found = {}
    for part in parts:
        left = deadline - time.monotonic()
        if finished.get(part.name) == list(part.arguments):
            found[part.name] = "finished before"
        elif left < LEAST:
            found[part.name] = "not begun: no time left"
        else:
            print(f"\n{part.name}: python {' '.join(part.arguments)}", flush=True)
            found[part.name] = outcome(part, left)
            if found[part.name] == "finished":
                finished[part.name] = list(part.arguments)
                files.write_json(finished, state)
    return found


def outcome(part: Part, seconds: float) -> str:
    """Run a part for at most so many seconds, and say how it ended."""
    try:
        status = subprocess.run([sys.executable, *part.arguments], cwd=ROOT, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        return "cut off: give the command again to resume it"
    return "finished" if status == 0 else f"failed with status {status}: see above"


def report(found: dict[str, str]) -> Iterator[str]:
    width = max(map(len, found))
    yield from (f"  {name:<{width}}  {ended}" for name, ended in found.items())


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=15.0, help="time for all parts together (default: 15)")
    asked.add_argument("--device", default="cuda", help="device (default: cuda)")
    asked.add_argument("--data", default="mnist", help="data set to train on (default: mnist)")
    asked.add_argument("--out", type=Path, default=Path("runs", "gpu"), help="folder of the records")
    args = asked.parse_args()
    try:
        device = choose_device(args.device)
    except ValueError as error:
        sys.exit(f"gpu: {error}. Nothing was run; --device cpu tries the same on the processor.")
    print(f"{device_name(device)}, {args.minutes:g} minutes, records in {args.out}", flush=True)
    found = run(plan(args.minutes, str(device), args.data, args.out), args.minutes, ROOT / args.out)
    print("", *report(found), sep="\n")
    sys.exit(any(not ended.startswith("finished") for ended in found.values()))


if __name__ == "__main__":
    main()
