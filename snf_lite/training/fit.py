"""Training: one loop that can be read from top to bottom."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from snf_lite.data.source import Data, training_and_validation
from snf_lite.flow import Flow
from snf_lite.runtime import checks, distributed
from snf_lite.runtime.devices import choose_device
from snf_lite.runtime.locks import locked_by_main
from snf_lite.training.evaluation import unwrapped
from snf_lite.training.history import History
from snf_lite.training.loop.callbacks import Callback, require_callbacks
from snf_lite.training.loop.cuda_graph import GraphedStep
from snf_lite.training.loop.optimizers import OptimizerLike, SchedulerLike
from snf_lite.training.loop.progress import Progress
from snf_lite.training.settings import TrainingConfig
from snf_lite.training.step import take_closure_step, take_step
from snf_lite.training.training_run import TrainingRun


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
    validation: Any = None,
    context: Any = None,
    weights: Any = None,
    warmup_epochs: float = 1.0,
    decay: str = "constant",
    decay_epochs: int | None = None,
    clip_norm: float | None = None,
    evaluate_every: int = 1,
    patience: int | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    optimizer: OptimizerLike | None = None,
    scheduler: SchedulerLike | None = None,
    progress: bool | None = None,
    compile: bool = False,
    cuda_graph: bool = False,
    precision: str = "float32",
    augment: bool = False,
    loss: Callable[..., Tensor] | None = None,
) -> History:
    """Train a flow by Adam on its loss; afterwards it holds the weights of the best exact validation likelihood.

    So it does where Ctrl-C ends the training, and ``interrupted`` of the history is True; a checkpoint resumes it.
    Own data want ``data``, ``epochs``, often ``lr``, ``decay="cosine"`` and ``patience``; the rest can wait.

    A fresh flow is first initialized from up to ``INITIAL_EXAMPLES`` training examples. Order and noise of an epoch
    depend on the seed and the epoch alone, and torch's global generators are left as they were: a run that is killed
    and resumed from its checkpoint ends, on the CPU, with the same bits as one that was not.

    Called in each process that ``torchrun`` started, it trains one flow: each process takes its share of every batch,
    the gradients are averaged, and the main process validates and writes. The steps are those of one process, apart
    from rounding and from noise: each process draws its own.

    Args:
        flow: Flow to train; moved to the device, where it stays.
        data: Name that ``load`` accepts; tensor or array (N, *event_shape), data frame or list of numbers, converted to
            the flow's dtype; or DataLoader, map-style Dataset or any object with a length and items, which are
            examples, tuples (example, …), dicts with one example, or images. Pixels are bytes (uint8).
        epochs: Passes over the data, in total: those before a resumption count. A run that has more is returned as it
            is.
        batch_size: Examples per step, of all processes together; the last step of an epoch takes what is left.
        lr: Adam's learning rate (β = 0.9, 0.999) after the warm-up.
        device: Device to train on. None: the CUDA device if there is one, else the CPU; each of several processes has
            its own.
        seed: Seed of the part held out, the order and the noise; not of the initial weights, which were drawn when the
            flow was built (``torch.manual_seed`` before that).
        whiten: Whether dense layers of a fresh flow begin as maps that whiten their inputs (``flow.initialise``).
        checkpoint: File that is written atomically before the first epoch and after each.
        resume: Whether to resume the run in ``checkpoint`` if there is one. A finished run returns its history at once,
            and more ``epochs`` extend it. False starts from scratch and overwrites the file.
        validation: Data that choose the best weights; with a context or weights (data, context, weights). Or the
            fraction of the data, drawn by the seed, that is held out from training. None: a name's own validation
            split, else a tenth.
        context: Context (N, K) of the examples, for a flow that is conditioned on one; of those held out too.
        weights: Weights (N,) of the examples, none negative; only their ratios matter.
        warmup_epochs: Number of epochs over which the learning rate rises linearly.
        decay: Learning-rate schedule after the warm-up: "constant", or "cosine" down to 0 at the last epoch.
        decay_epochs: Epochs at whose end the cosine reaches 0, where it stays. None: ``epochs``, and on resuming
            those of the first call.
        clip_norm: Maximum norm of the gradients of all parameters; larger gradients are scaled down to it.
        evaluate_every: Epochs between two validations; the last epoch is always validated.
        patience: Epochs without a better validation value after which training ends. None: it does not end early.
        callbacks: Functions of the history so far and the flow, called after each validation but the first. True or
            StopIteration ends the training. To TensorBoard, with ``board = SummaryWriter()`` of torch:
            ``lambda h, flow: board.add_scalar("nats", h.validation_nats[-1], h.epochs[-1])``.
        optimizer: Function of the list of parameters, such as ``lambda p: torch.optim.AdamW(p, 1e-3)``, or torch
            optimizer of them, in place of Adam. Its learning rates are multiplied by warm-up and decay.
        scheduler: Function of the optimizer, or torch scheduler, in place of warm-up and decay. It is stepped after
            each epoch; OneCycleLR and CyclicLR after each step, ReduceLROnPlateau with each validation value.
        progress: Whether to show a progress bar with the validation value. None: a bar in a terminal or a notebook,
            elsewhere a line now and then. False: nothing.
        compile: Whether to compile the loss by ``torch.compile``, which takes minutes for deep flows. Checks of values,
            such as the exact convolution's check of its precision, are skipped in compiled code.
        cuda_graph: Whether to capture a step as a CUDA graph and replay it, which spares the processor's work. Not for
            layers that factorize, nor for several processes. A gradient that is not finite is noticed after its step.
        precision: Precision of matrix products and convolutions in training: "float32"; "tf32", on a CUDA device; or
            "bf16". Weights, log-determinants and every evaluation stay float32.
        augment: Whether to flip and shift the images of each training batch at random (``augmentation.augmented``).
        loss: Function of the flow and a batch (B, *event_shape), and of ``context`` and ``weights`` as keywords where
            they are given, that returns the scalar to minimize. None: ``flow.loss``.

    Returns:
        The values of each validation; ``history.plot()`` draws them.

    Warns:
        UserWarning: columns far from unit scale; a run that never improved, diverged or was interrupted.

    Raises:
        ValueError, TypeError: a setting or data that do not fit; the message names both values.
        CheckpointError: the checkpoint is damaged, or belongs to another model or run; the message names what differs.
        FloatingPointError, NotInvertibleError: training diverged: a loss, gradient or weight is not finite; the message
            names layer, step and epoch.
        BlockingIOError: another process trains into the checkpoint.
        OSError: the checkpoint cannot be written; the one before it is intact.

    Example:
        >>> flow = snf.build("dense-exact", (1, 8, 8), levels=17)
        >>> history = snf.fit(flow, "digits", epochs=1, progress=False)
        >>> history.validation_nats[-1] < history.validation_nats[0]
        True
    """
    config = TrainingConfig(
        epochs, batch_size, lr, seed, whiten, warmup_epochs, decay, clip_norm, evaluate_every,
        decay_epochs, patience, augment, compile, cuda_graph, precision,
    )  # fmt: skip
    flow, callbacks = unwrapped(flow, "fit"), require_callbacks(callbacks)
    train_set, validation_set = training_and_validation(data, validation, config.seed, context, weights)
    size = getattr(data.batch_sampler, "batch_size", config.batch_size) if isinstance(data, DataLoader) else None
    if size not in (None, config.batch_size):
        got = f"batch_size={config.batch_size}, not with the DataLoader's {size}"
        checks.warn(f"fit: trains on the Dataset of the DataLoader with {got}.")
    process = distributed.current(choose_device(device))
    if loss is not None and not callable(loss):
        raise TypeError(f"fit: expected loss to be a function of a flow and a batch, got a {type(loss).__name__}.")

    # Modes of torch that are set around this call do not act on it.
    no_autocast = torch.autocast(process.device.type, enabled=False)
    with locked_by_main(process, checkpoint), torch.inference_mode(False), torch.enable_grad(), no_autocast:
        run = TrainingRun(flow, train_set, validation_set, config, process, checkpoint, loss, optimizer, scheduler)
        step: Callable[..., Any] = take_closure_step if run.optimization.needs_closure else take_step
        step = GraphedStep(run.full_batch) if config.cuda_graph else step
        run.start(resume)
        with Progress(config.epochs * run.steps_per_epoch, run.step, progress if process.is_main else False) as shown:
            if run.began:
                shown.note(run.resumption)
            try:
                for epoch in run.remaining_epochs():
                    with run.seeded_epoch(epoch) as order:
                        for indices in order.split(config.batch_size):
                            batch, extras = run.batch(indices)  # (B, *event_shape), context and weights
                            objective = partial(run.objective, **extras) if extras else run.objective
                            learning_rate = run.learning_rate()
                            step(flow, batch, run.optimizer, learning_rate, config, objective, run.parallel)
                            run.finish_step()
                            shown.step()
                    run.finish_epoch(callbacks)
                    shown.validated(run.status())
            except KeyboardInterrupt:
                if process.world_size > 1:
                    raise  # the others would wait for this one
                run.interrupt()
        return run.finish()
