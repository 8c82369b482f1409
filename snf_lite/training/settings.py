"""What a training run was asked to do, and its learning rate at every step."""

import math
from dataclasses import dataclass

from snf_lite.runtime import checks
from snf_lite.runtime.rng import require_seed


@dataclass(frozen=True)
class Settings:
    """What decides a run, besides its data and its model; ``fit`` says what each means."""

    epochs: int
    batch_size: int
    lr: float
    seed: int
    whiten: bool
    warmup_epochs: float
    decay: str
    clip_norm: float | None
    evaluate_every: int
    augment: bool = False

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every"):
            self._coerce(name, checks.positive_integer(getattr(self, name), name, "fit"))
        self._coerce("lr", checks.number_between(self.lr, 0, math.inf, "lr", "fit"))
        self._coerce("warmup_epochs", checks.non_negative(self.warmup_epochs, "warmup_epochs", "fit"))
        if self.clip_norm is not None:
            self._coerce("clip_norm", checks.number_between(self.clip_norm, 0, math.inf, "clip_norm", "fit"))
        if self.decay not in ("constant", "cosine"):
            raise ValueError(f"fit: expected decay to be 'constant' or 'cosine', got {self.decay!r}.")
        require_seed(self.seed, "fit")

    def _coerce(self, name: str, value: float) -> None:
        object.__setattr__(self, name, value)  # frozen; a numpy float would not come back from a checkpoint

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step, counted from 0: linear warm-up, times a half cosine over the run if asked.

        With the cosine it is eq-schedule.
        """
        rate = self.lr * min(1.0, (step + 1) / max(1.0, self.warmup_epochs * steps_per_epoch))
        if self.decay == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * step / (self.epochs * steps_per_epoch)))
        return rate
