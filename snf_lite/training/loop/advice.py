"""Warnings about a run that cannot have gone as meant: columns far from unit scale, no improvement, divergence."""

import math
from pathlib import Path

from torch import Tensor

from snf_lite.data.source import DataSource
from snf_lite.flow import Flow
from snf_lite.runtime import checks
from snf_lite.training.history import History
from snf_lite.training.settings import TrainingConfig

#: Nats per dimension by which a fresh flow may be worse than independent normal densities of the columns.
UNSCALED = 100.0
#: Validations after which a run that never improved is warned of.
MANY = 3
#: Nats per dimension by which the last validation has to be above the one before training.
WORSE = 0.1
#: Nats by which it has to be above the best.
DIVERGED = 10.0


def warn_if_unscaled(flow: Flow, source: DataSource, nats: float) -> None:
    """Warn of a table whose columns are far from the scale of the base density, by the value before training.

    Args:
        flow: Flow before its first step.
        source: Validation examples.
        nats: Their exact NLL.
    """
    table = source.source
    if flow.levels is not None or not isinstance(table, Tensor) or table.dim() != 2 or len(table) < 2:
        return
    values = table.double() if table.device.type != "mps" else table
    deviations, means = values.std(0), values.mean(0)
    normal = float(deviations.clamp_min(1e-12).log().sum()) + 0.5 * table.shape[1] * math.log(2 * math.pi * math.e)
    if nats - normal > UNSCALED * table.shape[1]:
        low, high, far = float(deviations.min()), float(deviations.max()), float(means.abs().max())
        _warn(
            f"the columns of {source} have deviations from {low:.3g} to {high:.3g} and means up to {far:.3g}, and the "
            "flow begins far from them: put snf.Standardize in front, or pass whiten=True, or build the flow with "
            "standardize=True where its builder has that setting."
        )


def warn_if_poor(history: History) -> None:
    """Warn at the end of a run that never improved, or ended far above its best value."""
    first, last, best = history.validation_nats[0], history.validation_nats[-1], history.best_nats
    epochs = history.epochs[-1]
    if len(history.epochs) > MANY and history.best_epoch == 0 and last > first + WORSE * history.features:
        _warn(
            f"no validation of {epochs} epochs was better than that before training, {first:.4g} nats (the last: "
            f"{last:.4g}); the flow is as it was. A smaller lr, or validation data of the same kind, may help."
        )
    elif last - best > max(DIVERGED, abs(best)):
        _warn(
            f"the last validation, {last:.4g} nats, is far above the best, {best:.4g} at epoch {history.best_epoch} of "
            f"{epochs}, whose weights the flow holds: training diverged or overfits. A smaller lr, clip_norm= or "
            "patience= may help."
        )


def warn_if_rate_ends(config: TrainingConfig, asked: int | None) -> None:
    """Warn of a run that is extended beyond its cosine, where the learning rate is 0; not if that was ``asked``."""
    if config.decay == "cosine" and asked is None and config.decay_epochs and config.decay_epochs < config.epochs:
        advice = f"decay_epochs={config.epochs} (--decay-epochs {config.epochs}) stretches it"
        _warn(
            f"the cosine of this run ends at epoch {config.decay_epochs}, and there the learning rate is 0: {advice}."
        )


def warn_of_interrupt(history: History, epoch: int, checkpoint: Path | None, written: int | None) -> None:
    """Warn what the flow holds after Ctrl-C in an epoch, and what the checkpoint."""
    kept = "" if checkpoint is None else f"; {checkpoint} resumes after epoch {written}"
    best = f"epoch {history.best_epoch}, {history.best_nats:.2f} nats"
    _warn(f"interrupted in epoch {epoch}; the flow holds the weights of {best}{kept}.")


def _warn(text: str) -> None:
    checks.warn(f"fit: {text}")
