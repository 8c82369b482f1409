"""Checkers of the chapter *Two-dimensional flows*."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .verdict import Slips, Verdict, checker, judge, run, tensor

Step = Callable[[Tensor, Tensor, Tensor], Any]
Tie = Callable[[float], Any]


@checker
def check_two_dimensional_1(W: Tensor, hurts: Any, harmless: Any) -> Verdict:
    """Two errors E for a given W (D, D), R = (I + E) W⁻¹: one of size 1 to 1.1 that points downhill, one of 10 or more
    that points uphill (eq-ascent)."""
    hurts = tensor(hurts, tuple(W.shape), "The first error")
    harmless = tensor(harmless, tuple(W.shape), "The second error")
    small, large = _size(hurts), _size(harmless)
    if small > 1.1:
        return Verdict(False, f"The first error has size {small:.2f}; find one of at most 1.1.")
    if _slope(W, hurts) >= 0:
        return Verdict(False, f"The first error, of size {small:.2f}, still points uphill. What would turn R round?")
    if large < 10:
        return Verdict(False, f"The second error has size {large:.2f}; find one of at least 10.")
    if _slope(W, harmless) <= 0:
        return Verdict(False, f"The second error, of size {large:.1f}, does not point uphill. What only lengthens R?")
    return Verdict(True, "Right: the size alone does not decide; below 1 it does.")


def _slope(W: Tensor, error: Tensor) -> float:
    """⟨Rᵀ, W⁻ᵀ⟩ with R = (I + E) W⁻¹."""
    inverse = torch.linalg.inv(W.double())
    return float(((torch.eye(len(W), dtype=torch.float64) + error) @ inverse * inverse).sum())


def _size(matrix: Tensor) -> float:
    """The largest factor by which a matrix stretches a vector."""
    return float(torch.linalg.matrix_norm(matrix, ord=2))


@checker
def check_two_dimensional_2(answer: Step) -> Verdict:
    """The largest η for which the triangle inequality promises ‖R (W + η G) − I‖ < 1.

    ``answer(W, R, G)`` takes matrices (D, D), with ‖RW − I‖ < 1, and gives a number (eq-error).
    """
    W, R, G = _one_step()
    got = tensor(run(answer, W, R, G), (), "The step")
    promised = (1 - _size(_error(W, R))) / _size(R @ G)
    room = _largest_step(_error(W, R), R @ G) / promised
    praise = f"Right. Bisection finds that the error stays below 1 up to {room:.1f} times this step."
    return judge(got, torch.tensor(promised, dtype=torch.float64), _step_slips(W, R, G), praise)


def _one_step() -> tuple[Tensor, Tensor, Tensor]:
    """W, R with ‖RW − I‖ = 0.4, and a direction, (3, 3) each in float64, the same at each call."""
    W, E, G = torch.randn(3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    return W, (torch.eye(3) + 0.4 * E / _size(E)) @ torch.linalg.inv(W), G


def _error(W: Tensor, R: Tensor) -> Tensor:
    return R @ W - torch.eye(len(W))


def _largest_step(E: Tensor, change: Tensor) -> float:
    """The η at which ‖E + η change‖ reaches 1, by bisection: the norm is convex in η and starts below 1."""
    low, high = 0.0, 2 / _size(change)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _size(E + middle * change) < 1 else (low, middle)
    return low


def _step_slips(W: Tensor, R: Tensor, G: Tensor) -> Slips:
    E, by, inverse = _error(W, R), _size(R @ G), torch.linalg.inv(W)
    left, left_f, by_f = 1 - _size(E), 1 - float(E.norm()), float((R @ G).norm())
    slips = {
        "Still the stub: a step of 0 is safe, and leads nowhere.": 0.0,
        "‖E‖ is forgotten: the step begins at an error of this size, not at none.": 1 / by,
        "‖E‖ has the wrong sign: the error that is there leaves less room, not more.": (2 - left) / by,
        "Safe, but not the largest: both norms are Frobenius norms, and those exceed the stretch.": left_f / by_f,
        "‖E‖ is the largest stretch, not the Frobenius norm.": left_f / by,
        "‖RG‖ is the largest stretch, not the Frobenius norm.": left / by_f,
        "W⁻¹ stands in place of R: the new error is R (W + ηG) − I, with the R we have.": left / _size(inverse @ G),
        "R is missing below: G moves W, and the error is measured behind R.": left / _size(G),
        "Safe, but not the largest: ‖R‖ ‖G‖ is more than ‖RG‖.": left / (_size(R) * _size(G)),
        "The product is turned round: R stands on the left of G.": left / _size(G @ R),
        "The error is RW − I, not WR − I.": (1 - _size(_error(R, W))) / by,
        "Multiplied, where the step has to be divided by ‖RG‖.": left * by,
    }
    return {words: torch.tensor(value, dtype=torch.float64) for words, value in slips.items()}


@checker
def check_two_dimensional_3(answer: Tie) -> Verdict:
    """The least λ at which a layer z = w x and its learned inverse r return to r = 1/w after a small push.

    ``answer(mean_square)`` takes E[x²] and gives a number; the gradients are those of eq-dense-gradients with D = 1.
    """
    m = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64)
    got = torch.stack([tensor(run(answer, float(value)), (), "The least λ") for value in m])
    praise = "Right: λ E[x²] > 1/8. Where the inputs hardly vary, even a strong tie holds nothing."
    return judge(got, 1 / (8 * m), _tie_slips(m), praise)


def _tie_slips(m: Tensor) -> Slips:
    return {
        "Still the stub: without a tie the pair runs apart.": torch.zeros_like(m),
        "Right where E[x²] = 1, but E[x²] has to come in: the tie is λ times a mean square.": torch.full_like(m, 0.125),
        "E[x²] stands upside down: inputs that vary more tie more strongly.": m / 8,
        "E[x²] is a mean square already; the root is one too many.": 1 / (8 * m.sqrt()),
        "Twice too large: the ½ of each likelihood is missing, or the 2 that a square leaves behind.": 1 / (4 * m),
        "Four times too large: the ½ of each likelihood and the 2 that a square leaves behind are missing.": 1
        / (2 * m),
    }
