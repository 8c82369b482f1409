"""Wrong answers to the exercises of *MNIST, convolutional*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_lite.layers.conv_exponential import remainder_bound


def masked(
    own: Callable[[Tensor], Tensor], others: float = 1.0, row: int = -1, column: int = -1
) -> Callable[[int, int], Tensor]:
    """A mask whose channels at one tap are those of a function of ones."""

    def mask(channels: int, size: int) -> Tensor:
        taps = torch.zeros(channels, channels, size, size) + others
        taps[:, :, row, column] = own(torch.ones(channels, channels))
        return taps

    return mask


def solved(each: Callable[[float, float, float, float], float]) -> Callable[[Tensor, float, float], Tensor]:
    """x number by number from z_i, the x before, a and b."""

    def solve(z: Tensor, a: float, b: float) -> Tensor:
        x: list[float] = []
        for code in z.tolist():
            x.append(each(code, x[-1] if x else 0.0, a, b))
        return torch.tensor(x)

    return solve


def before(z: Tensor) -> Tensor:
    return torch.cat([z.new_zeros(1), z[:-1]])


def from_the_end(z: Tensor, a: float, b: float) -> Tensor:
    return solved(lambda z, x, a, b: (z - b * x) / a)(z.flip(0), a, b).flip(0)


def in_place(z: Tensor, a: float, b: float) -> Tensor:
    for i in range(len(z)):
        z[i] = (z[i] - (b * z[i - 1] if i else 0)) / a
    return z


def least(enough: Callable[[int], bool]) -> int:
    return next(n for n in range(100) if enough(n))


def right_3(norm: float, tolerance: float) -> int:
    return least(lambda n: remainder_bound(norm, n) <= tolerance)


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_convolutional_1": {
        "Still the stub": (masked(lambda ones: ones),),
        "sees the channels after it; it should": (masked(torch.triu),),
        "must see itself": (masked(lambda ones: ones.tril(-1)),),
        "the channels before it too": (masked(lambda ones: torch.eye(len(ones))),),
        "Only its own pixel needs a mask": (lambda C, s: torch.ones(C, C).tril()[:, :, None, None].expand(C, C, s, s),),
        "the last tap here, not the first": (masked(torch.tril, row=0, column=0),),
        "Nothing but its own pixel": (masked(torch.tril, 0.0),),
        "masked altogether": (masked(lambda ones: 0 * ones),),
        "the opposite": (lambda C, s: 1 - masked(torch.tril)(C, s),),
        "not yet": (lambda C, s: 2 * masked(torch.tril)(C, s),),
        "a tensor of shape (3, 3, 2, 2)": (lambda C, s: torch.ones(C, C),),
    },
    "check_convolutional_2": {
        "still the stub": (lambda z, a, b: 0 * z,),
        "only the division": (lambda z, a, b: z / a,),
        "b times the latent before": (lambda z, a, b: (z - b * before(z)) / a,),
        "the division by a is missing": (solved(lambda z, x, a, b: z - b * x),),
        "begins at the last number": (from_the_end,),
        "the sign of b": (solved(lambda z, x, a, b: (z + b * x) / a),),
        "forward once more": (lambda z, a, b: a * z + b * before(z),),
        "z itself was changed": (in_place,),
        "not yet": (lambda z, a, b: z + 1,),
    },
    "check_convolutional_3": {
        "still the stub": (lambda norm, tolerance: 0,),
        "one too many": (lambda norm, tolerance: right_3(norm, tolerance) + 1,),
        "the first term left out alone": (
            lambda norm, tolerance: least(
                lambda n: n + 2 > norm and norm ** (n + 1) / math.factorial(n + 1) <= tolerance
            ),
        ),
        "more are needed": (lambda norm, tolerance: 1,),
        "fewer are needed": (lambda norm, tolerance: 30,),
        "a whole number": (lambda norm, tolerance: right_3(norm, tolerance) + 0.5,),
        "not negative": (lambda norm, tolerance: -3,),
    },
}
