"""The training that all systems share: the same examples, order, batch size, steps and learning rate."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from snf_lite.data.datasets import load
from snf_lite.data.densities import mixture_log_prob, sample_density
from snf_lite.flow import Flow
from snf_lite.runtime.rng import isolated_rng

#: Density of the plane and its scale; numbers of training and test examples.
DENSITY, SCALE = "mixture", 0.5
TRAIN, TEST = 20_000, 5_000


@dataclass(frozen=True)
class Budget:
    """Number of steps, examples per step, and the initial learning rate."""

    steps: int
    batch: int
    lr: float


PLANE, DIGITS = Budget(600, 256, 1e-2), Budget(300, 100, 1e-2)

Loss = Callable[[Tensor], Tensor]


def points(n: int, seed: int) -> Tensor:
    """n points of the plane, (n, 2) in float32: a mixture of eight normal densities on a circle of radius 1.4."""
    return SCALE * sample_density(DENSITY, n, seed)


def true_log_prob(x: Tensor) -> Tensor:
    """The log-density of ``points``, (B,) in nats."""
    return mixture_log_prob(x / SCALE) - 2 * math.log(SCALE)


def fit(
    model: nn.Module, loss: Loss, examples: Tensor, seed: int, budget: Budget,
    adapt: Callable[[], None] | None = None, after: Callable[[int], None] | None = None,
) -> None:  # fmt: skip
    """Adam over batches drawn with replacement, with a learning rate that falls to 0 as a half cosine.

    Not ``snf_lite.fit``, because most systems are no flows of this package but modules of other libraries.

    Args:
        model: Module to train.
        loss: Scalar loss of a batch.
        examples: Training examples (N, ...).
        seed: Seed of batches and noise.
        budget: Steps, batch size and learning rate.
        adapt: Function that is called after each step.
        after: Function that is called after ``adapt`` with the number of the step.

    Raises:
        FloatingPointError: the loss is not finite; the message names the step.
    """
    optimizer = torch.optim.Adam(model.parameters(), budget.lr)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, budget.steps)
    model.train()
    with isolated_rng("cpu", seed, "prior work"):
        for number in range(budget.steps):
            value = loss(examples[torch.randint(len(examples), (budget.batch,))])
            if not bool(value.isfinite()):
                name = type(model).__name__
                raise FloatingPointError(f"{name}: expected a finite loss, got {value} at step {number}.")
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            rates.step()
            if adapt:
                adapt()
            if after:
                after(number)
    model.eval()


def fit_digits(model: nn.Module, seed: int, budget: Budget) -> None:
    """The same on the 8×8 digits, for a ``Flow``, which is initialized from them, or an ``IntegerFlow``."""
    digits, either = load("digits", "train").as_subclass(Tensor), cast(Any, model)
    if isinstance(model, Flow):
        with isolated_rng("cpu", seed, "prior work", "start"):
            model.initialise(digits)
        fit(model, model.loss, digits, seed, budget)
    else:
        fit(model, lambda x: -either.log_prob(x).mean(), digits.long(), seed, budget)
