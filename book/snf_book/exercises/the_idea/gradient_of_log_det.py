"""Checkers of the chapter *The gradient of log|det J|*."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Slips, Verdict, checker, judge, normal, run, tensor

OneDirection = Callable[[Tensor, Tensor], Tensor]
Factors = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
Turning = Callable[[Tensor, Tensor], Tensor]


#: Seed of the test points; as u, v of shape (2, 3) it gives 1 + vᵀu < 0.
SEED = 13


@checker
def check_gradient_1(answer: OneDirection) -> Verdict:
    """The gradient of log|det(I + u vᵀ)| with respect to u (eq-jacobi): ``answer(u, v)`` for vectors (D,)."""
    above, v = normal(2, 3, seed=SEED) * torch.tensor([[-1.0], [1.0]])
    praise = "Right: about 3D operations, and no matrix was built."
    for u in (above, -above):  # determinants above and below zero
        stretch = 1 + v @ u
        slips = {
            "Still the stub, it gives zeros.": torch.zeros_like(u),
            "The determinant is missing: this is the gradient of 1 + vᵀu, not of its logarithm.": v,
            "This is the gradient with respect to v; for u the other vector is on top.": u / stretch,
            "The sign is turned.": -v / stretch,
            "The determinant multiplies here; the derivative of a logarithm divides by it.": v * stretch,
            "The 1 of the identity is missing: this belongs to log|vᵀu|.": v / (v @ u),
        }
        if stretch < 0:
            slips = {"A sign is lost: the derivative of log|t| is 1/t, also where t < 0.": v / stretch.abs()}
        verdict = judge(tensor(run(answer, u, v), (3,), "The gradient"), v / stretch, slips, praise)
        if not verdict.passed:
            return verdict
    return verdict


@checker
def check_gradient_2(answer: Factors) -> Verdict:
    """The gradient of log|det W| in the factors of W = L (diag(eˢ) + N), and what a step along it does (eq-triangular).

    ``answer(L, s, N)`` takes L (D, D) with ones on its diagonal and zeros above, s (D,), and N (D, D) with zeros on and
    below its diagonal. It gives the gradients with respect to s (D,) and N (D, D), and the change of W, (D, D), per
    unit of step along them.
    """
    lower, upper, (s, *_) = normal(3, 3, 3, seed=SEED)
    L, N = lower.tril(-1) + torch.eye(3, dtype=torch.float64), upper.triu(1)
    got = run(answer, L, s, N)
    if not isinstance(got, tuple | list) or len(got) != 3:
        return Verdict(False, "Return three tensors: the gradients with respect to s and to N, and the change of W.")
    praise = "Right: constant gradients, and a change of W that always increases log|det W| by D for a unit of step."
    names = ("The gradient with respect to s", "The gradient with respect to N", "The change of W")
    for name, part, (wanted, slips) in zip(names, got, _factor_parts(L, s, N), strict=True):
        verdict = judge(tensor(part, tuple(wanted.shape), name), wanted, slips, praise, f"{name}: ")
        if not verdict.passed:
            return verdict
    return verdict


def _factor_parts(L: Tensor, s: Tensor, N: Tensor) -> tuple[tuple[Tensor, Slips], ...]:
    """Right answer and slips for both gradients and for the change of W."""
    U = s.exp().diag() + N
    by_w = torch.linalg.inv(L @ U).mT
    by_s = {
        "still the stub, it gives zeros.": torch.zeros_like(s),
        "this is 1/u_ii, the derivative with respect to u_ii; the chain rule multiplies it by u_ii.": (-s).exp(),
        "this is u_ii, only the step from s_i to u_ii; log|det W| then divides by it.": s.exp(),
        "this is the value, term by term; differentiate it.": s,
        "this is the diagonal of W⁻ᵀ: the gradient with respect to W's own entries, not to s.": by_w.diagonal(),
    }
    by_n = {
        "this is U⁻ᵀ, which is zero above the diagonal; and N has entries only there.": torch.linalg.inv(U).mT,
        "this is W⁻ᵀ, the gradient with respect to W's own entries.": by_w,
        "ones; but no entry of N is in the product along the diagonal.": torch.ones_like(N).triu(1),
    }
    move = {
        "nothing moves yet.": torch.zeros_like(N),
        "this is the steepest direction in W; a step in s takes another.": by_w,
        "L is missing: U moves inside W = L U.": s.exp().diag(),
        "u_ii = exp(s_i) is missing: a step of 1 in s_i moves u_ii by u_ii.": L,
        "N moves along here; its gradient is zero.": L @ U,
        "the factors stand in the wrong order; W = L U.": s.exp().diag() @ L,
    }
    return (torch.ones_like(s), by_s), (torch.zeros_like(N), by_n), (L * s.exp(), move)


@checker
def check_gradient_3(answer: Turning, J: Tensor, upward: Any) -> Verdict:
    """How J⁻ᵀ, the gradient of log|det J|, changes along A, and an A along which log|det J| curves upward (eq-jacobi).

    ``answer(J, A)`` takes two matrices (D, D) and gives the derivative of (J + tA)⁻ᵀ with respect to t at 0.
    ``upward``, of the shape of J, has a positive second derivative of log|det(J + t·upward)| at 0.
    """
    point, A = normal(2, 3, 3, seed=SEED)
    got = tensor(run(answer, point, A), (3, 3), "The derivative of J⁻ᵀ")
    inverse = torch.linalg.inv(point).mT
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(A),
        "the sign is turned; think of 1/t, whose derivative is -1/t².": inverse @ A.mT @ inverse,
        "A should be transposed, as the rest is.": -inverse @ A @ inverse,
        "this is the derivative of J⁻¹; transpose all of it.": -inverse.mT @ A @ inverse.mT,
        "A has to stand between the two inverses: matrices do not commute.": -inverse @ inverse @ A.mT,
        "one inverse is missing; think of 1/t, whose derivative is -1/t².": -inverse @ A.mT,
        "A is missing.": -inverse @ inverse,
    }
    verdict = judge(got, -inverse @ A.mT @ inverse, slips, "", "The derivative of J⁻ᵀ: ")
    if not verdict.passed:
        return verdict
    # the second derivative of log|det(J + tA)| at t = 0 is -tr(J⁻¹A J⁻¹A)
    step = torch.linalg.solve(J.double(), tensor(upward, tuple(J.shape), "The direction"))
    curve = -float((step @ step).trace())
    if curve < 1e-9:
        how = "does not curve" if curve > -1e-9 else f"curves downward, by {curve:.2g}"
        return Verdict(False, f"The formula is right. But along your direction log|det J| {how}. Try one that turns.")
    return Verdict(True, f"Right: along your direction the second derivative is {curve:.2g}.")
