"""The general case of the idea: any differentiable f with any learned g ≈ f⁻¹."""

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
    """A stand-in for log|det J_f(x)| whose gradient is tr(J_g(f(x)) ∂J_f(x)): J_f⁻¹ replaced by J_g (eq-general).

    Its value is zero: only its gradient means something. The gradient reaches f's parameters and x, never g; the other
    half of the objective, -log|det J_g|, is ``-self_norm_log_det(g, f, z)``.

    Args:
        f, g: differentiable maps (B, ...) → (B, ...) that treat the events of a batch independently, D numbers to D.
        x: (B, ...).
        probes: None for the exact trace, D passes a batch; an integer n for Hutchinson's estimate from n random
            signs a batch, unbiased, O(n).

    Returns:
        (B,), zero in value.

    Raises:
        ValueError: probes is not a positive integer, or f or g change the number of numbers in an event.

    Source: Keller et al. 2021, the two likelihoods; Draxler et al. 2024 for whole networks with Hutchinson's estimate.
    """
    checks.require_batch(x, "self_norm_log_det")
    directions = _directions(x, probes)
    z, pull_f = cast(Pullback, vjp(f, x))
    _require_same_count("f", x, z)
    back, pull_g = cast(Pullback, vjp(g, z.detach()))
    _require_same_count("g", z, back)

    def one(direction: Tensor) -> Tensor:
        """dᵀ J_g J_f d for each event of the batch, differentiable through J_f alone."""
        (weights,) = pull_g(direction)
        (row,) = pull_f(weights.detach())
        return (row * direction).flatten(1).sum(1)

    products = vmap(one, randomness="different")(directions)
    trace = products.sum(0) if probes is None else products.mean(0)
    checks.require_finite_output(trace, "self_norm_log_det", "the trace of J_g J_f")
    return trace - trace.detach()


def _directions(x: Tensor, probes: int | None) -> Tensor:
    """(D, B, ...) unit vectors, or (probes, B, ...) random signs."""
    if probes is None:
        features = math.prod(x.shape[1:])
        units = torch.eye(features, dtype=x.dtype, device=x.device).reshape(features, 1, *x.shape[1:])
        return units.expand(features, *x.shape)
    count = checks.positive_integer(probes, "probes", "self_norm_log_det")
    return torch.randint(0, 2, (count, *x.shape), device=x.device).to(x.dtype) * 2 - 1


def _require_same_count(name: str, given: Tensor, made: Tensor) -> None:
    if not isinstance(made, Tensor):
        raise TypeError(f"self_norm_log_det: expected {name} to give a tensor, got a {type(made).__name__}.")
    count = math.prod(given.shape[1:])
    if made.shape[:1] != given.shape[:1] or math.prod(made.shape[1:]) != count:
        raise ValueError(
            f"self_norm_log_det: expected {name} to keep the batch and the {count} numbers of an event, "
            f"got {tuple(given.shape)} → {tuple(made.shape)}."
        )
