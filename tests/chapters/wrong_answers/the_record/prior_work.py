"""Wrong answers to the exercises of *Prior work in eighteen pictures*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def planar(rule: Callable[[Tensor, Tensor, Tensor], Tensor]) -> tuple[Any, ...]:
    """From tanh(wᵀx + b) (B,), u and w."""
    return (lambda x, u, w, b: rule(torch.tanh(x @ w + b), u, w),)


def rounds(count: int, sign: float = -1.0) -> tuple[Any, ...]:
    def undo(z: Tensor, h: Map) -> Tensor:
        x = z
        for _ in range(count):
            x = z + sign * h(x)
        return x

    return (undo,)


def between(low: float, high: float, change: Callable[..., Tensor] = lambda p, s: p.log()) -> tuple[Any, ...]:
    """The logistic's mass from n + low to n + high, and what is done with it."""
    return (lambda n, m, s: change(torch.sigmoid((n + high - m) / s) - torch.sigmoid((n + low - m) / s), s),)


def normal(x: Tensor) -> Tensor:
    return (1 + torch.erf(x / math.sqrt(2))) / 2


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_prior_work_1": {
        "still the stub": planar(lambda h, u, w: 0 * h),
        "its logarithm is asked for": planar(lambda h, u, w: 1 + (1 - h**2) * (u @ w)),
        "tanh itself stands": planar(lambda h, u, w: (1 + h * (u @ w)).abs().log()),
        "this Jacobian is full": planar(lambda h, u, w: (1 + (1 - h**2)[:, None] * u * w).abs().log().sum(1)),
        "the 1 of the identity": planar(lambda h, u, w: ((1 - h**2) * (u @ w)).abs().log()),
        "counts once": planar(lambda h, u, w: len(u) * (1 + (1 - h**2) * (u @ w)).abs().log()),
        "right only where": planar(lambda h, u, w: (1 + u @ w).abs().log() + 0 * h),
        "the absolute value is missing": planar(lambda h, u, w: (1 + (1 - h**2) * (u @ w)).log()),
        "of the inverse": planar(lambda h, u, w: -(1 + (1 - h**2) * (u @ w)).abs().log()),
        "not yet": planar(lambda h, u, w: h + 5),
    },
    "check_prior_work_2": {
        "still the stub": (lambda z, h: 0 * z,),
        "this is z as it came": (lambda z, h: z,),
        "goes forward once more": (lambda z, h: z + h(z),),
        "the sign": rounds(100, 1.0),
        "but 1 rounds leave it": rounds(1),
        "but 5 rounds leave it": rounds(5),
        "not yet": (lambda z, h: 3 * z,),
    },
    "check_prior_work_3": {
        "still the stub": (lambda n, m, s: 0 * n,),
        "its logarithm is asked for": between(-0.5, 0.5, lambda p, s: p),
        "a density at the middle": (
            lambda n, m, s: torch.nn.functional.logsigmoid((n - m) / s)
            + torch.nn.functional.logsigmoid((m - n) / s) - s.log(),
        ),
        "not from n to n + 1": between(0, 1),
        "not from n − 1 to n": between(-1, 0),
        "is not taken off": (lambda n, m, s: torch.sigmoid((n + 0.5 - m) / s).log(),),
        "divided by the scale": (
            lambda n, m, s: (torch.sigmoid((n + 0.5 - m) * s) - torch.sigmoid((n - 0.5 - m) * s)).log(),
        ),
        "a probability needs no change": between(-0.5, 0.5, lambda p, s: p.log() - s.log()),
        "the normal distribution's bins": (
            lambda n, m, s: (normal((n + 0.5 - m) / s) - normal((n - 0.5 - m) / s)).log(),
        ),
        "not yet": (lambda n, m, s: n - 7,),
    },
}  # fmt: skip
