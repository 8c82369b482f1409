"""Training: one loop that can be read from top to bottom."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from snf_lite.data.source import Data, training_and_validation
from snf_lite.flow import Flow
from snf_lite.runtime import distributed
from snf_lite.runtime.devices import choose_device
from snf_lite.training.cuda_graph import GraphedStep
from snf_lite.training.history import History
from snf_lite.training.settings import TrainingConfig
from snf_lite.training.step import compiled, take_step
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
    loss: Callable[[Flow, Tensor], Tensor] | None = None,
) -> History:
    """Train a flow by Adam on its loss; afterwards it holds the weights of the best exact validation likelihood.

    A fresh flow is first initialized from up to ``INITIAL_EXAMPLES`` training examples. Order and noise of an epoch
    depend on the seed and the epoch alone, and torch's global generators are left as they were: a run that is killed
    and resumed from its checkpoint ends, on the CPU, with the same bits as one that was not.

    Called in each process that ``torchrun`` started, it trains one flow: each process takes its share of every batch,
    the gradients are averaged, and the main process validates and writes. The steps are those of one process, apart
    from rounding and from noise: each process draws its own.

    Args:
        flow: Flow to train; moved to the device, where it stays.
        data: Name that ``load`` accepts, tensor (N, *event_shape), or map-style Dataset of examples or (example, …).
        epochs: Total number of epochs, those before a resumption included.
        batch_size: Examples per step, of all processes together; the last step of an epoch takes what is left.
        lr: Adam's learning rate (β = 0.9, 0.999) after the warm-up.
        device: Device to train on. None: the CUDA device if there is one, else the CPU; each of several processes has
            its own.
        seed: Seed for shuffling and noise. Does not affect the initial weights, which were drawn when the flow was
            built.
        whiten: Argument of ``flow.initialise``.
        checkpoint: File that is written atomically before the first epoch and after each.
        resume: Whether to resume the run in ``checkpoint`` if there is one. A finished run returns its history at once,
            and more ``epochs`` extend it. False starts from scratch and overwrites the file.
        validation: Data that choose the best weights. None: a name's own validation split; for a tensor or Dataset the
            last tenth, which is not trained on.
        warmup_epochs: Number of epochs over which the learning rate rises linearly.
        decay: Learning-rate schedule after the warm-up: "constant", or "cosine" down to 0 at the last epoch.
        clip_norm: Maximum norm of the gradients of all parameters; larger gradients are scaled down to it.
        evaluate_every: Epochs between two validations; the last epoch is always validated.
        progress: Whether to show a progress bar with the validation value; None: if stderr is a terminal.
        compile: Whether to compile the loss by ``torch.compile``, which takes minutes for deep flows. Checks of values,
            such as the exact convolution's check of its precision, are skipped in compiled code.
        cuda_graph: Whether to capture a step as a CUDA graph and replay it, which spares the processor's work. Not for
            layers that factorize, nor for several processes. A gradient that is not finite is noticed after its step.
        precision: Precision of matrix products and convolutions in training: "float32"; "tf32", on a CUDA device; or
            "bf16". Weights, log-determinants and every evaluation stay float32.
        augment: Whether to flip and shift the images of each training batch at random (``augmentation.augmented``).
        loss: Function of the flow and a batch (B, *event_shape) that returns the scalar to minimize. None:
            ``flow.loss``.

    Raises:
        ValueError, TypeError: a setting or data that do not fit; the message names both values.
        CheckpointError: the checkpoint is damaged, or belongs to another model or run; the message names what differs.
        FloatingPointError, NotInvertibleError: training diverged: a loss, gradient or weight is not finite; the message
            names layer, step and epoch.
        OSError: the checkpoint cannot be written; the one before it is intact.

    Example:
        >>> flow = snf.build("dense-exact", (1, 8, 8), levels=17)
        >>> history = snf.fit(flow, "digits", epochs=1, progress=False)
        >>> history.validation_nats[-1] < history.validation_nats[0]
        True
    """
    config = TrainingConfig(
        epochs, batch_size, lr, seed, whiten, warmup_epochs, decay, clip_norm, evaluate_every,
        augment, compile, cuda_graph, precision,
    )  # fmt: skip
    train_set, validation_set = training_and_validation(data, validation)
    process = distributed.current(choose_device(device))
    if loss is not None and not callable(loss):
        raise TypeError(f"fit: expected loss to be a function of a flow and a batch, got a {type(loss).__name__}.")
    run = TrainingRun(flow, train_set, validation_set, config, process, checkpoint, loss)
    objective: Callable[[Tensor], Tensor] = flow.loss if loss is None else partial(loss, flow)
    if config.compile:
        objective = compiled(objective, run.full_batch)
    step = GraphedStep(run.full_batch) if config.cuda_graph else take_step

    run.start(resume)
    hidden = not process.is_main or (None if progress is None else not progress)  # None: tqdm asks for a terminal
    with tqdm(total=epochs * run.steps_per_epoch, initial=run.step, unit="step", disable=hidden) as bar:
        for epoch in range(run.epoch + 1, epochs + 1):
            with run.seeded_epoch(epoch) as order:
                for indices in order.split(config.batch_size):
                    batch = run.batch(indices)  # (B, *event_shape)
                    learning_rate = config.learning_rate(run.step, run.steps_per_epoch)
                    step(flow, batch, run.optimizer, learning_rate, config, objective, run.parallel)
                    run.step += 1
                    bar.update()
            run.finish_epoch()
            bar.set_postfix_str(run.status())
    return run.finish()
