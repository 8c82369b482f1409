"""Block cyclic reduction: log|det|, its gradient and solves of a block-tridiagonal matrix whose blocks repeat.

Take n block rows (L, D, U), the last with a diagonal block E of its own. For even n eliminate the first, third, fifth,
… of them: all are eliminated by the same D⁻¹, and the remaining n/2 block rows have again one D, U and L each,

    D' = D - L D⁻¹ U - U D⁻¹ L,    U' = -U D⁻¹ U,    L' = -L D⁻¹ L,    E' = E - L D⁻¹ U,

and log|det T| = n/2 log|det D| + log|det T'|. For odd n the last row is eliminated first, D - U E⁻¹ L taking E's place.
So n rows need about log₂ n factorizations of one small matrix each, where elimination row by row (eq-block-banded)
needs n of them. The gradient is computed in reverse: each step returns ∂log|det T|/∂(D, E, U, L).

Rows are exchanged inside a block only, so digits can be lost: callers must check the residual.

References:
    Buzbee, Golub & Nielson, On direct methods for solving Poisson's equations, 1970.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from snf_lite.linalg.block_tridiagonal import Bands, Layout


class Blocks(NamedTuple):
    """The blocks (..., m, m) of all rows, E the diagonal one of the last row; or the gradients for them."""

    D: Tensor
    E: Tensor
    U: Tensor
    L: Tensor


class Pivot:
    """An eliminated block G: ``product`` = left G⁻¹ right is subtracted from the remaining rows."""

    def __init__(self, block: Tensor, left: Tensor, right: Tensor) -> None:
        self.inverse, self.log_abs_det = invert(block)
        self.left, self.solved = left, self.inverse @ right
        self.product = left @ self.solved

    def pull(self, gradient: Tensor, times: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients for G, left and right from that for ``product``; plus times · G⁻ᵀ for G, from log|det G|."""
        right = self.inverse.mT @ (self.left.mT @ gradient)
        return times * self.inverse.mT - right @ self.solved.mT, gradient @ self.solved.mT, right


def invert(block: Tensor) -> tuple[Tensor, Tensor]:
    """G⁻¹ (..., m, m) and log|det G| (...) from one LU factorization."""
    lu, exchanges, _ = torch.linalg.lu_factor_ex(block)
    identity = torch.eye(block.shape[-1], dtype=block.dtype, device=block.device).expand_as(block)
    return torch.linalg.lu_solve(lu, exchanges, identity), lu.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)


class Last:
    """One block row, E alone."""

    log_abs_det: Tensor

    def __init__(self, rows: Blocks) -> None:
        self.inverse, self.log_abs_det = invert(rows.E)

    def gradient(self) -> Blocks:
        none = torch.zeros_like(self.inverse)
        return Blocks(none, self.inverse.mT, none, none)

    def solve(self, rhs: Tensor) -> Tensor:
        return rhs @ self.inverse.mT


class First:
    """Two block rows: eliminate the first."""

    log_abs_det: Tensor

    def __init__(self, rows: Blocks) -> None:
        self.pivot = Pivot(rows.D, rows.L, rows.U)
        self.below = Last(Blocks(rows.D, rows.E - self.pivot.product, rows.U, rows.L))
        self.log_abs_det = self.pivot.log_abs_det + self.below.log_abs_det

    def gradient(self) -> Blocks:
        E = self.below.gradient().E
        D, L, U = self.pivot.pull(-E)
        return Blocks(D, E, U, L)

    def solve(self, rhs: Tensor) -> Tensor:
        first = rhs[:, :1] @ self.pivot.inverse.mT
        second = self.below.solve(rhs[:, 1:] - first @ self.pivot.left.mT)
        return torch.cat([first - second @ self.pivot.solved.mT, second], 1)


class Odd:
    """An odd number n ≥ 3 of block rows: eliminate the last."""

    log_abs_det: Tensor

    def __init__(self, rows: Blocks, n: int) -> None:
        self.pivot = Pivot(rows.E, rows.U, rows.L)
        self.below = reduction(Blocks(rows.D, rows.D - self.pivot.product, rows.U, rows.L), n - 1)
        self.log_abs_det = self.pivot.log_abs_det + self.below.log_abs_det

    def gradient(self) -> Blocks:
        D, E, U, L = self.below.gradient()
        gone, left, right = self.pivot.pull(-E)
        return Blocks(D + E, gone, U + left, L + right)

    def solve(self, rhs: Tensor) -> Tensor:
        stay, last = solve_without_last(self.pivot, self.below, rhs[:, :-1], rhs[:, -1:])
        return torch.cat([stay, last], 1)


class Even:
    """An even number n ≥ 4 of block rows: eliminate every other one, n/2 in all."""

    log_abs_det: Tensor

    def __init__(self, rows: Blocks, n: int) -> None:
        D, E, U, L = rows
        self.count = n // 2
        self.pivot = Pivot(D, torch.cat([L, U], -2), torch.cat([U, L], -1))
        above, under = self.pivot.product.chunk(2, -2)
        (LU, LL), (UU, UL) = above.chunk(2, -1), under.chunk(2, -1)
        self.below = reduction(Blocks(D - LU - UL, E - LU, -UU, -LL), self.count)
        self.log_abs_det = self.count * self.pivot.log_abs_det + self.below.log_abs_det

    def gradient(self) -> Blocks:
        D, E, U, L = self.below.gradient()
        product = torch.cat([torch.cat([D + E, L], -1), torch.cat([U, D], -1)], -2).neg()
        gone, left, right = self.pivot.pull(product, self.count)
        (left_L, left_U), (right_U, right_L) = left.chunk(2, -2), right.chunk(2, -1)
        return Blocks(D + gone, E, left_U + right_U, left_L + right_L)

    def solve(self, rhs: Tensor) -> Tensor:
        gone = rhs[:, ::2] @ self.pivot.inverse.mT
        below, above = (gone @ self.pivot.left.mT).chunk(2, -1)  # L and U times what is eliminated
        rest = rhs[:, 1::2] - below
        rest[:, :-1] -= above[:, 1:]
        stay = self.below.solve(rest)
        right, left = self.pivot.solved.chunk(2, -1)  # D⁻¹U and D⁻¹L
        gone = gone - stay @ right.mT
        gone[:, 1:] -= stay[:, :-1] @ left.mT
        return torch.stack([gone, stay], 2).flatten(1, 2)


Reduction = Last | First | Odd | Even


def reduction(rows: Blocks, n: int) -> Reduction:
    """Factorize n ≥ 1 block rows."""
    if n < 3:
        return Last(rows) if n == 1 else First(rows)
    return Odd(rows, n) if n % 2 else Even(rows, n)


def solve_without_last(pivot: Pivot, below: Reduction, rhs: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Solve block rows (B, n-1, m) and (B, 1, m'), the last of which was eliminated by ``pivot``."""
    last = last @ pivot.inverse.mT
    adjacent = rhs[:, -1:] - last @ pivot.left.mT
    stay = below.solve(torch.cat([rhs[:, :-1], adjacent], 1))
    return stay, last - stay[:, -1:] @ pivot.solved.mT


class CyclicReduction:
    """A factorized T(w): log|det T(w)| in nats, the gradient for its blocks, and solves.

    A smaller block at the end is eliminated before all others.
    """

    def __init__(self, blocks: Bands, plan: Layout) -> None:
        D, U, L = blocks.diagonal, blocks.upper, blocks.lower
        self.plan, rest, E = plan, plan.rest, D
        self.tail: Pivot | None = None
        if rest:
            self.tail = Pivot(D[..., :rest, :rest], U[..., :rest], L[..., :rest, :])
            E = D - self.tail.product
        self.whole = reduction(Blocks(D, E, U, L), plan.whole)

    @property
    def log_abs_det(self) -> Tensor:
        return self.whole.log_abs_det if self.tail is None else self.whole.log_abs_det + self.tail.log_abs_det

    def gradient(self) -> Bands:
        """The gradient of log|det T(w)| with respect to the three blocks."""
        D, E, U, L = self.whole.gradient()
        if self.tail is None:
            return Bands(D + E, U, L)
        gone, left, right = self.tail.pull(-E)
        gap = self.plan.size - self.plan.rest
        return Bands(D + E + pad(gone, (0, gap, 0, gap)), U + pad(left, (0, gap)), L + pad(right, (0, 0, 0, gap)))

    def solve(self, images: Tensor) -> Tensor:
        """x with T(w) x = images (B, C, H, W); N matrices solve one of N images each."""
        plan = self.plan
        rows, cut = plan.to_rows(images), plan.whole * plan.size
        rhs, last = rows[:, :cut].unflatten(1, (plan.whole, plan.size)), rows[:, None, cut:]
        if self.tail is None:
            return plan.from_rows(self.whole.solve(rhs).flatten(1))
        stay, last = solve_without_last(self.tail, self.whole, rhs, last)
        return plan.from_rows(torch.cat([stay.flatten(1), last.flatten(1)], 1))
