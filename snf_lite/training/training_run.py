"""The state of a training run: start or resume it, validate, write it to its checkpoint, keep the best weights."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snf_lite.data.augmentation import augmented, require_images
from snf_lite.data.source import DataSource
from snf_lite.flow import Flow
from snf_lite.runtime import checks
from snf_lite.runtime.distributed import Process
from snf_lite.runtime.files import expanded
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training import checkpoints
from snf_lite.training.checkpoints import CheckpointError
from snf_lite.training.data_parallel import DataParallelStep
from snf_lite.training.evaluation import EVALUATION_BATCH, fitted, log_probs, mean_nats
from snf_lite.training.history import History
from snf_lite.training.loop.advice import warn_if_poor, warn_if_rate_ends, warn_if_unscaled, warn_of_interrupt
from snf_lite.training.loop.callbacks import Callback, any_stops, out_of_patience
from snf_lite.training.loop.objective import Objective
from snf_lite.training.loop.optimizers import Optimization, OptimizerLike, SchedulerLike
from snf_lite.training.loop.resumption import decay_epochs, other_run
from snf_lite.training.settings import TrainingConfig
from snf_lite.training.step import compiled

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
        optimizer, scheduler: Optimizer and scheduler other than Adam and the schedule of ``config``; likewise.

    Raises:
        ValueError, TypeError: data or settings that do not fit the flow or the device.
    """

    def __init__(
        self, flow: Flow, training: DataSource, held_out: DataSource, config: TrainingConfig,
        process: Process, checkpoint: str | Path | None, loss: Callable[..., Tensor] | None = None,
        optimizer: OptimizerLike | None = None, scheduler: SchedulerLike | None = None,
    ) -> None:  # fmt: skip
        training, held_out = (fitted(source, flow) for source in (training, held_out))
        if config.augment:
            require_images(flow.event_shape, f"{training}, augment=True")
        config.require_supported(process)
        trained = {name: weight for name, weight in flow.to(process.device).named_parameters() if weight.requires_grad}
        if not trained:
            raise ValueError("fit: expected a flow with something to train, got one without trainable parameters.")
        if any(weight.is_inference() for weight in trained.values()):
            raise ValueError(
                "fit: expected a flow built outside of torch.inference_mode, got one that cannot be trained."
            )
        self.flow, self.config, self.process = flow, config, process
        self.optimization = Optimization(trained, config, optimizer, scheduler)
        self.optimizer = self.optimization.optimizer
        self.parallel: DataParallelStep | None = None
        self.full_batch = len(process.shard(torch.arange(config.batch_size, device="cpu"))[0])
        self.checkpoint = None if checkpoint is None else expanded(checkpoint)
        processes = {} if process.world_size == 1 else {"processes": process.world_size}
        data = {"data": training.identity(), "validation": held_out.identity()}
        other_loss = {} if loss is None else {"loss": getattr(loss, "__qualname__", type(loss).__name__)}
        settings = {**asdict(config), **processes, **other_loss, **self.optimization.description, **data}
        self.history = History(settings, flow.features)
        self.training, self.held_out = training.on(process.device), held_out.on(process.device)
        self.steps_per_epoch = -(-training.count // config.batch_size)
        self.best: dict[str, Tensor] = {}
        self.epoch = self.step = self.began = 0
        self.stopped = False
        self.written: int | None = None  # the epoch in the checkpoint on disk
        self.clock = {"seconds": 0.0, "stepping": 0.0, "stepped": 0, "objective": 0.0}
        own = flow.loss if loss is None else partial(loss, flow)
        own = compiled(own, self.full_batch) if config.compile else own
        self.objective = Objective(own, loss is not None, torch.zeros((), dtype=flow.dtype, device=process.device))

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
        self.began = self.epoch
        if stored is None:
            self._validate()
            if self.process.is_main:
                warn_if_unscaled(self.flow, self.held_out, self.history.validation_nats[0])
            self._write()

    def _initialise(self) -> None:
        fresh = self.flow.is_fresh
        if not bool(self.flow.initialised) and not fresh and self.config.whiten:
            message = "fit: whiten=True is left out: the flow's weights were trained or loaded before."
            checks.warn(f"{message} flow.initialise(batch, whiten=True) overwrites them.")
        if fresh:
            with isolated_rng(self.process.device, self.config.seed, "initialise"):
                chosen = torch.randperm(self.training.count, device="cpu")[:INITIAL_EXAMPLES]
                given = self.training.context_at(chosen, self.process.device)
                self.flow.initialise(self.training.at(chosen, self.process.device), self.config.whiten, **given)

    def _resume(self, stored: dict[str, Any]) -> None:
        state = stored["training"]
        if state is None:
            raise CheckpointError(
                f"{self.checkpoint}: holds a flow, not a run; resume=False (--overwrite) replaces it."
            )
        if "optimizer" not in state:
            raise CheckpointError(f"{self.checkpoint}: a run of an earlier version, which this one cannot resume.")
        self._load(stored, state)
        self.written, self.step = self.epoch, self.epoch * self.steps_per_epoch
        asked, self.history = self.history.settings, History.from_dict(state["history"])
        self.stopped = out_of_patience(self.history, self.config.patience)
        goes_on = self.epoch < self.config.epochs and not self.stopped
        horizon = decay_epochs(self.history, self.config)
        if goes_on:
            self.config = replace(self.config, decay_epochs=horizon)
            self.history.settings = {**asked, "decay_epochs": horizon}
            self.history.resumed_at.append(self.epoch)
            if self.process.is_main:
                warn_if_rate_ends(self.config, asked["decay_epochs"])
        elif self.epoch < self.history.settings["epochs"] and not self.stopped:  # it ends here
            self.history.settings |= {"epochs": self.epoch, "decay_epochs": horizon}

    def _load(self, stored: dict[str, Any], state: dict[str, Any]) -> None:
        """Take over a checkpoint, after a check of what it holds: its digest shows damage, not who wrote it."""
        try:
            history = History.from_dict(state["history"])
            if found := other_run(stored, self.flow, self.history, self.optimization.names):
                message = f"belongs to another run: {found}. resume=False (--overwrite) starts from scratch."
                raise CheckpointError(f"{self.checkpoint}: {message}")
            if not history.epochs[0] == 0 <= history.epochs[-1] <= state["epoch"] < 2**31:
                raise ValueError(f"its history ends at epoch {history.epochs[-1]}, its epoch is {state['epoch']}")
            for weights in (stored["weights"], state["weights"]):
                checkpoints.require_fitting(weights, self.flow)
            self.optimization.load(state)
        except CheckpointError:
            raise
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
            raise CheckpointError(f"{self.checkpoint}: its run cannot be resumed: {error}") from error
        self.flow.load_state_dict(state["weights"])
        self.flow.clear_cache()
        self.best, self.epoch = stored["weights"], state["epoch"]
        self.clock = {name: state["clock"].get(name, value) for name, value in self.clock.items()}

    # ---- an epoch ----------------------------------------------------------------------------------------------------

    @property
    def resumption(self) -> str:
        """What a resumed run does, in a line."""
        if self.began < self.config.epochs and not self.stopped:
            return f"going on from epoch {self.began}"
        return f"nothing to train: {self.checkpoint} holds {self.began} epochs; more epochs extend the run"

    def remaining_epochs(self) -> Iterator[int]:
        """The epochs still to train, from 1, until a callback or ``patience`` ends the run."""
        while self.epoch < self.config.epochs and not self.stopped:
            yield self.epoch + 1

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
                order = torch.randperm(self.training.count, device="cpu").to(self.process.device)
                with own:
                    yield order
        except _DIVERGED as error:
            raise self._located(error, f"at step {self.step + 1}, in epoch {epoch}") from error
        self.epoch = epoch
        seconds = time.perf_counter() - started
        self.clock["seconds"] += seconds
        self.clock["stepping"] += seconds
        self.clock["stepped"] += self.steps_per_epoch
        mean = self.objective.take_mean(self.steps_per_epoch)
        if self.parallel is not None:
            self.process.average([mean], 1.0)
        self.clock["objective"] += float(mean) * self.steps_per_epoch

    def batch(self, indices: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """This process's share of the examples at ``indices``, augmented if asked, and their context and weights."""
        share, weight = self.process.shard(indices)
        if self.parallel is not None:
            self.parallel.weight = self.objective.share = weight
        examples = self.training.at(share, self.process.device)  # (B, *event_shape)
        extras = self.training.extras_at(share, self.process.device)
        return augmented(examples) if self.config.augment else examples, extras

    def learning_rate(self) -> float:
        """The learning rate of the next step, which is set in all groups of the optimizer but the first."""
        return self.optimization.before_step(self.config, self.step, self.steps_per_epoch)

    def finish_step(self) -> None:
        """Count a step, and step a scheduler that counts them."""
        self.optimization.after_step()
        self.step += 1

    def finish_epoch(self, callbacks: Sequence[Callback] = ()) -> None:
        """Validate if it is due, step a scheduler, call the callbacks after a validation, and write the checkpoint."""
        validated = self.epoch % self.config.evaluate_every == 0 or self.epoch == self.config.epochs
        if validated:
            self._validate()
        self.optimization.after_epoch(self.history.validation_nats[-1] if validated else None)
        self._write()
        if validated:
            called = self.process.on_main(lambda: any_stops(callbacks, self.history, self.flow, self.config.seed))
            self.stopped = called or out_of_patience(self.history, self.config.patience)

    def status(self) -> str:
        """The last exact validation value, for the progress bar; of pixels in bits/dim too."""
        nats, bits = self.history.validation_nats[-1], self.history.validation_bits_per_dim[-1]
        of_pixels = "" if self.flow.levels is None else f", {bits:.3f} bits/dim"
        return f"epoch {self.history.epochs[-1]}: validation {nats:.2f} nats{of_pixels}"

    def interrupt(self) -> None:
        """Note that Ctrl-C ended the run."""
        self.history.interrupted = True
        warn_of_interrupt(self.history, self.epoch + 1, self.checkpoint, self.written)

    def finish(self) -> History:
        """Load the best weights into the flow; the history of the run. The checkpoint has to be this run's still."""
        path, complete = self.checkpoint, not self.history.interrupted  # Ctrl-C may have come before the last write
        if path is not None and complete and (path.is_file() or not path.exists()):
            self.process.on_main(lambda: checkpoints.require_run(checkpoints.read(path), self.history.as_dict(), path))
        self.flow.load_state_dict(self.best)
        self.flow.clear_cache()
        self.flow.zero_grad()
        if self.epoch > self.began and self.process.is_main and not self.history.interrupted:
            warn_if_poor(self.history)
        return self.history

    # ---- validation and checkpoint -----------------------------------------------------------------------------------

    def _validate(self) -> None:
        """Add the exact validation value to the history; keep the weights if they are the best."""
        nats, self.clock = self.process.on_main(self._validation)
        stepped = max(1, self.clock["stepped"])
        ms_per_step = 1000 * self.clock["stepping"] / stepped
        objective = self.clock["objective"] / stepped if self.clock["stepped"] else None
        self.clock |= {"stepping": 0.0, "stepped": 0, "objective": 0.0}
        if self.history.add(self.epoch, self.step, self.clock["seconds"], ms_per_step, nats, objective):
            self.best = {name: value.detach().clone() for name, value in self.flow.state_dict().items()}

    def _validation(self) -> tuple[float, dict[str, float]]:
        """The validation value in nats, and the clock that includes the time it took."""
        started = time.perf_counter()
        try:
            found = log_probs(self.flow, self.held_out, EVALUATION_BATCH, self.config.seed)
            nats = mean_nats(found, self.held_out.weights)[0]
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
            **self.optimization.state(),
            "history": self.history.as_dict(),
            "clock": self.clock,
        }
        path = self.checkpoint
        self.process.on_main(lambda: checkpoints.write(path, self.flow, self.best, state))
        self.written = self.epoch
