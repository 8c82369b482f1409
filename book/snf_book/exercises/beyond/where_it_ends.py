"""Checkers of the chapter *Where it ends*."""

import math
from collections.abc import Callable

from snf_book.exercises.verdict import Verdict, checker, judge, run, scalar, scalars, tensor


@checker
def check_where_it_ends_1(answer: Callable[[int, int, float], float]) -> Verdict:
    """The batch size from which the exact step costs at most q times the tracked one.

    ``answer(features, every, q)`` gives max(0, D (4/3 − 2q/m) / (3 (q − 1))), a real number.
    """
    D, m, q = 784, 10, 1.5
    slips = {
        "not yet: the ratio falls as B grows, so there is a least B above 0 here.": 0.0,
        "this leaves out the updates of R, 2 D / m of the denominator.": 4 / 3 * D / (3 * (q - 1)),
        "this leaves out the 3 of the three products.": D * (4 / 3 - 2 * q / m) / (q - 1),
        "the 3 B of the numerator is missing: there are 3 (q − 1) B in all.": D * (4 / 3 - 2 * q / m) / (3 * q),
        "W⁻ᵀ and its factors take 4/3 D³.": D * (1 - 2 * q / m) / (3 * (q - 1)),
        "an update takes two products of D³: 2 q / m.": D * (4 / 3 - q / m) / (3 * (q - 1)),
    }
    got = tensor(run(answer, D, m, q), (), "The batch size")
    verdict = judge(got, scalar(D * (4 / 3 - 2 * q / m) / (3 * (q - 1))), scalars(slips), "")
    if not verdict.passed:
        return verdict
    none = tensor(run(answer, D, 2, q), (), "The batch size")
    below = {"a batch has no negative size: any batch will do, so 0.": D * (4 / 3 - q) / (3 * (q - 1))}
    praise = "Right: in batches as large as the layer is wide the exact step costs little more."
    return judge(none, scalar(0), scalars(below), praise, "For m = 2: ")


@checker
def check_where_it_ends_2(answer: Callable[[float, float], int]) -> Verdict:
    """The number of refinement steps that guarantee a residual, ⌈log ε / log ρ⌉ (eq-preconditioned).

    ``answer(rho, epsilon)`` gives an integer.
    """
    rho, epsilon = 0.3, 1e-6
    steps = math.log(epsilon) / math.log(rho)
    slips = {
        "not yet: without a step the residual is z − b itself.": 0.0,
        "a number of steps is whole: round it up.": steps,
        "rounded down, the last step is missing.": float(math.floor(steps)),
        "the start counts as the first step; this counts it twice.": float(math.ceil(steps) + 1),
        "this divides the logarithms the wrong way round.": 1 / steps,
        "each step multiplies the residual, so take logarithms.": float(math.ceil(1 / (epsilon * rho))),
    }
    praise = "Right: 12 steps at ρ = 0.3, where BiCGStab takes about half as many iterations."
    got = tensor(run(answer, rho, epsilon), (), "The number of steps")
    return judge(got, scalar(math.ceil(steps)), scalars(slips), praise)


@checker
def check_where_it_ends_3(answer: Callable[[int, int, int, int], int]) -> Verdict:
    """The bytes of one block of the factors of T(w), 8 (κ C min(H, W))² (eq-block-banded).

    ``answer(channels, height, width, size)`` gives an integer.
    """
    C, H, W, k = 6, 20, 30, 5
    side = (k // 2) * C * H
    slips = {
        "not yet: a block has numbers.": 0.0,
        "these are numbers; each has 8 bytes.": float(side**2),
        "rows and columns may be swapped, so take the shorter side.": 8.0 * ((k // 2) * C * W) ** 2,
        "κ = (k − 1)/2 rows are in a block.": 8.0 * (C * H) ** 2,
        "a block is square: its side times its side.": 8.0 * side,
    }
    praise = "Right: it grows with the square of the channels and of the shorter side."
    got = tensor(run(answer, C, H, W, k), (), "The number of bytes")
    return judge(got, scalar(8.0 * side**2), scalars(slips), praise)
