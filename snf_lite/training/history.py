"""The history of a training run: its exact validation likelihood, row by row."""

from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, TypedDict

from snf_lite.runtime.records import DataEntry
from snf_lite.runtime.schema import AtLeast
from snf_lite.training.evaluation import bits_per_dim
from snf_lite.training.settings import TrainingConfig


class _RunData(TypedDict):
    data: DataEntry
    validation: DataEntry


@dataclass
class History:
    """One row for each exact validation: columns of equal length, ready to plot. Row 0 is the flow before training.

    Attributes:
        settings: ``TrainingConfig`` as a dict, and the name, split, count and SHA-256 of ``data`` and ``validation``;
            with several processes their number as ``processes``.
        features: Number of features D of an example.
        epochs: Number of epochs before the validation.
        steps: Number of optimizer steps before the validation.
        seconds: Seconds of training and validation, summed over interruptions.
        ms_per_step: Milliseconds of a training step, the mean since the row before; 0 in row 0.
        validation_nats: Exact negative log-likelihood (NLL) in nats, the mean over the validation examples.
        resumed_at: Epochs at which a killed or extended run was resumed.

    Example:
        >>> history = snf.History({}, features=2, epochs=[0, 1], validation_nats=[3.0, 2.0])
        >>> history.best_epoch, history.best_nats
        (1, 2.0)
    """

    settings: Annotated[dict[str, Any], AtLeast(TrainingConfig, _RunData)]
    features: int
    epochs: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    ms_per_step: list[float] = field(default_factory=list)
    validation_nats: list[float] = field(default_factory=list)
    resumed_at: list[int] = field(default_factory=list)

    @property
    def validation_bits_per_dim(self) -> list[float]:
        """``validation_nats`` in bits per dimension."""
        return [bits_per_dim(nats, self.features) for nats in self.validation_nats]

    @property
    def best_nats(self) -> float:
        """The lowest validation value, nats; the flow holds its weights."""
        return min(self.validation_nats)

    @property
    def best_epoch(self) -> int:
        """The first epoch at which ``best_nats`` was reached."""
        return self.epochs[self.validation_nats.index(self.best_nats)]

    def add(self, epoch: int, step: int, seconds: float, ms_per_step: float, nats: float) -> bool:
        """Append a row; whether it is the best so far."""
        best = not self.validation_nats or nats < self.best_nats
        columns = (self.epochs, self.steps, self.seconds, self.ms_per_step, self.validation_nats)
        for column, value in zip(columns, (epoch, step, seconds, ms_per_step, nats), strict=True):
            column.append(value)  # type: ignore[attr-defined]
        return best

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, for JSON and checkpoints."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "History":
        """The history that ``as_dict`` gave; ValueError if a column is missing, unknown, or of another length."""
        wanted = {column.name for column in fields(cls)}
        if set(stored) != wanted:
            got = ", ".join(sorted(stored))
            raise ValueError(f"History: expected the entries {', '.join(sorted(wanted))}, got {got}.")
        rows = {name: len(stored[name]) for name in ("epochs", "steps", "seconds", "ms_per_step", "validation_nats")}
        if len(set(rows.values())) > 1 or 0 in rows.values():
            got = ", ".join(f"{count} {name}" for name, count in rows.items())
            raise ValueError(f"History: expected columns of one length, at least 1, got {got}.")
        return cls(**stored)
