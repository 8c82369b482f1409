"""The general case of the idea: any differentiable f with any learned g ≈ f⁻¹.

By Jacobi's formula the log-determinant changes by tr(J_f⁻¹ dJ_f) (eq-jacobi-trace), and by the inverse function theorem
J_f⁻¹ is the Jacobian of f⁻¹ at f(x). If a learned g is close to f⁻¹, its Jacobian replaces that of f⁻¹,

    d log|det J_f| ≈ tr(J_g(f(x)) dJ_f)    (eq-general),

in which J_g is a constant: the gradient reaches f alone. No Jacobian is built. Since tr(A) = Σ_i e_iᵀ A e_i, and
E[vᵀ A v] = tr(A) for random signs v (Hutchinson), products of a vector with each Jacobian are enough, and these are
what automatic differentiation computes. For a linear f and g the sum is known in closed form: those are the dense
layer (eq-dense-gradients) and the convolution (eq-conv-gradients).

J_g replaces J_f⁻¹ in the product with each direction v. With ``correct`` that product is the start of a solution:

    J_fᵀ u = v,    preconditioned by J_gᵀ    (eq-corrected-trace),

solved by an iteration of such products alone. Then E[uᵀ ∂J_f v] = tr(J_f⁻¹ ∂J_f): the gradient is exact over a basis
and unbiased with random signs, whatever g is. A better g only saves iterations.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.func import vjp, vmap

from snf_lite.linalg.krylov import bicgstab
from snf_lite.runtime import checks

Map = Callable[[Tensor], Tensor]
Pullback = tuple[Tensor, Callable[[Tensor], tuple[Tensor]]]

#: Iterations for J_fᵀ u = v: two products with J_fᵀ and two with J_gᵀ each.
LIMIT = 20
#: The largest D for which Jacobians (B, D, D) are built: above, one data point's takes more than 4 MiB in float32.
MOST_FEATURES = 1024


def self_norm_log_det(f: Map, g: Map, x: Tensor, probes: int | None = None, correct: float | None = None) -> Tensor:
    """A surrogate for log|det J_f(x)| whose gradient is tr(J_g(f(x)) ∂J_f(x)): J_g replaces J_f⁻¹ (eq-general).

    Its value is zero: only its gradient has a meaning. The gradient reaches f's parameters and x, never g; the other
    half of the objective, -log|det J_g|, is ``-self_norm_log_det(g, f, z)``.

    Args:
        f, g: Differentiable maps (B, ...) → (B, ...) that treat the data points of a batch independently and keep
            the number D of features.
        x: Data points (B, ...).
        probes: Number n of random signs per batch in Hutchinson's unbiased estimate, O(n); None: the exact trace in D
            passes.
        correct: Relative residual, in (0, 1), to which J_fᵀ u = v is solved for each direction v, preconditioned by
            J_gᵀ: the gradient is that of log|det J_f| itself (eq-corrected-trace). Where 20 iterations do not suffice,
            a warning is given; J_f of these data points is built and eliminated, O(D³), for D up to 1024, and the best
            iterate is used above. None: J_g replaces J_f⁻¹.

    Returns:
        A tensor (B,), zero in value.

    Raises:
        ValueError: probes is not a positive integer, correct is not in (0, 1), or f or g change the number of features;
            ``NotInvertibleError`` if J_f is singular where it is eliminated.
        TypeError: x is no float tensor, or f or g give no tensor.

    Example:
        >>> W = torch.tensor([[2.0, 1.0], [0.0, 4.0]], requires_grad=True)
        >>> term = snf.self_norm_log_det(lambda x: x @ W.T, lambda z: z @ W.inverse().T, torch.ones(1, 2))
        >>> term.sum().backward()
        >>> torch.allclose(W.grad, W.inverse().T)  # here g is the inverse, and the gradient exact
        True
        >>> term = snf.self_norm_log_det(lambda x: x @ W.T, lambda z: 0.3 * z, torch.ones(1, 2), correct=1e-6)
        >>> torch.allclose(torch.autograd.grad(term.sum(), W)[0], W.inverse().T)  # corrected, it is with any g
        True

    References:
        Keller et al., Self Normalizing Flows, ICML 2021, the two likelihoods (https://arxiv.org/abs/2011.07248);
        Draxler et al., 2024, for whole networks with Hutchinson's estimate.
    """
    label = "self_norm_log_det"
    checks.require_batch(x, label)
    found = estimate(f, g, x, probes, correct, label)
    if found.unsolved:
        checks.warn(unsolved_text(found, label))
    return found.term


@dataclass(frozen=True)
class Estimate:
    """The surrogate of a batch, and what its pass computed on the way.

    Attributes:
        z: f(x).
        back: g(f(x)); its gradient reaches g alone.
        term: The surrogate (B,), zero in value.
        iterations: Iterations of the solve that needed most; 0 without ``correct``.
        unsolved: Data points for which 20 iterations did not suffice.
        residual: Their largest relative residual.
    """

    z: Tensor
    back: Tensor
    term: Tensor
    iterations: int
    unsolved: int
    residual: float


def estimate(f: Map, g: Map, x: Tensor, probes: int | None, correct: float | None, label: str) -> Estimate:
    """As ``self_norm_log_det``, with what its pass computed on the way; no warning."""
    if probes is None:  # (D, B, ...) unit vectors
        directions = _units(x).expand(-1, *x.shape)
    else:  # (probes, B, ...) random signs
        count = checks.positive_integer(probes, "probes", label)
        directions = torch.randint(0, 2, (count, *x.shape), device=x.device).to(x.dtype) * 2 - 1
    z, pull_f = cast(Pullback, vjp(f, x))
    _require_same_count("f", x, z, label)
    back, pull_g = cast(Pullback, vjp(g, z.detach()))
    _require_same_count("g", z, back, label)
    weights: Tensor | None = None
    iterations, unsolved, residual = 0, 0, 0.0
    if correct is not None:
        tolerance = checks.number_between(correct, 0, 1, "correct", label)
        weights, iterations, unsolved, residual = _solved(f, x, z, pull_f, pull_g, directions, tolerance, label)

    def one(direction: Tensor, weight: Tensor | None = None) -> Tensor:
        """uᵀ J_f d for each data point of the batch, differentiable through J_f alone."""
        u = pull_g(direction)[0] if weight is None else weight
        (row,) = pull_f(u.detach())
        return (row * direction).flatten(1).sum(1)

    given = (directions,) if weights is None else (directions, weights)
    products = vmap(one, randomness="different")(*given)
    trace = products.sum(0) if probes is None else products.mean(0)
    checks.require_finite_output(trace, label, "the trace of J_g J_f")
    return Estimate(z, back, trace - trace.detach(), iterations, unsolved, residual)


def unsolved_text(found: Estimate, label: str) -> str:
    """The warning about solves that did not converge."""
    how = "were solved by elimination, O(D³)" if math.prod(found.z.shape[1:]) <= MOST_FEATURES else "stay inexact"
    return (
        f"{label}: g is far from the inverse of f: {LIMIT} iterations left a relative residual of up to "
        f"{found.residual:.0e} in {found.unsolved} of {len(found.z)} data points, which {how}. Train g for longer, at "
        "a larger learning rate, or f at a smaller one."
    )


@torch.no_grad()
def _solved(
    f: Map, x: Tensor, z: Tensor, pull_f: Callable[[Tensor], tuple[Tensor]], pull_g: Callable[[Tensor], tuple[Tensor]],
    directions: Tensor, tolerance: float, label: str,
) -> tuple[Tensor, int, int, float]:  # fmt: skip
    """u (n, *z.shape) with J_fᵀ u = v for directions v (n, *x.shape); iterations, data points unsolved, residual."""
    count, point = len(directions), x.shape[1:]

    def rows(pull: Callable[[Tensor], tuple[Tensor]], shape: torch.Size) -> Map:
        """The product of each of the n · B rows with a transposed Jacobian."""
        each = vmap(lambda direction: pull(direction)[0])
        return lambda v: each(v.reshape(count, *shape)).reshape(-1, *point)

    found = bicgstab(rows(pull_f, z.shape), directions.reshape(-1, *point), rows(pull_g, x.shape), tolerance, LIMIT)
    u = found.x.reshape(count, *z.shape)
    if not checks.is_eager(x):
        return u, found.iterations, 0, 0.0
    far = ~(found.residuals <= tolerance).reshape(count, len(x)).all(0)
    unsolved = int(far.sum())
    if unsolved and math.prod(point) <= MOST_FEATURES:
        matrices = jacobian(f, x[far], label)[1].mT
        solved, singular = torch.linalg.solve_ex(matrices, directions[:, far].flatten(2).permute(1, 2, 0))
        if bool(singular.any()):
            raise checks.NotInvertibleError(f"{label}: J_f is singular at {int((singular > 0).sum())} data points.")
        u[:, far] = solved.permute(2, 0, 1).reshape(count, unsolved, *z.shape[1:])
    return u, found.iterations, unsolved, float(found.residuals.max()) if unsolved else 0.0


def jacobian(f: Map, x: Tensor, label: str) -> tuple[Tensor, Tensor]:
    """f(x), and its Jacobians at the data points of a batch x (B, ...) as matrices (B, D, D), differentiable."""
    z, pull = cast(Pullback, vjp(f, x))
    _require_same_count("f", x, z, label)
    rows = vmap(lambda unit: pull(unit.expand(z.shape))[0])(_units(z))
    return z, rows.flatten(2).movedim(0, 1)


def _units(like: Tensor) -> Tensor:
    """The D unit vectors of the shape of a data point of a batch (B, ...), (D, 1, ...)."""
    features = math.prod(like.shape[1:])
    return torch.eye(features, dtype=like.dtype, device=like.device).reshape(features, 1, *like.shape[1:])


def _require_same_count(name: str, given: Tensor, made: Tensor, label: str) -> None:
    if not isinstance(made, Tensor):
        raise TypeError(f"{label}: expected {name} to give a tensor, got a {type(made).__name__}.")
    count = math.prod(given.shape[1:])
    if made.shape[:1] != given.shape[:1] or math.prod(made.shape[1:]) != count:
        raise ValueError(
            f"{label}: expected {name} to keep the batch and the {count} features of a data point, "
            f"got {tuple(given.shape)} → {tuple(made.shape)}."
        )
