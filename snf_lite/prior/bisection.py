"""The inverse of an increasing function that has none in closed form: bisection, and steps that carry gradients."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

#: Halvings beyond the digits of the dtype, for brackets wider than the root is large.
SPARE = 12


def halvings(dtype: torch.dtype) -> int:
    """How often a bracket is halved: to eps/4096 of its width, 35 times in float32 and 64 times in float64."""
    return SPARE - round(math.log2(torch.finfo(dtype).eps))


@torch.no_grad()
def bisect(value: Callable[[Tensor], Tensor], wanted: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """x between ``left`` and ``right`` with value(x) = ``wanted``, each number on its own; ``value`` increases.

    The bracket ends at ``halvings`` of its width, or at neighbouring floats; no value is read, so that transforms of
    torch.func pass. Cost: one evaluation a halving.
    """
    for _ in range(halvings(wanted.dtype)):
        middle = left + (right - left) / 2
        below = value(middle) < wanted
        left, right = torch.where(below, middle, left), torch.where(below, right, middle)
    return left + (right - left) / 2


def with_gradient(x: Tensor, wanted: Tensor, value_and_slope: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """The root x again, by two Newton steps: the first gives it its first derivative, the second the next two."""
    for _ in range(2):
        value, slope = value_and_slope(x)
        x = x + (wanted - value) / slope
    return x
