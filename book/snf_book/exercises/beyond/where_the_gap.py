"""Checkers of the chapter *Where the gap comes from*."""

from collections.abc import Callable

import torch
from torch import Tensor

from snf_book.exercises.verdict import Verdict, checker, judge, normal, run, scalar, scalars, tensor


@checker
def check_gap_1(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Verdict:
    """The gradient of ‖R W x − x‖² with respect to W, the part of the penalty that pulls on W (eq-between).

    ``answer(x, W, R)`` takes (D,), (D, D) and (D, D), and gives (D, D).
    """
    (x,) = normal(1, 3, seed=3)
    W, R = normal(2, 3, 3, seed=4)
    miss = R @ W @ x - x
    wanted = 2 * torch.outer(R.T @ miss, x)
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(W),
        "the 2 from the square is missing.": wanted / 2,
        "the sign is wrong; this is the direction in which the error decreases.": -wanted,
        "this is the gradient with respect to R; there the outer product is with W x.": 2 * torch.outer(miss, W @ x),
        "the error is one of x; Rᵀ takes it back to z, where W acts.": 2 * torch.outer(miss, x),
        "the error has to be multiplied by Rᵀ, not by R.": 2 * torch.outer(R @ miss, x),
        "it is transposed: the entry in row i, column j belongs to W_ij.": wanted.T,
    }
    praise = "Right: it vanishes where R W x = x, whatever λ is, and there alone if R is invertible."
    return judge(tensor(run(answer, x, W, R), (3, 3), "The gradient"), wanted, slips, praise)


@checker
def check_gap_2(answer: Callable[[float], float]) -> Verdict:
    """The rate at which w approaches 1/√M as λ → ∞, M = E[x²] (eq-dragged): ``answer(mean_square)``."""
    m = 3.0
    got = tensor(run(answer, m), (), "The rate")
    slips = {
        "Still the stub, it gives 0.": 0.0,
        "This is the rate without the pull.": m,
        "The force on w grows with M; this falls with M, as if M were 1/M.": 1 / m,
        "Right only for M = 1, where w and r move by equal amounts.": m / 2,
        "One factor M is missing: if w changes by a part of itself, r = √M (1 + c) moves M times as far as "
        "w = (1 + a)/√M, and its gradient is 1/M of it.": m / (1 + m),
        "This is the factor by which the rate is smaller; multiply it by the rate without the pull.": 1 / (1 + m**2),
    }
    praise = "Right. It is largest, one half, at M = 1."
    return judge(got, scalar(m / (1 + m**2)), scalars(slips), praise)


@checker
def check_gap_3(answer: Callable[[Tensor], Tensor]) -> Verdict:
    """Nats that one weight for all features costs at its best (eq-shared-inverse, λ → ∞): ``answer(mean_squares)``.

    ``mean_squares`` is (D,) in float64; the answer is a number.
    """
    m = torch.tensor([0.5, 1.0, 6.0], dtype=torch.float64)
    shares = m / m.mean()
    wanted = -0.5 * shares.log().sum()
    slips = {
        "Still the stub, it gives 0.": scalar(0.0),
        "The sign is wrong: it costs.": -wanted,
        "The ½ in front of the logarithms is missing.": 2 * wanted,
        "This is the mean over the features; the sum is asked for.": wanted / len(m),
        "This has w = mean of 1/√M; the likelihood is largest at w² = 1/mean of M.":
            _excess(m.rsqrt().mean(), m),
        "This has w² = mean of 1/M; the likelihood is largest at w² = 1/mean of M.":
            _excess(m.reciprocal().mean().sqrt(), m),
        "This has w = 1/mean of √M; the likelihood is largest at w² = 1/mean of M.":
            _excess(1 / m.sqrt().mean(), m),
    }  # fmt: skip
    praise = "Right: it is zero if all features have the same mean square, and larger the more these differ."
    return judge(tensor(run(answer, m), (), "The cost"), wanted, slips, praise)


def _excess(w: Tensor, m: Tensor) -> Tensor:
    """Nats above the optimum where every feature has the weight w."""
    return 0.5 * (w**2 * m - 1 - (w**2 * m).log()).sum()
