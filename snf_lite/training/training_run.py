"""The state of a training run: start or resume it, validate, write it to its checkpoint, keep the best weights."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snf_lite.data.augmentation import augmented, require_images
from snf_lite.data.source import DataSource
from snf_lite.flow import Flow
from snf_lite.runtime import checks
from snf_lite.runtime.distributed import Process
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training import checkpoints
from snf_lite.training.adam import adam
from snf_lite.training.checkpoints import CheckpointError
from snf_lite.training.data_parallel import DataParallelStep
from snf_lite.training.evaluation import EVALUATION_BATCH, log_probs, require_fit
from snf_lite.training.history import History
from snf_lite.training.settings import TrainingConfig, completed

#: Maximum number of training examples from which a fresh flow is initialized.
INITIAL_EXAMPLES = 10_000
#: Exceptions of a run that diverges.
_DIVERGED = (FloatingPointError, checks.NotInvertibleError)


class TrainingRun:
    """A training run between two steps: all that the next step depends on.

    Args:
        flow: Flow to train; moved to the process's device.
        training: Examples to train on.
        held_out: Examples that choose the best weights.
        config: Settings of the run.
        process: This process.
        checkpoint: File of the run; None keeps no checkpoint.
        loss: Loss other than the flow's own: a run is not resumed with another one.

    Raises:
        ValueError, TypeError: data or settings that do not fit the flow or the device.
    """

    def __init__(
        self, flow: Flow, training: DataSource, held_out: DataSource, config: TrainingConfig,
        process: Process, checkpoint: str | Path | None, loss: Callable[[Flow, Tensor], Tensor] | None = None,
    ) -> None:  # fmt: skip
        for source in (training, held_out):
            require_fit(source, flow)
        if config.augment:
            require_images(flow.event_shape, f"{training}, augment=True")
        config.require_supported(process)
        trained = [weight for weight in flow.to(process.device).parameters() if weight.requires_grad]
        if not trained:
            raise ValueError("fit: expected a flow with something to train, got one without trainable parameters.")
        self.flow, self.config, self.process = flow, config, process
        self.optimizer = adam(trained, config.lr, capturable=config.cuda_graph)
        self.parallel: DataParallelStep | None = None
        self.full_batch = len(process.shard(torch.arange(config.batch_size))[0])
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        processes = {} if process.world_size == 1 else {"processes": process.world_size}
        data = {"data": training.identity(), "validation": held_out.identity()}
        other_loss = {} if loss is None else {"loss": getattr(loss, "__qualname__", type(loss).__name__)}
        self.history = History({**asdict(config), **processes, **other_loss, **data}, flow.features)
        self.training, self.held_out = training.on(process.device), held_out.on(process.device)
        self.steps_per_epoch = -(-training.count // config.batch_size)
        self.best: dict[str, Tensor] = {}
        self.epoch = self.step = 0
        self.written: int | None = None  # the epoch in the checkpoint on disk
        self.clock = {"seconds": 0.0, "stepping": 0.0, "stepped": 0}

    # ---- start and resume --------------------------------------------------------------------------------------------

    def start(self, resume: bool) -> None:
        """Resume the run in the checkpoint if there is one and ``resume`` is set; else initialize and validate."""
        path = self.checkpoint if resume else None
        stored = self.process.on_main(lambda: checkpoints.read(path) if path is not None and path.exists() else None)
        if stored is not None:
            self._resume(stored)
        else:
            self.process.on_main(self._initialise)
        if self.process.world_size > 1:
            self.parallel = DataParallelStep(self.flow, self.process)
        if stored is None:
            self._validate()
            self._write()

    def _initialise(self) -> None:
        if not bool(self.flow.initialised) and not self.flow.is_fresh and self.config.whiten:
            message = "fit: whiten=True is left out: the flow's weights were trained or loaded before."
            warnings.warn(f"{message} flow.initialise(batch, whiten=True) overwrites them.", stacklevel=2)
        if self.flow.is_fresh:
            with isolated_rng(self.process.device, self.config.seed, "initialise"):
                chosen = torch.randperm(self.training.count)[:INITIAL_EXAMPLES]
                self.flow.initialise(self.training.at(chosen, self.process.device), self.config.whiten)

    def _resume(self, stored: dict[str, Any]) -> None:
        state = stored["training"]
        if state is None:
            raise CheckpointError(
                f"{self.checkpoint}: holds a flow, not a run; resume=False (--overwrite) replaces it."
            )
        if "optimizer" not in state:
            raise CheckpointError(f"{self.checkpoint}: a run of an earlier version, which this one cannot resume.")
        self._require_same_run(stored["architecture"], state)
        self.flow.load_state_dict(state["weights"])
        self.flow.clear_cache()
        group = self.optimizer.param_groups[0]
        own = {name: group[name] for name in ("lr", "capturable")}  # not those of the process that wrote the state
        self.optimizer.load_state_dict(state["optimizer"])
        self.optimizer.param_groups[0].update(own)
        self.best, self.epoch, self.clock = stored["weights"], state["epoch"], state["clock"]
        self.written, self.step = self.epoch, self.epoch * self.steps_per_epoch
        asked, self.history = self.history.settings, History.from_dict(state["history"])
        if self.epoch < self.config.epochs:  # else nothing is trained, and the settings are those of the training
            self.history.settings = asked
            self.history.resumed_at.append(self.epoch)

    def _require_same_run(self, architecture: dict[str, Any], state: dict[str, Any]) -> None:
        there, here = dict(state["history"]["settings"]), dict(self.history.settings)
        if self.config.decay == "constant" and self.config.epochs >= state["epoch"]:
            there["epochs"] = here["epochs"]  # a longer run has the same steps up to here
        found = checkpoints.described_differences(architecture, checkpoints.architecture(self.flow))
        found += checkpoints.differences(_comparable(there), _comparable(here))
        if found:
            message = f"{self.checkpoint}: belongs to another run: {'; '.join(found)}."
            raise CheckpointError(f"{message} resume=False (--overwrite) starts from scratch.")

    # ---- an epoch ----------------------------------------------------------------------------------------------------

    @contextmanager
    def seeded_epoch(self, epoch: int) -> Iterator[Tensor]:
        """The order of an epoch's examples; within the block random numbers depend on the seed and the epoch alone.

        An exception of a step that diverges is raised again with the step, the epoch and the state of the checkpoint.
        """
        started, key = time.perf_counter(), (self.config.seed, "epoch", epoch)
        own: Any = nullcontext()
        if self.process.world_size > 1:  # one process draws on from the order; each of several has noise of its own
            own = isolated_rng(self.process.device, *key, "process", self.process.rank)
        try:
            with isolated_rng(self.process.device, *key):
                order = torch.randperm(self.training.count).to(self.process.device)
                with own:
                    yield order
        except _DIVERGED as error:
            raise self._located(error, f"at step {self.step + 1}, in epoch {epoch}") from error
        self.epoch = epoch
        seconds = time.perf_counter() - started
        self.clock["seconds"] += seconds
        self.clock["stepping"] += seconds
        self.clock["stepped"] += self.steps_per_epoch

    def batch(self, indices: Tensor) -> Tensor:
        """This process's share of the examples at ``indices``, augmented if asked."""
        share, weight = self.process.shard(indices)
        if self.parallel is not None:
            self.parallel.weight = weight
        examples = self.training.at(share, self.process.device)  # (B, *event_shape)
        return augmented(examples) if self.config.augment else examples

    def finish_epoch(self) -> None:
        """Validate if it is due, and write the checkpoint."""
        if self.epoch % self.config.evaluate_every == 0 or self.epoch == self.config.epochs:
            self._validate()
        self._write()

    def status(self) -> str:
        """The last exact validation value, for the progress bar."""
        nats, bits = self.history.validation_nats[-1], self.history.validation_bits_per_dim[-1]
        return f"epoch {self.history.epochs[-1]}: validation {nats:.2f} nats, {bits:.3f} bits/dim"

    def finish(self) -> History:
        """Load the best weights into the flow; the history of the run."""
        self.flow.load_state_dict(self.best)
        self.flow.clear_cache()
        self.flow.zero_grad()
        return self.history

    # ---- validation and checkpoint -----------------------------------------------------------------------------------

    def _validate(self) -> None:
        """Add the exact validation value to the history; keep the weights if they are the best."""
        nats, self.clock = self.process.on_main(self._validation)
        ms_per_step = 1000 * self.clock["stepping"] / max(1, self.clock["stepped"])
        self.clock |= {"stepping": 0.0, "stepped": 0}
        if self.history.add(self.epoch, self.step, self.clock["seconds"], ms_per_step, nats):
            self.best = {name: value.detach().clone() for name, value in self.flow.state_dict().items()}

    def _validation(self) -> tuple[float, dict[str, float]]:
        """The validation value in nats, and the clock that includes the time it took."""
        started = time.perf_counter()
        try:
            nats = -float(log_probs(self.flow, self.held_out, EVALUATION_BATCH, self.config.seed).mean())
        except _DIVERGED as error:
            raise self._located(error, f"at the validation after epoch {self.epoch}, step {self.step}") from error
        return nats, {**self.clock, "seconds": self.clock["seconds"] + time.perf_counter() - started}

    def _located(self, error: Exception, where: str) -> Exception:
        kept = f"{self.checkpoint} holds the run up to epoch {self.written}, intact."
        return type(error)(f"{error} This was {where}. {'No checkpoint was kept.' if self.written is None else kept}")

    def _write(self) -> None:
        if self.checkpoint is None:
            return
        state = {
            "epoch": self.epoch,
            "weights": dict(self.flow.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history.as_dict(),
            "clock": self.clock,
        }
        path = self.checkpoint
        self.process.on_main(lambda: checkpoints.write(path, self.flow, self.best, state))
        self.written = self.epoch


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that two runs must share: data count by content, not by name, and speed options do not count."""
    contents = {key: settings[key] for key in ("data", "validation")}
    data = {key: f"{c['count']} examples, SHA-256 {c['sha256'][:16]}" for key, c in contents.items()}
    kept = {key: value for key, value in settings.items() if key not in ("compile", "cuda_graph", "processes")}
    return {**completed({"loss": "Flow.loss", **kept}), **data}
