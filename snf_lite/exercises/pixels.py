"""Checkers of the chapter *From densities to images*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..evaluation import bits_per_dim
from ..pixels import level_log_dets
from .verdict import Slips, Verdict, checker, judge, run, tensor

Bits = Callable[[float, tuple[int, ...]], Any]
LogDet = Callable[[Tensor, int], Any]
Which = Callable[[float, float, Tensor, int], Any]


@checker
def check_pixels_1(answer: Bits) -> Verdict:
    """Bits per dimension (eq-bits-per-dim): ``answer(nats, event_shape)``."""
    nats, shape = 947.1, (1, 28, 28)
    wanted = bits_per_dim(nats, math.prod(shape))
    got = tensor(run(answer, nats, shape), (), "The result")
    verdict = judge(got, _number(wanted), _bits_slips(nats, shape, wanted), "")
    if not verdict.passed:
        return verdict
    other = tensor(run(answer, 50.0, (3, 5, 4)), (), "The result")
    if not math.isclose(float(other), bits_per_dim(50.0, 60), rel_tol=1e-6):
        return Verdict(False, "Right for MNIST's shape, wrong for another: take D from the shape you are given.")
    return Verdict(True, f"Right: {wanted:.3f} bits/dim for the paper's dense model.")


def _bits_slips(nats: float, shape: tuple[int, ...], wanted: float) -> Slips:
    wrong = {
        "Still the stub, it gives 0.": 0.0,
        "These are nats per dimension; divide by log 2 too.": nats / math.prod(shape),
        "These are the bits of the whole picture; divide by D too.": nats / math.log(2),
        "Multiplied by log 2: a bit is less than a nat, so there are more bits than nats.": wanted * math.log(2) ** 2,
        "Here D is the side of the picture; it counts all its pixels.": nats / (shape[-1] * math.log(2)),
        "The logarithm of 2 is the natural one; this is that to base 10.": nats / (math.prod(shape) * math.log10(2)),
        "The preprocessing is in this number already; there is no log 256 to take off.": wanted - 8.0,
        "The sign is turned: 947.1 is -log p already.": -wanted,
    }
    return {words: _number(value) for words, value in wrong.items()}


@checker
def check_pixels_2(answer: LogDet) -> Verdict:
    """The log-determinant of y = 2 (x + u) / L - 1: ``answer(pixels, levels)`` for pixels (N, C, H, W), as (N,)."""
    pixels, levels = torch.zeros(3, 2, 5, 4, dtype=torch.uint8), 17
    features, factor = pixels[0].numel(), math.log(2 / levels)
    got = tensor(run(answer, pixels, levels), (3,), "The log-determinant")
    wanted = torch.full((3,), features * factor, dtype=torch.float64)
    wrong = {
        "Still the stub, it gives zeros.": 0.0,
        "The scaling alone, without the factor 2.": -features * math.log(levels),
        "The sign is turned: this map shrinks volumes, so its log-determinant is negative.": -features * factor,
        "That is the log-determinant of one number; a picture has D of them.": factor,
        "The channels are missing: D counts the numbers of all channels.": features * factor / 2,
        "D counts the numbers of one picture, not of the whole batch.": 3 * features * factor,
        "The shift by -1 does not change volumes; it does not enter.": features * (factor - 1),
        "The 2 multiplies the log-determinant; it belongs inside the logarithm.": -2 * features * math.log(levels),
    }
    slips = {words: _number(value) for words, value in wrong.items()}
    return judge(got, wanted, slips, f"Right: {features * factor:.1f} nats here, and the shift costs nothing.")


@checker
def check_pixels_3(answer: Which) -> Verdict:
    """Which of two numbers counts the preprocessing: ``answer(first, second, pixels, levels)``, "first" or "second"."""
    given = [_table(kind, turn, levels) for levels in (17, 256) for kind in ("ink", "grey") for turn in (False, True)]
    right, said = [case[0] for case in given], [run(answer, *case[1:]) for case in given]
    if any(word not in ("first", "second") for word in said):
        odd = next(word for word in said if word not in ("first", "second"))
        stub = "Still the stub. " if odd == "neither" else ""
        return Verdict(False, f"{stub}The answer should be 'first' or 'second'; it is {odd!r}.")
    if said == right:
        return Verdict(True, "Right: smaller for pictures of ink on paper, larger for grey ones.")
    return Verdict(False, _verdict_slip(said, right, [case[1] < case[2] for case in given]))


def _table(kind: str, turned: bool, levels: int) -> tuple[str, float, float, Tensor, int]:
    """The right answer, then two numbers of a model, the pictures and their levels."""
    numbers = torch.Generator().manual_seed(11)
    spread = torch.rand(40, 1, 6, 6, generator=numbers)
    share = (spread > 0.7).double() if kind == "ink" else 0.4 + 0.2 * spread
    pixels = (share * (levels - 1)).round().to(torch.uint8)
    total = float(level_log_dets(levels)[pixels.long()].flatten(1).sum(1).mean())
    counted, forgotten = 100.0, 100.0 + total
    pair = (forgotten, counted) if turned else (counted, forgotten)
    return "second" if turned else "first", *pair, pixels, levels


def _verdict_slip(said: list[str], right: list[str], first_is_smaller: list[bool]) -> str:
    if all(word != wanted for word, wanted in zip(said, right, strict=True)):
        return "Turned round every time: counted, the log-determinant is subtracted from -log p."
    if said == ["first" if smaller else "second" for smaller in first_is_smaller]:
        return "You always take the smaller number. For grey pictures the log-determinants add up to less than 0."
    if said == ["second" if smaller else "first" for smaller in first_is_smaller]:
        return "You always take the larger number. For black and white pictures the log-determinants are positive."
    if len(set(said)) == 1:
        return f"You say {said[0]!r} of every pair; look at the pictures."
    wrong = sum(word != wanted for word, wanted in zip(said, right, strict=True))
    return f"Not yet: {wrong} of {len(said)} pairs are judged wrongly. Count the scaling and the logit, both."


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
