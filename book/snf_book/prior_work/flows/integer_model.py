"""Integer discrete flow as a model of the plane: points are binned into cells."""

import math

import torch
from torch import Tensor

from snf_book.prior_work.flows.integer_flow import IntegerFlow
from snf_book.prior_work.model import Model

#: Cells along each side of the square [-SIDE, SIDE]².
CELLS, SIDE = 32, 2.56


class LatticeModel(Model):
    """Density of a point: the probability of its cell, by an ``IntegerFlow`` in two dimensions, over the cell's area.

    It is constant in each cell and integrates to the sum of the probabilities. ``code`` gives the integers z;
    ``forward`` also gives −log of the area, although there is no determinant.
    """

    def __init__(self, flow: IntegerFlow) -> None:
        super().__init__([])
        self.flow = flow
        self.area = (2 * SIDE / CELLS) ** 2

    def cells(self, x: Tensor) -> Tensor:
        """Indices of the cell of each point, (B, 2)."""
        return torch.floor((x + SIDE) / (2 * SIDE / CELLS)).long()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.flow.code(self.cells(x)).to(x.dtype), x.new_full((len(x),), -math.log(self.area))

    def log_prob(self, x: Tensor) -> Tensor:
        found: Tensor = self.flow.log_prob(self.cells(x)) - math.log(self.area)
        return found

    def sample(self, n: int) -> Tensor:
        cells = self.flow.sample(n)
        inside = torch.rand(cells.shape, dtype=self.dtype)
        return (cells + inside) * (2 * SIDE / CELLS) - SIDE
