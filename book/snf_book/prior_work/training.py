"""One training for all: the same events, order, batch, steps and learning rate."""

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

#: The density of the plane, at half its size, and how many events of it there are to learn from and to test on.
DENSITY, SCALE = "mixture", 0.5
TRAIN, TEST = 20_000, 5_000


@dataclass(frozen=True)
class Budget:
    """So many steps of so many events each, and the first learning rate."""

    steps: int
    batch: int
    lr: float


PLANE, DIGITS = Budget(600, 256, 1e-2), Budget(300, 100, 1e-2)

Loss = Callable[[Tensor], Tensor]


def points(n: int, seed: int) -> Tensor:
    """n events of the plane, (n, 2) in float32: eight normal densities on a circle of radius 1.4."""
    return SCALE * sample_density(DENSITY, n, seed)


def true_log_prob(x: Tensor) -> Tensor:
    """The log-density from which ``points`` come, (B,) in nats."""
    return mixture_log_prob(x / SCALE) - 2 * math.log(SCALE)


def fit(
    model: nn.Module, loss: Loss, events: Tensor, seed: int, budget: Budget,
    adapt: Callable[[], None] | None = None, after: Callable[[int], None] | None = None,
) -> None:  # fmt: skip
    """Adam over random batches, its rate falling as half a cosine to 0.

    Behind each step comes ``adapt``, then ``after`` with the step's number.

    Raises:
        FloatingPointError: the loss is not finite; the message says at which step.
    """
    optimiser = torch.optim.Adam(model.parameters(), budget.lr)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, budget.steps)
    model.train()
    with isolated_rng("cpu", seed, "prior work"):
        for number in range(budget.steps):
            value = loss(events[torch.randint(len(events), (budget.batch,))])
            if not bool(value.isfinite()):
                name = type(model).__name__
                raise FloatingPointError(f"{name}: expected a finite loss, got {value} at step {number}.")
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            rates.step()
            if adapt:
                adapt()
            if after:
                after(number)
    model.eval()


def fit_digits(model: nn.Module, seed: int, budget: Budget) -> None:
    """The same on the 8×8 digits, for a ``Flow`` or an ``IntegerFlow``; a flow's data-dependent start comes first."""
    digits, either = load("digits", "train").as_subclass(Tensor), cast(Any, model)
    if isinstance(model, Flow):
        with isolated_rng("cpu", seed, "prior work", "start"):
            model.initialise(digits)
        fit(model, model.loss, digits, seed, budget)
    else:
        fit(model, lambda x: -either.log_prob(x).mean(), digits.long(), seed, budget)
