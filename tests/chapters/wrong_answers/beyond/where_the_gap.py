"""Wrong answers to the exercises of *Where the gap comes from*."""

from collections.abc import Callable

import torch
from torch import Tensor

Pull = Callable[[Tensor, Tensor, Tensor], Tensor]


def pull(factor: float) -> Pull:
    """The gradient of the squared error with respect to W, times a factor."""
    return lambda x, W, R: factor * 2 * R.T @ (R @ W - torch.eye(3).to(W)) @ torch.outer(x, x)


def cost(w: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Nats above the optimum where all features have the weight w(m)."""
    return lambda m: sum(0.5 * (w(m) ** 2 * v - 1) - 0.5 * torch.log(w(m) ** 2 * v) for v in m)


def best(m: Tensor) -> Tensor:
    return (len(m) / m.sum()).sqrt()


WRONG = {
    "check_gap_1": {
        "still the stub": (lambda x, W, R: 0 * W,),
        "the 2 from the square": (pull(0.5),),
        "the sign is wrong": (pull(-1),),
        "gradient with respect to R": (lambda x, W, R: 2 * torch.outer(R @ W @ x - x, W @ x),),
        "Rᵀ takes it back to z": (lambda x, W, R: 2 * torch.outer(R @ W @ x - x, x),),
        "by Rᵀ, not by R": (lambda x, W, R: 2 * torch.outer(R @ (R @ W @ x - x), x),),
        "it is transposed": (lambda x, W, R: pull(1)(x, W, R).T,),
        "The gradient should be a tensor of shape (3, 3)": (lambda x, W, R: x,),
        "not yet": (pull(3),),
    },
    "check_gap_2": {
        "Still the stub": (lambda m: 0.0,),
        "the rate without the pull.": (lambda m: m,),
        "as if M were 1/M": (lambda m: 1 / m,),
        "only for M = 1": (lambda m: m / 2,),
        "One factor M is missing": (lambda m: m / (1 + m),),
        "the factor by which the rate is smaller": (lambda m: 1 / (1 + m * m),),
        "not yet": (lambda m: m * m / (1 + m * m),),
    },
    "check_gap_3": {
        "Still the stub": (lambda m: torch.zeros(()),),
        "The sign is wrong": (lambda m: -cost(best)(m),),
        "The ½ in front": (lambda m: 2 * cost(best)(m),),
        "the sum is asked for": (lambda m: cost(best)(m) / 3,),
        "w = mean of 1/√M": (cost(lambda m: (1 / m.sqrt()).mean()),),
        "w² = mean of 1/M": (cost(lambda m: (1 / m).mean().sqrt()),),
        "w = 1/mean of √M": (cost(lambda m: 1 / m.sqrt().mean()),),
        "not yet": (lambda m: cost(best)(m) + 1,),
    },
}
