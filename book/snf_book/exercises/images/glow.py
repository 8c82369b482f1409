"""Checkers of the chapter *Glow and the 1×1 convolution*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Stopped, Verdict, checker, judge, normal, run, scalar, scalars, tensor

Network = Callable[[Tensor], tuple[Tensor, Tensor]]
Channels = Callable[[int, int, int, int], Any]
Inverse = Callable[[Tensor, Tensor, Network], Any]
LogProb = Callable[[Tensor, Tensor, Network, Tensor], Any]


@checker
def check_glow_1(answer: Channels) -> Verdict:
    """Number of channels C above which a learned inverse is the cheaper 1×1 layer, and the elimination's share there.

    ``answer(batch, height, width, hidden)`` gives two numbers: C at which six products cost as much as three and an
    elimination (eq-one-by-one), and the elimination over the whole step with a coupling's network of width ``hidden``.
    """
    for batch, height, width, hidden in ((100, 16, 16, 512), (1, 4, 5, 32)):
        where = f"{batch} × {height} × {width}: "
        channels, share = _two(run(answer, batch, height, width, hidden), "The answer")
        pixels = batch * height * width
        found = tensor(channels, (), "The number of channels")
        of_channels = {
            "still the stub, it gives 0.": 0.0,
            "upside down.": 4 / 9 * pixels,
            "the batch is missing: products are paid for every image, the elimination once.": 9 / 4 * pixels / batch,
            "the pixels are missing: products are paid at every pixel, the elimination once.": 9 / 4 * batch,
            "the exact layer has three products of its own.": 9 / 2 * pixels,
            "that is the factorization alone; the inverse takes 4/3 C³.": 9 * pixels,
            "that is the solve alone; with the factorization it is 4/3 C³.": 3 * pixels,
        }
        verdict = judge(found, scalar(9 / 4 * pixels), scalars(of_channels), "", f"{where}the channels: ")
        if verdict.passed:
            right = _share(pixels, hidden)
            of_share = {
                "still the stub, it gives 0.": 0.0,
                "this is in per cent.": 100 * right,
                "the coupling's network is missing.": _share(pixels, hidden, networks=0),
                "the layer's own three products are missing.": _share(pixels, hidden, passes=0),
                "a step goes through the network three times, once forward and twice back.":
                    _share(pixels, hidden, networks=1),
                # there the elimination costs as much as the three products
                "this is the exact layer's share; asked for is the elimination's.": 2 * right,
            }  # fmt: skip
            part = tensor(share, (), "The share")
            verdict = judge(part, scalar(right), scalars(of_share), "", f"{where}the share: ")
        if not verdict.passed:
            return verdict
    return Verdict(True, "Right: the paper's Glows have 4 to 48 channels.")


def _share(pixels: int, hidden: int, passes: int = 3, networks: int = 3) -> float:
    """The elimination's share of a step, with C = 9/4 of the pixels of a batch."""
    C = 9 / 4 * pixels
    network = networks * pixels * (9 * C / 2 * hidden + hidden**2 + 9 * hidden * C)
    elimination = 4 / 3 * C**3
    return elimination / (elimination + passes * pixels * C**2 + network)


def _two(got: Any, what: str) -> tuple[Any, Any]:
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Stopped(f"{what} should be two things, separated by a comma; it is of type {type(got).__name__}.")
    return got[0], got[1]


@checker
def check_glow_2(answer: Inverse) -> Verdict:
    """The inverse of an affine coupling, z₂ = exp(s(x₁)) · (x₂ + t(x₁)) (eq-coupling).

    ``answer(z1, z2, network)`` gives x₁ and x₂; ``network`` maps one tensor to s and t, and has no inverse.
    """
    x1, x2 = normal(5, 3, seed=3), normal(5, 3, seed=4)

    def network(given: Tensor) -> tuple[Tensor, Tensor]:
        return given.flip(1).sin(), given.square()

    s, t = network(x1)
    z2 = s.exp() * (x2 + t)
    first, second = _two(run(answer, x1, z2, network), "The answer")
    half = judge(tensor(first, (5, 3), "x₁"), x1, {"still the stub.": torch.zeros_like(x1)}, "", "x₁: ")
    if not half.passed:
        return half
    wrong_s, wrong_t = network(z2)
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
    praise = "Right: the network was only evaluated; nothing inverted it."
    return judge(tensor(second, (5, 3), "x₂"), x2, slips, praise, "x₂: ")


@checker
def check_glow_3(answer: LogProb) -> Verdict:
    """log p of both halves behind a split, by the conditional prior (eq-split-prior).

    ``answer(x1, x2, prior, log_p1)`` takes (B, n), (B, n), a map of x₁ to μ and log σ, and log p(x₁) (B,); gives (B,).
    """
    x1, x2, log_p1 = normal(4, 6, seed=5), normal(4, 6, seed=6), normal(4, seed=7)

    def prior(given: Tensor) -> tuple[Tensor, Tensor]:
        return given.cos(), 0.3 * given + 0.2

    mean, log_deviation = prior(x1)
    residue = (x2 - mean) * (-log_deviation).exp()
    energy = -0.5 * residue.square().sum(1)
    constant, log_scale = 6 * 0.5 * math.log(2 * math.pi), log_deviation.sum(1)
    wanted = log_p1 + energy - constant - log_scale
    plain = -0.5 * x2.square().sum(1) - constant
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(wanted),
        "the log-likelihood of x₁ is missing.": wanted - log_p1,
        "the log-determinant −Σ log σ is missing: dividing by σ changes the density.": wanted + log_scale,
        "the log-determinant has the wrong sign.": wanted + 2 * log_scale,
        "the constant ½ log 2π of each number is missing.": wanted + constant,
        "the constant ½ log 2π counts once for each of the numbers of x₂.": wanted + constant * 5 / 6,
        "x₂ is held against N(0, I); its prior depends on x₁.": log_p1 + plain,
        "x₂ is centered but not divided by σ.":
            log_p1 - 0.5 * (x2 - mean).square().sum(1) - constant - log_scale,
        "the ½ in front of the squares is missing.": wanted + energy,
        "the prior gives log σ, not σ.": log_p1
        - 0.5 * ((x2 - mean) / log_deviation).square().sum(1) - constant - log_deviation.abs().log().sum(1),
    }  # fmt: skip
    praise = "Right, and no number of x₂ was thrown away."
    return judge(tensor(run(answer, x1, x2, prior, log_p1), (4,), "log p"), wanted, slips, praise)
