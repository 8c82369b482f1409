"""Checkers of the chapter *Exact for free*."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Verdict, checker, judge, normal, run, tensor


@checker
def check_exact_for_free_1(answer: Callable[[Tensor, Tensor, Tensor], Any]) -> Verdict:
    """The corrected estimate of T⁻ᵀ (eq-control-variate): ``answer(T, R, v)`` of (D, D), (D, D), (n, D); (D, D)."""
    noise, v = normal(3, 3, seed=0), normal(7, 3, seed=0)[3:].sign()
    T = torch.eye(3).double() + 0.3 * noise
    R = torch.linalg.inv(T) @ (torch.eye(3).double() + 0.2 * noise.T)
    got = tensor(run(answer, T, R, v), (3, 3), "The estimate")
    u, count = torch.linalg.solve(T.T, v.T), len(v)
    rest = u - R.T @ v.T
    wanted = R.T + rest @ v / count
    slips = {
        "still the stub, it gives zeros.": torch.zeros(3, 3),
        "this is the known part alone, with its bias.": R.T,
        "this is the rest alone; the known part has to be added.": rest @ v / count,
        "this is the exact inverse; the probes are to replace it.": torch.linalg.inv(T).T,
        "the known part is in it twice: subtract it from u.": R.T + u @ v / count,
        "these are plain probes, without a known part: no bias, and much noise.": u @ v / count,
        "the system to solve is that of the transposed matrix.":
            R.T + (torch.linalg.solve(T, v.T) - R.T @ v.T) @ v / count,
        "the sum over the probes; their mean is wanted.": R.T + rest @ v,
        "the outer products are the wrong way round: (Δ v) vᵀ.": R.T + v.T @ rest.T / count,
        "the known part is the transpose of R.": R + (u - R @ v.T) @ v / count,
    }  # fmt: skip
    return judge(got, wanted, slips, "Right: with R = T⁻¹ the signs would cancel out altogether.")


@checker
def check_exact_for_free_2(answer: Callable[[Tensor], Any]) -> Verdict:
    """The variance of vᵀ A v over random signs v: ``answer(A)`` of (D, D); a number."""
    A = normal(4, 4, seed=0)
    both = (A + A.T).triu(1)
    off = A - A.diag().diag()
    wanted = both.square().sum()
    slips = {
        "still the stub, it gives zero.": torch.zeros(()),
        "this is the variance for normal numbers; the square of a sign does not vary.":
            wanted + 2 * A.diag().square().sum(),
        "this is right for a symmetric A alone; A_ij and A_ji add up first.": 2 * off.square().sum(),
        "the diagonal does not vary: the square of a sign is 1.": A.square().sum(),
        "each pair i, j has two entries, which multiply the same product of signs.": off.square().sum(),
        "the entries of a pair add up before they are squared.": A.triu(1).square().sum(),
        "each pair counts once.": 2 * wanted,
        "the root of it; the variance is asked.": wanted.sqrt(),
        "this is the mean.": A.trace(),
    }  # fmt: skip
    return judge(tensor(run(answer, A), (), "The variance"), wanted, slips, "Right: the diagonal costs nothing.")


@checker
def check_exact_for_free_3(answer: Callable[[Tensor, Tensor, Tensor, int], Any]) -> Verdict:
    """Steps of minimal residual: ``answer(A, P, b, steps)`` of (D, D), (D, D), (D,) and a number; it gives x, (D,)."""
    noise, b = normal(3, 3, seed=0), normal(4, 3, seed=0)[3]
    A = torch.eye(3).double() + 0.3 * noise
    P = torch.linalg.inv(A) @ (torch.eye(3).double() + 0.2 * noise.T)
    praise = "Right: no step can make the residual longer, however poor P is."
    for steps in (0, 2):
        got = tensor(run(answer, A, P, b, steps), (3,), f"With {steps} steps it")
        slips = {
            "still the stub, it gives zeros.": torch.zeros(3),
            "this is the exact solution, by a solve; the steps are to do without one.": torch.linalg.solve(A, b),
            "this is the first guess; no step has been taken.": P @ b,
            "the start is P b, not b.": _steps(A, P, b, steps, start=b),
            "this is plain refinement, with 1 for the number α.": _steps(A, P, b, steps, length=lambda q, e: 1.0),
            "the number α is upside down.": _steps(A, P, b, steps, length=lambda q, e: (q @ q) / (q @ e)),
            "the step goes along e; P has to map it to x.": _steps(A, P, b, steps, along=torch.eye(3).double()),
            "one step too many.": _steps(A, P, b, steps + 1),
            "one step too few; P b itself counts as none.": _steps(A, P, b, max(steps - 1, 0)),
        }
        verdict = judge(got, _steps(A, P, b, steps), slips, praise, f"With {steps} steps: ")
        if not verdict.passed:
            return verdict
    return verdict


def _steps(
    A: Tensor, P: Tensor, b: Tensor, steps: int, start: Tensor | None = None,
    length: Callable[[Tensor, Tensor], Any] = lambda q, e: (q @ e) / (q @ q), along: Tensor | None = None,
) -> Tensor:  # fmt: skip
    x = P @ b if start is None else start
    for _ in range(steps):
        e = b - A @ x
        moved = (P if along is None else along) @ e
        x = x + length(A @ moved, e) * moved
    return x
