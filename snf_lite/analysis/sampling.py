"""The same codes through the learned and the exact inverse: how far apart they land, where, and how long each takes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snf_lite.chain import Chain
from snf_lite.flow import Flow
from snf_lite.linalg import dense_matrix
from snf_lite.runtime import checks
from snf_lite.runtime.devices import synchronize
from snf_lite.runtime.rng import isolated_rng, require_seed


@dataclass(frozen=True)
class SamplePair:
    """Samples from the same codes z.

    Attributes:
        learned: g(z), (n, *event_shape).
        exact: f⁻¹(z), the same shape.
        learned_seconds, exact_seconds: for the batch, the factorisation of the exact inverse included.
    """

    learned: Tensor
    exact: Tensor
    learned_seconds: float
    exact_seconds: float

    @property
    def relative_distance(self) -> float:
        """‖g(z) − f⁻¹(z)‖ / ‖f⁻¹(z)‖ over all samples together, in the units of the data (pixels)."""
        return relative_distance(self.learned, self.exact)

    def as_dict(self) -> dict[str, Any]:
        """What a record keeps: the distance, and milliseconds a sample in a batch of ``count``."""
        count = len(self.exact)
        return {
            "count": count,
            "relative_distance": self.relative_distance,
            "learned_ms_per_sample": 1000 * self.learned_seconds / count,
            "exact_ms_per_sample": 1000 * self.exact_seconds / count,
        }


def relative_distance(x: Tensor, reference: Tensor) -> float:
    """‖x − reference‖ / ‖reference‖ over all events together (eq-sample-distance), in float64 whatever came.

    Raises:
        ValueError: the shapes differ, or the reference is zero and gives no unit.
    """
    if x.shape != reference.shape:
        got = f"{tuple(x.shape)} and {tuple(reference.shape)}"
        raise ValueError(f"relative_distance: expected events of one shape, got {got}.")
    unit = dense_matrix.precise(reference).norm()
    if not unit > 0:
        raise ValueError(f"relative_distance: expected a reference of positive length, got {float(unit)}.")
    return float((dense_matrix.precise(x) - dense_matrix.precise(reference)).norm() / unit)


@torch.no_grad()
def sample_pair(flow: Flow, n: int, seed: int = 0) -> SamplePair:
    """Draw n ≥ 1 codes, which depend on the seed alone, and send them back through both inverses.

    Raises:
        ValueError: n or seed is not such a number, or a layer is singular (``NotInvertibleError``).
    """
    if n == 0:
        raise ValueError("sample_pair: expected at least 1 sample, got 0.")
    with isolated_rng(flow.device, require_seed(seed, "sample_pair"), "sample"):
        z = flow.sample_base(n)
    flow.inverse(z[:1], exact=False)  # the first call of a process also pays for loading
    learned, learned_seconds = _timed(flow, z, exact=False)
    flow.clear_cache()
    exact, exact_seconds = _timed(flow, z, exact=True)
    return SamplePair(learned, exact, learned_seconds, exact_seconds)


def _timed(flow: Flow, z: Tensor, exact: bool) -> tuple[Tensor, float]:
    synchronize(flow.device)
    started = time.perf_counter()
    x = flow.inverse(z, exact=exact)
    synchronize(flow.device)
    return x, time.perf_counter() - started


@dataclass(frozen=True)
class LayerGap:
    """What one layer adds to the distance of g(z) from f⁻¹(z); norms of events, (B,) each.

    Attributes:
        layer: its label.
        own: ‖g_k(h) − f_k⁻¹(h)‖, its own error at the exact code h; of a layer with a linear part ‖E f_k⁻¹(h)‖.
        carried: ‖g_k(ĥ) − g_k(h)‖, what it makes of the distance of the code ĥ that it gets from h.
        gap: ‖g_k(ĥ) − f_k⁻¹(h)‖ ≤ own + carried.
        size: ‖f_k⁻¹(h)‖.
        stretch: carried over the gap that came in; 1 where none came in.
    """

    layer: str
    own: Tensor
    carried: Tensor
    gap: Tensor
    size: Tensor
    stretch: Tensor

    @property
    def relative(self) -> float:
        """The gap over the size, all events together."""
        return float(self.gap.norm() / self.size.norm())


@torch.no_grad()
def layer_gaps(flow: Chain, z: Tensor) -> list[LayerGap]:
    """How the learned and the exact way back part, layer by layer, code side first.

    Args:
        flow: or any row of layers. Its last step back may be the rounding to pixels of ``Dequantize``.
        z: (B, *z_shape).

    Raises:
        ValueError: as ``Flow.inverse``.
    """
    exact = learned = z
    gaps = []
    for layer in reversed(flow.bijections):
        truth = layer.inverse(exact)
        short, arrived = layer.inverse(exact, exact=False), layer.inverse(learned, exact=False)
        came, carried = _apart(learned, exact), _apart(arrived, short)
        stretch = torch.where(came > 0, carried / came, 1.0)
        own, gap = _apart(short, truth), _apart(arrived, truth)
        size = dense_matrix.precise(truth).flatten(1).norm(dim=1)
        gaps.append(LayerGap(layer.label, own, carried, gap, size, stretch))
        exact, learned = truth, arrived
    return gaps


def _apart(a: Tensor, b: Tensor) -> Tensor:
    return (dense_matrix.precise(a) - dense_matrix.precise(b)).flatten(1).norm(dim=1)


def error_bound(own: Sequence[Tensor], stretch: Sequence[Tensor | float]) -> Tensor:
    """The most that the layers' own errors can come to at the event: Σ_k ε_k Π_{j<k} s_j   (eq-compound).

    Args:
        own: ε_k, the own error of each layer, code side first, as ``layer_gaps`` gives them; of one shape.
        stretch: s_k, by how much the learned inverse of each may stretch a distance, in the same order.

    Returns:
        Of the shape of the errors.

    Raises:
        ValueError: not as many stretches as errors, or none.
    """
    if not own or len(own) != len(stretch):
        got = f"{len(own)} errors and {len(stretch)} stretches"
        raise ValueError(f"compounded: expected one stretch for each of at least one own error, got {got}.")
    bound = torch.zeros_like(own[0])
    for error, factor in zip(own, stretch, strict=True):
        bound = factor * bound + error
    return bound


@torch.no_grad()
def refine(flow: Chain, z: Tensor, passes: int) -> Tensor:
    """The learned way back, each layer's result mended ``passes`` times without a solve (eq-refine).

    At a layer with a learned inverse x ← x + g(z) − g(f(x)). Where f and g have linear parts W and R, the distance from
    f⁻¹(z) is multiplied by −E = I − RW each time: it vanishes if ‖E‖ < 1, and may grow if not. A pass costs one f and
    one g.

    Args:
        flow: or any row of layers.
        z: (B, *z_shape).
        passes: 0 for g(z).

    Raises:
        ValueError: passes is no such number; otherwise as ``Flow.inverse``.
    """
    checks.integer(passes, "a", "refined", at_least=0, wanted="number of passes ≥ 0")
    for layer in reversed(flow.bijections):
        x = short = layer.inverse(z, exact=False)
        for _ in range(passes if layer.learned_inverse else 0):
            x = x + short - layer.inverse(layer(x)[0], exact=False)
        z = x
    return z
