"""Checkers of the chapter *Densities that move*."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from snf_book.exercises.verdict import TOLERANCE, Stopped, Verdict, checker, judge, run, tensor

HALF_LOG_TWO_PI = math.log(2 * math.pi) / 2
STUB = "Still the stub: it gives zeros."


@checker
def check_densities_1(log_p: Callable[[Tensor, float, float], Tensor]) -> Verdict:
    """The log-density of x = exp(s n + m), n standard normal: ``log_p(x, s, m)`` takes x > 0 (B,) and gives (B,)."""
    x, s, m = torch.tensor([0.2, 0.7, 1.6, 3.0, 8.0], dtype=torch.float64), 0.6, 0.4
    got = tensor(run(log_p, x, s, m), (5,), "The log-density")
    stretch = -x.log() - math.log(s)
    wanted = _normal((x.log() - m) / s) + stretch
    slips = {
        STUB: torch.zeros_like(x),
        "This is the density itself; its logarithm is asked for.": wanted.exp(),
        "The log-determinant is missing: this is log p_Z(f(x)) alone.": wanted - stretch,
        "The log-determinant has the wrong sign: f goes from x to n, and stretches by 1/(s x).": wanted - 2 * stretch,
        "The log-determinant lacks its s: the slope of (log x - m)/s is 1/(s x).": wanted + math.log(s),
        "The log-determinant lacks its x: the logarithm has the slope 1/x.": wanted + x.log(),
        "The latent lacks its m: solve x = exp(s n + m) for n.": _normal(x.log() / s) + stretch,
        "The latent is not divided by s: solve x = exp(s n + m) for n.": _normal(x.log() - m) + stretch,
        "The constant of the normal density is missing: ½ log 2π.": wanted + HALF_LOG_TWO_PI,
        "The map goes the wrong way: f leads from x to its latent n, and exp(s n + m) leads back.": (
            _normal((s * x + m).exp()) + s * x + m + math.log(s)
        ),
    }
    return judge(got, wanted, slips, "Right: base density and stretch are in place.")


def _normal(n: Tensor) -> Tensor:
    return -n.square() / 2 - HALF_LOG_TWO_PI


@checker
def check_densities_2(log_p: Callable[[Tensor, Tensor], Tensor]) -> Verdict:
    """The log-density of a normal point of the plane in polar coordinates: ``log_p(r, theta)``, two (B,) to one."""
    r = torch.tensor([0.3, 0.8, 1.5, 2.4, 3.1], dtype=torch.float64)
    theta = torch.tensor([0.1, 2.0, 3.3, 4.4, 6.0], dtype=torch.float64)
    got = tensor(run(log_p, r, theta), (5,), "The log-density")
    energy = -r.square() / 2
    wanted = energy - 2 * HALF_LOG_TWO_PI + r.log()
    slips = {
        STUB: torch.zeros_like(r),
        "This is the density itself; its logarithm is asked for.": wanted.exp(),
        "The log-determinant is missing: areas dr dθ far out are larger in the plane.": wanted - r.log(),
        "The log-determinant has the wrong sign: a patch dr dθ becomes r dr dθ in the plane.": wanted - 2 * r.log(),
        "The constant is missing: 1/(2π). Without it this is the density of r alone.": wanted + 2 * HALF_LOG_TWO_PI,
        "The constant belongs to one dimension: the plane's is 1/(2π), not its root.": wanted + HALF_LOG_TWO_PI,
        "The constant and the log-determinant are missing.": energy,
        "The ½ in the exponent is missing: the squares of both coordinates add up to r², halved.": wanted + energy,
    }
    return judge(got, wanted, slips, "Right: no angle in it, and a factor r.")


@checker
def check_densities_3(move: Callable[[Tensor], Tensor]) -> Verdict:
    """A map of the plane, (B, 2) → (B, 2), that bends lines and keeps every area: |det J| = 1 (eq-volume)."""
    x = 2 * torch.randn(200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = tensor(run(move, x.clone()), (200, 2), "What your map gives for x of shape (200, 2)")
    if torch.equal(moved, x):
        return Verdict(False, "Still the stub: it moves nothing.")
    if not torch.allclose(tensor(run(move, x[:1].clone()), (1, 2), "What it gives for one point"), moved[:1]):
        return Verdict(False, "Where a point goes depends on the others in its batch: let each row move alone.")
    jacobians = _jacobians(move, x)
    words = _wrong_areas(x, jacobians)
    if words:
        return Verdict(False, words)
    if torch.allclose(jacobians, jacobians[:1].expand_as(jacobians)):
        words = "It keeps areas, but its Jacobian is the same everywhere: a linear map. Find one that bends lines."
    elif torch.allclose(moved.norm(dim=1), x.norm(dim=1)):
        words = "It keeps areas, as the swirl of the figure does: no point changes its distance from 0. Find another."
    return Verdict(words is None, words or "Right: it bends the plane, and each area stays what it was.")


def _jacobians(move: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(B, 2, 2), by autograd: torch.func refuses more operations that a reader may use."""
    leaf = x.clone().requires_grad_()
    moved = run(move, leaf.clone())
    if not moved.requires_grad:
        raise Stopped("No derivative comes through your map: keep to torch's operations, without detach or numpy.")
    try:
        rows = [torch.autograd.grad(moved[:, i].sum(), leaf, retain_graph=True)[0] for i in (0, 1)]
    except RuntimeError as error:
        words = "Autograd cannot follow your map. Write into no tensor in place; use torch.stack, for example."
        raise Stopped(words) from error
    return torch.stack(rows, 1)


def _wrong_areas(x: Tensor, jacobians: Tensor) -> str | None:
    factors = torch.linalg.det(jacobians)
    worst = int((factors.abs() - 1).abs().argmax())
    if abs(abs(float(factors[worst])) - 1) > TOLERANCE:
        factor = f"{abs(float(factors[worst])):.3g}"
        if factors.abs().max() - factors.abs().min() < TOLERANCE:
            return f"Everywhere areas are multiplied by {factor}; they should keep their size."
        return f"At ({x[worst, 0]:.2f}, {x[worst, 1]:.2f}) areas are multiplied by {factor}, and not everywhere alike."
    if factors.min() < 0 < factors.max():
        return "It keeps areas but folds the plane: part of it is turned over, so that two points can share a latent."
    return None
