"""Integer discrete flow in the frame of the others: points of the plane counted in cells."""

import math

import torch
from torch import Tensor

from snf_book.prior_work.flows.integer_flow import IntegerFlow
from snf_book.prior_work.model import Model

#: Cells along each side of the square [-SIDE, SIDE]².
CELLS, SIDE = 32, 2.56


class LatticeModel(Model):
    """The density of a point: the probability of its cell, by an ``IntegerFlow`` of two numbers, over the cell's area.

    It is constant in each cell, and integrates to the sum of the probabilities. ``code`` gives the code's whole
    numbers, ``forward`` beside them −log of the area, which is no determinant: there is none.
    """

    def __init__(self, flow: IntegerFlow) -> None:
        super().__init__([])
        self.flow = flow
        self.area = (2 * SIDE / CELLS) ** 2

    def cells(self, x: Tensor) -> Tensor:
        """The numbers of the cell in which each point lies, (B, 2)."""
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
