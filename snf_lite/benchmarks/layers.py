"""The methods for single layers. Each method is a function of a case; its docstring describes the computation.

Every method runs the same training step: z, then the batch mean of the loss ½‖z‖² − log|det| plus the penalty of the
layer, then the gradients with respect to the input, the weights and the bias, including that of the log-determinant.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear
from torch.nn.grad import conv2d_input, conv2d_weight

from snf_lite.benchmarks.timing import Case, Method, TimedCall
from snf_lite.beyond.tracked import TrackedLinear
from snf_lite.beyond.unbiased import UnbiasedConv2d
from snf_lite.conv import ExactConv2d, SelfNormConv2d
from snf_lite.dense import ExactLinear, RelativeGradientLinear, SelfNormLinear
from snf_lite.layer import FlowLayer
from snf_lite.layers.lu import LULinear
from snf_lite.linalg import toeplitz

Surrogate = Callable[[Tensor], tuple[Tensor, Tensor, Tensor | None]]


def training_step(case: Case, surrogate: Surrogate, parameters: Iterable[Tensor]) -> TimedCall:
    """One forward and one backward pass of a layer over a batch."""
    leaves = (case.inputs(), *parameters)

    def run() -> tuple[Tensor, ...]:
        return torch.autograd.grad(objective(*surrogate(leaves[0])), leaves)

    return TimedCall(run, leaves, surrogate=surrogate)


def objective(z: Tensor, log_det: Tensor, penalty: Tensor | None = None) -> Tensor:
    """½‖z‖² − log|det| + penalty, batch mean: the negative log-likelihood without its constant."""
    loss = 0.5 * z.flatten(1).square().sum(1) - log_det
    return (loss if penalty is None else loss + penalty).mean()


def _of_layer(case: Case, make: Callable[[], FlowLayer]) -> TimedCall:
    layer = case.fresh(make)
    return training_step(case, layer.surrogate, layer.parameters())


def _without_log_det(case: Case, layer: nn.Module) -> TimedCall:
    return training_step(case, lambda x: (layer(x), x.new_zeros(len(x)), None), layer.parameters())


# ---- dense -----------------------------------------------------------------------------------------------------------


def plain_linear(case: Case) -> TimedCall:
    """torch.nn.Linear: three products of B·D² and no log-determinant."""
    return _without_log_det(case, case.fresh(lambda: nn.Linear(case.features, case.features)))


def self_norm_linear(case: Case) -> TimedCall:
    """snf.SelfNormLinear: likelihood and reconstruction together in six products of B·D²."""
    return _of_layer(case, lambda: SelfNormLinear(case.features))


def self_norm_linear_two_pass(case: Case) -> TimedCall:
    """The same gradients with a separate forward and backward pass for the reconstruction: nine products of B·D²."""
    return _two_passes(case, case.fresh(lambda: SelfNormLinear(case.features)), _DenseLikelihood, linear)


def relative_linear(case: Case) -> TimedCall:
    """snf.RelativeGradientLinear: the gradient times WᵀW in four products of B·D²."""
    return _of_layer(case, lambda: RelativeGradientLinear(case.features))


def tracked_linear(case: Case) -> TimedCall:
    """snf.TrackedLinear: exact, three products of B·D², and two of D³ in one of ten steps; a call is ten steps."""
    layer = case.fresh(lambda: TrackedLinear(case.features))
    step = training_step(case, layer.surrogate, layer.parameters())

    def run() -> tuple[Tensor, ...]:
        for _ in range(layer.every):
            gradients = step.run()
            layer.after_step()
        return gradients

    return replace(step, run=run, steps=layer.every)


def lu_linear(case: Case) -> TimedCall:
    """snf.LULinear: W = L U, exact, six products of B·D² and no O(D³)."""
    return _of_layer(case, lambda: LULinear(case.features))


def exact_linear(case: Case) -> TimedCall:
    """snf.ExactLinear: one LU factorization, O(D³), shared by log|det W| and its gradient."""
    return _of_layer(case, lambda: ExactLinear(case.features))


def slogdet_linear(case: Case) -> TimedCall:
    """torch.linalg.slogdet of W with its own gradient, O(D³)."""
    layer = case.fresh(lambda: ExactLinear(case.features))

    def surrogate(x: Tensor) -> tuple[Tensor, Tensor, None]:
        log_det = torch.linalg.slogdet(layer.weight).logabsdet
        return linear(x, layer.weight, layer.bias), log_det.expand(len(x)), None

    return training_step(case, surrogate, layer.parameters())


# ---- convolutions ----------------------------------------------------------------------------------------------------


def plain_conv2d(case: Case) -> TimedCall:
    """torch.nn.Conv2d: three convolutions and no log-determinant."""
    channels, kernel = case.event_shape[0], _kernel(case)
    return _without_log_det(case, case.fresh(lambda: nn.Conv2d(channels, channels, kernel, padding=kernel // 2)))


def self_norm_conv2d(case: Case) -> TimedCall:
    """snf.SelfNormConv2d: likelihood and reconstruction together in six convolutions."""
    return _of_layer(case, lambda: SelfNormConv2d(case.event_shape[0], _kernel(case)))


def unbiased_conv2d(case: Case) -> TimedCall:
    """snf.UnbiasedConv2d: exact in the mean, three convolutions of the batch and a dozen of four probes."""
    return _of_layer(case, lambda: UnbiasedConv2d(case.event_shape[0], _kernel(case)))


def unbiased_conv2d_batch(case: Case) -> TimedCall:
    """The same with the inverse learned from the batch: five convolutions of it and about ten of four probes."""
    return _of_layer(case, lambda: UnbiasedConv2d(case.event_shape[0], _kernel(case), learn_from="batch"))


def self_norm_conv2d_two_pass(case: Case) -> TimedCall:
    """The same gradients with a separate forward and backward pass for the reconstruction: nine convolutions."""
    kernel = _kernel(case)
    layer = case.fresh(lambda: SelfNormConv2d(case.event_shape[0], kernel))
    return _two_passes(case, layer, _ConvLikelihood, lambda x, w: conv2d(x, w, padding=kernel // 2))


def exact_conv2d(case: Case) -> TimedCall:
    """snf.ExactConv2d: the log-determinant by block-banded elimination in float64."""
    return _of_layer(case, lambda: ExactConv2d(case.event_shape[0], _kernel(case)))


def exact_conv2d_dense(case: Case) -> TimedCall:
    """The log-determinant by slogdet of the dense matrix T(w) in float64, as in the paper, O((C·H·W)³)."""
    layer = case.fresh(lambda: ExactConv2d(case.event_shape[0], _kernel(case)))

    def surrogate(x: Tensor) -> tuple[Tensor, Tensor, None]:
        log_det = dense_log_abs_det(layer.weight, *case.event_shape[1:]).to(x.dtype)
        return conv2d(x, layer.weight, layer.bias, padding=layer.padding), log_det.expand(len(x)), None

    return training_step(case, surrogate, layer.parameters())


def dense_log_abs_det(weight: Tensor, height: int, width: int) -> Tensor:
    """log|det T(w)| in nats from the dense matrix, a float64 scalar."""
    return torch.linalg.slogdet(toeplitz.matrix(weight.double(), height, width)).logabsdet


def _kernel(case: Case) -> int:
    assert case.kernel_size is not None  # cases of convolutions have one
    return case.kernel_size


# ---- two passes ------------------------------------------------------------------------------------------------------


def _two_passes(
    case: Case, layer: SelfNormLinear | SelfNormConv2d, likelihood: Any, product: Callable[[Tensor, Tensor], Tensor]
) -> TimedCall:
    """First the half gradients of the likelihood, then ‖R W x − x‖² by autograd with a detached input."""
    x, W, b, R = leaves = (case.inputs(), layer.weight, layer.bias, layer.inverse_weight)

    def run() -> tuple[Tensor, ...]:
        first = torch.autograd.grad(objective(*likelihood.apply(x, W, R, b)), leaves)
        detached = x.detach()
        error = product(product(detached, W), R) - detached
        second = torch.autograd.grad(layer.recon_weight * error.flatten(1).square().sum(1).mean(), (W, R))
        return first[0], first[1] + second[0], first[2], first[3] + second[1]

    return TimedCall(run, leaves)


class _DenseLikelihood(torch.autograd.Function):
    """The likelihood part of eq-dense-gradients: half of the gradient goes to W, the other half, through R, to R."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, R: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        latent = x @ W.T
        ctx.save_for_backward(x, W, R, latent)
        return latent + b, x.new_zeros(len(x))

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor) -> tuple[Tensor, ...]:
        x, W, R, latent = ctx.saved_tensors
        grad_x, scale = grad_z @ W, grad_log_det.sum()
        grad_W = 0.5 * (grad_z.T @ x + scale * R.T)
        grad_R = -0.5 * (grad_x.T @ latent + scale * W.T)
        return grad_x, grad_W, grad_R, grad_z.sum(0)


class _ConvLikelihood(torch.autograd.Function):
    """The likelihood part of eq-conv-gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, r: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        latent = conv2d(x, w, padding=w.shape[-1] // 2)
        ctx.save_for_backward(x, w, r, latent)
        return latent + b[:, None, None], x.new_zeros(len(x))

    @staticmethod
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor) -> tuple[Tensor, ...]:
        x, w, r, latent = ctx.saved_tensors
        padding = w.shape[-1] // 2
        grad_x = conv2d_input(x.shape, w, grad_z, padding=padding)
        counts = grad_log_det.sum() * toeplitz.tap_counts(w, *x.shape[2:])
        grad_w = 0.5 * (conv2d_weight(x, w.shape, grad_z, padding=padding) + counts * toeplitz.flip(r))
        grad_r = -0.5 * (conv2d_weight(latent, r.shape, grad_x, padding=padding) + counts * toeplitz.flip(w))
        return grad_x, grad_w, grad_r, grad_z.sum((0, 2, 3))


DENSE: dict[str, Method] = {
    "linear": plain_linear,
    "selfnorm": self_norm_linear,
    "selfnorm-two-pass": self_norm_linear_two_pass,
    "tracked": tracked_linear,
    "relative": relative_linear,
    "lu": lu_linear,
    "exact": exact_linear,
    "slogdet": slogdet_linear,
}
CONV: dict[str, Method] = {
    "conv2d": plain_conv2d,
    "selfnorm": self_norm_conv2d,
    "selfnorm-two-pass": self_norm_conv2d_two_pass,
    "unbiased": unbiased_conv2d,
    "unbiased-batch": unbiased_conv2d_batch,
    "exact": exact_conv2d,
    "exact-dense": exact_conv2d_dense,
}
