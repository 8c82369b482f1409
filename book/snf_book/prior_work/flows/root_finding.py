"""The inverse of an increasing function that has none in closed form: bisection, and steps that carry gradients."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from snf_lite.analysis.jacobian import latent_and_jacobian

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


#: Newton's steps, and how often each may be halved.
STEPS, HALVINGS = 60, 12


def newton_inverse(step: Callable[[Tensor], tuple[Tensor, Tensor]], z: Tensor) -> Tensor:
    """x with step(x)[0] = z by Newton's method, each step halved until it brings the code nearer; (B, D), O(D³) each.

    Raises:
        ArithmeticError: some event's code is still farther than the tolerance, 1e-9 (float32: 1e-4), from z; it says
            how far.
    """
    x, tolerance = z.detach().clone(), 1e-9 if z.dtype == torch.float64 else 1e-4
    for _ in range(STEPS):
        code, jacobian = latent_and_jacobian(lambda events: step(events)[0], x)
        away = (code - z).norm(dim=1)
        if bool((away <= tolerance).all()):
            return x
        move = torch.linalg.lstsq(jacobian, (z - code).unsqueeze(2)).solution.squeeze(2)  # also where it has no inverse
        x = _halved(step, z, x, move, away)
    found = (step(x)[0] - z).norm(dim=1).max().item()
    if found > tolerance:
        raise ArithmeticError(f"newton_inverse: expected a code within {tolerance:g} of z, got one {found:.1e} away.")
    return x.detach()


def _halved(
    step: Callable[[Tensor], tuple[Tensor, Tensor]], z: Tensor, x: Tensor, move: Tensor, away: Tensor
) -> Tensor:
    """x + move, the move of each event halved until its code is nearer to z than before."""
    share = torch.ones(len(x), 1, dtype=x.dtype)
    for _ in range(HALVINGS):
        with torch.no_grad():
            farther = (step(x + share * move)[0] - z).norm(dim=1) >= away
        share = torch.where(farther[:, None], share / 2, share)
    return (x + share * move).detach()
