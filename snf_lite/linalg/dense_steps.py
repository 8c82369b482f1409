"""Training passes of dense layers as fused autograd functions: few matrix products, gradients written out.

Under ``torch.autocast`` the products are of lower precision; sums, and what is added to weights, are not.
"""

from typing import Any

import torch
from torch import Tensor

from snf_lite.linalg.dense_matrix import AutogradFunction, product_dtype
from snf_lite.runtime import checks


class SelfNormLinearStep(AutogradFunction):
    """``reference_self_norm_linear`` in six products of B·D²: two forward, four backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, W: Tensor, R: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        dtype = product_dtype(x)
        Wx = x.to(dtype) @ W.to(dtype).T
        error = torch.addmm(x.to(dtype), Wx, R.to(dtype).T, beta=-1)
        return Wx + b, x.new_zeros(len(x)), error.to(x.dtype).square().sum(1), Wx, error

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        x, W, R, _ = inputs
        *_, Wx, error = output
        ctx.mark_non_differentiable(Wx, error)
        ctx.save_for_backward(x, W, R, Wx, error)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor, grad_recon: Tensor, *_: Any) -> tuple[Tensor, ...]:
        x, W, R, Wx, error = ctx.saved_tensors
        own, dtype = x.dtype, Wx.dtype
        delta, pull = grad_z.to(dtype), (2 * grad_recon[:, None] * error).to(dtype)  # ∂loss/∂z, ∂loss/∂x̂
        grad_x = delta @ W.to(dtype)
        grad_Wx = torch.addmm(delta, pull, R.to(dtype), beta=0.5)
        grad_RWx = torch.add(pull, grad_x, alpha=-0.5)
        half = 0.5 * grad_log_det.sum()
        grad_W = _product_and_transpose(grad_Wx, x.to(dtype), half, R)
        grad_R = _product_and_transpose(grad_RWx, Wx, -half, W)
        return grad_x.to(own), grad_W, grad_R, grad_z.sum(0)


def _product_and_transpose(left: Tensor, right: Tensor, factor: Tensor, matrix: Tensor) -> Tensor:
    """leftᵀ right + factor · matrixᵀ, (D, D) of the dtype of ``matrix``, stored by rows."""
    if left.device.type == "cpu" and left.dtype == matrix.dtype and checks.is_eager(left):
        return torch.addmm(matrix.T, left.T, right, beta=factor.item())  # one pass less over the transpose
    return (left.T @ right).to(matrix.dtype).addcmul_(factor, matrix.T)


class TrackedLinearStep(AutogradFunction):
    """z = W x + b, and a term whose gradient for W is Rᵀ: three products of B·D², as of a plain linear layer."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, W: Tensor, R: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        dtype = product_dtype(x)
        return torch.addmm(b.to(dtype), x.to(dtype), W.to(dtype).T), x.new_zeros(len(x))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs[:3])
        ctx.dtype = output[0].dtype

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor) -> tuple[Tensor | None, ...]:
        x, W, R = ctx.saved_tensors
        delta = grad_z.to(ctx.dtype)
        grad_W = _product_and_transpose(delta, x.to(ctx.dtype), grad_log_det.sum(), R)
        return (delta @ W.to(ctx.dtype)).to(x.dtype), grad_W, None, grad_z.sum(0)


class RelativeGradientStep(AutogradFunction):
    """G WᵀW = gᵀ(x WᵀW) + s W, multiplied from the side of the batch so that no D×D×D product appears."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dtype = product_dtype(x)
        Wx = x.to(dtype) @ W.to(dtype).T
        return Wx + b, x.new_zeros(len(x)), Wx

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
        _, W, _ = inputs
        ctx.mark_non_differentiable(output[2])
        ctx.save_for_backward(W, output[2])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor, *_: Any) -> tuple[Tensor, ...]:
        W, Wx = ctx.saved_tensors
        delta, low = grad_z.to(Wx.dtype), W.to(Wx.dtype)
        grad_W = (delta.T @ (Wx @ low)).to(W.dtype).addcmul_(grad_log_det.sum(), W)
        return (delta @ low).to(W.dtype), grad_W, grad_z.sum(0)


class LUStep(AutogradFunction):
    """z = L U x + b in two products, its gradients in four; the other triangle of each is cleared in place."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, lower: Tensor, upper: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        dtype = product_dtype(x)
        Ux = x.to(dtype) @ upper.to(dtype).T
        return torch.addmm(Ux, Ux, lower.to(dtype).T).to(x.dtype).add_(b), Ux

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
        x, lower, upper, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, lower, upper, output[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor, *_: Any) -> tuple[Tensor, ...]:
        x, lower, upper, Ux = ctx.saved_tensors
        own, dtype = x.dtype, Ux.dtype
        delta = grad_z.to(dtype)
        grad_Ux = torch.addmm(delta, delta, lower.to(dtype))
        grad_lower = (delta.T @ Ux).to(own).tril_(-1)
        grad_upper = (grad_Ux.T @ x.to(dtype)).to(own).triu_()
        return (grad_Ux @ upper.to(dtype)).to(own), grad_lower, grad_upper, grad_z.sum(0)
