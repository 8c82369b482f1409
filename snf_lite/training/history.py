"""The history of a training run: its exact validation likelihood, row by row."""

from dataclasses import asdict, dataclass, field, fields
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snf_lite.runtime.records import RunData
from snf_lite.runtime.schema import AtLeast, mismatches
from snf_lite.training import checkpoints
from snf_lite.training.evaluation import bits_per_dim
from snf_lite.training.settings import TrainingConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SETTINGS = AtLeast(TrainingConfig, RunData)


@dataclass(repr=False)
class History:
    """One row for each exact validation: columns of equal length, ready to plot. Row 0 is the flow before training.

    Attributes:
        settings: ``TrainingConfig`` as a dict, and the name, split, count and SHA-256 of ``data`` and ``validation``;
            with several processes their number as ``processes``; and the names of what replaced the flow's loss, Adam
            and the schedule.
        features: Number of features D of an example.
        epochs: Number of epochs before the validation.
        steps: Number of optimizer steps before the validation.
        seconds: Seconds of training and validation, summed over interruptions.
        ms_per_step: Milliseconds of a training step, the mean since the row before; 0 in row 0.
        validation_nats: Exact negative log-likelihood (NLL) in nats, the mean over the validation examples.
        resumed_at: Epochs at which a killed or extended run was resumed.
        training_loss: Mean of the loss that training minimized since the row before, None in row 0: no
            likelihood, for a flow's loss leaves out log-determinants. Empty in histories of earlier versions.
        interrupted: Whether Ctrl-C ended the run.

    Example:
        >>> history = snf.History({}, features=2, epochs=[0, 1], validation_nats=[3.0, 2.0])
        >>> history.best_epoch, history.best_nats
        (1, 2.0)
        >>> history
        History(1 epochs: best validation 2.00 nats at epoch 1)
    """

    settings: dict[str, Any]
    features: int
    epochs: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    ms_per_step: list[float] = field(default_factory=list)
    validation_nats: list[float] = field(default_factory=list)
    resumed_at: list[int] = field(default_factory=list)
    training_loss: list[float | None] = field(default_factory=list)
    interrupted: bool = False

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

    def add(
        self, epoch: int, step: int, seconds: float, ms_per_step: float, nats: float, objective: float | None = None
    ) -> bool:
        """Append a row; whether it is the best so far."""
        best = not self.validation_nats or nats < self.best_nats
        columns = (self.epochs, self.steps, self.seconds, self.ms_per_step, self.validation_nats)
        for column, value in zip(columns, (epoch, step, seconds, ms_per_step, nats), strict=True):
            column.append(value)  # type: ignore[attr-defined]
        self.training_loss += [None] * (len(self.epochs) - 1 - len(self.training_loss))  # of earlier versions
        self.training_loss.append(objective)
        return best

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draw the validation value by epoch, nats, into ``axes`` (None: a new figure), and mark the best; the axes."""
        if axes is None:
            from matplotlib import pyplot as plt  # imported here: it takes a second

            axes = plt.subplots()[1]
        axes.plot(self.epochs, self.validation_nats, label="validation (exact)")
        axes.plot([self.best_epoch], [self.best_nats], "o", label=f"best: {self.best_nats:.2f} nats")
        axes.set_xlabel("epoch")
        axes.set_ylabel("negative log-likelihood, nats")
        axes.legend()
        return axes

    def __repr__(self) -> str:
        if not self.epochs:
            return "History(no validation yet)"
        ended = ", interrupted" if self.interrupted else ""
        best = f"best validation {self.best_nats:.2f} nats at epoch {self.best_epoch}"
        return f"History({self.epochs[-1]} epochs{ended}: {best})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{epoch}</td><td>{nats:.4g}</td></tr>"
            for epoch, nats in zip(self.epochs[-5:], self.validation_nats[-5:], strict=True)
        )
        return f"<code>{escape(repr(self))}</code><table><tr><th>epoch</th><th>validation, nats</th></tr>{rows}</table>"

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, for JSON and checkpoints; without columns that earlier versions lack, where
        they are empty."""
        return {key: value for key, value in asdict(self).items() if key in _FIRST or value}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "History":
        """The history that ``as_dict`` gave; ValueError if a column is missing, unknown, or of another length."""
        wanted = {column.name for column in fields(cls)}
        if not _FIRST <= set(stored) <= wanted:
            got = ", ".join(sorted(stored))
            raise ValueError(f"History: expected the entries {', '.join(sorted(_FIRST))}, got {got}.")
        wrong = list(mismatches(stored, cls, "the history"))
        wrong = wrong or list(mismatches(stored["settings"], _SETTINGS, "the history, settings"))
        if wrong:
            raise ValueError("; ".join(wrong[:4]))
        rows = {name: len(stored[name]) for name in ("epochs", "steps", "seconds", "ms_per_step", "validation_nats")}
        if len(set(rows.values())) > 1 or 0 in rows.values():
            got = ", ".join(f"{count} {name}" for name, count in rows.items())
            raise ValueError(f"History: expected columns of one length, at least 1, got {got}.")
        return cls(**stored)


#: The entries of ``as_dict`` in every version.
_FIRST = {column.name for column in fields(History)} - {"training_loss", "interrupted"}


def restore_history(path: str | Path) -> History:
    """The history in a checkpoint of ``fit``; ``restore`` gives its flow.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, or holds a flow that ``save`` wrote, and no run.

    Example:
        >>> flow = snf.build("dense-exact", (2,))
        >>> history = snf.fit(flow, "moons", epochs=1, batch_size=1000, checkpoint="run.pt", progress=False)
        >>> snf.restore_history("run.pt") == history
        True
    """
    state = checkpoints.read(path)["training"]
    if state is None:
        raise checkpoints.CheckpointError(f"{path}: holds a flow, not a run.")
    return History.from_dict(state["history"])
