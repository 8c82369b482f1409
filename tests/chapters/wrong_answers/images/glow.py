"""Wrong answers to the exercises of *Glow and the 1×1 convolution*."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

Net = Callable[[Tensor], tuple[Tensor, Tensor]]


def right_1(batch: int, height: int, width: int, hidden: int, own: int = 3, passes: int = 3) -> tuple[float, float]:
    C = 9 / 4 * batch * height * width
    network = 9 * C / 2 * hidden + hidden**2 + 9 * hidden * C
    elimination = 4 / 3 * C**3
    return C, elimination / (elimination + batch * height * width * (own * C**2 + passes * network))


def channels(rule: Callable[[int, int], float]) -> tuple[Any, ...]:
    """C from the batch and the number of pixels, beside the right share."""
    return (lambda B, H, W, hidden: (rule(B, H * W), right_1(B, H, W, hidden)[1]),)


def shares(rule: Callable[[tuple[int, ...]], float]) -> tuple[Any, ...]:
    """A share beside the right C."""
    return (lambda *sizes: (right_1(*sizes)[0], rule(sizes)),)


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
        "the channels: still the stub": channels(lambda B, n: 0.0),
        "upside down": channels(lambda B, n: 4 / 9 * B * n),
        "the batch is missing": channels(lambda B, n: 9 / 4 * n),
        "the pixels are missing": channels(lambda B, n: 9 / 4 * B),
        "three products of its own": channels(lambda B, n: 9 / 2 * B * n),
        "the factorization alone": channels(lambda B, n: 9 * B * n),
        "the solve alone": channels(lambda B, n: 3 * B * n),
        "100 × 16 × 16: the channels: not yet": channels(lambda B, n: B * n),
        "1 × 4 × 5: the channels: not yet": channels(lambda B, n: 57600.0),
        "the share: still the stub": shares(lambda sizes: 0.0),
        "in per cent": shares(lambda sizes: 100 * right_1(*sizes)[1]),
        "network is missing": shares(lambda sizes: right_1(*sizes, passes=0)[1]),
        "own three products are missing": shares(lambda sizes: right_1(*sizes, own=0)[1]),
        "three times, once forward": shares(lambda sizes: right_1(*sizes, passes=1)[1]),
        "this is the exact layer's share": shares(lambda sizes: 2 * right_1(*sizes)[1]),
        "should be two things": (lambda *sizes: right_1(*sizes)[0],),
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
        "dividing by σ changes the density": (
            lambda x1, x2, prior, p: right_3(x1, x2, prior, p) + prior(x1)[1].sum(1),
        ),
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
