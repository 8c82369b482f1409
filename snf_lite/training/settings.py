"""The settings of a training run, declared once for ``fit``, the command line, records and their comparison."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from snf_lite.runtime import checks
from snf_lite.runtime.distributed import Process
from snf_lite.runtime.rng import require_seed

DECAYS = ("constant", "cosine")
#: What float32 numbers become inside matrix products and convolutions; everything else stays float32.
PRECISIONS = ("float32", "tf32", "bf16")


def _option(default: Any, text: str, choices: tuple[str, ...] | None = None) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class TrainingConfig:
    """The keywords of ``fit`` that decide a run, besides its flow and its data; ``fit`` describes each.

    The metadata of a field hold its ``help`` and ``choices`` on the command line.

    Raises:
        ValueError: a value that does not fit; the message names the field and what it got.
    """

    epochs: int = _option(100, "total number of epochs; a larger value extends a finished run")
    batch_size: int = _option(100, "examples per step")
    lr: float = _option(1e-3, "Adam's learning rate")
    seed: int = _option(0, "random seed")
    whiten: bool = _option(False, "initialize dense layers so that they whiten the training data")
    warmup_epochs: float = _option(1.0, "epochs over which the learning rate rises linearly")
    decay: str = _option("constant", "learning-rate schedule after the warm-up", DECAYS)
    clip_norm: float | None = _option(None, "maximum gradient norm; larger gradients are scaled down (default: none)")
    evaluate_every: int = _option(1, "epochs between two validations")
    decay_epochs: int | None = _option(None, "epochs at whose end the cosine is 0 (default: those of the first call)")
    patience: int | None = _option(None, "epochs without a better validation after which training ends (default: none)")
    augment: bool = _option(False, "random horizontal flips and shifts of training images")
    compile: bool = _option(False, "compile the loss: faster steps after minutes of compilation")
    cuda_graph: bool = _option(False, "replay each step as one CUDA graph")
    precision: str = _option(
        "float32", "precision of matrix products and convolutions during training", PRECISIONS
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every"):
            self._coerce(name, checks.positive_integer(getattr(self, name), name, "fit"))
        self._coerce("lr", checks.number_between(self.lr, 0, math.inf, "lr", "fit"))
        self._coerce("warmup_epochs", checks.non_negative(self.warmup_epochs, "warmup_epochs", "fit"))
        if self.clip_norm is not None:
            self._coerce("clip_norm", checks.number_between(self.clip_norm, 0, math.inf, "clip_norm", "fit"))
        for name in ("decay_epochs", "patience"):
            if getattr(self, name) is not None:
                self._coerce(name, checks.positive_integer(getattr(self, name), name, "fit"))
        if self.decay not in DECAYS:
            raise ValueError(f"fit: expected decay to be 'constant' or 'cosine', got {self.decay!r}.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"fit: expected precision to be one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        self._coerce("seed", require_seed(self.seed, "fit"))

    def _coerce(self, name: str, value: float) -> None:
        object.__setattr__(self, name, value)  # the class is frozen, and a checkpoint cannot restore a numpy float

    def require_supported(self, process: Process) -> None:
        """Refuse options that the process or its device does not support, with ValueError."""
        for asked, name in ((self.cuda_graph, "cuda_graph=True"), (self.precision == "tf32", "precision='tf32'")):
            if asked and process.device.type != "cuda":
                raise ValueError(f"fit: {name} needs a CUDA device, got {process.device}.")
        if self.cuda_graph and process.world_size > 1:
            raise ValueError(f"fit: cuda_graph=True is for one process, got {process.world_size}; leave it out.")

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of a step, counted from 0: linear warm-up, times a half cosine over the run if asked.

        With the cosine it is eq-schedule, over ``decay_epochs``, and 0 after them.
        """
        rate = self.lr * min(1.0, (step + 1) / max(1.0, self.warmup_epochs * steps_per_epoch))
        if self.decay == "cosine":
            decay_steps = (self.decay_epochs or self.epochs) * steps_per_epoch
            rate *= 0.5 * (1 + math.cos(math.pi * min(step, decay_steps) / decay_steps))
        return rate

    @contextmanager
    def autocast(self, device: torch.device) -> Iterator[None]:
        """Within the block matrix products and convolutions have the ``precision``."""
        if self.precision == "bf16":
            with torch.autocast(device.type, torch.bfloat16):
                yield
        elif self.precision == "tf32":
            matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
            before = matmul.allow_tf32, cudnn.allow_tf32
            matmul.allow_tf32 = cudnn.allow_tf32 = True
            try:
                yield
            finally:
                matmul.allow_tf32, cudnn.allow_tf32 = before
        else:
            yield


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Stored settings of a run; a field that is newer than they are counts as its default."""
    return {**asdict(TrainingConfig()), **settings}
