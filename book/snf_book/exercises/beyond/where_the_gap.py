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
        "the 2 that a square leaves behind is missing.": wanted / 2,
        "the sign is turned; this is the direction in which the error falls.": -wanted,
        "this is the gradient with respect to R; there the outer product is with W x.": 2 * torch.outer(miss, W @ x),
        "the miss is one of x; Rᵀ carries it to z, where W acts.": 2 * torch.outer(miss, x),
        "the miss has to be carried by Rᵀ, not by R.": 2 * torch.outer(R @ miss, x),
        "it is transposed: the entry in row i, column j belongs to W_ij.": wanted.T,
    }
    praise = "Right: it vanishes where R W x = x, whatever λ is, and there alone if R is invertible."
    return judge(tensor(run(answer, x, W, R), (3, 3), "The gradient"), wanted, slips, praise)


@checker
def check_gap_2(answer: Callable[[float], float]) -> Verdict:
    """The rate at which w nears 1/√m where λ grows without bound, m = E[x²] (eq-dragged): ``answer(mean_square)``."""
    m = 3.0
    got = tensor(run(answer, m), (), "The rate")
    slips = {
        "Still the stub, it gives 0.": 0.0,
        "This is the rate without the penalty on w.": m,
        "The force on w shrinks with m too; you have the rate of the inverse, for which m is 1/m.": 1 / m,
        "Right only for m = 1, where w and r move by equal shares.": m / 2,
        "r weighs more than that: where w moves by a share, r = √m (1 + b) moves m times as far as w = (1 + a)/√m, "
        "and its gradient is 1/m of it.": m / (1 + m),
        "This is the share of the rate that is left; multiply it by the rate without the penalty.": 1 / (1 + m**2),
    }
    praise = "Right. It is largest, one half, at m = 1: elsewhere the inverse is harder to drag along than that."
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
        "The sign is turned: it costs.": -wanted,
        "The ½ in front of the logarithms is missing.": 2 * wanted,
        "This is the mean over the features; the sum is asked for.": wanted / len(m),
        "This has w = mean of 1/√m; the likelihood is largest at w² = 1/mean of m.":
            _excess(m.rsqrt().mean(), m),
        "This has w² = mean of 1/m; the likelihood is largest at w² = 1/mean of m.":
            _excess(m.reciprocal().mean().sqrt(), m),
        "This has w = 1/mean of √m; the likelihood is largest at w² = 1/mean of m.":
            _excess(1 / m.sqrt().mean(), m),
    }  # fmt: skip
    praise = "Right: nothing where all features have one variance, and the more the further those lie apart."
    return judge(tensor(run(answer, m), (), "The cost"), wanted, slips, praise)


def _excess(w: Tensor, m: Tensor) -> Tensor:
    """Nats above the optimum where every feature has the weight w."""
    return 0.5 * (w**2 * m - 1 - (w**2 * m).log()).sum()
