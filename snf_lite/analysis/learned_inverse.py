"""Errors of the learned inverses of a flow, and of the gradients computed with them."""

import math

import torch
from torch import Tensor

from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix
from snf_lite.runtime.rng import isolated_rng


def learned_layers(flow: Flow) -> list[FlowLayer]:
    """Linear layers that learn their inverse R, data side first, including those inside other layers."""
    return [layer for layer, _ in _learned(flow)]


def _learned(flow: Flow) -> list[tuple[FlowLayer, tuple[int, ...]]]:
    """The same layers with their event shapes."""
    found = flow.iter_layers(flow.event_shape)
    return [(layer, shape) for layer, shape in found if layer.learned_inverse and hasattr(layer, "inverse_weight")]


@torch.no_grad()
def inverse_errors(flow: Flow) -> list[float]:
    """Spectral norm ‖E‖ of E = RW − I for each layer that learns its inverse (eq-error).

    For a convolution R and W are the matrices T(r) and T(w) at the flow's image size. O(D³): a diagnostic, not a part
    of training.
    """
    matrices = (error_matrix(layer, shape) for layer, shape in _learned(flow))
    return [float(torch.linalg.matrix_norm(matrix, ord=2)) for matrix in matrices]


@torch.no_grad()
def error_matrix(layer: FlowLayer, event_shape: tuple[int, ...]) -> Tensor:
    """E = RW − I of a layer with linear part W and learned inverse R, (D, D) for flattened inputs (eq-error).

    Rᵀ − W⁻ᵀ = W⁻ᵀEᵀ, hence ‖Rᵀ − W⁻ᵀ‖ ≤ ‖E‖ ‖W⁻¹‖.

    Raises:
        ValueError: the layer does not learn its inverse.
    """
    if not layer.learned_inverse:
        raise ValueError(f"{layer.label}: expected a layer that learns its inverse, got {type(layer).__name__}.")
    features = math.prod(event_shape)
    identity = torch.eye(features, dtype=layer.dtype, device=next(layer.parameters()).device)
    back = layer.invert(layer.surrogate(identity.reshape(features, *event_shape))[0], exact=False)
    return (back.reshape(features, features) - identity).T


@torch.no_grad()
def error_directions(E: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular values of E and the mean square of the layer's inputs along its singular vectors (eq-error-directions).

    The mean of ‖E x‖² over the inputs is Σ_i σ_i² m_i with m_i the mean of (v_iᵀx)²: E may be large along a direction
    that no input has.

    Args:
        E: (D, D), from ``error_matrix``.
        x: inputs of the layer, (B, D).

    Returns:
        σ (D,), largest first; m (D,); and the right singular vectors v_i as rows, (D, D).

    Raises:
        ValueError: the shapes do not match.
    """
    if E.dim() != 2 or x.dim() != 2 or E.shape != (x.shape[1], x.shape[1]):
        got = f"{tuple(E.shape)} and {tuple(x.shape)}"
        raise ValueError(f"error_directions: expected E of shape (D, D) and x of shape (B, D), got {got}.")
    _, sizes, directions = torch.linalg.svd(E)
    return sizes, (x @ directions.T).square().mean(0), directions


def weight_gradients(flow: Flow, x: Tensor, context: Tensor | None = None) -> list[tuple[Tensor, Tensor]]:
    """Self-normalized and exact gradient with respect to w, a pair per layer that learns its inverse, data side first.

    Both are ascent directions of the mean log-likelihood of the batch x, without the reconstruction penalty:
    δ_z xᵀ + Rᵀ and δ_z xᵀ + W⁻ᵀ. The first is twice the contribution to ``flow.loss``, where W gets half of it. Both
    use the same dequantization noise; ``.grad`` of the parameters is not changed.

    Args:
        x: (B, *event_shape), as for ``flow.log_prob``.
        context: Context (B, K) or (K,), for a conditioned flow.

    Raises:
        ValueError: as ``flow.log_prob``; ``NotInvertibleError`` if a layer is singular.
    """
    weights = [layer.get_parameter("weight") for layer in learned_layers(flow)]
    if not weights:
        return []
    with isolated_rng(x.device, "weight_gradients"):
        exact = torch.autograd.grad(flow.log_prob(x, context).mean(), weights)
    with isolated_rng(x.device, "weight_gradients"):
        z, total, _ = flow.training_pass(x, flow.dtype, flow.context_of(context, len(x)))
        objective = (flow.base_log_prob(z) + total).mean()  # that of ``Flow.loss`` without the penalties
        halves = torch.autograd.grad(objective, weights)
    return [(2 * half, whole) for half, whole in zip(halves, exact, strict=True)]


def log_det_gradient_errors(flow: Flow, x: Tensor, context: Tensor | None = None) -> list[float]:
    """Relative error of each learned inverse in the gradient of log|det J| with respect to w, data side first.

    ‖G̃ − G‖_F over the norm of the exact gradient of log|det J|, with G̃ and G of ``weight_gradients``. Their data terms
    are equal, so the difference is that of Rᵀ and W⁻ᵀ, at the kernel's taps for a convolution. 0 is exact; at 1 the
    error is as large as the exact gradient.

    Args:
        x: (B, *event_shape), as for ``flow.log_prob``; the result does not depend on it beyond rounding.
        context: Context (B, K) or (K,), for a conditioned flow.

    Raises:
        ValueError: as ``weight_gradients``.
    """
    errors = []
    for (layer, shape), (guess, exact) in zip(_learned(flow), weight_gradients(flow, x, context), strict=True):
        weight = layer.get_parameter("weight")
        zero = torch.zeros(1, *shape, dtype=layer.dtype, device=weight.device)
        log_det = layer.checked_transform(zero, flow.dtype)[1]  # that of W, whatever the context
        errors.append(float((guess - exact).norm() / torch.autograd.grad(log_det.sum(), weight)[0].norm()))
    return errors


def gradient_angles(flow: Flow, x: Tensor, context: Tensor | None = None) -> list[float]:
    """Angle in degrees between the gradients G̃ and G of ``weight_gradients``, for each layer (eq-angle).

    cos φ = ⟨G̃, G⟩ / (‖G̃‖_F ‖G‖_F). Below 90° a small step along G̃ still raises the exact likelihood.

    Args:
        x: (B, *event_shape), as for ``flow.log_prob``.
        context: Context (B, K) or (K,), for a conditioned flow.

    Raises:
        ValueError: as ``weight_gradients``; a gradient is zero.
    """
    return [angle(learned, exact) for learned, exact in weight_gradients(flow, x, context)]


def angle(a: Tensor, b: Tensor) -> float:
    """Angle between two tensors of one shape, as flat vectors, in degrees.

    Raises:
        ValueError: the shapes differ, or a tensor is zero or not finite.
    """
    if a.shape != b.shape:
        raise ValueError(f"angle: expected tensors of one shape, got {tuple(a.shape)} and {tuple(b.shape)}.")
    a, b = _direction(a), _direction(b)
    # atan2 of the unit vectors' difference and sum: accurate also near 0° and 180°, where arccos loses digits
    return math.degrees(2 * math.atan2(float((a - b).norm()), float((a + b).norm())))


def _direction(a: Tensor) -> Tensor:
    a = dense_matrix.precise(a.detach()).flatten()
    size = float(a.norm())
    if not 0 < size < math.inf:
        raise ValueError(f"angle: expected two vectors with a direction, got one of length {size}.")
    return a / size


def ascent_bound(W: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
    """Slope of log|det W| along Rᵀ, and its lower bound by ‖E‖ (eq-ascent).

    Args:
        W, R: (..., D, D).

    Returns:
        ⟨Rᵀ, W⁻ᵀ⟩ and (1 − ‖RW − I‖) ‖W⁻¹‖²_F, (...) each. The first is never below the second.

    Raises:
        RuntimeError: W is singular (``torch.linalg.LinAlgError``).
    """
    inverse = torch.linalg.inv(W)
    size = torch.linalg.matrix_norm(R @ W - torch.eye(W.shape[-1], dtype=W.dtype, device=W.device), ord=2)
    return (R * inverse).sum((-2, -1)), (1 - size) * inverse.square().sum((-2, -1))
