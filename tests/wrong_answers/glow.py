"""Wrong answers to the exercises of *Glow and the 1×1 convolution*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Net = Callable[[Tensor], tuple[Tensor, Tensor]]
inv = torch.linalg.inv


def right_1(w: Tensor, r: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    return height * width * inv(w).T, height * width * r.T


def exactly(change: Callable[[Tensor, int], Tensor]) -> tuple[Any, ...]:
    """An exact gradient from w and the number of pixels, beside a right stand-in."""
    return (lambda w, r, H, W: (change(w, H * W), H * W * r.T),)


def standing_in(change: Callable[[Tensor, int], Tensor]) -> tuple[Any, ...]:
    """A stand-in from r and the number of pixels, beside a right exact gradient."""
    return (lambda w, r, H, W: (H * W * inv(w).T, change(r, H * W)),)


def backwards(rule: Callable[[Tensor, Tensor, Tensor], Tensor]) -> tuple[Any, ...]:
    """x₂ from z₂, s and t."""
    return (lambda z1, z2, net: (z1, rule(z2, *net(z1))),)


def log_normal(x: Tensor) -> Tensor:
    return (-0.5 * x.square() - 0.5 * math.log(2 * math.pi)).sum(1)


def right_3(x1: Tensor, x2: Tensor, prior: Net, log_p1: Tensor) -> Tensor:
    mean, log_deviation = prior(x1)
    return log_p1 + log_normal((x2 - mean) * (-log_deviation).exp()) - log_deviation.sum(1)


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_glow_1": {
        "The exact gradient: still the stub": exactly(lambda w, n: 0 * w),
        "adds its own log-determinant": exactly(lambda w, n: inv(w).T),
        "The exact gradient: it is not transposed": exactly(lambda w, n: n * inv(w)),
        "the mean over the pixels": exactly(lambda w, n: inv(w).T / n),
        "this is w itself": exactly(lambda w, n: n * w),
        "this is w transposed": exactly(lambda w, n: n * w.T),
        "the sign is turned": exactly(lambda w, n: -n * inv(w).T),
        "The exact gradient: not yet": exactly(lambda w, n: 2 * n * inv(w).T),
        "The stand-in: still the stub": standing_in(lambda r, n: 0 * r),
        "the exact one again": (lambda w, r, H, W: 2 * (H * W * inv(w).T,),),
        "The stand-in: it is not transposed": standing_in(lambda r, n: n * r),
        "their number is missing": standing_in(lambda r, n: r.T),
        "needs r, not w": (lambda w, r, H, W: (H * W * inv(w).T, H * W * w.T),),
        "do not invert it": standing_in(lambda r, n: n * inv(r).T),
        "two things, separated by a comma": (lambda w, r, H, W: w,),
    },
    "check_glow_2": {
        "x₁: not yet": (lambda z1, z2, net: (2 * z1, z2),),
        "x₁: still the stub": (lambda z1, z2, net: (0 * z1, 0 * z2),),
        "x₂: still the stub": backwards(lambda z2, s, t: 0 * z2),
        "z₂ as it came": backwards(lambda z2, s, t: z2),
        "forward once more": backwards(lambda z2, s, t: s.exp() * (z2 + t)),
        "taken off last": backwards(lambda z2, s, t: (z2 - t) / s.exp()),
        "the exponential of s": backwards(lambda z2, s, t: z2 / s - t),
        "the shift is not": backwards(lambda z2, s, t: z2 / s.exp()),
        "the shift has the wrong sign": backwards(lambda z2, s, t: z2 / s.exp() + t),
        "the scale has the wrong sign": backwards(lambda z2, s, t: z2 * s.exp() - t),
        "changed places": backwards(lambda z2, s, t: z2 / t.exp() - s),
        "not from z₂": (lambda z1, z2, net: (z1, z2 / net(z2)[0].exp() - net(z2)[1]),),
    },
    "check_glow_3": {
        "still the stub": (lambda x1, x2, prior, log_p1: 0 * log_p1,),
        "log-likelihood of x₁ is missing": (lambda *given: right_3(*given) - given[3],),
        "dividing by σ moves volume": (lambda x1, x2, prior, p: right_3(x1, x2, prior, p) + prior(x1)[1].sum(1),),
        "the log-determinant has the wrong sign": (
            lambda x1, x2, prior, p: right_3(x1, x2, prior, p) + 2 * prior(x1)[1].sum(1),
        ),
        "of each number is missing": (lambda *given: right_3(*given) + 3 * math.log(2 * math.pi),),
        "counts once for each": (lambda *given: right_3(*given) + 2.5 * math.log(2 * math.pi),),
        "held against N(0, I)": (lambda x1, x2, prior, p: p + log_normal(x2),),
        "not divided by σ": (
            lambda x1, x2, prior, p: p + log_normal(x2 - prior(x1)[0]) - prior(x1)[1].sum(1),
        ),
        "½ in front of the squares": (
            lambda x1, x2, prior, p: right_3(x1, x2, prior, p)
            - 0.5 * ((x2 - prior(x1)[0]) / prior(x1)[1].exp()).square().sum(1),
        ),
        "log σ, not σ": (
            lambda x1, x2, prior, p: p
            + log_normal((x2 - prior(x1)[0]) / prior(x1)[1]) - prior(x1)[1].abs().log().sum(1),
        ),
        "not yet": (lambda *given: right_3(*given) + 1,),
    },
}  # fmt: skip
