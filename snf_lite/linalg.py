"""One LU factorisation for the log-determinant, its gradient and the solve of a square matrix."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

from . import checks

Result = TypeVar("Result")

#: A pivot this many machine epsilons below the numbers it was made from is rounding noise: the matrix has lost rank.
NOISE_PIVOT = 16.0


def require_regular(pivots: Tensor, scale: Tensor, owner: str) -> None:
    """Raise NotInvertibleError if a pivot of an LU factorisation is zero, or noise beside ``scale``.

    pivots: (D,); scale: (D,) or (), the largest number in each column of the matrix, or in the whole of it.
    """
    if not checks.values_are_readable():
        return
    pivots, scale = pivots.detach().abs(), scale.detach()
    if not _pivots_hold(pivots, scale):
        raise checks.NotInvertibleError(
            f"{owner}: the weight is singular: its LU factorisation has a pivot of {float(pivots.min()):.1e} where "
            f"the weight's numbers reach {float(scale.max()):.1e}; it has no inverse, and log|det| is -inf."
        )


def _pivots_hold(pivots: Tensor, scale: Tensor) -> bool:
    try:
        return bool((pivots > NOISE_PIVOT * torch.finfo(pivots.dtype).eps * scale).all())
    except RuntimeError:  # under torch.func.vmap there is no single answer
        return True


class _LogAbsDet(torch.autograd.Function):
    """log|det M| with ∂/∂M = M⁻ᵀ (eq-jacobi), value and gradient from one factorisation."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        lu, pivots, _ = torch.linalg.lu_factor_ex(matrix)
        return lu.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1), lu, pivots

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor, Tensor]) -> None:
        _, lu, pivots = output
        ctx.mark_non_differentiable(lu, pivots)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs, lu, pivots)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Any) -> Tensor | None:
        matrix, lu, pivots = ctx.saved_tensors
        if grad is None:
            return None
        if torch.is_grad_enabled():  # somebody asks for second derivatives: the factors carry none
            return grad * torch.linalg.inv(matrix).mT
        identity = torch.eye(lu.shape[-1], dtype=lu.dtype, device=lu.device)
        return grad * torch.linalg.lu_solve(lu, pivots, identity, adjoint=True)


def log_abs_det(matrix: Tensor, owner: str = "log_abs_det") -> Tensor:
    """log|det M| in nats, a scalar for M (D, D); its gradient is M⁻ᵀ (eq-jacobi). One LU factorisation, O(D³).

    Raises:
        NotInvertibleError: M is singular to working precision.
    """
    value, lu, _ = cast(tuple[Tensor, Tensor, Tensor], _LogAbsDet.apply(matrix))
    require_regular(lu.diagonal(), matrix.abs().amax(0), owner)
    return value


@dataclass(frozen=True)
class Factor:
    """The factorised matrix M, kept for many solves: ``log_abs_det`` () in nats, and ``solve``."""

    lu: Tensor
    pivots: Tensor

    @property
    def log_abs_det(self) -> Tensor:
        return self.lu.diagonal().abs().log().sum()

    def solve(self, rows: Tensor) -> Tensor:
        """x (B, D) with M x_b = rows_b."""
        solution: Tensor = torch.linalg.lu_solve(self.lu, self.pivots, rows.mT)
        return solution.mT


def factor(matrix: Tensor, owner: str) -> Factor:
    """Factorise M (D, D); NotInvertibleError if it is singular."""
    lu, pivots, _ = torch.linalg.lu_factor_ex(matrix)
    require_regular(lu.diagonal(), matrix.abs().amax(0), owner)
    return Factor(lu, pivots)


class Remembered(Generic[Result]):
    """The last result computed from a weight, given again as long as the weight holds the same numbers.

    Fused optimisers and writes through ``.data`` leave a tensor's version counter as it was, so the numbers themselves
    are compared, O(D²) beside the O(D³) that is spared.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._weight: Tensor | None = None
        self._key: Any = None
        self._result: Any = None

    def get(self, weight: Tensor, compute: Callable[[], Result], key: Any = None) -> Result:
        """``compute()``, or its last result if neither the numbers in ``weight`` nor ``key`` have changed."""
        if not checks.values_are_readable():
            return compute()
        if self._key != key or not _same_numbers(self._weight, weight):
            self._result = compute()
            self._weight, self._key = weight.detach().clone(), key
        return cast(Result, self._result)


def _same_numbers(kept: Tensor | None, now: Tensor) -> bool:
    if kept is None or kept.dtype != now.dtype or kept.device != now.device:
        return False
    return torch.equal(kept, now)
