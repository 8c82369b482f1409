"""Interleaved timing: all methods of a case run in one process, so that drift of the machine affects them equally.

Times differ between machines, and on a shared machine from minute to minute. Therefore each round times every method
once, in a new random order, and results are ratios of medians to the baseline of the same case.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from snf_lite.benchmarks.operation_counts import COUNTED, Counts, count
from snf_lite.runtime.devices import synchronize
from snf_lite.runtime.optional import MissingLibraryError
from snf_lite.runtime.rng import isolated_rng

Module = TypeVar("Module", bound=nn.Module)

#: Bounds on the number of rounds; between them the seconds decide.
MIN_ROUNDS, MAX_ROUNDS = 3, 500


class UnavailableError(Exception):
    """A method cannot run here; the message gives the reason."""


@dataclass(frozen=True)
class Case:
    """The inputs that all methods of a comparison share.

    Attributes:
        suite: Name of the suite.
        event_shape: (D,) or (C, H, W).
        batch: Batch size or number of samples; 0 for methods without input.
        kernel_size: Kernel size of convolutions.
        model: Name of a whole model, if one is timed.
        device: Device of all tensors.
        seed: Seed of weights, inputs and the order within each round.
        dtype: Floating-point type; float64 in tests that need more digits.
        means: How the step of a whole model is run: "eager", or one of ``models.MEANS``.
    """

    suite: str
    event_shape: tuple[int, ...]
    batch: int
    kernel_size: int | None = None
    model: str | None = None
    device: torch.device = torch.device("cpu")  # noqa: RUF009, a torch.device never changes
    seed: int = 0
    dtype: torch.dtype = torch.float32
    means: str = "eager"

    @property
    def features(self) -> int:
        """D, the dimension of an example."""
        return math.prod(self.event_shape)

    def fresh(self, make: Callable[[], Module]) -> Module:
        """The result of ``make``, with the same random numbers for every method of the case."""
        with isolated_rng("cpu", self.seed, "bench weights"):
            return make().to(self.device, self.dtype)

    def inputs(self) -> Tensor:
        """x (B, *event_shape), standard normal; it requires a gradient, as inside a deeper network."""
        with isolated_rng("cpu", self.seed, "bench events"):
            x = torch.randn(self.batch, *self.event_shape, dtype=self.dtype)
        return x.to(self.device).requires_grad_()


@dataclass(frozen=True)
class TimedCall:
    """The call of one method that is timed.

    Attributes:
        run: The call; returns gradients or samples.
        leaves: Input and parameters: the tensors that exist before and after the call.
        per: Number of samples by which the time of a call is divided.
        steps: Number of training steps in a call, by which its time and its counts are divided.
        eager: False for compiled code and replayed graphs, whose operations cannot be counted.
        surrogate: x → z, log-determinant term, penalty, if the call is a training step of one layer.
    """

    run: Callable[[], Any]
    leaves: tuple[Tensor, ...] = ()
    per: int = 1
    steps: int = 1
    eager: bool = True
    surrogate: Callable[[Tensor], tuple[Tensor, Tensor, Tensor | None]] | None = None


Method = Callable[[Case], TimedCall]


@dataclass(frozen=True)
class Comparison:
    """A case and its methods by name; the first is the baseline, by whose time the other times are divided."""

    case: Case
    methods: dict[str, Method]


@dataclass
class Measurement:
    """One method of a comparison: its call, the counts, and the seconds of each round."""

    call: TimedCall
    counts: Counts | None
    seconds: list[float] = field(default_factory=list)

    def per_item(self) -> list[float]:
        """Seconds of a sample or of a training step, for each round."""
        return [taken / (self.call.per * self.call.steps) for taken in self.seconds]


def run_comparisons(comparisons: list[Comparison], seconds: float) -> Iterator[dict[str, Any]]:
    """Run the comparisons of a suite in about ``seconds``; yields the record entry of each case."""
    for comparison in comparisons:
        yield run_comparison(comparison, seconds / len(comparisons))


def run_comparison(comparison: Comparison, seconds: float) -> dict[str, Any]:
    """Warm up each method, time all of them in rounds, and return the record entry of the case.

    Args:
        comparison: Case and methods.
        seconds: Time for the rounds. A method with a single call longer than that is skipped.
    """
    case = comparison.case
    measurements, skipped = {}, {}
    for name, method in comparison.methods.items():
        try:
            measurements[name] = _warm_up(method, case, seconds)
        except (UnavailableError, MissingLibraryError) as reason:
            skipped[name] = str(reason)
        except torch.OutOfMemoryError:
            skipped[name] = "the device has not enough memory"
    if measurements:
        interleave(measurements, seconds, case.device, random.Random(case.seed))
    return _entry(comparison, measurements, skipped)


def _warm_up(method: Method, case: Case, seconds: float) -> Measurement:
    """Two warm-up calls: operations are counted in the first, which also loads libraries; the second is timed."""
    call = method(case)
    counts = None
    if call.eager:
        counts = count(call.run, call.leaves, case.device).divided(call.steps)
    else:
        call.run()
    if (taken := timed(call, case.device)) > seconds:
        raise UnavailableError(f"a call takes {taken:.1f} s, longer than the {seconds:.1f} s of its case")
    return Measurement(call, counts)


def interleave(
    measurements: dict[str, Measurement], seconds: float, device: torch.device, order: random.Random
) -> None:
    """Time rounds for ``seconds``, within the bounds on their number: each method once, in a new order."""
    names, started = list(measurements), time.perf_counter()
    for done in range(MAX_ROUNDS):
        if done >= MIN_ROUNDS and time.perf_counter() - started > seconds:
            break
        order.shuffle(names)
        for name in names:
            measurements[name].seconds.append(timed(measurements[name].call, device))


def timed(call: TimedCall, device: torch.device) -> float:
    """Seconds of one call, from the clock on the CPU and from CUDA's own timers on a GPU."""
    if device.type != "cuda":
        started = time.perf_counter()
        call.run()
        return time.perf_counter() - started
    synchronize(device)
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call.run()
        end.record()
        end.synchronize()
    return float(start.elapsed_time(end)) / 1000


# ---- the entry of a case -------------------------------------------------------------------------------------------


def _entry(comparison: Comparison, measurements: dict[str, Measurement], skipped: dict[str, str]) -> dict[str, Any]:
    case, baseline = comparison.case, next(iter(comparison.methods))
    return {
        "suite": case.suite,
        "event_shape": list(case.event_shape),
        "batch": case.batch,
        "kernel_size": case.kernel_size,
        "model": case.model,
        "floor": baseline,
        "rounds": min((len(measurement.seconds) for measurement in measurements.values()), default=0),
        "contenders": {
            name: _result(comparison.methods[name], measurement, measurements.get(baseline))
            for name, measurement in measurements.items()
        },
        "skipped": skipped,
    }


def _result(method: Method, measurement: Measurement, baseline: Measurement | None) -> dict[str, Any]:
    """Median and quartiles of the seconds; the ratio of medians, and the quartiles of the ratio within a round."""
    seconds, base = measurement.per_item(), baseline and baseline.per_item()
    return {
        "what": " ".join((method.__doc__ or "").split()),
        "median": statistics.median(seconds),
        "quartiles": quartiles(seconds),
        "ratio": base and statistics.median(seconds) / statistics.median(base),
        "ratio_quartiles": base and quartiles([s / b for s, b in zip(seconds, base, strict=True)]),
        **(asdict(measurement.counts) if measurement.counts else dict.fromkeys(COUNTED)),
    }


def quartiles(values: list[float]) -> list[float]:
    """The first and the third quartile."""
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [first, third]
