"""Root finders: bisection of increasing functions with gradients, and Newton's method."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from snf_lite.analysis.jacobian import latent_and_jacobian

#: Halvings beyond the digits of the dtype, for brackets that are wide relative to the root.
SPARE = 12


def halvings(dtype: torch.dtype) -> int:
    """Number of halvings of a bracket, to eps/4096 of its width: 35 in float32, 64 in float64."""
    return SPARE - round(math.log2(torch.finfo(dtype).eps))


@torch.no_grad()
def bisect(value: Callable[[Tensor], Tensor], wanted: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """x between ``left`` and ``right`` with value(x) = ``wanted``, element-wise, for an increasing ``value``.

    The number of halvings is fixed and no value is read on the host, so that transforms of torch.func work. Cost: one
    evaluation per halving.
    """
    for _ in range(halvings(wanted.dtype)):
        middle = left + (right - left) / 2
        below = value(middle) < wanted
        left, right = torch.where(below, middle, left), torch.where(below, right, middle)
    return left + (right - left) / 2


def with_gradient(x: Tensor, wanted: Tensor, value_and_slope: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Two Newton steps at the root x: the first adds its first derivative, the second the next two."""
    for _ in range(2):
        value, slope = value_and_slope(x)
        x = x + (wanted - value) / slope
    return x


#: Maximum number of Newton steps, and of halvings of each.
STEPS, HALVINGS = 60, 12


def newton_inverse(step: Callable[[Tensor], tuple[Tensor, Tensor]], z: Tensor) -> Tensor:
    """x (B, D) with step(x)[0] = z by damped Newton steps of cost O(D³) each.

    Raises:
        ArithmeticError: no convergence to the tolerance, 1e-9 (float32: 1e-4), in step(x)[0].
    """
    x, tolerance = z.detach().clone(), 1e-9 if z.dtype == torch.float64 else 1e-4
    for _ in range(STEPS):
        found, jacobian = latent_and_jacobian(lambda h: step(h)[0], x)
        away = (found - z).norm(dim=1)
        if bool((away <= tolerance).all()):
            return x
        move = torch.linalg.lstsq(jacobian, (z - found).unsqueeze(2)).solution.squeeze(2)  # also if singular
        share = torch.ones(len(x), 1, dtype=x.dtype)
        for _ in range(HALVINGS):  # damping: until step(x + move) is nearer to z
            with torch.no_grad():
                farther = (step(x + share * move)[0] - z).norm(dim=1) >= away
            share = torch.where(farther[:, None], share / 2, share)
        x = (x + share * move).detach()
    error = (step(x)[0] - z).norm(dim=1).max().item()
    if error > tolerance:
        raise ArithmeticError(
            f"newton_inverse: expected step(x) within {tolerance:g} of z, got an error of {error:.1e}."
        )
    return x.detach()
