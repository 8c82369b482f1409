"""The loss that a run minimizes: with context and weights, checked if it is the user's own, summed for the history."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from snf_lite.runtime import checks


class Objective:
    """A loss of a batch that adds up its values.

    Args:
        loss: Function of a batch, and of ``context`` and ``weights`` where there are any, that returns a scalar.
        own: Whether ``loss`` is the user's: its value is checked, and its use of ``weights`` is its own matter.
        total: A zero on the device of the run, to which each value is added: in place, so that a CUDA graph adds too.

    Attributes:
        share: Weight of this process's examples in the joint batch.
    """

    def __init__(self, loss: Callable[..., Tensor], own: bool, total: Tensor) -> None:
        self.loss, self.own, self.total = loss, own, total
        self.evaluations, self.share = 0, 1.0

    def __call__(self, batch: Tensor, **extras: Tensor) -> Tensor:
        """The loss of a batch, nats.

        Raises:
            TypeError, ValueError: the user's loss is no scalar tensor, or has no gradient.
            FloatingPointError: it is not finite.
        """
        value = self.loss(batch, **extras)
        if self.own:
            require_loss(value)
        elif "weights" in extras:
            value = value * extras["weights"].mean()  # the flow's is a mean by weight: so each example counts as asked
        self.total += value.detach() if self.share == 1 else value.detach() * self.share
        self.evaluations += 1
        return value

    def take_mean(self, steps: int) -> Tensor:
        """The mean of the values since the last call, over at least this many: a replayed graph counts none."""
        mean = self.total / max(steps, self.evaluations)
        self.total.zero_()
        self.evaluations = 0
        return mean


def require_loss(value: Any) -> None:
    """Refuse what a user's loss must not return; the errors of ``Objective``."""
    if not isinstance(value, Tensor):
        raise TypeError(f"fit: expected loss to return a scalar tensor, got a {type(value).__name__}.")
    if value.dim() > 0:
        raise ValueError(
            f"fit: expected loss to return a scalar, got shape {tuple(value.shape)}: .mean() of it is one."
        )
    if not value.requires_grad:
        raise ValueError(
            "fit: expected loss to return a tensor with a gradient, got one that is detached from the flow."
        )
    if not checks.all_finite(value):
        raise FloatingPointError(f"fit: the loss that it was given returns {float(value.detach())}.")
