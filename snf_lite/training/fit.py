"""Training: one loop that can be read from top to bottom, and that survives a kill."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from snf_lite.data.augmentation import augmented, require_images
from snf_lite.data.source import Data, DataSource, training_and_validation
from snf_lite.flow import Flow
from snf_lite.runtime import checks, distributed
from snf_lite.runtime.devices import choose_device
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training import checkpoints
from snf_lite.training.checkpoints import CheckpointError
from snf_lite.training.evaluation import EVALUATION_BATCH, log_probs, require_fit
from snf_lite.training.history import History
from snf_lite.training.settings import Settings
from snf_lite.training.step import StepOptions, TrainingStep

#: A fresh flow is initialised from at most this many training events.
INITIAL_EVENTS = 10_000


def fit(
    flow: Flow,
    data: Data,
    epochs: int,
    batch_size: int = 100,
    lr: float = 1e-3,
    device: torch.device | str | None = None,
    seed: int = 0,
    whiten: bool = False,
    checkpoint: str | Path | None = None,
    resume: bool = True,
    *,
    validation: Data | None = None,
    warmup_epochs: float = 1.0,
    decay: str = "constant",
    clip_norm: float | None = None,
    evaluate_every: int = 1,
    progress: bool | None = None,
    compile: bool = False,
    cuda_graph: bool = False,
    precision: str = "float32",
    augment: bool = False,
) -> History:
    """Train a flow by Adam on ``flow.loss``; afterwards it holds the weights of the best exact validation likelihood.

    A fresh flow is first initialised from up to ``INITIAL_EVENTS`` training events. Order and noise of an epoch depend
    on the seed and the epoch alone, and torch's global generators are left as they were: a run that is killed and taken
    up again from its checkpoint ends, on the CPU, with the same bits as one that was not.

    Called in each process that ``torchrun`` started, it trains one flow: each process takes its share of every batch,
    the gradients are averaged, and the first one validates and writes. The steps are those of one process, but for
    rounding and for noise: each process draws its own.

    Args:
        flow: moved to the device, where it stays.
        data: a name that ``load`` knows, a tensor (N, *event_shape), or a map-style Dataset of events or (event, …).
        epochs: how many in all, those before a resumption included.
        batch_size: events in a step, of all processes together; the last step of an epoch takes what is left.
        lr: Adam's learning rate (β = 0.9, 0.999) after the warm-up.
        device: None takes the CUDA device if there is one, else the CPU; of several processes each its own.
        seed: of order and noise. The weights of the fresh flow are not its business: they were drawn when it was built.
        whiten: passed to ``flow.initialise``.
        checkpoint: a file written before the first epoch and after each, whole or not at all.
        resume: take up the run in ``checkpoint`` if there is one; of a finished run the history is given back at once,
            and more ``epochs`` extend it. False starts anew and overwrites it.
        validation: what the best weights are chosen by. None: a name's own validation split; of a tensor or Dataset the
            last tenth is held out and not trained on.
        warmup_epochs: over how many epochs the learning rate rises linearly.
        decay: "constant", or "cosine": down to 0 at the last epoch.
        clip_norm: gradients of a larger norm, over all parameters, are scaled down to it.
        evaluate_every: validate each so many epochs, and after the last.
        progress: show a bar with the validation value; None: if stderr is a terminal.

        compile: compile the loss by ``torch.compile``, which takes minutes for deep flows. What checks values, such as
            that an exact convolution has lost no digits, steps aside in compiled code.
        cuda_graph: on a CUDA device, record a whole step once and replay it, which spares the processor's part in it.
            Not for layers that factorise, nor in several processes. A gradient that is not finite is noticed after
            its step.
        precision: of matrix products and convolutions in training: "float32"; "tf32", on a CUDA device; or "bf16".
            Weights, log-determinants and everything that is evaluated stay float32.
        augment: mirror and move the images of each training batch by chance (``augment.augmented``).

    Raises:
        ValueError, TypeError: a setting or data that do not fit; the message names what was got and what was wanted.
        CheckpointError: the checkpoint is damaged, or belongs to another model or run; the message says what differs.
        FloatingPointError, NotInvertibleError: training has left the finite; the message names layer, step and epoch.
        OSError: the checkpoint cannot be written; the one before it is intact.

    Example:
        >>> flow = snf.build("dense-exact", (1, 8, 8), levels=17)
        >>> history = snf.fit(flow, "digits", epochs=1, progress=False)
        >>> history.validation_nats[-1] < history.validation_nats[0]
        True
    """
    settings = Settings(epochs, batch_size, lr, seed, whiten, warmup_epochs, decay, clip_norm, evaluate_every, augment)
    means = StepOptions(compile, cuda_graph, precision)
    training, held_out = training_and_validation(data, validation)
    chosen = choose_device(device)
    distributed.init(chosen)
    run = _Run(flow, training, held_out, settings, means, chosen, checkpoint)
    run.start(resume)
    with tqdm(total=epochs * run.steps_per_epoch, initial=run.step, unit="step", disable=_hidden(progress)) as bar:
        for epoch in range(run.epoch + 1, epochs + 1):
            run.train(epoch, bar)
            if epoch % evaluate_every == 0 or epoch == epochs:
                run.validate()
                bar.set_postfix_str(run.standing())
            run.write()
    run.take_best_weights()
    return run.history


def _hidden(progress: bool | None) -> bool | None:
    if not distributed.is_main_process():
        return True
    return None if progress is None else not progress  # None lets tqdm ask whether stderr is a terminal


class _Run:
    """Where a training run stands: all that the next epoch depends on."""

    def __init__(
        self, flow: Flow, training: DataSource, held_out: DataSource, settings: Settings,
        means: StepOptions, device: torch.device, checkpoint: str | Path | None,
    ) -> None:  # fmt: skip
        for events in (training, held_out):
            require_fit(events, flow)
        if settings.augment:
            require_images(flow.event_shape, f"{training}, augment=True")
        whole, _ = distributed.shard(torch.arange(settings.batch_size))
        self.take_step = TrainingStep(flow.to(device), settings.lr, len(whole), settings.clip_norm, means)
        self.flow, self.settings, self.device = flow, settings, device
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        origin = {"data": training.identity(), "validation": held_out.identity()}
        self.history = History({**asdict(settings), **asdict(means), **_processes(), **origin}, flow.features)
        self.training, self.held_out = training.on(device), held_out.on(device)
        self.steps_per_epoch = -(-training.count // settings.batch_size)
        self.best: dict[str, Tensor] = {}
        self.epoch = self.step = 0
        self.written: int | None = None  # the epoch that the checkpoint on disk holds
        self.clock = {"seconds": 0.0, "stepping": 0.0, "stepped": 0}

    def train(self, epoch: int, bar: Any) -> None:
        """One epoch: the training loop itself."""
        started = time.perf_counter()
        try:
            with isolated_rng(self.device, self.settings.seed, "epoch", epoch):
                order = torch.randperm(self.training.count).to(self.device)
                with self._own_noise(epoch):
                    for indices in order.split(self.settings.batch_size):
                        rate = self.settings.learning_rate(self.step, self.steps_per_epoch)
                        mine, weight = distributed.shard(indices)
                        self.take_step(self._batch(mine), rate, weight)
                        self.flow.clear_cache()
                        self.step += 1
                        bar.update()
        except (FloatingPointError, checks.NotInvertibleError) as error:
            raise self._located(error, f"at step {self.step + 1}, in epoch {epoch}") from error
        self.epoch = epoch
        self._count(time.perf_counter() - started)

    def _batch(self, indices: Tensor) -> Tensor:
        events = self.training.at(indices, self.device)
        return augmented(events) if self.settings.augment else events

    def _own_noise(self, epoch: int) -> AbstractContextManager[None]:
        """One process goes on in the stream of the order; each of several draws its noise from its own."""
        if distributed.world_size() == 1:
            return nullcontext()
        return isolated_rng(self.device, self.settings.seed, "epoch", epoch, "process", distributed.rank())

    def _count(self, seconds: float) -> None:
        self.clock["seconds"] += seconds
        self.clock["stepping"] += seconds
        self.clock["stepped"] += self.steps_per_epoch

    def _located(self, error: Exception, where: str) -> Exception:
        """The same error, told where in the run it came and what is left of the run."""
        kept = f"{self.checkpoint} holds the run up to epoch {self.written}, intact."
        return type(error)(f"{error} This was {where}. {'No checkpoint was kept.' if self.written is None else kept}")

    def validate(self) -> None:
        """Add a row of the exact validation likelihood to the history; keep the weights if they are the best."""
        nats, self.clock = distributed.on_main_process(self._judged)
        ms_per_step = 1000 * self.clock["stepping"] / max(1, self.clock["stepped"])
        self.clock |= {"stepping": 0.0, "stepped": 0}
        if self.history.add(self.epoch, self.step, self.clock["seconds"], ms_per_step, nats):
            self.best = {name: value.detach().clone() for name, value in self.flow.state_dict().items()}

    def _judged(self) -> tuple[float, dict[str, float]]:
        """The validation value, nats, and the clock with the time that it took."""
        started = time.perf_counter()
        try:
            nats = -float(log_probs(self.flow, self.held_out, EVALUATION_BATCH, self.settings.seed).mean())
        except (FloatingPointError, checks.NotInvertibleError) as error:
            raise self._located(error, f"at the validation after epoch {self.epoch}, step {self.step}") from error
        return nats, {**self.clock, "seconds": self.clock["seconds"] + time.perf_counter() - started}

    def standing(self) -> str:
        """What the progress bar says: the last exact validation value."""
        nats, bits = self.history.validation_nats[-1], self.history.validation_bits_per_dim[-1]
        return f"epoch {self.epoch}: validation {nats:.2f} nats, {bits:.3f} bits/dim"

    def take_best_weights(self) -> None:
        self.flow.load_state_dict(self.best)
        self.flow.clear_cache()
        self.flow.zero_grad()

    def start(self, resume: bool) -> None:
        """Take up the run in the checkpoint, or begin one."""
        stored = distributed.on_main_process(self._stored) if resume else None
        if stored is not None:
            self._resume(stored)
            return self.take_step.join()
        distributed.on_main_process(self._initialise)
        self.take_step.join()
        self.validate()
        self.write()

    def _stored(self) -> dict[str, Any] | None:
        """What the checkpoint holds, if there is one."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return None
        return checkpoints.read(self.checkpoint)

    def _initialise(self) -> None:
        if not bool(self.flow.initialised):
            with isolated_rng(self.device, self.settings.seed, "initialise"):
                chosen = torch.randperm(self.training.count)[:INITIAL_EVENTS]
                self.flow.initialise(self.training.at(chosen, self.device), self.settings.whiten)

    def write(self) -> None:
        """Put the run on disk, if a checkpoint was asked for."""
        if self.checkpoint is not None:
            distributed.on_main_process(self._write)
            self.written = self.epoch

    def _write(self) -> None:
        assert self.checkpoint is not None
        state = {
            "epoch": self.epoch,
            "weights": dict(self.flow.state_dict()),
            "optimizer": self.take_step.optimizer.state_dict(),
            "history": self.history.as_dict(),
            "clock": self.clock,
        }
        checkpoints.write(self.checkpoint, self.flow, self.best, state)

    def _resume(self, stored: dict[str, Any]) -> None:
        state = stored["training"]
        self._require_same_run(stored["architecture"], state)
        self.flow.load_state_dict(state["weights"])
        self.flow.clear_cache()
        self.take_step.load(state["optimizer"])
        self.best, self.epoch, self.clock = stored["weights"], state["epoch"], state["clock"]
        self.written = self.epoch
        self.step = self.epoch * self.steps_per_epoch
        asked, self.history = self.history.settings, History.from_dict(state["history"])
        if self.epoch < self.settings.epochs:  # else nothing is trained, and the history tells what was
            self.history.settings = asked
            self.history.resumed_at.append(self.epoch)

    def _require_same_run(self, architecture: dict[str, Any], state: dict[str, Any] | None) -> None:
        if state is None:
            raise CheckpointError(f"{self.checkpoint}: holds a flow, not a run; resume=False (--restart) replaces it.")
        if "optimizer" not in state:
            raise CheckpointError(f"{self.checkpoint}: a run of an earlier version, which this one cannot take up.")
        there, here = dict(state["history"]["settings"]), dict(self.history.settings)
        if here["decay"] == "constant" and here["epochs"] >= state["epoch"]:
            there["epochs"] = here["epochs"]  # more of the same: the steps before would have been the same
        found = checkpoints.described_differences(architecture, checkpoints.architecture(self.flow))
        found += checkpoints.differences(_comparable(there), _comparable(here))
        if found:
            message = f"{self.checkpoint}: belongs to another run: {'; '.join(found)}."
            raise CheckpointError(f"{message} resume=False (--restart) starts anew.")


def _processes() -> dict[str, int]:
    """How many processes, where there are several: whose noise differs from that of one."""
    return {} if distributed.world_size() == 1 else {"processes": distributed.world_size()}


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings in which data are what they hold, whatever they are called; how fast they are computed is no setting.

    Runs of before there was ``augment`` did without.
    """
    contents = {key: settings[key] for key in ("data", "validation")}
    held = {key: f"{c['count']} events, SHA-256 {c['sha256'][:16]}" for key, c in contents.items()}
    same = {key: value for key, value in settings.items() if key not in ("compile", "cuda_graph", "processes")}
    return {"augment": False, **same, **held}
