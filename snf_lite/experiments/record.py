"""The record of a training run."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NotRequired, TypedDict

from snf_lite.analysis.sampling import LayerSolve, SamplePair
from snf_lite.flow import Flow
from snf_lite.runtime import records
from snf_lite.runtime.provenance import provenance
from snf_lite.training import checkpoints
from snf_lite.training.evaluation import Evaluation
from snf_lite.training.history import History


class _ModelEntry(TypedDict):
    name: str
    settings: dict[str, Any]
    parameters: int


class _SamplingEntry(TypedDict):
    count: int
    relative_distance: float
    learned_ms_per_sample: float
    exact_ms_per_sample: float
    #: By label of the layer, for the latents of "samples" and of "data".
    solves: NotRequired[dict[str, dict[str, LayerSolve]]]


class _Results(TypedDict):
    test: Evaluation


@dataclass(frozen=True, kw_only=True)
class TrainingRecord(records.Record):
    """A training run and its test result.

    Attributes:
        model: Name, settings of the builder, and number of parameters.
        seed: Seed of initial weights, order and noise.
        data: Name, count and SHA-256 by split.
        history: ``History.as_dict()``, with the settings of ``fit``.
        results: ``Evaluation`` by split: exact nats and bits/dim.
        sampling: Relative distance of g(z) from f⁻¹(z), milliseconds per sample, and, where convolutions learn an
            inverse, how many iterations with it their exact one takes (``recorded_solves``); not in older records.
        weights: SHA-256 of the best weights (``checkpoints.digest``); None in older records.
    """

    kind: ClassVar[str] = "training"

    model: Annotated[dict[str, Any], _ModelEntry]
    seed: int
    data: Annotated[dict[str, Any], records.SplitEntries]
    history: Annotated[dict[str, Any], History]
    results: Annotated[dict[str, Any], _Results]
    sampling: Annotated[dict[str, Any], _SamplingEntry]
    weights: str | None = None

    @property
    def diverged(self) -> bool:
        """Whether the last epoch was worse than the start; the results are then those of an early epoch."""
        start, *later = self.history["validation_nats"]
        return bool(later) and later[-1] > start

    def problems(self) -> list[str]:
        history, test = self.history, self.results["test"]
        columns = ("epochs", "steps", "seconds", "ms_per_step", "validation_nats")
        bits = test["nats"] / (history["features"] * math.log(2))
        checks = {
            "its history's columns differ in length": len({len(history[column]) for column in columns}) == 1,
            "its test nats and bits/dim do not agree": math.isclose(bits, test["bits_per_dim"], rel_tol=1e-9),
            "its seed is not that of its training": self.seed == history["settings"]["seed"] == test["seed"],
            "its command is another model's": self.command.split()[3:5] == ["train", self.model["name"]],
            "its seconds are not those of its history": self.seconds == history["seconds"][-1],
        }
        return [problem for problem, holds in checks.items() if not holds]


def make_record(
    command: str, model: str, settings: dict[str, Any], flow: Flow, history: History, test: Evaluation,
    pair: SamplePair, solves: dict[str, dict[str, LayerSolve]] | None = None,
) -> TrainingRecord:  # fmt: skip
    """The record of a finished run, made by the process that ran it.

    Args:
        command: Command line that repeats the run.
        model, settings: Arguments of ``build``.
        flow, history: Trained flow, and the result of ``fit``.
        test: Result of ``evaluate``.
        pair: Result of ``sample_pair``.
        solves: Result of ``recorded_solves``.
    """
    return TrainingRecord(
        command=command,
        model={"name": model, "settings": settings, "parameters": sum(w.numel() for w in flow.parameters())},
        seed=history.settings["seed"],
        data={"train": history.settings["data"], "validation": history.settings["validation"], "test": test.data},
        **provenance(flow.device),
        seconds=history.seconds[-1],
        history=history.as_dict(),
        results={"test": asdict(test)},
        sampling=pair.as_dict() | ({"solves": solves} if solves and any(solves.values()) else {}),
        weights=checkpoints.digest(flow.state_dict()),
    )


def read_record(path: str | Path) -> TrainingRecord:
    """The record of a training run in a file; raises as ``records.read_record``."""
    return records.read_record(path, TrainingRecord)


def require_own_checkpoint(record: TrainingRecord, path: Path) -> None:
    """Refuse a checkpoint that does not hold the run and the weights of a record, with CheckpointError.

    They differ if a longer run was killed before it wrote its record, or if one of the files was replaced.
    """
    content = checkpoints.read(path)
    checkpoints.require_run(content, record.history, path)
    if record.weights not in (None, found := checkpoints.digest(content["weights"])):
        raise checkpoints.CheckpointError(
            f"{path}: expected the weights with SHA-256 {record.weights} of the record, got {found}."
        )
