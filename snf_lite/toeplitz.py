"""The exact algebra of a zero-padded convolution: its matrix T(w), log|det T(w)| and the solve T(w) x = z.

With the pixels ordered row by row, T(w) is block-banded: output row h sees the input rows h-p … h+p, p = (k-1)/2. Taken
p rows at a time the matrix is block-tridiagonal, with the same three blocks D, U, L all the way down,

    | D U     |
    | L D U   |      so that   S_1 = D,  S_{i+1} = D - L S_i⁻¹ U,   log|det T| = Σ_i log|det S_i|   (eq-block-banded)
    |   L D   |

which takes H/p steps of O((p·C·W)³) where the dense matrix takes O((H·C·W)³). Elimination without exchanges between
blocks can lose digits for kernels far from the identity; so the factors are float64, their residual is measured, and
where it is too large the elimination is done again with partial pivoting across neighbouring blocks.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from . import checks, linalg

#: Largest relative residual of a solve at which the elimination without exchanges between blocks is believed.
RESIDUAL_BOUND = 1e-11
#: Where even the careful elimination leaves such a residual, no digit of a solve is right: T(w) has lost rank.
HOPELESS_RESIDUAL = 1e-3
#: A pivot of the careful elimination below this share of the largest tap is rounding noise: T(w) has lost rank.
NOISE_PIVOT = 3.5e-15


def matrix(weight: Tensor, height: int, width: int) -> Tensor:
    """T(w), (C·H·W, C·H·W), with vec(w ⋆ x) = T(w) vec(x): dense, for teaching and for checks.

    weight: (C, C, k, k), k odd; the convolution pads with (k-1)/2 zeros on each side.
    """
    channels = weight.shape[0]
    units = torch.eye(channels * height * width, dtype=weight.dtype, device=weight.device)
    images = units.reshape(-1, channels, height, width)
    return conv2d(images, weight, padding=weight.shape[-1] // 2).flatten(1).T


def tap_counts(weight: Tensor, height: int, width: int) -> Tensor:
    """m (k, k): how often each tap of w (C, C, k, k) occurs in T(w): (H - |a-p|)(W - |b-p|), never below zero."""
    kernel = weight.shape[-1]
    offsets = (torch.arange(kernel, device=weight.device) - kernel // 2).abs()
    rows, columns = (height - offsets).clamp_min(0), (width - offsets).clamp_min(0)
    return (rows[:, None] * columns[None, :]).to(weight.dtype)


def flip(weight: Tensor) -> Tensor:
    """Swap input and output channels and mirror both spatial axes: T(flip(w)) = T(w)ᵀ."""
    return weight.transpose(0, 1).flip(2, 3)


# ---- the blocks ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bands:
    """The three repeated blocks of T(w) and the size of each block row; the last may be smaller."""

    diagonal: Tensor
    upper: Tensor
    lower: Tensor
    sizes: list[int]

    def block(self, name: str, row: int, column: int) -> Tensor:
        """Block (row, column), cut to size where the last block row or column is smaller."""
        whole: Tensor = getattr(self, name)
        return whole[: self.sizes[row], : self.sizes[column]]


def bands(weight: Tensor, height: int, width: int) -> Bands:
    """Cut T(w) into blocks of max(p, 1) image rows; differentiable in weight."""
    per_block = max(weight.shape[-1] // 2, 1)
    rows = _row_blocks(weight, width)
    size = rows[0].shape[0]
    full, rest = divmod(height, per_block)
    sizes = [per_block * size] * full + [rest * size] * (rest > 0)
    diagonal, upper, lower = (_group(rows, per_block, shift) for shift in (0, per_block, -per_block))
    return Bands(diagonal, upper, lower, sizes)


def _row_blocks(weight: Tensor, width: int) -> Tensor:
    """(k, C·W, C·W): how tap row a carries one image row (C, W) to another."""
    kernel, channels = weight.shape[-1], weight.shape[0]
    columns = torch.arange(width, device=weight.device)
    taps = torch.arange(kernel, device=weight.device) - kernel // 2
    # shifts[b, j, l] = 1 where output column j reads input column l = j + b - p
    shifts = (columns[None, None, :] - columns[None, :, None] == taps[:, None, None]).to(weight.dtype)
    return torch.einsum("oiab,bjl->aojil", weight, shifts).reshape(kernel, channels * width, channels * width)


def _group(rows: Tensor, per_block: int, shift: int) -> Tensor:
    """The block between ``per_block`` output rows and the ``per_block`` input rows that lie ``shift`` further down."""
    centre = len(rows) // 2
    nothing = torch.zeros_like(rows[0])

    def between(out: int, source: int) -> Tensor:
        tap = source + shift - out + centre
        return rows[tap] if 0 <= tap < len(rows) else nothing

    lines = [torch.cat([between(o, s) for s in range(per_block)], dim=1) for o in range(per_block)]
    return torch.cat(lines, dim=0)


# ---- the factorisations ----------------------------------------------------------------------------------------------


class Elimination(Protocol):
    """A factorised T(w): log|det| () in nats, and the solve for rows (N, H·C·W) in row order."""

    @property
    def log_abs_det(self) -> Tensor: ...

    def solve(self, rhs: Tensor) -> Tensor: ...


class BlockElimination:
    """Eq-block-banded: pivoting inside each block only. Fast; trusted after its residual is measured."""

    def __init__(self, blocks: Bands) -> None:
        self.blocks = blocks
        self.pivots = [torch.linalg.lu_factor_ex(blocks.block("diagonal", 0, 0))[:2]]
        self.couplings: list[Tensor] = []
        for i in range(1, len(blocks.sizes)):
            self.couplings.append(torch.linalg.lu_solve(*self.pivots[-1], blocks.block("upper", i - 1, i)))
            lower = blocks.block("lower", i, i - 1)
            schur = torch.addmm(blocks.block("diagonal", i, i), lower, self.couplings[-1], alpha=-1)
            self.pivots.append(torch.linalg.lu_factor_ex(schur)[:2])

    @property
    def log_abs_det(self) -> Tensor:
        return torch.stack([lu.diagonal().abs().log().sum() for lu, _ in self.pivots]).sum()

    def solve(self, rhs: Tensor) -> Tensor:
        parts = list(rhs.mT.split(self.blocks.sizes))
        for i, (lu, exchanges) in enumerate(self.pivots):
            known = parts[i] if i == 0 else parts[i] - self.blocks.block("lower", i, i - 1) @ parts[i - 1]
            parts[i] = torch.linalg.lu_solve(lu, exchanges, known)
        for i in reversed(range(len(parts) - 1)):
            parts[i] = parts[i] - self.couplings[i] @ parts[i + 1]
        return torch.cat(parts).mT


class PivotedElimination:
    """The same elimination with rows exchanged across neighbouring blocks: banded LU with partial pivoting.

    Each step factorises the rows carried over together with the next block row, about three times the work of
    ``BlockElimination`` and as stable as a dense LU factorisation.
    """

    def __init__(self, blocks: Bands) -> None:
        self.sizes = blocks.sizes
        last = len(self.sizes) - 1
        carried = blocks.block("diagonal", 0, 0)
        if last:
            carried = torch.cat([carried, blocks.block("upper", 0, 1)], dim=1)
        self.steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for i in range(last + 1):
            rows = carried if i == last else self._stack(blocks, carried, i)
            size = self.sizes[i]
            exchange, low, high = torch.linalg.lu(rows[:, :size])
            right = exchange.mT @ rows[:, size:]
            solved = torch.linalg.solve_triangular(low[:size], right[:size], upper=False, unitriangular=True)
            carried = right[size:] - low[size:] @ solved
            self.steps.append((exchange, low, high, solved))

    @staticmethod
    def _stack(blocks: Bands, carried: Tensor, i: int) -> Tensor:
        """The carried rows above block row i+1, whose blocks stand in columns i, i+1 and (if there is one) i+2."""
        names = [("lower", i), ("diagonal", i + 1), ("upper", i + 2)]
        below = [blocks.block(name, i + 1, column) for name, column in names if column < len(blocks.sizes)]
        next_rows = torch.cat(below, dim=1)
        gap = carried.new_zeros(carried.shape[0], next_rows.shape[1] - carried.shape[1])
        return torch.cat([torch.cat([carried, gap], dim=1), next_rows])

    @property
    def log_abs_det(self) -> Tensor:
        return self.diagonal().abs().log().sum()

    def diagonal(self) -> Tensor:
        """All pivots, (H·C·W,)."""
        return torch.cat([high.diagonal() for _, _, high, _ in self.steps])

    def solve(self, rhs: Tensor) -> Tensor:
        parts = list(rhs.mT.split(self.sizes))
        carried, tops = parts[0], []
        for i, (exchange, low, _, _) in enumerate(self.steps):
            size = self.sizes[i]
            known = exchange.mT @ (carried if i == len(parts) - 1 else torch.cat([carried, parts[i + 1]]))
            top = torch.linalg.solve_triangular(low[:size], known[:size], upper=False, unitriangular=True)
            carried = known[size:] - low[size:] @ top
            tops.append(top)
        return self._back_substitute(tops)

    def _back_substitute(self, tops: list[Tensor]) -> Tensor:
        found = tops[-1].new_zeros(0, tops[-1].shape[1])
        for (_, _, high, solved), top in zip(reversed(self.steps), reversed(tops), strict=True):
            known = top - solved @ found[: solved.shape[1]]
            found = torch.cat([torch.linalg.solve_triangular(high, known, upper=True), found])
        return found.mT


def eliminate(weight: Tensor, height: int, width: int, owner: str = "toeplitz") -> Elimination:
    """Factorise T(w) in float64, with pivoting across blocks only where the faster way loses digits.

    Raises:
        NotInvertibleError: T(w) is singular to working precision.
    """
    blocks = bands(weight.double(), height, width)
    quick = BlockElimination(blocks)
    if not checks.values_are_readable() or residual(quick, weight, height, width) < RESIDUAL_BOUND:
        return quick
    careful = PivotedElimination(blocks)
    pivots, scale = careful.diagonal().detach().abs(), weight.detach().double().abs().max()
    if not bool((pivots > NOISE_PIVOT * scale).all()) or residual(careful, weight, height, width) > HOPELESS_RESIDUAL:
        raise linalg.singular(owner, f"a pivot of its matrix is {pivots.min():.1g} where its taps reach {scale:.1g}")
    return careful


@torch.no_grad()
def residual(factors: Elimination, weight: Tensor, height: int, width: int) -> float:
    """‖T x − v‖ / ‖v‖ (largest entries) for one solve with a fixed v; infinite if the factors are not finite."""
    channels = weight.shape[0]
    count = channels * height * width
    probe = torch.cos(torch.arange(count, dtype=torch.float64, device=weight.device)).reshape(1, count)
    x = from_rows(factors.solve(probe), channels, height, width)
    error = conv2d(x, weight.double(), padding=weight.shape[-1] // 2) - from_rows(probe, channels, height, width)
    worst = float(error.abs().max() / probe.abs().max())
    return worst if math.isfinite(worst) else math.inf


def to_rows(x: Tensor) -> Tensor:
    """(B, C, H, W) → (B, H·C·W): the order in which T(w) is block-banded."""
    return x.transpose(1, 2).flatten(1)


def from_rows(rows: Tensor, channels: int, height: int, width: int) -> Tensor:
    """The inverse of ``to_rows``."""
    return rows.reshape(-1, height, channels, width).transpose(1, 2)


def log_abs_det(weight: Tensor, height: int, width: int, owner: str = "toeplitz") -> Tensor:
    """log|det T(w)| in nats, a float64 scalar, differentiable in weight (eq-block-banded).

    Args:
        weight: (C, C, k, k), k odd, of any float dtype; computed in float64.

    Raises:
        NotInvertibleError: T(w) is singular.
    """
    if weight.shape[-1] == 1:  # T(w) repeats one C×C block for every pixel
        return height * width * linalg.log_abs_det(weight[:, :, 0, 0].double(), owner)
    return eliminate(weight, height, width, owner).log_abs_det
