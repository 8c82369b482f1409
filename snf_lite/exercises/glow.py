"""Checkers of the chapter *Glow and the 1×1 convolution*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .verdict import Slips, Stopped, Verdict, checker, judge, run, tensor

Net = Callable[[Tensor], tuple[Tensor, Tensor]]
Gradients = Callable[[Tensor, Tensor, int, int], Any]
Inverse = Callable[[Tensor, Tensor, Net], Any]
LogProb = Callable[[Tensor, Tensor, Net, Tensor], Any]


def _numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@checker
def check_glow_1(answer: Gradients) -> Verdict:
    """The gradient of H·W·log|det w| by w, and its stand-in from r (eq-one-by-one).

    ``answer(w, r, height, width)`` takes matrices (C, C) and gives two of them: H·W·w⁻ᵀ and H·W·rᵀ.
    """
    w, r, pixels = _numbers(4, 4, seed=1), _numbers(4, 4, seed=2), 3 * 5
    exact, learned = _two(run(answer, w, r, 3, 5), "The answer")
    inverse = torch.linalg.inv(w)
    first = judge(
        tensor(exact, (4, 4), "The exact gradient"), pixels * inverse.T, _exact_slips(w, inverse, pixels),
        "", "The exact gradient: ",
    )  # fmt: skip
    if not first.passed:
        return first
    praise = "Right: a pixel more adds one more of the same matrix, and r stands ready."
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(r),
        "this is the exact one again; r takes the place of the inverse.": pixels * inverse.T,
        "it is not transposed.": pixels * r,
        "every pixel has its own share; their number is missing.": r.T,
        "the gradient by w needs r, not w.": pixels * w.T,
        "r is the inverse already; do not invert it.": pixels * torch.linalg.inv(r).T,
    }
    return judge(tensor(learned, (4, 4), "The stand-in"), pixels * r.T, slips, praise, "The stand-in: ")


def _two(got: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Stopped(f"{what} should be two things, separated by a comma; it is of type {type(got).__name__}.")
    return got[0], got[1]


def _exact_slips(w: Tensor, inverse: Tensor, pixels: int) -> Slips:
    return {
        "still the stub, it gives zeros.": torch.zeros_like(w),
        "every pixel adds its own log-determinant; their number is missing.": inverse.T,
        "it is not transposed.": pixels * inverse,
        "the mean over the pixels; it is their sum.": inverse.T / pixels,
        "this is w itself, not its inverse.": pixels * w,
        "this is w transposed, not its inverse.": pixels * w.T,
        "the sign is turned.": -pixels * inverse.T,
    }


@checker
def check_glow_2(answer: Inverse) -> Verdict:
    """The inverse of an affine coupling, z₂ = exp(s(x₁)) · (x₂ + t(x₁)) (eq-coupling).

    ``answer(z1, z2, net)`` gives x₁ and x₂; ``net`` maps one tensor to s and t, and has no inverse.
    """
    x1, x2 = _numbers(5, 3, seed=3), _numbers(5, 3, seed=4)

    def net(given: Tensor) -> tuple[Tensor, Tensor]:
        return given.flip(1).sin(), given.square()

    s, t = net(x1)
    z2 = s.exp() * (x2 + t)
    first, second = _two(run(answer, x1, z2, net), "The answer")
    half = judge(tensor(first, (5, 3), "x₁"), x1, {"still the stub.": torch.zeros_like(x1)}, "", "x₁: ")
    if not half.passed:
        return half
    wrong_s, wrong_t = net(z2)
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(x2),
        "this is z₂ as it came.": z2,
        "this goes forward once more.": s.exp() * (z2 + t),
        "the shift was added first, so it is taken off last.": (-s).exp() * (z2 - t),
        "the scale is the exponential of s.": z2 / s - t,
        "the scaling is undone, the shift is not.": (-s).exp() * z2,
        "the shift has the wrong sign.": (-s).exp() * z2 + t,
        "the scale has the wrong sign.": s.exp() * z2 - t,
        "s and t come from the half that did not change, not from z₂.": (-wrong_s).exp() * z2 - wrong_t,
        "s and t have changed places.": (-t).exp() * z2 - s,
    }
    praise = "Right: the net was only evaluated; nothing inverted it."
    return judge(tensor(second, (5, 3), "x₂"), x2, slips, praise, "x₂: ")


@checker
def check_glow_3(answer: LogProb) -> Verdict:
    """log p of both halves behind a split, by the conditional prior (eq-split-prior).

    ``answer(x1, x2, prior, log_p1)`` takes (B, n), (B, n), a map of x₁ to μ and log σ, and log p(x₁) (B,); gives (B,).
    """
    x1, x2, log_p1 = _numbers(4, 6, seed=5), _numbers(4, 6, seed=6), _numbers(4, seed=7)

    def prior(given: Tensor) -> tuple[Tensor, Tensor]:
        return given.cos(), 0.3 * given + 0.2

    mean, log_deviation = prior(x1)
    residue = (x2 - mean) * (-log_deviation).exp()
    energy = -0.5 * residue.square().sum(1)
    constant, volume = 6 * 0.5 * math.log(2 * math.pi), log_deviation.sum(1)
    wanted = log_p1 + energy - constant - volume
    plain = -0.5 * x2.square().sum(1) - constant
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(wanted),
        "the log-likelihood of x₁ is missing.": wanted - log_p1,
        "the log-determinant −Σ log σ is missing: dividing by σ moves volume.": wanted + volume,
        "the log-determinant has the wrong sign.": wanted + 2 * volume,
        "the constant ½ log 2π of each number is missing.": wanted + constant,
        "the constant ½ log 2π counts once for each of the numbers of x₂.": wanted + constant * 5 / 6,
        "x₂ is held against N(0, I); its prior depends on x₁.": log_p1 + plain,
        "x₂ is centred but not divided by σ.": log_p1 - 0.5 * (x2 - mean).square().sum(1) - constant - volume,
        "the ½ in front of the squares is missing.": wanted + energy,
        "the prior gives log σ, not σ.": log_p1
        - 0.5 * ((x2 - mean) / log_deviation).square().sum(1) - constant - log_deviation.abs().log().sum(1),
    }  # fmt: skip
    praise = "Right, and no number of x₂ was thrown away."
    return judge(tensor(run(answer, x1, x2, prior, log_p1), (4,), "log p"), wanted, slips, praise)
