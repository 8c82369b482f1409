"""Checkers of the chapter *From densities to images*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Verdict, checker, judge, normal, run, scalar, scalars, tensor
from snf_lite.analysis.pixel_likelihood import level_log_dets

Estimate = Callable[[Tensor], Any]
LogDet = Callable[[Tensor, int], Any]
Which = Callable[[float, float, Tensor, int], Any]


@checker
def check_pixels_1(answer: Estimate) -> Verdict:
    """log P from K draws of the noise, and the bound (eq-mass): ``answer(log_p)`` for (K, N), as two tensors (N,)."""
    log_p = 3 * normal(7, 5, seed=4)
    for level, where in ((-2.0, ""), (-5000.0, "Right near -2 nats. Near -5000, where each p is 0 in the computer: ")):
        given = log_p + level
        got = run(answer, given.clone())
        if not isinstance(got, tuple | list) or len(got) != 2:
            return Verdict(False, "Return two tensors: the estimates, then the bounds.")
        mean, total, K = given.mean(0), torch.logsumexp(given, 0), len(given)
        estimate = total - math.log(K)
        of_estimate = {
            "still the stub, it gives zeros.": 0 * mean,
            "this is the mean of the logarithms, the bound; take the logarithm of the mean.": mean,
            "this is the logarithm of the sum; log K is missing.": total,
            "log K has the wrong sign.": total + math.log(K),
            "the K divides the logarithm; it belongs inside.": total / K,
            "the best draw alone; the others count too.": given.amax(0),
            "a mean of probabilities, without its logarithm.": estimate.exp(),
        }
        of_bound = {
            "still the stub, it gives zeros.": 0 * mean,
            "this is the estimate again; the bound is the mean of the logarithms.": estimate,
            "one draw is enough on average; here take the mean of all.": given[0],
            "the worst draw is a bound too, but not this one.": given.amin(0),
        }
        parts = (("The estimate", estimate, of_estimate), ("The bound", mean, of_bound))
        for part, (what, wanted, slips) in zip(got, parts, strict=True):
            verdict = judge(tensor(part, (5,), where + what), wanted, slips, "", f"{where}{what}: ")
            if not verdict.passed:
                return verdict
    gain = (estimate - mean).mean()
    return Verdict(True, f"Right: seven draws lift these bounds by {gain:.1f} nats on average.")


@checker
def check_pixels_2(answer: LogDet) -> Verdict:
    """The log-determinant of y = 2 (x + u) / L - 1: ``answer(pixels, levels)`` for pixels (N, C, H, W), as (N,)."""
    pixels, levels = torch.zeros(3, 2, 5, 4, dtype=torch.uint8), 17
    features, factor = pixels[0].numel(), math.log(2 / levels)
    got = tensor(run(answer, pixels, levels), (3,), "The log-determinant")
    slips = {
        "Still the stub, it gives zeros.": 0.0,
        "The scaling alone, without the factor 2.": -features * math.log(levels),
        "The sign is turned: this map contracts, so its log-determinant is negative.": -features * factor,
        "That is the log-determinant of one number; an image has D of them.": factor,
        "The channels are missing: D counts the numbers of all channels.": features * factor / 2,
        "D counts the numbers of one image, not of the whole batch.": 3 * features * factor,
        "The shift by -1 has the derivative 0; it does not enter.": features * (factor - 1),
        "The 2 multiplies the log-determinant; it belongs inside the logarithm.": -2 * features * math.log(levels),
    }
    wanted, praise = (
        scalar(features * factor),
        f"Right: {features * factor:.1f} nats here, and the shift costs nothing.",
    )
    return judge(got, wanted.expand(3), scalars(slips), praise)


@checker
def check_pixels_3(answer: Which) -> Verdict:
    """Which of two numbers counts the preprocessing: ``answer(first, second, pixels, levels)``, "first" or "second"."""
    given = [_table(kind, turn, levels) for levels in (17, 256) for kind in ("ink", "gray") for turn in (False, True)]
    right, chosen = [case[0] for case in given], [run(answer, *case[1:]) for case in given]
    if any(word not in ("first", "second") for word in chosen):
        odd = next(word for word in chosen if word not in ("first", "second"))
        stub = "Still the stub. " if odd == "neither" else ""
        return Verdict(False, f"{stub}The answer should be 'first' or 'second'; it is {odd!r}.")
    if chosen == right:
        return Verdict(True, "Right: smaller for images of ink on paper, larger for gray ones.")
    return Verdict(False, _verdict_slip(chosen, right, [case[1] < case[2] for case in given]))


def _table(kind: str, turned: bool, levels: int) -> tuple[str, float, float, Tensor, int]:
    """The right answer, then two numbers of a model, the images and their levels."""
    numbers = torch.Generator().manual_seed(11)
    spread = torch.rand(40, 1, 6, 6, generator=numbers)
    share = (spread > 0.7).double() if kind == "ink" else 0.4 + 0.2 * spread
    pixels = (share * (levels - 1)).round().to(torch.uint8)
    total = float(level_log_dets(levels)[pixels.long()].flatten(1).sum(1).mean())
    counted, omitted = 100.0, 100.0 + total
    pair = (omitted, counted) if turned else (counted, omitted)
    return "second" if turned else "first", *pair, pixels, levels


def _verdict_slip(chosen: list[str], right: list[str], first_is_smaller: list[bool]) -> str:
    if all(word != wanted for word, wanted in zip(chosen, right, strict=True)):
        return "Turned round every time: counted, the log-determinant is subtracted from -log p."
    if chosen == ["first" if smaller else "second" for smaller in first_is_smaller]:
        return "You always take the smaller number. For gray images the log-determinants add up to less than 0."
    if chosen == ["second" if smaller else "first" for smaller in first_is_smaller]:
        return "You always take the larger number. For black and white images the log-determinants are positive."
    if len(set(chosen)) == 1:
        return f"Your answer is {chosen[0]!r} for every pair; look at the images."
    wrong = sum(word != wanted for word, wanted in zip(chosen, right, strict=True))
    return f"Not yet: {wrong} of {len(chosen)} pairs are judged wrongly. Count the scaling and the logit, both."
