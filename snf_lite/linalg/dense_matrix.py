"""One LU factorization for the log-determinant, its gradient and the solves of a square matrix.

With P M = L U the determinant is ±Π u_ii, so log|det M| = Σ log|u_ii| (eq-triangular): O(D³) once, then O(D²) for each
solve. For a small change dM, det(M + dM) = det M · det(I + M⁻¹ dM) ≈ det M · (1 + tr(M⁻¹ dM)), hence

    d log|det M| = tr(M⁻¹ dM)    (eq-jacobi-trace),

and the gradient with respect to M is M⁻ᵀ (eq-jacobi), which the same factors give.
"""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

from snf_lite.runtime import checks

T = TypeVar("T")

#: From this size on one solve, O(D²), is tried first.
PROBED = 64
#: Largest entry of W x - v, |v| ≤ 1, at which W is accepted as invertible: for Gaussian matrices it was below 0.003 up
#: to D = 784 in float32; for matrices without full rank x explodes, and it was at least 0.05.
SMALL_RESIDUAL = 1e-2
#: A pivot this many machine epsilons above its rounding noise is accepted without further checks.
CLEAR_PIVOT = 1e4
#: In float64: a pivot less than this many machine epsilons above its noise means that the matrix is singular.
NOISE_PIVOT = 1e5
#: Device types that have no float64: Apple's GPUs.
WITHOUT_FLOAT64 = {"mps"}


def require_regular(matrix: Tensor, lu: Tensor, pivots: Tensor, label: str) -> None:
    """Raise NotInvertibleError if a matrix (D, D) that was factorized into ``lu`` and ``pivots`` has no inverse.

    Rounding leaves tiny pivots where exact arithmetic would leave zeros, and float32 cannot distinguish them from the
    pivots of a matrix that is merely badly scaled: doubtful matrices are factorized again in float64.
    """
    if not checks.is_eager(matrix):
        return
    if len(matrix) >= PROBED and residual(matrix, lu, pivots) < SMALL_RESIDUAL:
        return
    if not checks.all_finite(matrix):
        raise checks.NotInvertibleError(f"{label}: the weight holds NaN or infinity, so it has no inverse.")
    if clearance(lu) > CLEAR_PIVOT:
        return
    again = lu if lu.dtype == torch.float64 else torch.linalg.lu_factor_ex(precise(matrix.detach()))[0]
    above = clearance(again)
    if above < (NOISE_PIVOT if again.dtype == torch.float64 else 1):
        raise singular(label, f"a pivot of its LU factorization is {above:.1g} roundings above zero")


@torch.no_grad()
def residual(matrix: Tensor, lu: Tensor, pivots: Tensor) -> float:
    """The largest entry of W x - v for one v with entries in [-1, 1] and the x that the factors give; O(D²)."""
    v = torch.cos(torch.arange(len(matrix), dtype=lu.dtype, device=lu.device))[:, None]
    return float((matrix @ torch.linalg.lu_solve(lu, pivots, v) - v).abs().max())


def clearance(lu: Tensor) -> float:
    """The least ratio of a pivot to its rounding noise, which is eps times the sum of |l||u| in its computation."""
    sizes = lu.detach().abs()
    pivots = sizes.diagonal()
    noise = (sizes.tril(-1) * sizes.triu(1).mT).sum(1) + pivots
    return float((pivots / (torch.finfo(lu.dtype).eps * noise)).nan_to_num(0.0).min())


def singular(label: str, why: str) -> checks.NotInvertibleError:
    """The error to raise for a weight without an inverse."""
    return checks.NotInvertibleError(
        f"{label}: the weight is singular: {why}; it has no inverse, and log|det| is -inf."
    )


def require_diagonal(sizes: Tensor, label: str, what: str = "a diagonal entry") -> None:
    """Raise NotInvertibleError if one of the absolute diagonal entries of a triangular matrix is zero or not finite."""
    sizes = sizes.detach()
    if checks.is_eager(sizes) and not bool(((sizes > 0) & sizes.isfinite()).all()):
        raise singular(label, f"{what} is {float(sizes.nan_to_num().min()):.1g}")


class AutogradFunction(torch.autograd.Function):
    """An autograd function with ``setup_context``; torch asks for the signature of ``forward`` in each call.

    Kept on the function, it takes 5 µs in place of 25, as long as a product of a batch of digits.
    """

    def __init_subclass__(cls) -> None:
        cls.forward.__signature__ = inspect.signature(cls.forward)  # type: ignore[attr-defined]


class _LogAbsDet(AutogradFunction):
    """log|det M| with ∂/∂M = M⁻ᵀ (eq-jacobi), value and gradient from one factorization."""

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
        if torch.is_grad_enabled():  # second derivatives are needed: the factors carry none
            return grad * torch.linalg.inv(matrix).mT
        identity = torch.eye(lu.shape[-1], dtype=lu.dtype, device=lu.device)
        # solved from the right, so that M⁻ᵀ is stored by rows like the gradients that it is added to
        return torch.linalg.lu_solve(lu, pivots, identity, left=False, adjoint=True).mul_(grad)


def log_abs_det(matrix: Tensor, label: str = "log_abs_det") -> Tensor:
    """log|det M| in nats, a scalar for M (D, D). One LU factorization, O(D³).

    Jacobi's formula: its change for a small dM is tr(M⁻¹ dM) (eq-jacobi-trace), so its gradient is M⁻ᵀ (eq-jacobi).

    Raises:
        NotInvertibleError: M is singular to working precision.
    """
    value, lu, pivots = cast("tuple[Tensor, Tensor, Tensor]", _LogAbsDet.apply(matrix))
    require_regular(matrix, lu, pivots, label)
    return value


def product_dtype(x: Tensor) -> torch.dtype:
    """The dtype of products with x under ``torch.autocast``; x's own outside of it, and for float64."""
    if x.dtype == torch.float32 and not x.is_meta and torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype


def precise(x: Tensor) -> Tensor:
    """x in float64, on the CPU if its device has no float64, so that results are as accurate there.

    Where float64 is refused altogether x stays in float32, with one UserWarning.
    """
    try:
        return x.to("cpu", torch.float64) if x.device.type in WITHOUT_FLOAT64 else x.double()
    except TypeError:
        _warn_of_float32(str(x.device))
        return x.float()


@cache
def _warn_of_float32(device: str) -> None:
    """Warn, once for a device."""
    warnings.warn(
        f"{device} has no float64: log-determinants, exact inverses and whitening are computed in float32 there, with "
        "about 7 digits in place of 16; compute on the CPU where that matters.",
        stacklevel=3,
    )


def gradient_wanted(*tensors: Tensor) -> bool:
    """Whether results computed from the tensors will be differentiated: then cached ones cannot be used."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


@dataclass(frozen=True)
class Factor:
    """A factorized matrix M for many solves: ``log_abs_det`` () in nats, and ``solve``."""

    lu: Tensor
    pivots: Tensor

    @property
    def log_abs_det(self) -> Tensor:
        return self.lu.diagonal().abs().log().sum()

    def solve(self, rows: Tensor) -> Tensor:
        """x (B, D) with M x_b = rows_b."""
        solution: Tensor = torch.linalg.lu_solve(self.lu, self.pivots, rows.mT)
        return solution.mT


def factor(matrix: Tensor, label: str) -> Factor:
    """Factorize M (D, D): P M = L U, from which log|det M| = Σ log|u_ii| (eq-triangular). About ⅔ D³ operations.

    Raises:
        NotInvertibleError: M is singular to working precision.
    """
    lu, pivots, _ = torch.linalg.lu_factor_ex(matrix)
    require_regular(matrix, lu, pivots, label)
    return Factor(lu, pivots)


class WeightCache(Generic[T]):
    """The last result computed from a weight, valid as long as the weight holds the same numbers.

    Fused optimizers and writes through ``.data`` do not change a tensor's version counter, so the numbers themselves
    are compared: O(D²), to save O(D³).
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._weight: Tensor | None = None
        self._key: Any = None
        self._result: Any = None

    def get(self, weight: Tensor, compute: Callable[[], T], key: Any = None) -> T:
        """``compute()``, or its last result if neither the numbers in ``weight`` nor ``key`` have changed."""
        if not checks.is_eager(weight):
            return compute()
        if not self.holds(weight, key):
            self._result = compute()
            self._weight, self._key = weight.detach().clone(), key
        return cast(T, self._result)

    def holds(self, weight: Tensor, key: Any = None) -> bool:
        """Whether the last result is one of these numbers and this ``key``."""
        kept = self._weight
        comparable = kept is not None and kept.dtype == weight.dtype and kept.device == weight.device
        return self._key == key and comparable and torch.equal(cast(Tensor, kept), weight)


def principal_axes(x: Tensor, label: str) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (D,), standard deviations (D,) along the principal axes, and their directions (D, D), in float64.

    x: (B, D) with B > D, else ValueError. Deviations below a thousandth of the largest are raised to it: a direction in
    which the batch hardly varies would otherwise be amplified without bound.
    """
    features = x.shape[1]
    if len(x) <= features:
        raise ValueError(
            f"{label}: whitening {features} features needs a batch of more than {features} data points, got {len(x)}."
        )
    x = precise(x)
    variances, directions = torch.linalg.eigh(torch.cov(x.T).reshape(features, features))
    if not checks.all_finite(variances) or (checks.is_eager(variances) and variances[-1] <= 0):
        raise ValueError(f"{label}: cannot whiten a batch whose data points are all the same.")
    return x.mean(0), variances.clamp_min(1e-6 * variances[-1]).sqrt(), directions
