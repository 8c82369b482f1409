"""How good the learned inverses of a flow are, and how far they turn its gradient."""

import math

import torch
from torch import Tensor

from snf_lite.chain import Chain
from snf_lite.flow import Flow, standard_normal_log_prob
from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix
from snf_lite.runtime.rng import isolated_rng


def learned_layers(flow: Flow) -> list[FlowLayer]:
    """The layers that learn their inverse, data side first; those inside of other layers too."""
    return [layer for layer, _ in _learned(flow)]


def _learned(flow: Flow) -> list[tuple[FlowLayer, tuple[int, ...]]]:
    """The same with the event shapes that they take."""
    found = flow.iter_layers(flow.event_shape)
    return [(layer, shape) for layer, shape in found if layer.learned_inverse and not isinstance(layer, Chain)]


@torch.no_grad()
def inverse_errors(flow: Flow) -> list[float]:
    """‖E‖ for each layer that learns its inverse: the largest factor by which E = RW − I stretches a vector (eq-error).

    For a convolution R and W are the matrices T(r) and T(w) on the flow's own image size. O(D³): a diagnosis, not a
    part of training.
    """
    matrices = (error_matrix(layer, shape) for layer, shape in _learned(flow))
    return [float(torch.linalg.matrix_norm(matrix, ord=2)) for matrix in matrices]


@torch.no_grad()
def error_matrix(layer: FlowLayer, event_shape: tuple[int, ...]) -> Tensor:
    """E = RW − I of a layer with a linear part W and a learned inverse R, (D, D), events flattened (eq-error).

    With it Rᵀ − W⁻ᵀ = W⁻ᵀEᵀ, so that ‖Rᵀ − W⁻ᵀ‖ ≤ ‖E‖ ‖W⁻¹‖.

    Raises:
        ValueError: the layer learns no inverse.
    """
    if not layer.learned_inverse:
        raise ValueError(f"{layer.label}: expected a layer that learns its inverse, got {type(layer).__name__}.")
    features = math.prod(event_shape)
    identity = torch.eye(features, dtype=layer.dtype, device=next(layer.parameters()).device)
    back = layer.invert(layer.surrogate(identity.reshape(features, *event_shape))[0], exact=False)
    return (back.reshape(features, features) - identity).T


@torch.no_grad()
def error_directions(E: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Along which directions a learned inverse errs, and how long the events are there (eq-error-directions).

    The mean of ‖E x‖² over the events is Σ_i σ_i² m_i with m_i the mean of (v_iᵀx)²: E may be large along a direction
    that no event has.

    Args:
        E: (D, D), as ``error_matrix`` gives it.
        x: (B, D), what the layer got.

    Returns:
        σ (D,), largest first; m (D,); and the directions v_i as rows, (D, D).

    Raises:
        ValueError: the shapes do not fit.
    """
    if E.dim() != 2 or x.dim() != 2 or E.shape != (x.shape[1], x.shape[1]):
        got = f"{tuple(E.shape)} and {tuple(x.shape)}"
        raise ValueError(f"error_directions: expected E of shape (D, D) and x of shape (B, D), got {got}.")
    _, sizes, directions = torch.linalg.svd(E)
    return sizes, (x @ directions.T).square().mean(0), directions


def weight_gradients(flow: Flow, x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The self-normalised and the exact gradient by w, a pair for each layer that learns its inverse, data side first.

    Both are gradients of the mean log-likelihood of the batch x, to ascend, without the reconstruction terms. The first
    is twice what ``flow.loss`` leaves of it, for there W takes half: δ_z xᵀ + Rᵀ, against δ_z xᵀ + W⁻ᵀ. Noise that the
    flow adds to pixels is the same for both; the parameters' ``.grad`` stay as they are.

    Args:
        x: (B, *event_shape), as for ``flow.log_prob``.

    Raises:
        ValueError: as ``flow.log_prob``; its ``NotInvertibleError`` where a layer has lost its inverse.
    """
    weights = [layer.get_parameter("weight") for layer in learned_layers(flow)]
    if not weights:
        return []
    with isolated_rng(x.device, "weight_gradients"):
        exact = torch.autograd.grad(flow.log_prob(x).mean(), weights)
    with isolated_rng(x.device, "weight_gradients"):
        halves = torch.autograd.grad(_self_normalised_objective(flow, x), weights)
    return [(2 * half, whole) for half, whole in zip(halves, exact, strict=True)]


def log_det_gradient_errors(flow: Flow, x: Tensor) -> list[float]:
    """How far off each learned inverse is where it counts, in the gradient of log|det J| by w; data side first.

    ‖G̃ − G‖_F over the norm of the exact gradient of log|det J|, with G̃ and G of ``weight_gradients``: what the data say
    is the same in both, so the difference is that of Rᵀ and W⁻ᵀ, at the kernel's taps for a convolution. 0 is exact; at
    1 the error is as large as what it stands for.

    Args:
        x: (B, *event_shape), as for ``flow.log_prob``; which events, makes no difference beyond rounding.

    Raises:
        ValueError: as ``weight_gradients``.
    """
    pairs = zip(_learned(flow), weight_gradients(flow, x), strict=True)
    return [float((guess - exact).norm() / _volume_gradient(*found).norm()) for found, (guess, exact) in pairs]


def _volume_gradient(layer: FlowLayer, event_shape: tuple[int, ...]) -> Tensor:
    """The exact gradient of log|det J| by w."""
    weight = layer.get_parameter("weight")
    at_rest = torch.zeros(1, *event_shape, dtype=layer.dtype, device=weight.device)
    return torch.autograd.grad(layer(at_rest)[1].sum(), weight)[0]


def gradient_angles(flow: Flow, x: Tensor) -> list[float]:
    """The angle in degrees between the two gradients G̃ and G of ``weight_gradients``, one a layer (eq-angle).

    cos φ = ⟨G̃, G⟩ / (‖G̃‖_F ‖G‖_F). Below 90° a small step along G̃ still raises the exact likelihood.

    Args:
        x: (B, *event_shape), as for ``flow.log_prob``.

    Raises:
        ValueError: as ``weight_gradients``; a gradient is zero.
    """
    return [angle(learned, exact) for learned, exact in weight_gradients(flow, x)]


def angle(a: Tensor, b: Tensor) -> float:
    """The angle between two tensors of one shape, seen as vectors, in degrees.

    Raises:
        ValueError: the shapes differ, or one of the two is zero or not finite and so has no direction.
    """
    if a.shape != b.shape:
        raise ValueError(f"angle: expected tensors of one shape, got {tuple(a.shape)} and {tuple(b.shape)}.")
    a, b = _direction(a), _direction(b)
    # atan2 of sum and difference of the unit vectors: exact also near 0° and 180°, where the arccos loses digits
    return math.degrees(2 * math.atan2(float((a - b).norm()), float((a + b).norm())))


def _direction(a: Tensor) -> Tensor:
    a = dense_matrix.precise(a.detach()).flatten()
    size = float(a.norm())
    if not 0 < size < math.inf:
        raise ValueError(f"angle: expected two vectors with a direction, got one of length {size}.")
    return a / size


def _self_normalised_objective(flow: Flow, x: Tensor) -> Tensor:
    """What ``Flow.loss`` climbs, without the penalties."""
    z, total, _ = flow.training_pass(x, flow.dtype)
    return (standard_normal_log_prob(z) + total).mean()


def ascent_bound(W: Tensor, R: Tensor) -> tuple[Tensor, Tensor]:
    """How steeply log|det W| rises along Rᵀ, and the least that ‖E‖ allows (eq-ascent).

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
