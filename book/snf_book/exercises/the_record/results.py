"""Checkers of the chapter *The results*."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Stopped, Verdict, checker, judge, run, scalar, scalars, tensor

Apart = Callable[[float, float, float, float, int], Any]
Gap = Callable[[Tensor, Tensor], Any]
Obstacles = Callable[[dict[str, Any], dict[str, Any]], Any]


@checker
def check_results_1(answer: Apart) -> Verdict:
    """Difference of two means over seeds in standard errors: ``answer(mean, deviation, mean, deviation, seeds)``."""
    (a, sa), (b, sb), n = (640.0, 0.9), (637.0, 0.3), 5
    got = tensor(run(answer, a, sa, b, sb, n), (), "The number")
    error = ((sa**2 + sb**2) / n) ** 0.5
    slips = {
        "Still the stub, it gives 0.": 0.0,
        "These are deviations of single runs; a mean over seeds is better known than one run.":
            (a - b) / (error * n**0.5),
        "The error of a mean shrinks with the root of the number of seeds, not with the number.":
            (a - b) / (error / n**0.5),
        "The two errors add as squares, not as they are.": (a - b) / ((sa + sb) / n**0.5),
        "Only the first mean's error was taken.": (a - b) / (sa / n**0.5),
        "Only the second mean's error was taken.": (a - b) / (sb / n**0.5),
        "This is the error of the difference; how often does it go into the difference?": error,
        "Its size is asked for; the sign only shows which came first.": -(a - b) / error,
    }  # fmt: skip
    paper = 0.5 / (2 * 0.2**2 / 3) ** 0.5
    praise = f"Right. The paper's dense twins are {paper:.1f} standard errors apart, by deviations from three seeds."
    return judge(got, scalar((a - b) / error), scalars(slips), praise)


@checker
def check_results_2(answer: Gap) -> Verdict:
    """The mean gap of two models on the same images and its standard error: ``answer(first, second)``, each (N,)."""
    generator = torch.Generator().manual_seed(4)
    hard = 100 + 20 * torch.randn(60, dtype=torch.float64, generator=generator)  # nats of an image for either model
    noise = torch.randn(2, 60, dtype=torch.float64, generator=generator)
    first, second = hard + 2 + noise[0], hard + noise[1]
    given = run(answer, first, second)
    if not isinstance(given, tuple) or len(given) != 2:
        raise Stopped("Return two numbers, the mean gap and its standard error.")
    mean, error = (tensor(one, (), what) for one, what in zip(given, ("The gap", "Its error"), strict=True))
    difference, root = first - second, 60**0.5
    of_mean = {
        "still the stub, it gives 0.": torch.zeros(()),
        "turned round; it is first minus second.": -difference.mean(),
        "this is a sum; the mean is asked for.": difference.sum(),
        "its sign matters: do not take absolute values.": difference.abs().mean(),
    }
    verdict = judge(mean, difference.mean(), of_mean, "", "The gap: ")
    if not verdict.passed:
        return verdict
    wanted = difference.std() / root
    slips = {
        "this is the first model's own; the images are the same for both.": first.std() / root,
        "this adds the two models' errors as if they had seen different images.":
            (first.var() + second.var()).sqrt() / root,
        "this is the deviation of one image's difference; its mean over all is better known.": difference.std(),
        "the mean's error shrinks with the root of N, not with N.": difference.std() / 60,
    }  # fmt: skip
    independent = (first.var() + second.var()).sqrt() / root
    praise = f"Right: {float(wanted):.2f}. As if the images were different ones it would be {float(independent):.2f}."
    return judge(error, wanted, slips, praise, "The gap is right. Its error: ")


@checker
def check_results_3(answer: Obstacles) -> Verdict:
    """The settings that keep two runs from being twins: ``answer(learned, exact)`` gives their sorted names."""
    learned = {"lr": 1e-3, "decay": "cosine", "seed": 0, "recon_weight": 100.0, "whiten": True, "front": True}
    exact = {"lr": 1e-4, "decay": "cosine", "seed": 1, "whiten": True, "clip_norm": 5.0}
    wanted = ["clip_norm", "front", "lr"]
    got = run(answer, dict(learned), dict(exact))
    if not isinstance(got, list | tuple | set) or not all(isinstance(name, str) for name in got):
        raise Stopped(f"Return the names in a list; this is {got!r}.")
    if list(got) == wanted:
        return Verdict(True, "Right: lr, front and clip_norm keep these two apart.")
    found, missing = set(got), set(wanted) - set(got)
    reasons = (
        (not found, "Still the stub: it finds nothing, and these two differ."),
        ("seed" in found, "Twins may differ in their seed; it is averaged over."),
        ("recon_weight" in found, "Only a learned inverse has a recon_weight; its exact twin cannot have the same."),
        (bool(found - set(wanted)), f"Equal in both: {', '.join(sorted(found - set(wanted)))}."),
        (
            found in ({"front", "lr"}, {"clip_norm", "lr"}, {"lr"}),
            "A setting that only one of the two has keeps them apart as well.",
        ),
        (bool(missing), f"Missing: {', '.join(sorted(missing))}."),
        (True, "All of them, but not sorted in a list."),
    )
    return Verdict(False, next(words for wrong, words in reasons if wrong))
