"""What holds a trained self-normalizing flow back: go on from its weights by several gradients, all else equal.

The self-normalizing gradient differs from the exact one in two ways: learned inverses stand in for J⁻ᵀ, and the
reconstruction term ties each layer to what its learned inverse can undo. Each branch takes one of them away or gives it
another weight; what it gains over the unchanged branch is the price of that difference. A run is forked by its folder's
name: ``python -m snf_lite.experiments.ablation fast-conv-selfnorm-mnist-seed0``.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snf_lite.analysis.learned_inverse import learned_layers, log_det_gradient_errors, weight_gradients
from snf_lite.data.source import DataSource, as_source
from snf_lite.experiments.record import read_record
from snf_lite.flow import Flow
from snf_lite.runtime import checks, files, provenance
from snf_lite.runtime.devices import choose_device
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training import checkpoints
from snf_lite.training.evaluation import evaluate, log_probs
from snf_lite.training.adam import adam
from snf_lite.training.settings import TrainingConfig
from snf_lite.training.step import take_step

FORMAT, FILE = 1, "fork-{}.json"
BATCH = 100


def own_loss(flow: Flow, x: Tensor) -> Tensor:
    """The flow's own objective: both differences stand."""
    return flow.loss(x)


def exact_log_det_loss(flow: Flow, x: Tensor) -> Tensor:
    """The same, but with ½ J⁻ᵀ in place of ½ Rᵀ in the gradient by every W; only the tie of the reconstruction stands.

    The data's part is the same in both gradients of ``weight_gradients`` and falls out of their difference.
    """
    pairs = zip(learned_layers(flow), weight_gradients(flow, x), strict=True)
    turns = [((exact - learned) * layer.get_parameter("weight")).sum() for layer, (learned, exact) in pairs]
    return flow.loss(x) - 0.5 * sum(turns)


def exact_loss(flow: Flow, x: Tensor) -> Tensor:
    """Minus the exact log-likelihood, as the exact twin climbs it: neither stands, and learned inverses stay behind."""
    return -flow.log_prob(x).mean()


@dataclass(frozen=True)
class Variant:
    """One way to go on: in words, its loss, and a factor on every λ."""

    words: str
    loss: Callable[[Flow, Tensor], Tensor]
    factor: float = 1.0


VARIANTS = {
    "own": Variant("as before", own_loss),
    "tenth": Variant("λ a tenth", own_loss, 0.1),
    "tenfold": Variant("λ ten times", own_loss, 10.0),
    "exact-volume": Variant("exact inverse, tie kept", exact_log_det_loss),
    "exact": Variant("exact, no tie", exact_loss),
}


@dataclass(frozen=True)
class AblationRecord:
    """Where one branch led.

    Attributes:
        command: the command line that makes it again, from the run's checkpoint.
        branch: out of ``BRANCHES``.
        run, run_command: the run that was forked and what made it; ``weights``: the SHA-256 of its best weights.
        seed, lr: of order and noise; the highest learning rate (a tenth of the steps up, then a half cosine down).
        data: for each split used its name, count and SHA-256.
        steps, validation_nats: how many steps had been taken, and the exact validation value there.
        test_nats: exact, before and after.
        volume_errors: ``log_det_gradient_errors`` of each layer, before and after.
        package, libraries, device, threads, date, seconds: as in ``runs.Record``.
    """

    command: str
    branch: str
    run: str
    run_command: str
    weights: str
    seed: int
    lr: float
    data: dict[str, Any]
    steps: list[int]
    validation_nats: list[float]
    test_nats: list[float]
    volume_errors: list[list[float]]
    package: dict[str, Any]
    libraries: dict[str, str]
    device: str
    threads: int
    date: str
    seconds: float


def fork(run: Path, name: str, steps: int = 1000, lr: float = 1e-3, every: int = 250, seed: int = 0) -> AblationRecord:
    """Go on from a run's best weights by one branch.

    Args:
        run: its folder, with ``record.json`` and ``checkpoint.pt``.
        name: of the branch.
        steps: how many, of ``BATCH`` events each.
        lr: the highest learning rate.
        every: validate after so many steps, and at both ends.
        seed: of order and noise, the same for all branches.

    Raises:
        ValueError: an unknown branch, a setting that does not fit, or a flow that learns no inverse or adapts λ.
        FileNotFoundError, CheckpointError: the run's files are missing or damaged.
    """
    if name not in VARIANTS:
        raise ValueError(f"fork: expected a branch out of {', '.join(VARIANTS)}, got {name!r}.")
    started, record = time.perf_counter(), read_record(run / "record.json")
    flow = checkpoints.restore(run / "checkpoint.pt").to(choose_device(None))
    if not learned_layers(flow) or any(getattr(layer, "adapted", None) for layer in learned_layers(flow)):
        raise ValueError(f"fork: expected a run that learns inverses, with a fixed λ, got {record.model}.")
    data, weights = record.data["train"]["name"], checkpoints.digest(flow.state_dict())
    splits = {split: as_source(data, split) for split in ("train", "validation", "test")}
    before, test_before = _errors(flow, splits["validation"]), evaluate(flow, data).nats
    marks, nats = _follow(flow, VARIANTS[name], splits, steps, lr, every, seed)
    return AblationRecord(
        command=f"python -m snf_lite.experiments.ablation {run.name} --branch {name} --steps {steps} --lr {lr:g} "
        f"--seed {seed}",
        branch=name, run=run.name, run_command=record.command, weights=weights, seed=seed, lr=lr,
        data={split: events.identity() for split, events in splits.items()}, steps=marks, validation_nats=nats,
        test_nats=[test_before, evaluate(flow, data).nats],
        volume_errors=[before, _errors(flow, splits["validation"])],
        **provenance.provenance(flow.device), seconds=time.perf_counter() - started,
    )  # fmt: skip


def _follow(
    flow: Flow, branch: Variant, splits: dict[str, DataSource], steps: int, lr: float, every: int, seed: int
) -> tuple[list[int], list[float]]:
    """Train with one variant; the numbers of steps at which it was validated, and the values."""
    checks.positive_integer(steps, "steps", "fork")
    checks.positive_integer(every, "every", "fork")
    config = TrainingConfig(epochs=1, lr=lr, warmup_epochs=0.1, decay="cosine")  # one epoch of this many steps
    optimizer = adam(list(flow.parameters()), lr)
    marks, nats = [0], [_validated(flow, splits["validation"], seed)]
    layers: list[Any] = learned_layers(flow)
    for layer in layers:
        layer.recon_weight *= branch.factor
    for step in range(steps):
        with isolated_rng(flow.device, seed, "fork", step):
            batch = splits["train"].at(torch.randint(splits["train"].count, (BATCH,)), flow.device)
            take_step(flow, batch, optimizer, config.learning_rate(step, steps), config, partial(branch.loss, flow))
        if (step + 1) % every == 0 or step + 1 == steps:
            marks.append(step + 1)
            nats.append(_validated(flow, splits["validation"], seed))
    return marks, nats


def _validated(flow: Flow, events: DataSource, seed: int) -> float:
    return -float(log_probs(flow, events, 1000, seed).mean())


def _errors(flow: Flow, events: DataSource) -> list[float]:
    return log_det_gradient_errors(flow, events.at(torch.arange(2), flow.device))


def write(made: AblationRecord, folder: Path) -> Path:
    """Write a branch's record into a folder, whole or not at all; its path."""
    path = folder / FILE.format(made.branch)
    files.write_json({"format": FORMAT, **asdict(made)}, path)
    return path


def read(folder: str | Path) -> dict[str, AblationRecord]:
    """The branches of one run that a folder holds, by name, in the order of ``BRANCHES``.

    Raises:
        FileNotFoundError: it holds none.
        ValueError: a file is no such record, or the branches are not of one run and one setting; the message says what.
    """
    paths = [Path(folder) / FILE.format(name) for name in VARIANTS]
    found = {fork.branch: fork for fork in map(_read, filter(Path.exists, paths))}
    if not found:
        raise FileNotFoundError(f"{folder}: there are no forks of a run here.")
    for key in ("run", "run_command", "weights", "seed", "lr", "data", "steps"):
        if len({str(getattr(fork, key)) for fork in found.values()}) > 1:
            raise ValueError(f"{folder}: expected branches that share their {key}, got several.")
    return found


def _read(path: Path) -> AblationRecord:
    made = files.read_entries(path, AblationRecord, "fork of a run", FORMAT)
    fine = {
        "its branch is not the file's": path.name == FILE.format(made.branch),
        "its steps and values differ in number": len(made.steps) == len(made.validation_nats),
        "a value is not finite": all(map(_finite, [*made.validation_nats, *made.test_nats])),
    }
    wrong = [problem for problem, holds in fine.items() if not holds]
    if wrong:
        raise ValueError(f"{path}: {'; '.join(wrong)}.")
    return made


def _finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def main(arguments: list[str] | None = None) -> None:
    """Follow every branch whose record is not there yet, or the one asked for, and write it into ``forks-RUN``.

    A branch whose training leaves the finite is named at the end, by a FloatingPointError; it leaves no record.
    """
    parser = argparse.ArgumentParser(
        prog="python -m snf_lite.experiments.ablation", description=str(main.__doc__).splitlines()[0]
    )
    parser.add_argument("run", help="folder of a run with its checkpoint, in --out")
    parser.add_argument("--branch", choices=VARIANTS, help="only this one, anew")
    parser.add_argument("--steps", type=int, default=1000, help=f"of {BATCH} events each")
    parser.add_argument("--lr", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=0, help="of order and noise")
    parser.add_argument("--out", type=Path, default=Path("data/runs"), help="folder of the runs")
    args = parser.parse_args(arguments)
    folder, failed = args.out / f"forks-{args.run}", []
    wanted = [args.branch] if args.branch else [n for n in VARIANTS if not (folder / FILE.format(n)).exists()]
    for name in wanted:
        try:
            made = fork(args.out / args.run, name, args.steps, args.lr, seed=args.seed)
        except (FloatingPointError, checks.NotInvertibleError) as error:  # this one left the finite; the others go on
            print(f"{name}: failed: {error}")
            failed.append(name)
        else:
            print(f"{write(made, folder)}: test {made.test_nats[0]:.2f} -> {made.test_nats[1]:.2f} nats")
    if failed:
        raise FloatingPointError(f"forks: {len(failed)} of {len(wanted)} branches failed: {', '.join(failed)}.")
    read(folder)


if __name__ == "__main__":
    main()
