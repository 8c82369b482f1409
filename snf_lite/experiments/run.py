"""A training run by name: its configuration, the command that repeats it, and the folder with its results."""

import json
import shlex
import warnings
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from snf_lite import models
from snf_lite.analysis.sampling import SamplePair, recorded_solves, sample_pair
from snf_lite.data.datasets import DataTensor, dataset_names, load
from snf_lite.data.own_data import read_data, split_by_seed
from snf_lite.experiments.arguments import words_of
from snf_lite.experiments.record import make_record, read_record
from snf_lite.flow import Flow
from snf_lite.runtime.distributed import Process
from snf_lite.runtime.files import atomic_write
from snf_lite.runtime.locks import locked
from snf_lite.runtime.records import write_record
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training import checkpoints
from snf_lite.training.evaluation import Evaluation, evaluate
from snf_lite.training.fit import fit
from snf_lite.training.history import History
from snf_lite.training.settings import TrainingConfig, completed

#: Number of samples from which a record's distance and times come.
RECORDED_SAMPLES = 100


class Parts(NamedTuple):
    """The examples to train on, and what ``fit`` and ``evaluate`` take for the others: a name or examples."""

    train: DataTensor
    validation: str | DataTensor
    test: str | DataTensor


@dataclass(frozen=True)
class RunConfig:
    """All that decides a run; on one machine two runs of one configuration are the same run.

    Attributes:
        model: Name of the model.
        data: Name of the data set, or path of own data.
        settings: Arguments of the model's builder.
        training: Settings of ``fit``.
        channels: Number of channels of own images; None: as the first of them.
        split_seed: Seed of the parts into which own data are split.
        imports: Modules that define the model or its layers.
    """

    model: str
    data: str = "digits"
    settings: dict[str, Any] = field(default_factory=dict)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    channels: int | None = None
    split_seed: int = 0
    imports: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        """Whether the data are a set with a name, and not a path."""
        return self.data in dataset_names()

    @property
    def command(self) -> str:
        """The command that repeats the run, with no path but that of own data; every option is written out."""
        own = [] if self.named else [f"--split-seed {self.split_seed}"]
        own += [] if self.channels is None else [f"--channels {self.channels}"]
        own += [f"--import {shlex.quote(module)}" for module in self.imports]
        valued, flags = words_of(self.training)
        settings = [f"--set {shlex.quote(f'{key}={value!r}')}" for key, value in self.settings.items()]
        start = f"python -m snf_lite train {self.model} --data {shlex.quote(self.data)}"
        return " ".join([start, *own, *valued, *settings, *flags])

    @property
    def name(self) -> str:
        """The default name of the run's folder."""
        return f"{self.model}-{self.data if self.named else Path(self.data).stem}-seed{self.training.seed}"

    def parts(self) -> Parts:
        """The parts of the data; raises as ``load`` and ``read_data``."""
        if self.named:
            return Parts(load(self.data, "train"), self.data, self.data)
        return Parts(**split_by_seed(read_data(self.data, self.channels), self.split_seed))

    def fresh_flow(self, train_set: DataTensor | None = None) -> Flow:
        """The model for the data, with weights that depend on the seed alone.

        Args:
            train_set: Training split of the data. None: it is loaded.

        Raises:
            ValueError, TypeError: a setting that the model does not accept, or data that it cannot model.
        """
        examples = self.parts().train if train_set is None else train_set
        shape = tuple(examples.shape[1:])
        try:
            with isolated_rng("cpu", self.training.seed, "weights"):
                return models.build(self.model, shape, examples.levels, **self.settings)
        except (ValueError, TypeError) as error:
            kind = "images" if len(shape) == 3 else "points"
            others = [name for name, model in models.MODELS.items() if kind in model.data]
            known = "" if self.model in others else f" Models for {kind}: {', '.join(others)}."
            blocks = (models.choose(shape, examples.levels) or ("", {}))[1].get("blocks")
            if blocks and "blocks" in models.known_settings(self.model) and "even H and W" in str(error):
                known += f" It fits with --set blocks={blocks}."
            raise type(error)(f"{self.model} for {self.data}, of shape {shape}: {error}{known}") from error


@dataclass(frozen=True)
class RunResult:
    """The results of a finished run.

    Attributes:
        folder: Folder with ``checkpoint.pt``, ``record.json`` and ``samples.png``.
        history: Exact validation values.
        test: Exact evaluation on the test split.
        pair: Samples through both inverses, on the CPU.
    """

    folder: Path
    history: History
    test: Evaluation
    pair: SamplePair

    def __str__(self) -> str:
        best = f"best epoch {self.history.best_epoch} of {self.history.epochs[-1]}"
        distance = f"relative distance of g(z) from f⁻¹(z) {self.pair.relative_distance:.4f}"
        return f"{self.test}\n{best}; {distance}\n{self.folder}: checkpoint.pt, record.json, samples.png"


def run(
    config: RunConfig, flow: Flow, parts: Parts, folder: Path, process: Process,
    overwrite: bool = False, progress: bool | None = None,
) -> RunResult:  # fmt: skip
    """Train as configured, or resume the run in the folder; write its checkpoint, record and figure there.

    With several processes the main one evaluates, samples and writes; all return the result.

    Args:
        config: Configuration of the run.
        flow: Flow that ``config.fresh_flow`` returned.
        parts: What ``config.parts`` returned.
        folder: Folder of the run.
        process: This process, with the device to train on.
        overwrite: Whether to replace the run in the folder.
        progress: Argument of ``fit``.

    Raises:
        FileExistsError: the folder holds a record of another configuration, and no checkpoint. Else as ``fit``.
    """
    record, checkpoint = folder / "record.json", folder / "checkpoint.pt"

    def finished() -> RunResult:
        test = evaluate(flow, parts.test, "test", seed=config.training.seed)
        pair = sample_pair(flow, RECORDED_SAMPLES, config.training.seed)
        pair = replace(pair, learned=pair.learned.cpu(), exact=pair.exact.cpu())
        # The run may have ended early, or been longer before.
        ended = {name: completed(history.settings)[name] for name in ("epochs", "decay_epochs")}
        done = replace(config, training=replace(config.training, **ended))
        # A finished run that is asked for again keeps its record, which names the code and machine that did the work.
        if not record.exists() or read_record(record).history != history.as_dict():
            solves = recorded_solves(flow, parts.train[:RECORDED_SAMPLES], config.training.seed)
            made = make_record(done.command, config.model, config.settings, flow, history, test, pair, solves)
            write_record(made, record)
        from snf_lite.analysis.figures import sample_figure  # imports matplotlib, which takes a second

        atomic_write(folder / "samples.png", sample_figure(pair, flow.levels).png())
        return RunResult(folder, history, test, pair)

    if not overwrite:
        process.on_main(lambda: _require_same_run(record, config) if not checkpoint.exists() else None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "fit: interrupted")  # the command line reports it
        history = fit(
            flow, parts.train, device=process.device, checkpoint=checkpoint, resume=not overwrite,
            validation=parts.validation, progress=progress, **vars(config.training),
        )  # fmt: skip
    if history.interrupted:
        raise KeyboardInterrupt  # of the command; the same command resumes

    def finished_here() -> RunResult:
        with locked(checkpoint):  # another process may have begun since
            checkpoints.require_run(checkpoints.read(checkpoint), history.as_dict(), checkpoint)
            return finished()

    return process.on_main(finished_here)


def _require_same_run(path: Path, config: RunConfig) -> None:
    """Refuse to replace the record of another run, where no checkpoint is left for ``fit`` to compare."""
    if not path.exists():
        return
    there = read_record(path)
    stored = completed(there.history["settings"])
    settings = {option.name: stored[option.name] for option in fields(TrainingConfig)}
    recorded = [there.model["name"], there.data["train"]["name"], there.model["settings"], settings]
    if recorded != json.loads(json.dumps([config.model, config.data, config.settings, asdict(config.training)])):
        other = f"comes from '{there.command}', not from '{config.command}'"
        raise FileExistsError(f"{path}: {other}. Give another --out, or --overwrite.")
