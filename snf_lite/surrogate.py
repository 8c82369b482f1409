"""The general case of the idea: any differentiable f with any learned g ≈ f⁻¹.

By Jacobi's formula the log-determinant changes by tr(J_f⁻¹ dJ_f) (eq-jacobi-trace), and by the inverse function theorem
J_f⁻¹ is the Jacobian of f⁻¹ at f(x). If a learned g is close to f⁻¹, its Jacobian replaces that of f⁻¹,

    d log|det J_f| ≈ tr(J_g(f(x)) dJ_f)    (eq-general),

in which J_g is a constant: the gradient reaches f alone. No Jacobian is built. Since tr(A) = Σ_i e_iᵀ A e_i, and
E[vᵀ A v] = tr(A) for random signs v (Hutchinson), products of a vector with each Jacobian are enough, and these are
what automatic differentiation computes. For a linear f and g the sum is known in closed form: those are the dense
layer (eq-dense-gradients) and the convolution (eq-conv-gradients).
"""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.func import vjp, vmap

from snf_lite.runtime import checks

Map = Callable[[Tensor], Tensor]
Pullback = tuple[Tensor, Callable[[Tensor], tuple[Tensor]]]


def self_norm_log_det(f: Map, g: Map, x: Tensor, probes: int | None = None) -> Tensor:
    """A surrogate for log|det J_f(x)| whose gradient is tr(J_g(f(x)) ∂J_f(x)): J_g replaces J_f⁻¹ (eq-general).

    Its value is zero: only its gradient has a meaning. The gradient reaches f's parameters and x, never g; the other
    half of the objective, -log|det J_g|, is ``-self_norm_log_det(g, f, z)``.

    Args:
        f, g: Differentiable maps (B, ...) → (B, ...) that treat the data points of a batch independently and keep
            the number D of features.
        x: Data points (B, ...).
        probes: Number n of random signs per batch in Hutchinson's unbiased estimate, O(n); None: the exact trace in D
            passes.

    Returns:
        A tensor (B,), zero in value.

    Raises:
        ValueError: probes is not a positive integer, or f or g change the number of features.
        TypeError: x is no float tensor, or f or g give no tensor.

    Example:
        >>> W = torch.tensor([[2.0, 1.0], [0.0, 4.0]], requires_grad=True)
        >>> term = snf.self_norm_log_det(lambda x: x @ W.T, lambda z: z @ W.inverse().T, torch.ones(1, 2))
        >>> term.sum().backward()
        >>> torch.allclose(W.grad, W.inverse().T)  # here g is the inverse, and the gradient exact
        True

    References:
        Keller et al., Self Normalizing Flows, ICML 2021, the two likelihoods (https://arxiv.org/abs/2011.07248);
        Draxler et al., 2024, for whole networks with Hutchinson's estimate.
    """
    checks.require_batch(x, "self_norm_log_det")
    if probes is None:  # (D, B, ...) unit vectors
        features = math.prod(x.shape[1:])
        units = torch.eye(features, dtype=x.dtype, device=x.device).reshape(features, 1, *x.shape[1:])
        directions = units.expand(features, *x.shape)
    else:  # (probes, B, ...) random signs
        count = checks.positive_integer(probes, "probes", "self_norm_log_det")
        directions = torch.randint(0, 2, (count, *x.shape), device=x.device).to(x.dtype) * 2 - 1
    z, pull_f = cast(Pullback, vjp(f, x))
    _require_same_count("f", x, z)
    back, pull_g = cast(Pullback, vjp(g, z.detach()))
    _require_same_count("g", z, back)

    def one(direction: Tensor) -> Tensor:
        """dᵀ J_g J_f d for each data point of the batch, differentiable through J_f alone."""
        (weights,) = pull_g(direction)
        (row,) = pull_f(weights.detach())
        return (row * direction).flatten(1).sum(1)

    products = vmap(one, randomness="different")(directions)
    trace = products.sum(0) if probes is None else products.mean(0)
    checks.require_finite_output(trace, "self_norm_log_det", "the trace of J_g J_f")
    return trace - trace.detach()


def _require_same_count(name: str, given: Tensor, made: Tensor) -> None:
    if not isinstance(made, Tensor):
        raise TypeError(f"self_norm_log_det: expected {name} to give a tensor, got a {type(made).__name__}.")
    count = math.prod(given.shape[1:])
    if made.shape[:1] != given.shape[:1] or math.prod(made.shape[1:]) != count:
        raise ValueError(
            f"self_norm_log_det: expected {name} to keep the batch and the {count} features of a data point, "
            f"got {tuple(given.shape)} → {tuple(made.shape)}."
        )
