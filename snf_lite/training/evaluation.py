"""How well a flow describes data: its exact likelihood, never the training objective."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snf_lite.data.source import Data, DataSource, as_source
from snf_lite.flow import Flow
from snf_lite.linalg import dense_matrix
from snf_lite.runtime import checks
from snf_lite.runtime.devices import choose_device
from snf_lite.runtime.rng import isolated_rng, require_seed

#: How many events are judged at once.
EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Evaluation:
    """An exact evaluation of a flow.

    Attributes:
        nats: mean of -log p, nats an event, preprocessing included.
        bits_per_dim: nats / (D log 2).
        standard_error: of ``nats``, over events; None of a single event.
        count: how many events.
        data: name, split, count and SHA-256 of the events.
        seed: of the dequantisation noise.
    """

    nats: float
    bits_per_dim: float
    standard_error: float | None
    count: int
    data: dict[str, Any]
    seed: int

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2f}"
        value = f"{self.nats:.2f}{error} nats, {self.bits_per_dim:.3f} bits/dim"
        return f"{value} (exact, {self.count} events of {self.data['name']} {self.data['split']})"


def bits_per_dim(nats: float, features: int) -> float:
    """nats / (D log 2): what a picture costs in bits for each of its D numbers (eq-bits-per-dim)."""
    return nats / (features * math.log(2))


@torch.no_grad()
def log_probs(flow: Flow, events: DataSource, batch_size: int, seed: int) -> Tensor:
    """Exact log p of every event, (N,) in nats, float64; the dequantisation noise depends on the seed alone."""
    with isolated_rng(flow.device, seed, "evaluate"):
        batches = torch.arange(events.count).split(batch_size)
        return torch.cat([dense_matrix.precise(flow.log_prob(events.at(indices, flow.device))) for indices in batches])


def evaluate(
    flow: Flow, data: Data, split: str = "test", batch_size: int = EVALUATION_BATCH, seed: int = 0,
    device: torch.device | str | None = None,
) -> Evaluation:  # fmt: skip
    """The exact likelihood of data, preprocessing included; sums are taken in float64, torch's generators left alone.

    ``nats`` is the mean of -log p over the data: their entropy plus a Kullback–Leibler divergence (eq-likelihood).
    Its ``standard_error`` is the deviation of -log p over the root of the number of events (eq-standard-error).

    Args:
        flow: stays where it is, or is moved to ``device``.
        data: as for ``fit``; of a name the ``split`` is taken, of a tensor or Dataset all of it.
        batch_size: events at a time.
        seed: of the dequantisation noise, one draw an event.

    Raises:
        ValueError, TypeError: data that do not fit the flow, or a bad batch size or seed.
        NotInvertibleError, FloatingPointError: as ``flow.log_prob``.
    """
    checks.positive_integer(batch_size, "batch_size", "evaluate")
    require_seed(seed, "evaluate")
    events = as_source(data, split)
    require_fit(events, flow)
    if device is not None:
        flow.to(choose_device(device))
    nats = -log_probs(flow, events, batch_size, seed)
    error = float(nats.std() / len(nats) ** 0.5) if len(nats) > 1 else None
    mean = float(nats.mean())
    return Evaluation(mean, bits_per_dim(mean, flow.features), error, len(nats), events.identity(), seed)


def require_fit(events: DataSource, flow: Flow) -> None:
    """Refuse events of another shape, dtype, number of levels or range than the flow's.

    Of a Dataset the first item is looked at; the flow itevents checks every batch.
    """
    sample = events.source if isinstance(events.source, Tensor) else events.item(0)[None]
    if sample.dim() == 0 or tuple(sample.shape[1:]) != flow.event_shape:
        raise ValueError(f"{events}: expected events of shape {flow.event_shape}, got {tuple(sample.shape[1:])}.")
    if events.knows_levels and events.levels != flow.levels:
        raise ValueError(f"{events}: expected data of {flow.levels} levels, as the flow has, got {events.levels}.")
    _require_dtype(events, sample, flow)
    _require_range(events, sample, flow.levels)


def _require_dtype(events: DataSource, sample: Tensor, flow: Flow) -> None:
    wanted = [flow.dtype] if flow.levels is None else [torch.uint8, flow.dtype]
    if sample.dtype not in wanted:
        raise TypeError(f"{events}: expected {' or '.join(map(str, wanted))}, got {sample.dtype}.")
    if flow.levels is None or not sample.is_floating_point():
        return
    # Floats pass ``Dequantize`` without noise: on whole numbers the density would grow without bound.
    if bool((sample == sample.round()).all()):
        raise TypeError(f"{events}: expected pixels as torch.uint8, got whole numbers as {sample.dtype}.")
    top = float(sample.max())
    if top <= 1:
        here = f"{sample.dtype} up to {top:g}, as if scaled to [0, 1]"
        raise TypeError(f"{events}: expected pixels as torch.uint8, or points from 0 to {flow.levels}, got {here}.")


def _require_range(events: DataSource, sample: Tensor, levels: int | None) -> None:
    if sample.is_floating_point():
        checks.require_finite_input(sample, str(events))
    if levels is None:
        return
    top = levels - 1 if sample.dtype == torch.uint8 else levels
    low, high = sample.min().item(), sample.max().item()
    if low < 0 or high > top:
        raise ValueError(f"{events}: expected pixels from 0 to {top} ({levels} levels), got {low} to {high}.")
