"""The reconstruction penalty of a layer that learns its inverse, and how its weight λ is adapted (GECO).

The penalty λ ‖g(f(x)) − x‖² keeps a learned inverse g close to that of f (eq-objective). A fixed λ is hard to choose:
too small, and g is a poor inverse; too large, and the likelihood suffers. Generalized ELBO with constrained
optimization (GECO) treats the penalty as the Lagrangian of the constraint that the mean error e stays below a
tolerance, and moves the multiplier λ by its gradient in log λ, one step for each training step:

    e ← 0.99 e + 0.01 · (batch mean of ‖g(f(x)) − x‖²),    λ ← λ · exp(0.001 · min(1, e / tolerance − 1))    (eq-geco).

λ grows while the layer reconstructs worse than the tolerance and shrinks while it does better, by at most 0.1 % in a
step: a faster λ would run ahead of the error, which responds only after many steps. The average starts at the
tolerance, so that λ does not move before it has seen errors.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from snf_lite.layer import FlowLayer
from snf_lite.runtime import checks

#: How much of the average error is kept at a step.
DECAY = 0.99
#: How far λ moves in a step: by exp(-RATE) where there is no error, by exp(RATE) from twice the tolerance on.
RATE = 1e-3
#: λ stays within this factor of its start, on both sides, where an error never comes near its tolerance.
FURTHEST = 1e6


class AdaptiveWeight(nn.Module):
    """λ of a layer's reconstruction penalty, adapted so that the mean error approaches a tolerance (eq-geco).

    The published implementation of self normalizing flows multiplies λ by exp(0.001 · e) instead: without a tolerance
    it can only grow.

    Args:
        start: Initial λ > 0.
        tolerance: Mean reconstruction error to reach, > 0: a sum over the features of a data point.
        label: Name of the layer in messages.

    Raises:
        ValueError: one of the two is not above zero.

    References:
        Rezende & Viola, Taming VAEs, 2018 (https://arxiv.org/abs/1810.00597).
    """

    weight: Tensor
    average: Tensor
    latest: Tensor
    #: Weights (B,) of the data points of this training pass, of sum 1; None: all alike.
    example_weights: Tensor | None = None

    def __init__(self, start: float, tolerance: float, label: str) -> None:
        super().__init__()
        self.start = checks.number_between(start, 0, float("inf"), "recon_weight with a tolerance", label)
        self.tolerance = checks.number_between(tolerance, 0, float("inf"), "tolerance", label)
        self.register_buffer("weight", torch.tensor(self.start))
        self.register_buffer("average", torch.tensor(self.tolerance))
        # the mean error of the last training pass; a resumed run needs the average alone
        self.register_buffer("latest", torch.tensor(self.tolerance), persistent=False)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self.latest = self.average.clone()  # not in the state dict; on the loaded device

    def weigh(self, errors: Tensor) -> Tensor:
        """λ times the errors (B,) of a training pass, whose mean is kept for ``after_step``."""
        if torch.is_grad_enabled() and not checks.under_functorch() and len(errors):
            shares, errors_alone = self.example_weights, errors.detach()
            self.latest.copy_(errors_alone.mean() if shares is None else (shares * errors_alone).sum())
        return self.weight * errors

    @torch.no_grad()
    def after_step(self) -> None:
        """Update the average and λ by one step (eq-geco)."""
        self.average.lerp_(self.latest, 1 - DECAY)
        above = (self.average / self.tolerance - 1).clamp_max(1.0)  # below it is -1 at the least
        self.weight.mul_((RATE * above).exp()).clamp_(self.start / FURTHEST, self.start * FURTHEST)


@contextmanager
def weighted_errors(flow: nn.Module, weights: Tensor) -> Iterator[None]:
    """Let each adapted λ of a flow see the weighted mean of the errors, with weights (B,) of sum 1."""
    adapted = [part for part in flow.modules() if isinstance(part, AdaptiveWeight)]
    for part in adapted:
        part.example_weights = weights
    try:
        yield
    finally:
        for part in adapted:
            part.example_weights = None


class ReconstructionPenalty(FlowLayer):
    """What layers with a learned inverse share: the penalty λ ‖g(f(x)) − x‖², with λ fixed or adapted."""

    learned_inverse = True

    def set_penalty(self, recon_weight: float, tolerance: float | None) -> None:
        """Fix λ = recon_weight ≥ 0, or let it start there and adapt to a tolerance."""
        self.recon_weight = checks.non_negative(recon_weight, "recon_weight", self.label)
        self.adapted = None if tolerance is None else AdaptiveWeight(self.recon_weight, tolerance, self.label)
        self.tolerance = None if self.adapted is None else self.adapted.tolerance

    def penalty(self, errors: Tensor) -> Tensor:
        """λ times the errors (B,) of a training pass."""
        return self.recon_weight * errors if self.adapted is None else self.adapted.weigh(errors)

    def after_step(self) -> None:
        if self.adapted is not None:
            self.adapted.after_step()
