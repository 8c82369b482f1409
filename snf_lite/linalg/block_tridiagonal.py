"""T(w) of a zero-padded convolution as a block-tridiagonal matrix, and its pivoted factorization.

Output row h of the image depends on the input rows h-p … h+p, p = (k-1)/2. With p rows in a block, T(w) has the same
three blocks L, D, U in every block row. Where the image is wider than high, rows and columns are swapped: that only
reorders the pixels, and the blocks are smaller.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Layout:
    """How the pixels of (C, H, W) images are ordered and cut into blocks for a k×k kernel.

    Attributes:
        reach: p = (k-1)/2, the number of rows above and below that an output row depends on.
        per_block: Number of rows in a block, p or fewer in small images.
        turned: Whether the rows here are the columns of the image.
    """

    channels: int
    rows: int
    columns: int
    reach: int
    per_block: int
    turned: bool

    @property
    def size(self) -> int:
        """Size of a full block."""
        return self.per_block * self.channels * self.columns

    @property
    def whole(self) -> int:
        """Number of full blocks."""
        return self.rows // self.per_block

    @property
    def rest(self) -> int:
        """Size of the smaller block at the end; 0 where there is none."""
        return self.rows % self.per_block * self.channels * self.columns

    @property
    def sizes(self) -> list[int]:
        return [self.size] * self.whole + [self.rest] * (self.rest > 0)

    def to_rows(self, images: Tensor) -> Tensor:
        """(B, C, H, W) → (B, H·C·W), ordered by row, then channel, then column."""
        return self.turn(images).transpose(1, 2).flatten(1)

    def from_rows(self, rows: Tensor) -> Tensor:
        """The inverse of ``to_rows``."""
        return self.turn(rows.reshape(-1, self.rows, self.channels, self.columns).transpose(1, 2))

    def turn(self, images: Tensor) -> Tensor:
        """Swap the last two axes if the layout is turned."""
        return images.mT if self.turned else images


def layout(weight: Tensor, height: int, width: int) -> Layout:
    """The layout with the smaller blocks for w (..., C, C, k, k) on images of height × width."""
    turned = width > height
    rows, columns = (width, height) if turned else (height, width)
    reach = weight.shape[-1] // 2
    return Layout(weight.shape[-3], rows, columns, reach, min(max(reach, 1), rows), turned)


@dataclass(frozen=True)
class Bands:
    """The three repeated blocks (..., m, m) of T(w), or the gradients for them."""

    diagonal: Tensor
    upper: Tensor
    lower: Tensor


def bands(weight: Tensor, plan: Layout) -> Bands:
    """Spread w (..., C, C, k, k) over the blocks; differentiable in w."""
    across, down = plan.columns - 1 - plan.reach, 2 * plan.per_block - 1 - plan.reach
    taps = pad(plan.turn(weight), (across, across, down, down))
    # output column j reads the W padded taps from W-1-j on; a row of a block reads those of three blocks likewise
    windows = taps.unfold(-2, 3 * plan.per_block, 1).unfold(-2, plan.columns, 1).flip(-4, -3)
    strip = windows.movedim((-4, -6, -3, -2, -5, -1), (-6, -5, -4, -3, -2, -1))
    lower, diagonal, upper = strip.reshape(*weight.shape[:-4], plan.size, 3 * plan.size).split(plan.size, -1)
    return Bands(diagonal, upper, lower)


def gather(gradients: Bands, plan: Layout) -> Tensor:
    """The gradient for w (..., C, C, k, k) from those for its blocks: the adjoint of ``bands``."""
    g, p, channels, columns = plan.per_block, plan.reach, plan.channels, plan.columns
    strip = torch.cat([gradients.lower, gradients.diagonal, gradients.upper], -1)
    six = strip.reshape(*strip.shape[:-2], g, channels, columns, 3 * g, channels, columns)
    by_column = _sum_diagonals(six, -4, -1, range(-p, p + 1))  # (..., g, C, 3g, C, k)
    by_row = _sum_diagonals(by_column, -5, -3, range(g - p, g + p + 1))  # (..., C, C, k, k), tap column before tap row
    return by_row if plan.turned else by_row.mT


def _sum_diagonals(x: Tensor, first: int, second: int, offsets: range) -> Tensor:
    return torch.stack([x.diagonal(offset, first, second).sum(-1) for offset in offsets], -1)


class PivotedElimination:
    """Banded LU with partial pivoting: rows are exchanged across adjacent blocks.

    Each step factorizes the rows carried over together with the next block row, as stable as a dense LU factorization.
    """

    def __init__(self, blocks: Bands, plan: Layout) -> None:
        self.blocks, self.plan, self.sizes = blocks, plan, plan.sizes
        last = len(self.sizes) - 1
        carried = self._block("diagonal", 0, 0)
        if last:
            carried = torch.cat([carried, self._block("upper", 0, 1)], dim=1)
        self.steps: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        for i in range(last + 1):
            rows = carried
            if i < last:  # append block row i+1, whose blocks are in columns i, i+1 and (if there is one) i+2
                names = [("lower", i), ("diagonal", i + 1), ("upper", i + 2)]
                below = torch.cat([self._block(name, i + 1, j) for name, j in names if j <= last], dim=1)
                gap = carried.new_zeros(carried.shape[0], below.shape[1] - carried.shape[1])
                rows = torch.cat([torch.cat([carried, gap], dim=1), below])
            size = self.sizes[i]
            exchange, low, high = torch.linalg.lu(rows[:, :size])
            right = exchange.mT @ rows[:, size:]
            solved = torch.linalg.solve_triangular(low[:size], right[:size], upper=False, unitriangular=True)
            carried = right[size:] - low[size:] @ solved
            self.steps.append((exchange, low, high, solved))

    def _block(self, name: str, row: int, column: int) -> Tensor:
        """Block (row, column), cut to size where the last block row or column is smaller."""
        whole: Tensor = getattr(self.blocks, name)
        return whole[: self.sizes[row], : self.sizes[column]]

    @property
    def log_abs_det(self) -> Tensor:
        return self.pivots().abs().log().sum()

    def pivots(self) -> Tensor:
        """All pivots, (H·C·W,)."""
        return torch.cat([high.diagonal() for _, _, high, _ in self.steps])

    def solve(self, images: Tensor) -> Tensor:
        """x (B, C, H, W) with T(w) x = images."""
        parts = list(self.plan.to_rows(images).mT.split(self.sizes))
        carried, tops = parts[0], []
        for i, (exchange, low, _, _) in enumerate(self.steps):
            size = self.sizes[i]
            known = exchange.mT @ (carried if i == len(parts) - 1 else torch.cat([carried, parts[i + 1]]))
            top = torch.linalg.solve_triangular(low[:size], known[:size], upper=False, unitriangular=True)
            carried = known[size:] - low[size:] @ top
            tops.append(top)
        found = tops[-1].new_zeros(0, tops[-1].shape[1])
        for (_, _, high, solved), top in zip(reversed(self.steps), reversed(tops), strict=True):
            known = top - solved @ found[: solved.shape[1]]
            found = torch.cat([torch.linalg.solve_triangular(high, known, upper=True), found])
        return self.plan.from_rows(found.mT)
