"""Many linear systems A x = b solved together by an iteration that needs only products with A.

BiCGStab (van der Vorst 1992) reduces the residual b − A x by two products with A in an iteration, and with a
preconditioner P ≈ A⁻¹ it iterates on A P, whose eigenvalues lie near 1: the better P, the fewer iterations. A learned
inverse is such a P, and no matrix is ever built. The rows of a batch are systems of their own, each with its own step
sizes; a row that has converged is frozen while the others continue.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from snf_lite.runtime import checks

#: A refinement step that leaves more than this share of a residual ends the refinement: BiCGStab is then faster. A step
#: costs less than half of an iteration.
CONTRACTION = 0.25
#: A restart that leaves more than this share of a row's residual ends the row: rounding, or a system without solution.
STAGNATION = 0.5


@dataclass(frozen=True)
class Solution:
    """The solution of a batch of linear systems.

    Attributes:
        x: (B, ...), of the shape of the right-hand sides.
        iterations: Iterations of the row that needed most, two products with A each.
        residuals: ‖b − A x‖ / ‖b‖ of each row, (B,), computed from x itself; 0 where b = 0.
    """

    x: Tensor
    iterations: int
    residuals: Tensor


@torch.no_grad()
def solve(
    apply: Callable[[Tensor], Tensor], rhs: Tensor, precondition: Callable[[Tensor], Tensor],
    tolerance: float = 1e-10, limit: int = 100,
) -> Solution:  # fmt: skip
    """Solve A x = b for each row b of a batch with a good P: refinement as long as it contracts, then BiCGStab.

    From x = P b on a step is x ← x + P (b − A x), which multiplies the residual by I − A P (eq-preconditioned). The
    arguments are those of ``bicgstab``; ``iterations`` counts the refinement steps too.
    """
    sizes = norms(rhs)
    x, residual, left, count = torch.zeros_like(rhs), rhs, sizes, 0
    while count < limit:
        better = x + precondition(residual)
        again = rhs - apply(better)
        now = norms(again)
        if not bool((now <= CONTRACTION * left).all()):
            break
        x, residual, left, count = better, again, now, count + 1
        if bool((left <= tolerance * sizes).all()):
            return Solution(x, count, torch.where(sizes == 0, 0.0, left / sizes).flatten())
    found = bicgstab(apply, rhs, precondition, tolerance, limit - count, start=x)
    return Solution(found.x, count + found.iterations, found.residuals)


@torch.no_grad()
def bicgstab(
    apply: Callable[[Tensor], Tensor],
    rhs: Tensor,
    precondition: Callable[[Tensor], Tensor] | None = None,
    tolerance: float = 1e-10,
    limit: int = 100,
    start: Tensor | None = None,
) -> Solution:
    """Solve A x = b for each row b of a batch by BiCGStab, without a gradient.

    A row is done when its residual, computed from x itself, is at most ``tolerance`` · ‖b‖. Where the recursion of the
    residual has drifted from it or broken down, the row starts again from its x, as long as that helps. A row that does
    not converge keeps the best x of its starts, and its residual gives how far it got: nothing is raised.

    Inside a trace, a CUDA graph or vmap, where no value can be looked at, exactly ``limit`` iterations are taken.

    Args:
        apply: x ↦ A x, linear, (B, ...) to (B, ...), row by row.
        rhs: b (B, ...), float32 or float64.
        precondition: P, linear likewise, near A⁻¹; None: the identity.
        tolerance: Largest residual of a solution, relative to ‖b‖.
        limit: Largest number of iterations.
        start: First guess of x; None: zero.

    Returns:
        x, the number of iterations, and the residual of each row.

    Example:
        >>> from snf_lite.linalg.krylov import bicgstab
        >>> A = torch.eye(50, dtype=torch.float64) + 0.05 * torch.randn(50, 50, dtype=torch.float64)
        >>> b = torch.randn(3, 50, dtype=torch.float64)
        >>> solution = bicgstab(lambda x: x @ A.T, b)
        >>> torch.allclose(solution.x @ A.T, b), bool((solution.residuals <= 1e-10).all())
        (True, True)

    References:
        van der Vorst, Bi-CGSTAB: a fast and smoothly converging variant of Bi-CG for the solution of nonsymmetric
        linear systems, SIAM J. Sci. Stat. Comput. 13, 1992.
    """
    eager = checks.is_eager(rhs)
    sizes = norms(rhs)
    targets = tolerance * sizes
    best = torch.zeros_like(rhs) if start is None else start * (sizes != 0)
    residual = rhs if start is None else rhs - apply(best)
    left = norms(residual)
    active, count = left > targets, 0
    while count < limit and not (eager and not bool(active.any())):
        x, taken = _pass(apply, precondition or _identity, best, residual, targets, active, limit - count, eager)
        count += taken
        again = rhs - apply(x)
        now = norms(again)
        better = now < left  # False for NaN
        best, residual = torch.where(better, x, best), torch.where(better, again, residual)
        active = active & (now <= STAGNATION * left) & (now > targets)
        left = torch.where(better, now, left)
    relative = torch.where(sizes == 0, 0.0, left / sizes)  # NaN for a b that holds NaN
    return Solution(best, count, relative.flatten())


def _pass(
    apply: Callable[[Tensor], Tensor], precondition: Callable[[Tensor], Tensor], x: Tensor, residual: Tensor,
    targets: Tensor, active: Tensor, limit: int, eager: bool,
) -> tuple[Tensor, int]:  # fmt: skip
    """x after a run of BiCGStab from its residual, and the number of iterations; the step sizes of other rows are 0."""
    shadow = direction = residual
    rho = _dot(shadow, residual)
    for count in range(1, limit + 1):  # noqa: B007
        p = precondition(direction)
        v = apply(p)
        alpha = _ratio(rho, _dot(shadow, v), active)
        x, half = x + alpha * p, residual - alpha * v
        if eager and not bool((active & (norms(half) > targets)).any()):
            break
        s = precondition(half)
        t = apply(s)
        omega = _ratio(_dot(t, half), _dot(t, t), active)
        x, residual = x + omega * s, half - omega * t
        active = active & (norms(residual) > targets) & (alpha != 0) & (omega != 0)
        if eager and not bool(active.any()):
            break
        previous, rho = rho, _dot(shadow, residual)
        beta = _ratio(rho, previous, active) * _ratio(alpha, omega, active)
        direction = residual + beta * (direction - omega * v)
    return x, count


def _identity(x: Tensor) -> Tensor:
    return x


def norms(x: Tensor) -> Tensor:
    """‖x‖ of each row, (B, 1, ...)."""
    return _dot(x, x).sqrt()


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩ of each row, (B, 1, ...)."""
    return (a * b).sum(tuple(range(1, a.dim())), keepdim=True)


def _ratio(above: Tensor, below: Tensor, active: Tensor) -> Tensor:
    """above / below in the active rows where that is finite, else 0."""
    return torch.where(active, above / below, 0.0).nan_to_num(0.0, 0.0, 0.0)
