"""The dense layer whose weight is kept as a product of two triangular matrices: the strongest exact rival."""

from typing import Any

import torch
from torch import Tensor, nn

from snf_lite.dense import INITIAL_NOISE
from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix
from snf_lite.linalg.dense_matrix import principal_axes
from snf_lite.runtime import checks


class LULinear(FlowLayer):
    """z = L U x + b with L unit lower and U upper triangular, so that log|det| = Σ log|u_ii|   (eq-triangular).

    Exact without a factorisation: a training step takes six products of B·D², as ``SelfNormLinear`` does, and a sample
    two triangular solves. The price is the constraint: rows are never exchanged, so a weight with a singular leading
    block cannot be reached.

    Args:
        features: D.

    Attributes:
        lower: (D, D), L - I; what stands on and above its diagonal is zero and stays so.
        upper: (D, D), U; what stands below its diagonal is zero and stays so.
        bias: b (D,).

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018 (https://arxiv.org/abs/1807.03039), section 3.2.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = checks.positive_integer(features, "features", self.label)
        noise = torch.randn(features, features) * (INITIAL_NOISE / (2 * features**0.5))
        self.lower = nn.Parameter(noise.tril(-1))
        self.upper = nn.Parameter(torch.eye(features) + noise.triu())
        self.bias = nn.Parameter(torch.zeros(features))

    @torch.no_grad()
    def clear(self) -> None:
        """Zero what belongs to neither triangle, for whoever has written the parameters by hand."""
        self.lower.tril_(-1)
        self.upper.triu_()

    @property
    def weight(self) -> Tensor:
        """W = L U, (D, D); multiplied out anew each time, O(D³)."""
        upper = self.upper.triu()
        return upper + self.lower.tril(-1) @ upper

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if event_shape != (self.features,):
            raise self.shape_error((self.features,), event_shape)
        return event_shape

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = x @ self.upper.triu().T
        return code + code @ self.lower.tril(-1).T + self.bias, self.log_abs_det().expand(len(x))

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        z, _ = _LUStep.apply(x, self.lower, self.upper, self.bias)
        return z, self.log_abs_det().expand(len(x)), None

    def log_abs_det(self) -> Tensor:
        """Σ log|u_ii| in nats, a scalar, O(D) (eq-triangular).

        Raises:
            NotInvertibleError: a diagonal entry of U is zero or not finite.
        """
        pivots = self.upper.diagonal().abs()
        dense_matrix.require_diagonal(pivots, self.label, "a diagonal entry of U")
        return pivots.log().sum()

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        self.log_abs_det()  # refuses a singular U by name
        code = torch.linalg.solve_triangular(self.lower, (z - self.bias).mT, upper=False, unitriangular=True)
        return torch.linalg.solve_triangular(self.upper, code, upper=True).mT

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

    def settings(self) -> dict[str, Any]:
        return {"features": self.features}


class _LUStep(torch.autograd.Function):
    """z = L U x + b in two products, its gradients in four; what lies in the other triangle is cleared in place."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, lower: Tensor, upper: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        dtype = dense_matrix.product_dtype(x)
        code = x.to(dtype) @ upper.to(dtype).T
        return torch.addmm(code, code, lower.to(dtype).T).to(x.dtype).add_(b), code

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        x, lower, upper, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, lower, upper, output[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor, *_: Any) -> tuple[Tensor, ...]:
        x, lower, upper, code = ctx.saved_tensors
        own, dtype = x.dtype, code.dtype
        delta = grad_z.to(dtype)
        grad_code = torch.addmm(delta, delta, lower.to(dtype))
        grad_lower = (delta.T @ code).to(own).tril_(-1)
        grad_upper = (grad_code.T @ x.to(dtype)).to(own).triu_()
        return (grad_code @ upper.to(dtype)).to(own), grad_lower, grad_upper, grad_z.sum(0)
