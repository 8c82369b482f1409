"""The exact likelihood of data under a flow, never the training objective."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from snf_lite.data.source import Data, DataSource, as_source
from snf_lite.flow import Flow
from snf_lite.linalg import dense_matrix
from snf_lite.runtime import checks
from snf_lite.runtime.devices import choose_device
from snf_lite.runtime.records import DataEntry
from snf_lite.runtime.rng import isolated_rng, require_seed

#: Number of examples in a batch of an evaluation.
EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Evaluation:
    """An exact evaluation of a flow.

    Attributes:
        nats: Negative log-likelihood (NLL) in nats, the mean over the examples, preprocessing included.
        bits_per_dim: nats / (D log 2).
        standard_error: Standard error of ``nats`` over the examples; None for a single one.
        count: Number of examples.
        data: Name, split, count and SHA-256 of the examples.
        seed: Seed of the dequantization noise.

    Example:
        >>> data = {"name": "digits", "split": "test"}
        >>> print(snf.Evaluation(nats=100.0, bits_per_dim=2.254, standard_error=0.5, count=180, data=data, seed=0))
        100.00 ± 0.50 nats, 2.254 bits/dim (exact, 180 ...
    """

    nats: float
    bits_per_dim: float
    standard_error: float | None
    count: int
    data: Annotated[dict[str, Any], DataEntry]
    seed: int

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2f}"
        value = f"{self.nats:.2f}{error} nats, {self.bits_per_dim:.3f} bits/dim"
        return f"{value} (exact, {self.count} examples of {self.data['name']} {self.data['split']})"


def bits_per_dim(nats: float, features: int) -> float:
    """nats / (D log 2): the negative log-likelihood of an image in bits for each of its D values (eq-bits-per-dim)."""
    return nats / (features * math.log(2))


@torch.no_grad()
def log_probs(flow: Flow, source: DataSource, batch_size: int, seed: int) -> Tensor:
    """Exact log p of every example, (N,) in nats, float64; the dequantization noise depends on the seed alone."""
    with isolated_rng(flow.device, seed, "evaluate"):
        batches = torch.arange(source.count).split(batch_size)
        return torch.cat([dense_matrix.precise(flow.log_prob(source.at(indices, flow.device))) for indices in batches])


def evaluate(
    flow: Flow, data: Data, split: str = "test", batch_size: int = EVALUATION_BATCH, seed: int = 0,
    device: torch.device | str | None = None,
) -> Evaluation:  # fmt: skip
    """The exact likelihood of data, preprocessing included, summed in float64; torch's generators are not changed.

    ``nats`` is the mean of -log p over the data: their entropy plus a Kullback–Leibler divergence (eq-likelihood).
    Its ``standard_error`` is the deviation of -log p over the root of the number of examples (eq-standard-error).

    Args:
        flow: Flow to evaluate.
        data: Data as for ``fit``; of a name the ``split`` is taken, of a tensor or Dataset all of it.
        split: Split of a named data set.
        batch_size: Number of examples per batch.
        seed: Seed of the dequantization noise, one draw per example.
        device: Device to which the flow is moved; None: it stays where it is.

    Raises:
        ValueError, TypeError: data that do not fit the flow, or a bad batch size or seed.
        NotInvertibleError, FloatingPointError: as ``flow.log_prob``.

    Example:
        >>> flow = snf.build("dense-exact", (1, 8, 8), levels=17)
        >>> result = snf.evaluate(flow, "digits")
        >>> result.nats > 0, result.data["split"]
        (True, 'test')
    """
    checks.positive_integer(batch_size, "batch_size", "evaluate")
    require_seed(seed, "evaluate")
    source = as_source(data, split)
    require_fit(source, flow)
    if device is not None:
        flow.to(choose_device(device))
    nats = -log_probs(flow, source, batch_size, seed)
    error = float(nats.std() / len(nats) ** 0.5) if len(nats) > 1 else None
    mean = float(nats.mean())
    return Evaluation(mean, bits_per_dim(mean, flow.features), error, len(nats), source.identity(), seed)


def require_fit(source: DataSource, flow: Flow) -> None:
    """Refuse examples of another shape, dtype, number of levels or range than the flow's.

    Of a Dataset only the first item is checked; the flow checks every batch.
    """
    sample = source.source if isinstance(source.source, Tensor) else source.item(0)[None]
    if sample.dim() == 0 or tuple(sample.shape[1:]) != flow.event_shape:
        raise ValueError(f"{source}: expected examples of shape {flow.event_shape}, got {tuple(sample.shape[1:])}.")
    if source.knows_levels and source.levels != flow.levels:
        raise ValueError(f"{source}: expected data of {flow.levels} levels, as the flow has, got {source.levels}.")
    _require_dtype(source, sample, flow)
    _require_range(source, sample, flow.levels)


def _require_dtype(source: DataSource, sample: Tensor, flow: Flow) -> None:
    wanted = [flow.dtype] if flow.levels is None else [torch.uint8, flow.dtype]
    if sample.dtype not in wanted:
        raise TypeError(f"{source}: expected {' or '.join(map(str, wanted))}, got {sample.dtype}.")
    if flow.levels is None or not sample.is_floating_point():
        return
    # Floats pass ``Dequantize`` without noise: on whole numbers the density would grow without bound.
    if bool((sample == sample.round()).all()):
        raise TypeError(f"{source}: expected pixels as torch.uint8, got whole numbers as {sample.dtype}.")
    top = float(sample.max())
    if top <= 1:
        here = f"{sample.dtype} up to {top:g}, as if scaled to [0, 1]"
        raise TypeError(f"{source}: expected pixels as torch.uint8, or points from 0 to {flow.levels}, got {here}.")


def _require_range(source: DataSource, sample: Tensor, levels: int | None) -> None:
    if sample.is_floating_point():
        checks.require_finite_input(sample, str(source))
    if levels is None:
        return
    top = levels - 1 if sample.dtype == torch.uint8 else levels
    low, high = sample.min().item(), sample.max().item()
    if low < 0 or high > top:
        raise ValueError(f"{source}: expected pixels from 0 to {top} ({levels} levels), got {low} to {high}.")
