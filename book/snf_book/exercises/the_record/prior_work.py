"""Checkers of the chapter *Prior work in eighteen pictures*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Verdict, checker, judge, normal, run, tensor

Planar = Callable[[Tensor, Tensor, Tensor, Tensor], Any]
Undo = Callable[[Tensor, Callable[[Tensor], Tensor]], Any]
Mass = Callable[[Tensor, Tensor, Tensor], Any]


@checker
def check_prior_work_1(answer: Planar) -> Verdict:
    """log|det J| of a planar layer, z = x + u·tanh(wᵀx + b), by a determinant of 1×1 (eq-low-rank).

    ``answer(x, u, w, b)`` takes (B, D), (D,), (D,) and a number; gives (B,) in nats.
    """
    # wᵀu is below −1, so that the determinant is negative at some of the points
    x, u, w, b = normal(6, 3, seed=1), 4 * normal(3, seed=10), normal(3, seed=3), normal(1, seed=4)[0]
    bent = torch.tanh(x @ w + b)
    slope = 1 - bent.square()
    both = u @ w
    factor = 1 + slope * both
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(bent),
        "this is the determinant; its logarithm is asked for.": factor,
        "tanh itself stands where its derivative belongs.": (1 + bent * both).abs().log(),
        "the product of the diagonal: right for a triangle, but this Jacobian is full.":
            (1 + slope[:, None] * u * w).abs().log().sum(1),
        "the 1 of the identity is missing.": (slope * both).abs().log(),
        "the 1×1 determinant counts once, not once for each of the D numbers.": 3 * factor.abs().log(),
        "the derivative of tanh is missing: this is right only where wᵀx + b = 0.":
            (1 + both).abs().log().expand_as(bent),
        "the sign is turned: this is the log-determinant of the inverse.": -factor.abs().log(),
    }  # fmt: skip
    praise = "Right: a D×D determinant for the price of one product uᵀw."
    given = run(answer, x, u, w, b)
    if isinstance(given, Tensor) and torch.equal(given.isnan(), factor < 0):
        return Verdict(False, "the absolute value is missing: where the determinant is negative, this is not a number.")
    return judge(tensor(given, (6,), "The log-determinant"), factor.abs().log(), slips, praise)


def _small(x: Tensor) -> Tensor:
    """A contraction with the Lipschitz constant 0.9."""
    return 0.9 * torch.sin(x.flip(1))


@checker
def check_prior_work_2(answer: Undo) -> Verdict:
    """The inverse of a residual layer, z = x + h(x), where h is a contraction: iterate x ← z − h(x).

    ``answer(z, h)`` takes (B, D) and the map; gives x (B, D), to 1e-6.
    """
    x = normal(5, 2, seed=5)
    z = x + _small(x)
    found = tensor(run(answer, z, _small), (5, 2), "x")
    iterates = [z]
    for _ in range(60):
        iterates.append(z - _small(iterates[-1]))
    early = next((n for n, one in enumerate(iterates) if torch.allclose(found, one, atol=1e-9)), None)
    if early is not None and not torch.allclose(iterates[early], x, atol=1e-6):
        if early == 0:
            return Verdict(False, "x: this is z as it came.")
        off = float((iterates[early] - x).abs().max())
        words = f"x: the right rule, but {early} rounds leave it {off:.1g} away; continue until nothing moves."
        return Verdict(False, words)
    added = z
    for _ in range(100):
        added = z + _small(added)
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(z),
        "this goes forward once more.": z + _small(z),
        "the sign: h was added, so it is taken off.": added,
    }
    praise = "Right, and h was never inverted: each round brings x nearer by the factor that h shortens with."
    return judge(found, x, slips, praise, "x: ")


@checker
def check_prior_work_3(answer: Mass) -> Verdict:
    """log P(n) of an integer under a discretized logistic (eq-lattice).

    ``answer(n, mean, scale)`` takes three (B,) tensors; gives (B,) in nats.
    """
    n, mean, scale = torch.arange(-2.0, 4.0).double(), normal(6, seed=6), 0.5 + normal(6, seed=7).abs()
    upper, lower = torch.sigmoid((n + 0.5 - mean) / scale), torch.sigmoid((n - 0.5 - mean) / scale)
    middle = torch.sigmoid((n - mean) / scale)
    mass = upper - lower
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(n),
        "this is the probability; its logarithm is asked for.": mass,
        "this is a density at the middle of the bin, not the mass of the bin.":
            (middle * (1 - middle) / scale).log(),
        "the bin of n reaches from n − ½ to n + ½, not from n to n + 1.":
            (torch.sigmoid((n + 1 - mean) / scale) - middle).log(),
        "the bin of n reaches from n − ½ to n + ½, not from n − 1 to n.":
            (middle - torch.sigmoid((n - 1 - mean) / scale)).log(),
        "this is the mass of everything up to n + ½; what lies below n − ½ is not taken off.": upper.log(),
        "it is divided by the scale, not multiplied.":
            (torch.sigmoid((n + 0.5 - mean) * scale) - torch.sigmoid((n - 0.5 - mean) * scale)).log(),
        "log P − log s: a probability needs no change of variables.": mass.log() - scale.log(),
        "the normal distribution's bins; the logistic's cumulative function is the sigmoid.":
            (_normal((n + 0.5 - mean) / scale) - _normal((n - 0.5 - mean) / scale)).log(),
    }  # fmt: skip
    praise = "Right: a probability, so never above 0, and no Jacobian anywhere."
    return judge(tensor(run(answer, n, mean, scale), (6,), "log P"), mass.log(), slips, praise)


def _normal(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))
