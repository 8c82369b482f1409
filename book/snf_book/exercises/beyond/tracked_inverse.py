"""Checkers of the chapter *An inverse that follows*."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from snf_book.exercises.verdict import Verdict, checker, judge, normal, run, scalar, scalars, tensor

Improve = Callable[[Tensor, Tensor], Tensor]


@checker
def check_tracked_inverse_1(answer: Improve) -> Verdict:
    """A step with which the residual I − W R is cubed, not only squared (eq-error-squares).

    ``answer(W, R)`` takes (D, D) each and gives R + R E + R E², (D, D), with E = I − W R.
    """
    W = normal(4, 4, seed=2)
    E = 0.3 * normal(4, 4, seed=3)
    identity = torch.eye(4, dtype=torch.float64)
    R = torch.linalg.solve(W, identity - E)
    wanted = R + R @ E + R @ E @ E
    slips = {
        "still the stub, R stays as it is.": R,
        "this squares the residual; one more term makes it the third power.": R + R @ E,
        "the middle term is missing: the residual is E − E² + E³, hardly smaller than before.": R + R @ E @ E,
        "the last term is missing its R.": R + R @ E + E @ E,
        "E stands on the left; I − W R belongs to the right of R.": R + E @ R + E @ E @ R,
        "the sign of the last term is turned.": R + R @ E - R @ E @ E,
        "the residual is W R − I here, its sign turned.": R - R @ E + R @ E @ E,
        "two steps of the iteration: the fourth power, for four products of D³.": R
        @ (identity + E)
        @ (identity + E @ E),
    }
    praise = "Right: (I − E)(I + E + E²) = I − E³, for three products of D³ as R + (R + R E) E."
    return judge(tensor(run(answer, W, R), (4, 4), "The new R"), wanted, slips, praise)


@checker
def check_tracked_inverse_2(answer: Callable[[Tensor], Tensor]) -> Verdict:
    """A start inside the basin for every regular W: R = c Wᵀ with 0 < c < 2/‖W‖₂² (eq-error-squares).

    ``answer(W)`` takes (D, D) and gives (D, D).
    """
    for scale in (50.0, 0.01, 1.0):
        W = scale * normal(3, 3, seed=4)
        R = tensor(run(answer, W), (3, 3), "The start")
        size = float(torch.linalg.matrix_norm(W, ord=2))
        known = {
            "still the stub: zeros stay zeros, as R ← R (2I − W R) shows.": torch.zeros_like(W),
            "the inverse itself needs a factorization, which the iteration is to spare.": torch.linalg.inv(W),
            "Wᵀ alone is too long where ‖W‖ is large: W Wᵀ has the eigenvalue ‖W‖².": W.T,
            "divide by the square of the norm: W Wᵀ has the eigenvalue ‖W‖².": W.T / size,
            "W in place of Wᵀ: the eigenvalues of W W may have either sign.": W / size**2,
            "a multiple of I is inside of the basin only for some W.": torch.eye(3, dtype=W.dtype) / size,
            "on the edge: the residual along the largest direction is −1. Take half of it.": 2 * W.T / size**2,
        }
        for words, wrong in known.items():
            if torch.allclose(R, wrong, rtol=1e-6):
                return Verdict(False, words)
        residual = float(torch.linalg.matrix_norm(torch.eye(3, dtype=W.dtype) - W @ R, ord=2))
        if not residual < 1:
            return Verdict(False, f"not yet; for a W with ‖W‖ = {size:.3g} the start has ‖I − W R‖ = {residual:.3g}.")
    return Verdict(True, "Right: I − c W Wᵀ is symmetric, with eigenvalues 1 − c σ² between −1 and 1.")


@checker
def check_tracked_inverse_3(answer: Callable[[float, int], float]) -> Verdict:
    """The residual before each update that a training settles at: the e with e = e² + m·ε (eq-error-squares).

    ``answer(epsilon, m)`` takes ε > 0, by which a step of W raises the residual, and m with m·ε ≤ ¼; it gives e.
    """
    epsilon, m = 0.02, 8
    root = math.sqrt(1 - 4 * m * epsilon)
    slips = {
        "still the stub, it gives zero.": 0.0,
        "this is what m steps add; what the update before them left is missing.": m * epsilon,
        "this is the residual after an update; asked is that before it.": ((1 - root) / 2) ** 2,
        "the other root: from there the residual moves away.": (1 + root) / 2,
        "the half is missing.": 1 - root,
        "under the root stands 1 − 4 m ε.": (1 - math.sqrt(1 - m * epsilon)) / 2,
        "one step in place of m.": (1 - math.sqrt(1 - 4 * epsilon)) / 2,
        "once around is not enough: what is left is squared and added to again.": m * epsilon + (m * epsilon) ** 2,
    }
    praise = "Right: and beyond m·ε = ¼ there is no such e, the residual leaves the basin."
    got = tensor(run(answer, epsilon, m), (), "The residual")
    return judge(got, scalar((1 - root) / 2), scalars(slips), praise)
