"""A training run as a whole: what decides it, the command that says so, and the folder that it leaves behind."""

import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from snf_lite import models
from snf_lite.analysis.sampling import SamplePair, sample_pair
from snf_lite.data.datasets import load
from snf_lite.experiments.record import make_record, read_record, write_record
from snf_lite.flow import Flow
from snf_lite.runtime import distributed
from snf_lite.runtime.files import atomic_write
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training.evaluation import Evaluation, evaluate
from snf_lite.training.fit import fit
from snf_lite.training.history import History

#: How many samples a record's distance and times come from.
RECORDED_SAMPLES = 100


@dataclass(frozen=True)
class RunConfig:
    """All that decides a run on data with a name; two runs of one recipe on one machine are the same run.

    Attributes:
        model, settings: a model's name, and what its builder is told.
        data: a data set's name.
        epochs, batch_size, lr, warmup, decay, clip, seed, whiten, augment: as ``fit`` takes them.
        precision, compile, cuda_graph: by what means, likewise.
    """

    model: str
    data: str = "digits"
    settings: dict[str, Any] = field(default_factory=dict)
    epochs: int = 100
    batch_size: int = 100
    lr: float = 1e-3
    warmup: float = 1.0
    decay: str = "constant"
    clip: float | None = None
    seed: int = 0
    whiten: bool = False
    augment: bool = False
    precision: str = "float32"
    compile: bool = False
    cuda_graph: bool = False

    @property
    def command(self) -> str:
        """The command that makes the run again, every choice written out, for defaults may change; no paths."""
        words = [f"python -m snf_lite train {self.model}"]
        names = ("data", "epochs", "batch_size", "lr", "warmup", "decay", "clip", "seed")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        words += [f"--{name.replace('_', '-')} {value}" for name, value in given.items()]
        words += [f"--set {shlex.quote(f'{key}={value!r}')}" for key, value in self.settings.items()]
        words += [f"--precision {self.precision}"] * (self.precision != "float32")
        words += ["--whiten"] * self.whiten + ["--augment"] * self.augment
        words += ["--compile"] * self.compile + ["--cuda-graph"] * self.cuda_graph
        return " ".join(words)

    @property
    def name(self) -> str:
        """What its folder is called unless it is told."""
        return f"{self.model}-{self.data}-seed{self.seed}"

    def fresh_flow(self) -> Flow:
        """The model for the data, its weights decided by the seed alone; ValueError or TypeError for a bad setting."""
        training = distributed.local_main_process_first(lambda: load(self.data, "train"))
        with isolated_rng("cpu", self.seed, "weights"):
            return models.build(self.model, tuple(training.shape[1:]), training.levels, **self.settings)

    def train(self, flow: Flow, device: torch.device | str | None, checkpoint: Path, restart: bool) -> History:
        """Train the flow that ``fresh_flow`` made, or take its training up again."""
        return fit(
            flow, load(self.data, "train"), self.epochs, self.batch_size, self.lr, device, self.seed, self.whiten,
            checkpoint, not restart, validation=self.data, warmup_epochs=self.warmup, decay=self.decay,
            clip_norm=self.clip, compile=self.compile, cuda_graph=self.cuda_graph, precision=self.precision,
            augment=self.augment,
        )  # fmt: skip


@dataclass(frozen=True)
class RunResult:
    """What a finished run came to."""

    folder: Path
    history: History
    test: Evaluation
    pair: SamplePair

    def __str__(self) -> str:
        best = f"best epoch {self.history.best_epoch} of {self.history.epochs[-1]}"
        apart = f"relative distance of g(z) from f⁻¹(z) {self.pair.relative_distance:.4f}"
        return f"{self.test}\n{best}; {apart}\n{self.folder}: checkpoint.pt, record.json, samples.png"


def run(
    recipe: RunConfig, flow: Flow, folder: Path, device: torch.device | str | None = None, restart: bool = False
) -> RunResult:
    """Train by a recipe, or go on where its folder stands; leaves checkpoint, record and picture there.

    Of several processes one tests, samples and writes; all are given the outcome.

    Args:
        recipe: the whole of the run's settings.
        flow: what ``recipe.fresh_flow()`` made.
        folder: where the run lives.
        device: as for ``fit``.
        restart: throw away the run that lives there.

    Raises:
        ValueError: the folder holds a record of another recipe, and no checkpoint. Else the errors of ``fit``.
    """
    if not restart:
        distributed.on_main_process(lambda: require_same_command(folder, recipe.command))
    history = recipe.train(flow, device, folder / "checkpoint.pt", restart)
    return distributed.on_main_process(lambda: _outcome(recipe, flow, folder, history))


def _outcome(recipe: RunConfig, flow: Flow, folder: Path, history: History) -> RunResult:
    test = evaluate(flow, recipe.data, "test", seed=recipe.seed)
    pair = sample_pair(flow, RECORDED_SAMPLES, recipe.seed)
    outcome = RunResult(folder, history, test, replace(pair, learned=pair.learned.cpu(), exact=pair.exact.cpu()))
    _write(recipe, flow, outcome)
    return outcome


def _write(recipe: RunConfig, flow: Flow, outcome: RunResult) -> None:
    path = outcome.folder / "record.json"
    # A finished run that is asked for again keeps its record: it says which code and machine did the work.
    if not path.exists() or read_record(path).history != outcome.history.as_dict():
        record = make_record(
            recipe.command, recipe.model, recipe.settings, flow, outcome.history, outcome.test, outcome.pair
        )
        write_record(record, path)
    draw(flow, recipe.seed, outcome.folder / "samples.png")


def draw(flow: Flow, seed: int, path: Path, count: int | None = None) -> float:
    """Samples through both inverses into a picture; their relative distance."""
    from snf_lite.analysis.figures import sample_grid  # matplotlib, which only those who draw wait for

    figure = sample_grid(flow, count, seed)
    atomic_write(path, figure.png())
    return figure.relative_distance


def require_same_command(folder: Path, command: str) -> None:
    """Without its checkpoint a run cannot be compared by ``fit``; its record must not be lost to another command."""
    record = folder / "record.json"
    if not record.exists() or (folder / "checkpoint.pt").exists():
        return
    there = read_record(record).command
    if there != command:
        raise ValueError(f"{record}: comes from '{there}', not from '{command}'. Give another --out, or --restart.")
