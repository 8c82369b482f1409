"""The same codes through the learned and the exact inverse: how far apart they land, and how long each takes."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .devices import wait_for
from .flow import Flow
from .streams import require_seed, stream


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
        exact = self.exact.double()
        return float((self.learned.double() - exact).norm() / exact.norm())

    def as_dict(self) -> dict[str, Any]:
        """What a record keeps: the distance, and milliseconds a sample in a batch of ``count``."""
        count = len(self.exact)
        return {
            "count": count,
            "relative_distance": self.relative_distance,
            "learned_ms_per_sample": 1000 * self.learned_seconds / count,
            "exact_ms_per_sample": 1000 * self.exact_seconds / count,
        }


@torch.no_grad()
def sample_pair(flow: Flow, n: int, seed: int = 0) -> SamplePair:
    """Draw n ≥ 1 codes, which depend on the seed alone, and send them back through both inverses.

    Raises:
        ValueError: n or seed is not such a number, or a layer is singular (``NotInvertibleError``).
    """
    if n == 0:
        raise ValueError("sample_pair: expected at least 1 sample, got 0.")
    with stream(flow.device, require_seed(seed, "sample_pair"), "sample"):
        z = flow.sample_base(n)
    flow.inverse(z[:1], exact=False)  # the first call of a process also pays for loading
    learned, learned_seconds = _timed(flow, z, exact=False)
    flow.forget()
    exact, exact_seconds = _timed(flow, z, exact=True)
    return SamplePair(learned, exact, learned_seconds, exact_seconds)


def _timed(flow: Flow, z: Tensor, exact: bool) -> tuple[Tensor, float]:
    wait_for(flow.device)
    started = time.perf_counter()
    x = flow.inverse(z, exact=exact)
    wait_for(flow.device)
    return x, time.perf_counter() - started
