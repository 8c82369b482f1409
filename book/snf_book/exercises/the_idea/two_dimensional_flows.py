"""Checkers of the chapter *Two-dimensional flows*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import TOLERANCE, Verdict, checker, judge, normal, run, scalar, scalars, tensor
from snf_lite.analysis.learned_inverse import angle

Worst = Callable[[Tensor, float], Any]
Step = Callable[[Tensor, Tensor, Tensor], Any]
Least = Callable[[float], Any]


@checker
def check_two_dimensional_1(answer: Worst) -> Verdict:
    """The error E of a given size below 1 that turns Rᵀ = W⁻ᵀ(I + E)ᵀ furthest from W⁻ᵀ: ``answer(W, size)``, (2, 2).

    The angle is at most arcsin ‖E‖ (eq-error), in any dimension.
    """
    for W, size in zip(normal(3, 2, 2, seed=6), (0.5, 0.1, 0.9), strict=True):
        error = tensor(run(answer, W.clone(), size), (2, 2), "The error")
        where, found = f"At size {size}: ", _size(error)
        if found > size + TOLERANCE:
            return Verdict(False, f"{where}this error has size {found:.2f}.")
        inverse = torch.linalg.inv(W)
        turned, best = angle(((error + _ONE) @ inverse).T, inverse.T), math.degrees(math.asin(size))
        if turned < best - 1e-3:
            return Verdict(False, f"{where}it turns Rᵀ by {turned:.1f}°, and more can be had. {_advice(error, size)}")
    return Verdict(True, "Right: sin φ = ‖E‖ at worst, so that the right angle is reached at 1 and not before.")


_ONE = torch.eye(2, dtype=torch.float64)


def _advice(error: Tensor, size: float) -> str:
    quarter = size * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    if not bool(error.any()):
        return "This is still the stub."
    if torch.allclose(error, error[0, 0] * _ONE):
        return "A multiple of the identity makes R longer or shorter; it has to push sideways."
    if torch.allclose(error, quarter) or torch.allclose(error, -quarter):
        return "A quarter turn pushes straight sideways; push back a little too, so that Rᵀ becomes no longer."
    if _size(error) < size - TOLERANCE:
        return "The size that is allowed is not used up."
    return "Which point of a circle around the tip of an arrow is seen from its foot at the largest angle?"


def _size(matrix: Tensor) -> float:
    """The largest factor by which a matrix stretches a vector."""
    return float(torch.linalg.matrix_norm(matrix, ord=2))


@checker
def check_two_dimensional_2(answer: Step) -> Verdict:
    """The largest η for which the triangle inequality promises ‖R (W + η G) − I‖ < 1.

    ``answer(W, R, G)`` takes matrices (D, D), with ‖RW − I‖ < 1, and gives a number (eq-error).
    """
    W, direction, G = normal(3, 3, 3, seed=4)
    R = (torch.eye(3) + 0.4 * direction / _size(direction)) @ torch.linalg.inv(W)  # ‖RW − I‖ = 0.4
    got = tensor(run(answer, W, R, G), (), "The step")
    E, by, inverse = R @ W - torch.eye(3), _size(R @ G), torch.linalg.inv(W)
    left, left_f, by_f = 1 - _size(E), 1 - float(E.norm()), float((R @ G).norm())
    slips = {
        "Still the stub: a step of 0 is safe, and leads nowhere.": 0.0,
        "‖E‖ is missing: the step begins at an error of this size, not at none.": 1 / by,
        "‖E‖ has the wrong sign: the error that is there leaves less, not more.": (2 - left) / by,
        "Safe, but not the largest: both norms are Frobenius norms, and those exceed the stretch.": left_f / by_f,
        "‖E‖ is the largest stretch, not the Frobenius norm.": left_f / by,
        "‖RG‖ is the largest stretch, not the Frobenius norm.": left / by_f,
        "W⁻¹ replaces R here: the new error is R (W + ηG) − I, with the R we have.": left / _size(inverse @ G),
        "R is missing below: G moves W, and the error is measured behind R.": left / _size(G),
        "Safe, but not the largest: ‖R‖ ‖G‖ is more than ‖RG‖.": left / (_size(R) * _size(G)),
        "The product is turned round: R stands on the left of G.": left / _size(G @ R),
        "The error is RW − I, not WR − I.": (1 - _size(W @ R - torch.eye(3))) / by,
        "Multiplied, where the step has to be divided by ‖RG‖.": left * by,
    }
    beyond = _largest_step(E, R @ G) / (left / by)
    praise = f"Right. Bisection finds that the error stays below 1 up to {beyond:.1f} times this step."
    return judge(got, scalar(left / by), scalars(slips), praise)


def _largest_step(E: Tensor, change: Tensor) -> float:
    """The η at which ‖E + η change‖ reaches 1, by bisection: the norm is convex in η and starts below 1."""
    low, high = 0.0, 2 / _size(change)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _size(E + middle * change) < 1 else (low, middle)
    return low


@checker
def check_two_dimensional_3(answer: Least) -> Verdict:
    """The least λ at which a layer z = w x and its learned inverse r return to r = 1/w after a small push.

    ``answer(mean_square)`` takes E[x²] and gives a number; the gradients are those of eq-dense-gradients with D = 1.
    """
    m = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
    got = torch.stack([tensor(run(answer, float(value)), (), "The least λ") for value in m])
    praise = "Right: λ E[x²] > 1/8. Where the inputs hardly vary, even a large λ holds nothing."
    slips = {
        "Still the stub: without the penalty the pair runs apart.": torch.zeros_like(m),
        "Right where E[x²] = 1, but E[x²] has to come in: the penalty is λ times a mean square.":
            torch.full_like(m, 0.125),
        "E[x²] stands upside down: inputs that vary more are penalized more strongly.": m / 8,
        "E[x²] is a mean square already; the root is one too many.": 1 / (8 * m.sqrt()),
        "Twice too large: the ½ of each likelihood is missing, or the 2 that a square leaves behind.": 1 / (4 * m),
        "Four times too large: the ½ of each likelihood and the 2 that a square leaves behind are missing.":
            1 / (2 * m),
    }  # fmt: skip
    return judge(got, 1 / (8 * m), slips, praise)
