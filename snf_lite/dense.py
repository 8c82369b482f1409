"""Dense layers z = W x + b: self-normalising, exact, and with the relative gradient."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from snf_lite import geco
from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix
from snf_lite.linalg.dense_matrix import principal_axes
from snf_lite.runtime import checks

#: Spectral norm, roughly, of the noise that separates a fresh weight from the identity.
INITIAL_NOISE = 0.1


class DenseLayer(FlowLayer):
    """What the dense layers share: z = W x + b, its exact log-determinant log|det W| and its exact inverse.

    Attributes:
        weight: W (D, D), at first the identity with a little noise.
        bias: b (D,).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = checks.positive_integer(features, "features", self.label)
        noise = torch.randn(features, features) * (INITIAL_NOISE / (2 * features**0.5))
        self.weight = nn.Parameter(torch.eye(features) + noise)
        self.bias = nn.Parameter(torch.zeros(features))
        self._factor: dense_matrix.WeightCache[dense_matrix.Factor] = dense_matrix.WeightCache()

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if event_shape != (self.features,):
            raise self.shape_error((self.features,), event_shape)
        return event_shape

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return linear(x, self.weight, self.bias), self.log_abs_det().expand(len(x))

    def log_abs_det(self) -> Tensor:
        """log|det W| in nats; differentiable, or remembered where no gradient is asked for. O(D³)."""
        if dense_matrix.gradient_wanted(self.weight) or not checks.is_eager(self.weight):
            return dense_matrix.log_abs_det(self.weight, self.label)
        return self.factor().log_abs_det

    @torch.no_grad()
    def factor(self) -> dense_matrix.Factor:
        """The LU factorisation of W, made anew when W has changed."""
        return self._factor.get(self.weight, lambda: dense_matrix.factor(self.weight, self.label))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        centred = z - self.bias
        if dense_matrix.gradient_wanted(centred, self.weight):
            self.factor()  # refuses a singular W by name
            return torch.linalg.solve(self.weight, centred.mT).mT
        return self.factor().solve(centred)

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """With ``whiten``: W = cov^-1/2 of the batch x, b = -W·mean, so that z has mean 0 and covariance I."""
        if whiten:
            self.whiten(*principal_axes(x, self.label))

    def whiten(self, mean: Tensor, deviations: Tensor, directions: Tensor) -> None:
        """Set W and b from what ``principal_axes`` found."""
        self.weight.copy_(directions / deviations @ directions.mT)
        self.bias.copy_(-(dense_matrix.precise(self.weight) @ mean))

    def clear_cache(self) -> None:
        self._factor.clear()

    def settings(self) -> dict[str, Any]:
        return {"features": self.features}


class ExactLinear(DenseLayer):
    """Dense layer trained with the exact gradient of log|det W|, which is W⁻ᵀ (eq-jacobi).

    A training step costs 3 products of B·D² and one LU factorisation with its inverse, O(D³); a sample one solve.

    Args:
        features: D.
    """


class SelfNormLinear(DenseLayer):
    """Dense layer with a learned inverse R ≈ W⁻¹ whose transpose stands for W⁻ᵀ in the gradient (eq-dense-gradients).

    Trained through ``Flow.loss``: six products of B·D², no determinant, inverse or solve. ``log_prob`` stays exact.

    Args:
        features: D.
        recon_weight: λ ≥ 0, the weight of ‖R W x − x‖², a sum over dimensions.
        tolerance: mean of ‖R W x − x‖² that λ is adapted to reach (``AdaptiveWeight``); None keeps λ fixed.

    Attributes:
        inverse_weight: R (D, D), at first Wᵀ. Its memory holds Rᵀ row by row, so that the step adds it without a copy.

    Source: Keller et al., Self Normalizing Flows, ICML 2021 (https://arxiv.org/abs/2011.07248).
    """

    learned_inverse = True

    def __init__(self, features: int, recon_weight: float = 1.0, tolerance: float | None = None) -> None:
        super().__init__(features)
        self.recon_weight = checks.non_negative(recon_weight, "recon_weight", self.label)
        self.adapted = geco.adapted(self.recon_weight, tolerance, self.label)
        self.inverse_weight = nn.Parameter(self.weight.detach().clone().T)

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        z, log_det, recon, _, _ = _SelfNormLinearStep.apply(x, self.weight, self.inverse_weight, self.bias)
        return z, log_det, geco.weighted(recon, self.recon_weight, self.adapted)

    def after_step(self) -> None:
        if self.adapted is not None:
            self.adapted.after_step()

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return super().invert(z, exact) if exact else linear(z - self.bias, self.inverse_weight)

    def whiten(self, mean: Tensor, deviations: Tensor, directions: Tensor) -> None:
        """Set W and b, and R = cov^1/2, the exact inverse of W."""
        super().whiten(mean, deviations, directions)
        self.inverse_weight.copy_(directions * deviations @ directions.mT)

    def settings(self) -> dict[str, Any]:
        return {"features": self.features, **geco.settings(self.recon_weight, self.adapted)}


def reference_self_norm_linear(x: Tensor, W: Tensor, R: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The self-normalising training pass of a dense layer (eq-dense-gradients) in plain autograd, for reading.

    The layer uses the fused ``_SelfNormLinearStep``, which gives the same gradients in six matrix products.

    Args:
        x: (B, D); W, R: (D, D); b: (D,).

    Returns:
        z (B, D); a (B,) term, zero in value, whose gradients are ½Rᵀ for W and -½Wᵀ for R; ‖RWx − x‖², (B,).
    """
    code = x.detach() @ W.detach().T
    moved = x - 0.5 * (code @ (R - R.detach()).T)  # x in value; sends -½ δx (Wx)ᵀ to R
    z = moved @ (0.5 * W + 0.5 * W.detach()).T + b  # W takes half of δz xᵀ; b and x take the whole
    traces = 0.5 * (W * R.detach().T).sum() - 0.5 * (R * W.detach().T).sum()
    recon = (x.detach() @ W.T @ R.T - x.detach()).square().sum(1)  # the input is stopped: a term of this layer alone
    return z, (traces - traces.detach()).expand(len(x)), recon


class _SelfNormLinearStep(torch.autograd.Function):
    """``reference_self_norm_linear`` in six products of B·D²: two forward, four backward.

    Under ``torch.autocast`` the products are of lower precision; sums, and what is added to weights, are not.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, W: Tensor, R: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        dtype = dense_matrix.product_dtype(x)
        code = x.to(dtype) @ W.to(dtype).T
        error = torch.addmm(x.to(dtype), code, R.to(dtype).T, beta=-1)
        return code + b, x.new_zeros(len(x)), error.to(x.dtype).square().sum(1), code, error

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        x, W, R, _ = inputs
        *_, code, error = output
        ctx.mark_non_differentiable(code, error)
        ctx.save_for_backward(x, W, R, code, error)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor, grad_recon: Tensor, *_: Any) -> tuple[Tensor, ...]:
        x, W, R, code, error = ctx.saved_tensors
        own, dtype = x.dtype, code.dtype
        delta, pull = grad_z.to(dtype), (2 * grad_recon[:, None] * error).to(dtype)  # ∂loss/∂z, ∂loss/∂x̂
        grad_x = delta @ W.to(dtype)
        to_code = torch.addmm(delta, pull, R.to(dtype), beta=0.5)
        to_x = torch.add(pull, grad_x, alpha=-0.5)
        half = 0.5 * grad_log_det.sum()
        grad_W = (to_code.T @ x.to(dtype)).to(own).addcmul_(half, R.T)
        grad_R = (code.T @ to_x).to(own).addcmul_(half, W, value=-1).T
        return grad_x.to(own), grad_W, grad_R, grad_z.sum(0)


class RelativeGradientLinear(DenseLayer):
    """Dense layer trained with the relative gradient: the exact gradient times WᵀW from the right (eq-relative).

    The log-determinant's part W⁻ᵀ becomes W, so that a training step needs no determinant, inverse or solve and costs
    O(B·D²). The direction is an ascent direction, not the gradient. No inverse is learned: samples take a solve.

    Args:
        features: D.

    Source: Gresele et al., Relative gradient optimization of the Jacobian term in unsupervised deep learning,
    NeurIPS 2020 (https://arxiv.org/abs/2006.15090).
    """

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """A training pass that leaves δ_z (Wx)ᵀ W + W on the weight, summed over the batch (eq-relative)."""
        z, log_det, _ = _RelativeGradientStep.apply(x, self.weight, self.bias)
        return z, log_det, None


class _RelativeGradientStep(torch.autograd.Function):
    """G WᵀW = gᵀ(x WᵀW) + s W, multiplied from the side of the batch so that no D×D×D product appears."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dtype = dense_matrix.product_dtype(x)
        code = x.to(dtype) @ W.to(dtype).T
        return code + b, x.new_zeros(len(x)), code

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _, W, _ = inputs
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(W, output[2])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor, *_: Any) -> tuple[Tensor, ...]:
        W, code = ctx.saved_tensors
        delta, low = grad_z.to(code.dtype), W.to(code.dtype)
        grad_W = (delta.T @ (code @ low)).to(W.dtype).addcmul_(grad_log_det.sum(), W)
        return (delta @ low).to(W.dtype), grad_W, grad_z.sum(0)
