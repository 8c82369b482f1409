"""The Sylvester flow: a low-rank update of the identity with the determinant of a small matrix."""

import torch
from torch import Tensor, nn


class Sylvester(nn.Module):
    """z = x + Q R tanh(S Qᵀ x + b), Q (D, M) with orthonormal columns, R and S upper triangular (M, M).

    log|det J| = Σ_m log(1 + tanh′(a_m) R_mm S_mm) nats, a = S Qᵀ x + b, by the determinant of a low-rank update
    (eq-low-rank): an M×M matrix, here triangular. R_mm S_mm > −1 keeps the map invertible; the diagonals are
    tanh of free parameters. O(D M) per example. No inverse in closed form.

    Args:
        features: D.
        rank: M ≤ D.

    Source: van den Berg, Hasenclever, Tomczak and Welling, Sylvester Normalizing Flows for Variational Inference,
    UAI 2018 (https://arxiv.org/abs/1803.05649), section 3.
    """

    def __init__(self, features: int, rank: int) -> None:
        super().__init__()
        self.free = nn.Parameter(torch.randn(features, rank))
        self.above = nn.Parameter(0.1 * torch.randn(2, rank, rank))
        self.diagonals = nn.Parameter(0.1 * torch.randn(2, rank))
        self.bias = nn.Parameter(torch.zeros(rank))

    def factors(self) -> tuple[Tensor, Tensor]:
        """Q R (D, M) and S Qᵀ (M, D)."""
        directions = torch.linalg.qr(self.free).Q
        outer, inner = self.above.triu(1) + torch.diag_embed(self.diagonals.tanh())
        return directions @ outer, inner @ directions.T

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        outer, inner = self.factors()
        bent = torch.tanh(x @ inner.T + self.bias)
        diagonal = self.diagonals.tanh().prod(0)
        return x + bent @ outer.T, torch.log1p((1 - bent.square()) * diagonal).sum(1)
