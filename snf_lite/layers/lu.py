"""The dense layer whose weight is stored as a product of two triangular matrices: the fastest exact dense layer."""

import torch
from torch import Tensor, nn

from snf_lite.dense import INITIAL_NOISE, ConditionedBias
from snf_lite.linalg import dense_matrix
from snf_lite.linalg.dense_matrix import principal_axes
from snf_lite.linalg.dense_steps import LUStep
from snf_lite.runtime import checks


class LULinear(ConditionedBias):
    """z = L U x + b with L unit lower and U upper triangular, so that log|det| = Σ log|u_ii| nats (eq-triangular).

    Exact without a factorization: a training step costs six products of B·D², like ``SelfNormLinear``, and a sample
    two triangular solves. The price is the constraint: rows are never exchanged, so a weight with a singular leading
    block cannot be reached.

    Args:
        features: D, the number of features.
        context_features: K, the number of features of a context c (B, K): z = L U x + b + A c; None: no context.

    Attributes:
        lower: L - I (D, D); zero on and above the diagonal.
        upper: U (D, D); zero below the diagonal.
        bias: b (D,).
        context_weight: A (D, K), zero at first; None without a context.

    Raises:
        NotInvertibleError: a diagonal entry of U is zero or not finite.

    Example:
        >>> layer = snf.LULinear(3)
        >>> _, log_det = layer(torch.zeros(1, 3))
        >>> torch.allclose(log_det, layer.upper.diagonal().abs().log().sum())
        True

    References:
        Kingma & Dhariwal, Glow, NeurIPS 2018, section 3.2 (https://arxiv.org/abs/1807.03039).
    """

    def __init__(self, features: int, context_features: int | None = None) -> None:
        super().__init__()
        self.features = checks.positive_integer(features, "features", self.label)
        self.set_context_of(self.features, context_features)
        self.accepted_shape = (self.features,)
        noise = torch.randn(features, features) * (INITIAL_NOISE / (2 * features**0.5))
        self.lower = nn.Parameter(noise.tril(-1))
        self.upper = nn.Parameter(torch.eye(features) + noise.triu())
        self.bias = nn.Parameter(torch.zeros(features))

    @torch.no_grad()
    def clear(self) -> None:
        """Set the other triangle of each factor to zero; needed after writing whole matrices into the parameters."""
        self.lower.tril_(-1)
        self.upper.triu_()

    @property
    def weight(self) -> Tensor:
        """W = L U, (D, D); multiplied out at each access, O(D³)."""
        upper = self.upper.triu()
        return upper + self.lower.tril(-1) @ upper

    def transform(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        Ux = x @ self.upper.triu().T
        z = Ux + Ux @ self.lower.tril(-1).T + self.bias
        return self.shifted(z, context), self.log_abs_det().expand(len(x))

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        z, _ = LUStep.apply(x, self.lower, self.upper, self.bias)
        return self.shifted(z, context), self.log_abs_det().expand(len(x)), None

    def log_abs_det(self) -> Tensor:
        """Σ log|u_ii| in nats, a scalar, O(D) (eq-triangular).

        Raises:
            NotInvertibleError: a diagonal entry of U is zero or not finite.
        """
        pivots = self.upper.diagonal().abs()
        dense_matrix.require_diagonal(pivots, self.label, "a diagonal entry of U")
        return pivots.log().sum()

    def invert(self, z: Tensor, exact: bool, context: Tensor | None = None) -> Tensor:
        self.log_abs_det()  # refuses a singular U by name
        Ux = torch.linalg.solve_triangular(self.lower, self.centered(z, context).mT, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(self.upper, Ux, upper=True).mT

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """With ``whiten``: L U = cov^-1/2 of the batch x, b = -W·mean. A symmetric W needs no exchange of rows."""
        if not whiten:
            return
        mean, deviations, directions = principal_axes(x, self.label)
        weight = directions / deviations @ directions.mT
        root = torch.linalg.cholesky(weight)  # W = root rootᵀ
        unit = root / root.diagonal()
        self.lower.copy_(unit.tril(-1))
        self.upper.copy_(root.diagonal()[:, None] * root.mT)
        self.bias.copy_(-(weight @ mean))
