"""λ adapted in training to a tolerance: generalised ELBO with constrained optimisation, per layer."""

import torch
from torch import Tensor, nn

from snf_lite.runtime import checks

#: How much of the average error is kept at a step.
DECAY = 0.99
#: How far λ moves in a step: by exp(-RATE) where there is no error, by exp(RATE) from twice the tolerance on.
RATE = 1e-3
#: λ stays within this factor of its start, on both sides, where an error never comes near its tolerance.
FURTHEST = 1e6


class AdaptiveWeight(nn.Module):
    """λ of a layer's reconstruction term, which follows whether the error keeps within a tolerance (eq-geco).

    After each step the average error e ← 0.99 e + 0.01 · (the batch mean of ‖g(f(x)) − x‖²), and
    λ ← λ · exp(0.001 · min(1, e / tolerance − 1)): λ grows while the layer reconstructs worse than it should, and
    shrinks while it does better, by 0.1 % in a step at the most: faster it would run ahead of the error, which answers
    only after many steps. The average starts at the tolerance, so that λ waits until it has seen errors. (The public
    code of the paper on self normalizing flows multiplies by exp(0.001 · e): without a tolerance λ can only grow.)

    Args:
        start: λ > 0 at first.
        tolerance: the mean reconstruction error to reach, > 0: a sum over the numbers of an event.

    Raises:
        ValueError: one of the two is not above zero.

    Source: Rezende & Viola, Taming VAEs, 2018 (https://arxiv.org/abs/1810.00597).
    """

    weight: Tensor
    average: Tensor
    latest: Tensor

    def __init__(self, start: float, tolerance: float, owner: str) -> None:
        super().__init__()
        self.start = checks.number_between(start, 0, float("inf"), "recon_weight with a tolerance", owner)
        self.tolerance = checks.number_between(tolerance, 0, float("inf"), "tolerance", owner)
        self.register_buffer("weight", torch.tensor(self.start))
        self.register_buffer("average", torch.tensor(self.tolerance))
        # of the last training pass; what a run goes on from is the average
        self.register_buffer("latest", torch.tensor(self.tolerance), persistent=False)

    def weigh(self, errors: Tensor) -> Tensor:
        """λ times the errors (B,) of a training pass, whose mean is noted for ``adapt``."""
        if torch.is_grad_enabled() and not checks.under_functorch() and len(errors):
            self.latest.copy_(errors.detach().mean())
        return self.weight * errors

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the average and λ by one step."""
        self.average.lerp_(self.latest, 1 - DECAY)
        above = (self.average / self.tolerance - 1).clamp_max(1.0)  # below it is -1 at the least
        self.weight.mul_((RATE * above).exp()).clamp_(self.start / FURTHEST, self.start * FURTHEST)


def adapted(start: float, tolerance: float | None, owner: str) -> AdaptiveWeight | None:
    """None without a tolerance: λ is fixed then."""
    return None if tolerance is None else AdaptiveWeight(start, tolerance, owner)


def weighted(errors: Tensor, fixed: float, weight: AdaptiveWeight | None) -> Tensor:
    """The penalty (B,): λ times the errors, of a training pass."""
    return fixed * errors if weight is None else weight.weigh(errors)


def settings(recon_weight: float, weight: AdaptiveWeight | None) -> dict[str, float]:
    """What of it belongs to a layer's settings; without a tolerance the same as before there was one."""
    return {"recon_weight": recon_weight, **({} if weight is None else {"tolerance": weight.tolerance})}
