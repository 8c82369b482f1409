"""The exact likelihood of data under a flow, never the training objective."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html import escape
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from snf_lite.data.source import Data, DataSource, as_source
from snf_lite.flow import Flow
from snf_lite.linalg import dense_matrix
from snf_lite.runtime import checks
from snf_lite.runtime.devices import choose_device
from snf_lite.runtime.records import DataEntry
from snf_lite.runtime.rng import isolated_rng, require_seed

#: Number of examples in a batch of an evaluation.
EVALUATION_BATCH = 1000


@dataclass(frozen=True, repr=False)
class Evaluation:
    """An exact evaluation of a flow.

    Attributes:
        nats: Negative log-likelihood (NLL) in nats, the mean over the examples, preprocessing included.
        bits_per_dim: nats / (D log 2).
        standard_error: Standard error of ``nats`` over the examples; None for a single one.
        count: Number of examples.
        data: Name, split ("all" of own data), count and SHA-256 of the examples.
        seed: Seed of the dequantization noise.
        pixels: Whether the examples are pixels. Of real numbers bits/dim depends on their unit, and is not printed.

    Example:
        >>> data = {"name": "digits", "split": "test"}
        >>> snf.Evaluation(nats=100.0, bits_per_dim=2.254, standard_error=0.5, count=180, data=data, seed=0)
        Evaluation(100.00 ± 0.50 nats, 2.254 bits/dim (exact, 180 examples of digits test))
    """

    nats: float
    bits_per_dim: float
    standard_error: float | None
    count: int
    data: Annotated[dict[str, Any], DataEntry]
    seed: int
    pixels: bool = True

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2f}"
        bits = f", {self.bits_per_dim:.3f} bits/dim" if self.pixels else ""
        part = "" if self.data["split"] == "all" else f" {self.data['split']}"
        return f"{self.nats:.2f}{error} nats{bits} (exact, {self.count} examples of {self.data['name']}{part})"

    def __repr__(self) -> str:
        return f"Evaluation({self})"

    def _repr_html_(self) -> str:
        return f"<code>{escape(str(self))}</code>"


def bits_per_dim(nats: float, features: int) -> float:
    """nats / (D log 2): the negative log-likelihood of an image in bits for each of its D values (eq-bits-per-dim)."""
    return nats / (features * math.log(2))


@torch.no_grad()
def log_probs(flow: Flow, source: DataSource, batch_size: int, seed: int) -> Tensor:
    """Exact log p of every example, (N,) in nats, float64; the dequantization noise depends on the seed alone.

    Given the source's context, where it has one, and with the flow in evaluation mode. A surrounding autocast does not
    act.
    """
    found, plain = [], torch.autocast(flow.device.type, enabled=False)
    with isolated_rng(flow.device, seed, "evaluate"), plain, _in_evaluation_mode(flow):
        for indices in torch.arange(source.count, device="cpu").split(batch_size):
            given = source.context_at(indices, flow.device)
            found.append(dense_matrix.precise(flow.log_prob(source.at(indices, flow.device), **given)))
    return torch.cat(found)


@contextmanager
def _in_evaluation_mode(flow: Flow) -> Iterator[None]:
    """For own layers with dropout or batch normalization; after the block each module is in the mode it was in."""
    modes = [(module, module.training) for module in flow.modules()]
    flow.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def mean_nats(log_prob: Tensor, weights: Tensor | None) -> tuple[float, float | None]:
    """The mean of -log p over examples, weighted by ``weights`` (N,), and its standard error (None of one example)."""
    nats = -log_prob
    if weights is None:
        return float(nats.mean()), float(nats.std() / len(nats) ** 0.5) if len(nats) > 1 else None
    shares = weights.to(nats) / weights.to(nats).sum()
    mean = (shares * nats).sum()
    return float(mean), float((shares * (nats - mean)).square().sum().sqrt()) if len(nats) > 1 else None


def evaluate(
    flow: Flow, data: Data, split: str = "test", batch_size: int = EVALUATION_BATCH, seed: int = 0,
    device: torch.device | str | None = None, *, context: Any = None, weights: Any = None,
) -> Evaluation:  # fmt: skip
    """The exact likelihood of data, preprocessing included, summed in float64; torch's generators are not changed.

    ``nats`` is the mean of -log p over the data: their entropy plus a Kullback–Leibler divergence (eq-likelihood).
    Its ``standard_error`` is the deviation of -log p over the root of the number of examples (eq-standard-error).

    Args:
        flow: Flow to evaluate.
        data: Data as for ``fit``; of a name the ``split`` is taken, of own data all of it.
        split: Split of a named data set.
        batch_size: Number of examples per batch.
        seed: Seed of the dequantization noise, one draw per example.
        device: Device to which the flow is moved; None: it stays where it is.
        context: Context (N, K) of the examples, for a flow that is conditioned on one.
        weights: Weights (N,) of the examples in the mean; only their ratios matter.

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
    flow = unwrapped(flow, "evaluate")
    source = fitted(as_source(data, split).with_extras(context, weights), flow)
    if device is not None:
        flow.to(choose_device(device))
    found = log_probs(flow, source, batch_size, seed)
    mean, error = mean_nats(found, source.weights)
    bits = bits_per_dim(mean, flow.features)
    return Evaluation(mean, bits, error, len(found), source.identity(), seed, flow.levels is not None)


def unwrapped(flow: Any, owner: str) -> Flow:
    """The flow itself, also of one that ``torch.compile`` or ``DataParallel`` wraps.

    Raises:
        TypeError: something else than a flow; the message names what to give instead.
    """
    inner = without_wrapper(flow)
    if isinstance(inner, nn.parallel.DistributedDataParallel):
        raise TypeError(
            f"{owner}: expected a Flow, got DistributedDataParallel: give its .module; fit averages itself."
        )
    if not isinstance(inner, Flow):
        hint = f": snf.build({flow!r}, …) makes one" if isinstance(flow, str) else ""
        if isinstance(getattr(flow, "module", None), Flow):  # such as torch's AveragedModel
            hint = ": give its .module"
        raise TypeError(f"{owner}: expected a Flow, got {type(flow).__name__}{hint}.")
    return inner


def without_wrapper(flow: Any) -> Any:
    """What ``torch.compile`` or ``DataParallel`` wraps; anything else as it is."""
    inner = getattr(flow, "_orig_mod", flow)
    return inner.module if isinstance(inner, nn.DataParallel) else inner


def fitted(source: DataSource, flow: Flow) -> DataSource:
    """The source with examples of the flow's dtype, and a context of it; pixels stay bytes.

    Raises:
        ValueError, TypeError: examples of another shape, number of levels or range than the flow's, pixels that are no
            bytes, or a context that the flow does not take. Of a Dataset only the first item is checked; the flow
            checks every batch.
    """
    sample = source.source if isinstance(source.source, Tensor) else source.item(0)[None]
    if tuple(sample.shape[1:]) != flow.event_shape:
        got = tuple(sample.shape[1:])
        last = len(got) == 3 and (got[2], *got[:2]) == flow.event_shape
        way = ", channels last: data.transpose(0, 3, 1, 2), or data.permute(0, 3, 1, 2) of a tensor" if last else ""
        raise ValueError(f"{source}: expected examples of shape {flow.event_shape}, got {got}{way}.")
    if source.knows_levels and source.levels != flow.levels:
        raise ValueError(f"{source}: expected data of {flow.levels} levels, as the flow has, got {source.levels}.")
    sample = _converted(source, sample, flow)
    _require_range(source, sample, flow.levels)
    context = source.context if source.context is None else source.context.to(flow.dtype)
    _require_context(source, flow)
    weights = source.weights if source.weights is None else source.weights.to(flow.dtype)
    examples = sample if isinstance(source.source, Tensor) else source.source
    return replace(source, source=examples, dtype=sample.dtype, context=context, weights=weights)


def _require_context(source: DataSource, flow: Flow) -> None:
    wanted = getattr(flow, "context_features", None)
    got = None if source.context is None else source.context.shape[1]
    if wanted != got:
        named = [f"a context of {n} numbers for each example" if n else "no context" for n in (wanted, got)]
        way = "context= of fit and evaluate"
        if wanted is None:
            way = f"build the flow with context_features={got}"
        elif got == 1:
            way = f"for labels from 0 to {wanted - 1} torch.nn.functional.one_hot(labels, {wanted})"
        raise ValueError(f"{source}: the flow takes {named[0]}, got {named[1]}: {way}.")


def _converted(source: DataSource, sample: Tensor, flow: Flow) -> Tensor:
    """The sample in the flow's dtype, or as bytes for a flow over pixels."""
    if flow.levels is None:
        if sample.dtype == torch.uint8 or sample.dtype == torch.bool:
            advice = "build the flow with levels=256 for pixels, or give numbers as floats"
            raise TypeError(f"{source}: expected {flow.dtype}, got {sample.dtype}: {advice}.")
        return sample.to(flow.dtype)
    if sample.dtype == torch.uint8:
        return sample
    if not sample.is_floating_point():
        advice = "data.to(torch.uint8) if these are pixels"
        raise TypeError(f"{source}: expected pixels as torch.uint8, got {sample.dtype}: {advice}.")
    # Floats pass ``Dequantize`` without noise: on whole numbers the density would grow without bound.
    if bool((sample == sample.round()).all()):
        got = f"whole numbers as {sample.dtype}: numpy's data.astype('uint8') or torch's data.to(torch.uint8)"
        raise TypeError(f"{source}: expected pixels as torch.uint8, got {got}.")
    top = float(sample.max())
    if top <= 1:
        here = f"{sample.dtype} up to {top:g}, as if scaled to [0, 1]"
        here += f": (data * {flow.levels - 1}).round() as uint8 gives pixels"
        raise TypeError(f"{source}: expected pixels as torch.uint8, or points from 0 to {flow.levels}, got {here}.")
    return sample.to(flow.dtype)


def _require_range(source: DataSource, sample: Tensor, levels: int | None) -> None:
    if sample.is_floating_point() and not checks.all_finite(sample):
        place = (~torch.isfinite(sample)).nonzero()
        row, *inner = place[0].tolist()
        row = row if source.rows is None else int(source.rows[row])
        column = source.columns[inner[0]] if source.columns else ", ".join(map(str, inner))
        found = f"{len(place)} NaN or infinite of {sample.numel()} numbers, the first in row {row}, column {column}"
        way = "data.dropna()" if source.columns else "data[np.isfinite(data).all(1)]" if sample.dim() == 2 else ""
        raise ValueError(f"{source}: expected finite input, got {found}{way and f': {way} leaves such rows out'}.")
    if levels is None:
        return
    top = levels - 1 if sample.dtype == torch.uint8 else levels
    low, high = sample.min().item(), sample.max().item()
    if low < 0 or high > top:
        raise ValueError(f"{source}: expected pixels from 0 to {top} ({levels} levels), got {low} to {high}.")
