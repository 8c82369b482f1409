"""Ablations of the self-normalizing gradient: continue training from one checkpoint with several gradients.

The self-normalizing gradient differs from the exact one in two ways: learned inverses replace J⁻ᵀ, and the
reconstruction penalty keeps each layer close to what its learned inverse can invert. Each variant removes one
difference or changes its weight; its gain over the unchanged variant is the cost of that difference. A run is chosen by
the name of its folder: ``python -m snf_lite ablate fast-conv-selfnorm-mnist-seed0``.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from snf_lite.analysis.learned_inverse import learned_layers, log_det_gradient_errors, weight_gradients
from snf_lite.data.source import DataSource, as_source
from snf_lite.experiments.record import read_record, require_own_checkpoint
from snf_lite.flow import Flow
from snf_lite.runtime import checks, provenance, records
from snf_lite.runtime.devices import choose_device
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training import checkpoints
from snf_lite.training.adam import adam
from snf_lite.training.evaluation import evaluate, log_probs
from snf_lite.training.settings import TrainingConfig
from snf_lite.training.step import take_step

FILE = "fork-{}.json"
#: Batch size.
BATCH = 100


def own_loss(flow: Flow, x: Tensor) -> Tensor:
    """The flow's own objective, with both differences."""
    return flow.loss(x)


def exact_log_det_loss(flow: Flow, x: Tensor) -> Tensor:
    """The flow's objective with ½ J⁻ᵀ instead of ½ Rᵀ in the gradient of every W; the reconstruction penalty stays.

    The gradient of the data term is the same in both gradients of ``weight_gradients`` and cancels in the difference.
    """
    pairs = zip(learned_layers(flow), weight_gradients(flow, x), strict=True)
    corrections = [((exact - learned) * layer.get_parameter("weight")).sum() for layer, (learned, exact) in pairs]
    return flow.loss(x) - 0.5 * sum(corrections)


def exact_loss(flow: Flow, x: Tensor) -> Tensor:
    """Minus the exact log-likelihood, as the exact twin uses it; learned inverses get no gradient."""
    return -flow.log_prob(x).mean()


@dataclass(frozen=True)
class Variant:
    """One way to continue: a short description, the loss, and a factor on every λ."""

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


@dataclass(frozen=True, kw_only=True)
class AblationRecord(records.Record):
    """Result of one variant.

    Attributes:
        branch: Name of the variant, out of ``VARIANTS``.
        run, run_command: Name and command of the run that was continued.
        weights: SHA-256 of its best weights.
        seed: Seed of order and noise.
        lr: Highest learning rate (warm-up over a tenth of the steps, then a half cosine).
        data: Name, count and SHA-256 by split.
        steps, validation_nats: Number of steps at each validation, and the exact value.
        test_nats: Exact test value before and after.
        volume_errors: ``learned_inverse.log_det_gradient_errors`` by layer, before and after.
    """

    kind: ClassVar[str] = "ablation"

    branch: str
    run: str
    run_command: str
    weights: str
    seed: int
    lr: float
    data: Annotated[dict[str, Any], records.SplitEntries]
    steps: list[int]
    validation_nats: list[float]
    test_nats: list[float]
    volume_errors: list[list[float]]

    def problems(self) -> list[str]:
        checks = {
            "its steps and values differ in number": 0 < len(self.steps) == len(self.validation_nats),
            "it has not two test values": len(self.test_nats) == 2,
        }
        return [problem for problem, holds in checks.items() if not holds]


def continue_run(
    run: Path, name: str, steps: int = 1000, lr: float = 1e-3, every: int = 250, seed: int = 0,
    device: str | None = None,
) -> AblationRecord:  # fmt: skip
    """Continue training from the best weights of a run with one variant.

    Args:
        run: Folder of the run, with ``record.json`` and ``checkpoint.pt``.
        name: Name of the variant.
        steps: Number of steps, with ``BATCH`` examples each.
        lr: Highest learning rate.
        every: Number of steps between validations; the first and the last step are validated too.
        seed: Seed of order and noise, the same for all variants.
        device: Device to train on; None: the CUDA device if there is one.

    Raises:
        ValueError: The variant is unknown, a setting is invalid, or the flow learns no inverse or adapts λ.
        FileNotFoundError, CheckpointError: Files of the run are missing or damaged.
    """
    if name not in VARIANTS:
        raise ValueError(f"ablate: expected a variant out of {', '.join(VARIANTS)}, got {name!r}.")
    started, record = time.perf_counter(), read_record(run / "record.json")
    require_own_checkpoint(record, run / "checkpoint.pt")
    flow = checkpoints.restore(run / "checkpoint.pt").to(choose_device(device))
    if not learned_layers(flow) or any(getattr(layer, "adapted", None) for layer in learned_layers(flow)):
        raise ValueError(f"ablate: expected a run that learns inverses, with a fixed λ, got {record.model}.")
    data, weights = record.data["train"]["name"], checkpoints.digest(flow.state_dict())
    splits = {split: as_source(data, split) for split in ("train", "validation", "test")}
    before, test_before = _errors(flow, splits["validation"]), evaluate(flow, data).nats
    marks, nats = _follow(flow, VARIANTS[name], splits, steps, lr, every, seed)
    return AblationRecord(
        command=f"python -m snf_lite ablate {run.name} --variant {name} --steps {steps} --lr {lr:g} --seed {seed}",
        branch=name, run=run.name, run_command=record.command, weights=weights, seed=seed, lr=lr,
        data={split: source.identity() for split, source in splits.items()}, steps=marks, validation_nats=nats,
        test_nats=[test_before, evaluate(flow, data).nats],
        volume_errors=[before, _errors(flow, splits["validation"])],
        **provenance.provenance(flow.device), seconds=time.perf_counter() - started,
    )  # fmt: skip


def _follow(
    flow: Flow, branch: Variant, splits: dict[str, DataSource], steps: int, lr: float, every: int, seed: int
) -> tuple[list[int], list[float]]:
    """Train with one variant; the numbers of steps at which it was validated, and the values."""
    checks.positive_integer(steps, "steps", "ablate")
    checks.positive_integer(every, "every", "ablate")
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


def _validated(flow: Flow, source: DataSource, seed: int) -> float:
    return -float(log_probs(flow, source, 1000, seed).mean())


def _errors(flow: Flow, source: DataSource) -> list[float]:
    return log_det_gradient_errors(flow, source.at(torch.arange(2), flow.device))


def write(made: AblationRecord, folder: Path) -> Path:
    """Write the record of a variant into a folder, atomically; returns its path."""
    path = folder / FILE.format(made.branch)
    records.write_record(made, path)
    return path


def read(folder: str | Path) -> dict[str, AblationRecord]:
    """The variants of one run in a folder, by name, in the order of ``VARIANTS``.

    Raises:
        FileNotFoundError: There are none.
        ValueError: A file is not the record of its variant, or the variants differ in run or settings. The message
            names the difference.
    """
    paths = {name: Path(folder) / FILE.format(name) for name in VARIANTS}
    found = {name: records.read_record(path, AblationRecord) for name, path in paths.items() if path.exists()}
    if not found:
        raise FileNotFoundError(f"{folder}: there are no ablations of a run here.")
    for name, made in found.items():
        if made.branch != name:
            raise ValueError(f"{paths[name]}: expected the variant {name!r}, got {made.branch!r}.")
    for key in ("run", "run_command", "weights", "seed", "lr", "data", "steps"):
        if len({str(getattr(made, key)) for made in found.values()}) > 1:
            raise ValueError(f"{folder}: expected variants that share their {key}, got several.")
    return found


def ablate(
    run: Path, variant: str | None = None, steps: int = 1000, lr: float = 1e-3, seed: int = 0, device: str | None = None
) -> None:
    """Train each variant of a run that has no record, or the one given, and write ``fork-VARIANT.json`` of each.

    The records go into the folder ``forks-RUN`` beside the run. A variant that diverges leaves none, and the others
    continue.

    Args:
        run: Folder of the run, with ``record.json`` and ``checkpoint.pt``.
        variant: Name in ``VARIANTS``; None: all that have no record.
        steps, lr, seed, device: Arguments of ``continue_run``.

    Raises:
        FileExistsError: There are records of other settings.
        FloatingPointError: Variants diverged; the message names them.
    """
    folder, failed = run.parent / f"forks-{run.name}", []
    stored = read(folder) if any(folder.glob(FILE.format("*"))) else {}
    for name, made in stored.items():
        if (made.steps[-1], made.lr, made.seed) != (steps, lr, seed):
            there = f"{made.steps[-1]} steps, lr {made.lr:g} and seed {made.seed}"
            raise FileExistsError(f"{folder}: expected the settings of its variant {name!r}, {there}; got others.")
    chosen = [variant] if variant else [name for name in VARIANTS if name not in stored]
    for name in chosen:
        try:
            made = continue_run(run, name, steps, lr, seed=seed, device=device)
        except (FloatingPointError, checks.NotInvertibleError) as error:
            print(f"{name}: failed: {error}")
            failed.append(name)
        else:
            print(f"{write(made, folder)}: test {made.test_nats[0]:.2f} -> {made.test_nats[1]:.2f} nats")
    if failed:
        raise FloatingPointError(f"ablate: {len(failed)} of {len(chosen)} variants failed: {', '.join(failed)}.")
    read(folder)
