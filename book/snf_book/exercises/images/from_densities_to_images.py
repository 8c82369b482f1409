"""Checkers of the chapter *From densities to images*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Slips, Verdict, checker, judge, run, tensor
from snf_lite.analysis.pixel_likelihood import level_log_dets

Estimate = Callable[[Tensor], Any]
LogDet = Callable[[Tensor, int], Any]
Which = Callable[[float, float, Tensor, int], Any]


@checker
def check_pixels_1(answer: Estimate) -> Verdict:
    """log P from K draws of the noise, and the bound (eq-mass): ``answer(log_p)`` for (K, N), as two tensors (N,)."""
    log_p = 3 * torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    for level, where in ((-2.0, ""), (-5000.0, "Right near -2 nats. Near -5000, where each p is 0 in the computer: ")):
        given = log_p + level
        got = run(answer, given.clone())
        if not isinstance(got, tuple | list) or len(got) != 2:
            return Verdict(False, "Give back two tensors: the estimates, then the bounds.")
        for what, part, wanted, slips in _draws(given, *got):
            verdict = judge(tensor(part, (5,), where + what), wanted, slips, "", f"{where}{what}: ")
            if not verdict.passed:
                return verdict
    gain = (_estimate(log_p) - log_p.mean(0)).mean()
    return Verdict(True, f"Right: seven draws lift these bounds by {gain:.1f} nats on average.")


def _estimate(log_p: Tensor) -> Tensor:
    return torch.logsumexp(log_p, 0) - math.log(len(log_p))


def _draws(log_p: Tensor, estimate: Any, bound: Any) -> list[tuple[str, Any, Tensor, Slips]]:
    mean, total, K = log_p.mean(0), torch.logsumexp(log_p, 0), len(log_p)
    of_estimate = {
        "still the stub, it gives zeros.": 0 * mean,
        "this is the mean of the logarithms, the bound; take the logarithm of the mean.": mean,
        "this is the logarithm of the sum; log K is missing.": total,
        "log K has the wrong sign.": total + math.log(K),
        "the K divides the logarithm; it belongs inside.": total / K,
        "the best draw alone; the others count too.": log_p.amax(0),
        "a mean of probabilities, without its logarithm.": _estimate(log_p).exp(),
    }
    of_bound = {
        "still the stub, it gives zeros.": 0 * mean,
        "this is the estimate again; the bound is the mean of the logarithms.": _estimate(log_p),
        "one draw is enough on average; here take the mean of all.": log_p[0],
        "the worst draw is a bound too, but not this one.": log_p.amin(0),
    }
    return [
        ("The estimate", estimate, _estimate(log_p), of_estimate),
        ("The bound", bound, mean, of_bound),
    ]


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
