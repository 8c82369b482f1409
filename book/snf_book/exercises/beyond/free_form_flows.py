"""Checkers of the chapter *Free-form flows*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Verdict, checker, judge, normal, run, scalar, scalars, tensor

Estimate = Callable[[Tensor, Tensor, Tensor], Any]
Mass = Callable[[float], Any]
Dimension = Callable[[int, int], Any]


@checker
def check_free_form_1(answer: Estimate) -> Verdict:
    """The corrected estimate uᵀ A v of tr(J⁻¹ A) with Jᵀ u = v: ``answer(J, A, v)``, a number (eq-corrected-trace)."""
    J, A = normal(2, 4, 4, seed=5)
    J, v = J + 2 * torch.eye(4), normal(4, seed=6).sign()
    got = tensor(run(answer, J, A, v), (), "The estimate")
    u, turned = torch.linalg.solve(J.T, v), torch.linalg.solve(J, v)
    slips = {
        "Still the stub.": 0.0,
        "J in place of its transpose: u has to solve Jᵀ u = v.": float(turned @ A @ v),
        "This is the trace itself, from the inverse of J: only products with J, A and a solve for v are allowed.":
            float(torch.trace(torch.linalg.solve(J, A))),
        "J is missing: this estimates tr(A).": float(v @ A @ v),
        "Jᵀ multiplied, where a system has to be solved.": float((J.T @ v) @ A @ v),
        "A is transposed: u stands on its left, v on its right.": float(v @ A @ u),
        "A is missing: u has to be multiplied by A v.": float(u @ v),
    }  # fmt: skip
    praise = "Right: its mean over v is tr(J⁻¹ A), whatever preconditioner finds u."
    return judge(got, scalar(float(u @ A @ v)), scalars(slips), praise)


@checker
def check_free_form_2(answer: Mass) -> Verdict:
    """What the density of x integrates to for f(x) = x²/2 − c: ``answer(c)``, a number (eq-folds)."""
    places = torch.tensor([-1.0, 0.3, 2.0], dtype=torch.float64)
    got = torch.stack([tensor(run(answer, float(c)), (), "The integral") for c in places])
    above = (1 + torch.erf(places / math.sqrt(2))) / 2
    slips = {
        "Still the stub.": torch.zeros_like(places),
        "One would be right for a map that is one-to-one; this one is not.": torch.ones_like(places),
        "Two latents in all: but those below −c have no point at all.": torch.full_like(places, 2.0),
        "Each latent above −c counts twice: both x and −x have it.": above,
        "The wrong side: f reaches the latents above −c.": 2 * (1 - above),
        "The root of two is missing: the distribution function is (1 + erf(c/√2)) / 2.": 1 + torch.erf(places),
    }
    return judge(got, 2 * above, slips, "Right: 2 P(z > −c), between 0 and 2, and one at c = 0, where f folds too.")


@checker
def check_free_form_3(answer: Dimension) -> Verdict:
    """The smallest D above n (2k + 1) products of an estimate with n vectors and k iterations: ``answer(n, k)``."""
    n, k = torch.tensor([1.0, 4.0, 3.0], dtype=torch.float64), torch.tensor([2.0, 3.0, 1.0], dtype=torch.float64)
    pairs = zip(n.long().tolist(), k.long().tolist(), strict=True)
    got = torch.stack([tensor(run(answer, *pair), (), "The dimension") for pair in pairs])
    slips = {
        "Still the stub.": torch.zeros_like(n),
        "There both take equally many products: the estimate is to take fewer.": n * (2 * k + 1),
        "The product for the trace itself is missing.": 2 * n * k + 1,
        "An iteration takes two products.": n * (k + 1) + 1,
        "Each of the n vectors has a system of its own, and a trace.": 2 * k + 2,
        "The product for the trace is taken for each vector.": 2 * n * k + 2,
    }
    return judge(got, n * (2 * k + 1) + 1, slips, "Right: below it the Jacobian is cheaper, and exact.")
