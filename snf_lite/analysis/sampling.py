"""Samples of the learned and the exact inverse for the same latents: their distance, by layer, and their times."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict

import torch
from torch import Tensor

from snf_lite.chain import Chain
from snf_lite.conv import LearnedInverseConv
from snf_lite.flow import Flow
from snf_lite.linalg import dense_matrix, krylov
from snf_lite.linalg.convolution import convolve
from snf_lite.runtime import checks
from snf_lite.runtime.devices import synchronize
from snf_lite.runtime.rng import isolated_rng, require_seed


@dataclass(frozen=True)
class SamplePair:
    """Samples of both inverses for the same latents z.

    Attributes:
        learned: g(z), (n, *event_shape).
        exact: f⁻¹(z), the same shape.
        learned_seconds, exact_seconds: time for the batch, with the factorization of the exact inverse.
    """

    learned: Tensor
    exact: Tensor
    learned_seconds: float
    exact_seconds: float

    @property
    def relative_distance(self) -> float:
        """‖g(z) − f⁻¹(z)‖ / ‖f⁻¹(z)‖ over all samples together."""
        return relative_distance(self.learned, self.exact)

    def as_dict(self) -> dict[str, Any]:
        """Values for a record: the distance, and milliseconds per sample in a batch of ``count``."""
        count = len(self.exact)
        return {
            "count": count,
            "relative_distance": self.relative_distance,
            "learned_ms_per_sample": 1000 * self.learned_seconds / count,
            "exact_ms_per_sample": 1000 * self.exact_seconds / count,
        }


class LayerSolve(TypedDict):
    """The iteration that inverts a convolution: BiCGStab iterations to 1e-10 in float64, largest relative residual."""

    iterations: int
    residual: float


@torch.no_grad()
def layer_solves(flow: Flow, z: Tensor, context: Tensor | None = None) -> dict[str, LayerSolve]:
    """How f⁻¹(z) is found in the k×k convolutions, k > 1, that learn an inverse, by label (eq-preconditioned).

    Each solves T(w) x = z_k − b in float64, z_k the latents that come to it from z, preconditioned with its learned
    inverse; a residual above 1e-10 is one that did not converge.

    Args:
        flow: A flow; without such convolutions nothing is found.
        z: Latents (B, *z_shape): of samples, drawn from the base density, or f(x) of data.
        context: Context (B, K), for a conditioned flow.
    """
    found: dict[str, LayerSolve] = {}

    def solve(layer: LearnedInverseConv, z: Tensor, exact: bool) -> Tensor:
        w, r, b = (dense_matrix.precise(part) for part in (layer.weight, layer.inverse_weight, layer.bias))
        centered = dense_matrix.precise(z) - b[:, None, None]
        solution = krylov.bicgstab(lambda x: convolve(x, w, False), centered, lambda x: convolve(x, r, False))
        found[layer.label] = {"iterations": solution.iterations, "residual": float(solution.residuals.max())}
        return type(layer).invert(layer, z, exact)

    layers = [one for one, _ in flow.iter_layers(flow.event_shape) if isinstance(one, LearnedInverseConv)]
    solved = [layer for layer in layers if layer.kernel_size > 1]
    try:
        for layer in solved:
            layer.invert = partial(solve, layer)  # type: ignore[method-assign]
        if solved:
            flow.inverse(z, exact=True, context=context)
        return found
    finally:
        for layer in solved:
            del layer.invert


def recorded_solves(flow: Flow, x: Tensor, seed: int = 0) -> dict[str, dict[str, LayerSolve]]:
    """``layer_solves`` for the latents of data x, and of as many samples: what a record holds."""
    with isolated_rng(flow.device, require_seed(seed, "recorded_solves"), "solves"):
        latents = {"samples": flow.sample_base(len(x)), "data": flow(x.to(flow.device))[0]}
        return {name: layer_solves(flow, z) for name, z in latents.items()}


def relative_distance(x: Tensor, reference: Tensor) -> float:
    """‖x − reference‖ / ‖reference‖ over all examples together (eq-sample-distance), computed in float64.

    Raises:
        ValueError: the shapes differ, or the reference is zero.
    """
    if x.shape != reference.shape:
        got = f"{tuple(x.shape)} and {tuple(reference.shape)}"
        raise ValueError(f"relative_distance: expected tensors of one shape, got {got}.")
    unit = dense_matrix.precise(reference).norm()
    if not unit > 0:
        raise ValueError(f"relative_distance: expected a reference of positive length, got {float(unit)}.")
    return float((dense_matrix.precise(x) - dense_matrix.precise(reference)).norm() / unit)


@torch.no_grad()
def sample_pair(
    flow: Flow, n: int, seed: int = 0, temperature: float = 1.0, context: Tensor | None = None
) -> SamplePair:
    """Draw n ≥ 1 latents, which depend on the seed alone, and pass them through both inverses.

    ``temperature`` and ``context`` are those of ``Flow.sample``.

    Raises:
        ValueError: n < 1, seed is not an integer, or a layer is singular (``NotInvertibleError``).
    """
    if n == 0:
        raise ValueError("sample_pair: expected at least 1 sample, got 0.")
    with isolated_rng(flow.device, require_seed(seed, "sample_pair"), "sample"):
        z = flow.sample_base(n, temperature=temperature)
    context = flow.context_of(context, n)
    first = None if context is None else context[:1]
    flow.inverse(z[:1], exact=False, context=first)  # warm-up: the first call in a process loads kernels
    learned, learned_seconds = _timed(flow, z, context, exact=False)
    flow.clear_cache()
    exact, exact_seconds = _timed(flow, z, context, exact=True)
    return SamplePair(learned, exact, learned_seconds, exact_seconds)


def _timed(flow: Flow, z: Tensor, context: Tensor | None, exact: bool) -> tuple[Tensor, float]:
    synchronize(flow.device)
    started = time.perf_counter()
    x = flow.inverse(z, exact=exact, context=context)
    synchronize(flow.device)
    return x, time.perf_counter() - started


@dataclass(frozen=True)
class LayerGap:
    """Contribution of one layer to the distance of g(z) from f⁻¹(z); norms of examples, (B,) each.

    Attributes:
        layer: label of the layer.
        own: ‖g_k(h) − f_k⁻¹(h)‖, its own error at the exact latent h; ‖E f_k⁻¹(h)‖ for a layer with a linear part.
        carried: ‖g_k(ĥ) − g_k(h)‖, the incoming error of the approximate latent ĥ, propagated by the layer.
        gap: ‖g_k(ĥ) − f_k⁻¹(h)‖ ≤ own + carried.
        size: ‖f_k⁻¹(h)‖.
        stretch: carried over the incoming gap; 1 where that is 0.
    """

    layer: str
    own: Tensor
    carried: Tensor
    gap: Tensor
    size: Tensor
    stretch: Tensor

    @property
    def relative(self) -> float:
        """Gap over size, all examples together."""
        return float(self.gap.norm() / self.size.norm())


@torch.no_grad()
def layer_gaps(flow: Chain, z: Tensor, context: Tensor | None = None) -> list[LayerGap]:
    """Distance between the learned and the exact inverse after each layer, latent side first.

    Args:
        flow: a flow or chain; the inverse of ``Dequantize`` rounds to pixels.
        z: (B, *z_shape).
        context: (B, K), for a conditioned flow.

    Raises:
        ValueError: as ``Flow.inverse``.
    """
    exact = learned = z
    gaps = []
    for layer in reversed(flow.bijections):
        given = layer.own(context)
        truth = layer.inverse(exact, True, *given)
        from_exact, from_learned = layer.inverse(exact, False, *given), layer.inverse(learned, False, *given)
        incoming, carried = _distances(learned, exact), _distances(from_learned, from_exact)
        stretch = torch.where(incoming > 0, carried / incoming, 1.0)
        own, gap = _distances(from_exact, truth), _distances(from_learned, truth)
        size = dense_matrix.precise(truth).flatten(1).norm(dim=1)
        gaps.append(LayerGap(layer.label, own, carried, gap, size, stretch))
        exact, learned = truth, from_learned
    return gaps


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return (dense_matrix.precise(a) - dense_matrix.precise(b)).flatten(1).norm(dim=1)


def error_bound(own: Sequence[Tensor], stretch: Sequence[Tensor | float]) -> Tensor:
    """Upper bound Σ_k ε_k Π_{j<k} s_j of the error at the data side, from each layer's own error (eq-compound).

    Args:
        own: ε_k, each layer's own error, latent side first, from ``layer_gaps``; all of one shape.
        stretch: s_k, Lipschitz constant of each learned inverse, in the same order.

    Returns:
        The bound, of the shape of an error.

    Raises:
        ValueError: there are no errors, or the counts differ.
    """
    if not own or len(own) != len(stretch):
        got = f"{len(own)} errors and {len(stretch)} stretches"
        raise ValueError(f"error_bound: expected one stretch for each of at least one own error, got {got}.")
    bound = torch.zeros_like(own[0])
    for error, factor in zip(own, stretch, strict=True):
        bound = factor * bound + error
    return bound


@torch.no_grad()
def refine(flow: Chain, z: Tensor, passes: int, context: Tensor | None = None) -> Tensor:
    """The learned inverse, refined ``passes`` times per layer without a solve (eq-refine).

    At a layer with a learned inverse x ← x + g(z) − g(f(x)). Where f and g have linear parts W and R, each pass
    multiplies the error by −E = I − RW: it converges if ‖E‖ < 1 and may diverge otherwise. A pass costs one f and
    one g.

    Args:
        flow: a flow or chain.
        z: (B, *z_shape).
        passes: number of passes; 0 gives g(z).
        context: (B, K), for a conditioned flow.

    Raises:
        ValueError: passes is negative or not an integer; otherwise as ``Flow.inverse``.
    """
    checks.integer(passes, "a", "refine", at_least=0, wanted="number of passes ≥ 0")
    for layer in reversed(flow.bijections):
        given = layer.own(context)
        x = first = layer.inverse(z, False, *given)
        for _ in range(passes if layer.learned_inverse else 0):
            x = x + first - layer.inverse(layer(x, *given)[0], False, *given)
        z = x
    return z
