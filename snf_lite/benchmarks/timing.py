"""Timing: the contenders of a case take turns in one process, so that they meet the same machine; then medians.

A time alone says little: machines differ, and a shared one changes by the minute. So every round times each contender
once, in an order drawn anew, and what is quoted is a ratio of medians to the floor of the same case.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from snf_lite.benchmarks.operation_counts import Counts, count
from snf_lite.runtime.devices import synchronize
from snf_lite.runtime.rng import isolated_rng

Net = TypeVar("Net", bound=nn.Module)

#: However short the budget, a median is of at least so many rounds; however long, of at most so many.
MIN_ROUNDS, MAX_ROUNDS = 3, 500
#: A first turn of so many times the longest, and this many seconds for loading, needs no second.
HOPELESS, LOADING = 2.0, 2.0
#: A contender whose single turn takes more than this share of its suite's seconds is left out.
LONGEST_TURN = 0.1


class UnavailableError(Exception):
    """A contender cannot take part here; the message says why."""


@dataclass(frozen=True)
class Case:
    """What the contenders of one comparison have in common.

    Attributes:
        suite: the name of the suite.
        event_shape: (D,) or (C, H, W).
        batch: B, or how many samples; 0 where no events come in.
        kernel_size: of convolutions.
        model: the name of a whole model, where one is timed.
        dtype: float32 unless a test asks for more digits.
        compiled: whether a whole model's loss goes through torch.compile.
    """

    suite: str
    event_shape: tuple[int, ...]
    batch: int
    kernel_size: int | None = None
    model: str | None = None
    device: torch.device = torch.device("cpu")  # noqa: RUF009, a torch.device never changes
    seed: int = 0
    dtype: torch.dtype = torch.float32
    compiled: bool = False

    @property
    def features(self) -> int:
        """D, the count of numbers in an event."""
        return math.prod(self.event_shape)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What two cases share if one's times foretell the other's."""
        return self.suite, len(self.event_shape), self.kernel_size, self.model

    def fresh(self, make: Callable[[], Net]) -> Net:
        """What ``make`` builds, from random numbers that every contender of the case gets the same."""
        with isolated_rng("cpu", self.seed, "bench weights"):
            return make().to(self.device, self.dtype)

    def events(self) -> Tensor:
        """x (B, *event_shape), standard normal, which needs its gradient, as inside a deeper net."""
        with isolated_rng("cpu", self.seed, "bench events"):
            x = torch.randn(self.batch, *self.event_shape, dtype=self.dtype)
        return x.to(self.device).requires_grad_()


@dataclass(frozen=True)
class TimedCall:
    """What one contender does in its turn.

    Attributes:
        run: does it once; returns the gradients or samples.
        leaves: the tensors that are there before and after: input and parameters.
        per: a turn's time is divided by this count of samples.
        eager: False for compiled code, in which nothing can be counted.
        surrogate: x → z, log-determinant term, penalty, where the step trains one layer.
    """

    run: Callable[[], Any]
    leaves: tuple[Tensor, ...] = ()
    per: int = 1
    eager: bool = True
    surrogate: Callable[[Tensor], tuple[Tensor, Tensor, Tensor | None]] | None = None


Method = Callable[[Case], TimedCall]


@dataclass(frozen=True)
class Comparison:
    """A case and those who run in it, by name; the first is the floor, to which the others' times are divided."""

    case: Case
    contenders: dict[str, Method]


@dataclass
class Measurement:
    """One contender of a race while it runs: its step, what was counted, and the seconds of its turns."""

    step: TimedCall
    counts: Counts | None
    probe: float
    seconds: list[float] = field(default_factory=list)


@dataclass
class Budget:
    """A suite's seconds, how many races share them, and the fastest turn of each contender at the last size seen."""

    seconds: float
    races: int
    seen: dict[tuple[Any, ...], tuple[int, float]] = field(default_factory=dict)

    @property
    def limit(self) -> float:
        """The longest turn allowed, in seconds."""
        return LONGEST_TURN * self.seconds

    def refusal(self, name: str, case: Case) -> str | None:
        """Why a contender need not even be tried: a slow step of a dense layer grows as D² at least, of images as D."""
        size, seconds = self.seen.get((name, *case.kind), (case.features, 0.0))
        expected = seconds * max(1.0, case.features / size) ** (2 if len(case.event_shape) == 1 else 1)
        if expected <= self.limit:
            return None
        return f"a turn would take {expected:.1f} s or more, and {self.limit:.1f} s are allowed (seen at D = {size})"

    def too_slow(self, name: str, case: Case, seconds: float) -> str | None:
        """Remember a turn's seconds; why the contender is left out if they are too many."""
        self.remember(name, case, seconds)
        return None if seconds <= self.limit else f"a turn takes {seconds:.1f} s, and {self.limit:.1f} s are allowed"

    def remember(self, name: str, case: Case, seconds: float) -> None:
        """Another turn was seen: of turns at one size the fastest counts, for a busy machine only slows them."""
        size, fastest = self.seen.get((name, *case.kind), (0, math.inf))
        self.seen[name, *case.kind] = case.features, min(seconds, fastest) if size == case.features else seconds

    def rounds(self, lanes: Iterable[Measurement]) -> int:
        """How many rounds fit in the race's share of the seconds."""
        share = self.seconds / self.races
        return max(MIN_ROUNDS, min(MAX_ROUNDS, int(share / max(sum(lane.probe for lane in lanes), 1e-9))))


def run_races(races: list[Comparison], seconds: float) -> Iterator[dict[str, Any]]:
    """Run one suite's races, smallest first, within about ``seconds``; yield each case's entry for the record."""
    budget = Budget(seconds, len(races))
    count(lambda: torch.zeros(1))  # the first count loads what counts, in no contender's time
    for race in sorted(races, key=lambda race: race.case.features):
        yield run_race(race, budget)


def run_race(race: Comparison, budget: Budget) -> dict[str, Any]:
    """Warm up, time in rounds, and return the entry of the case: see ``bench_record``."""
    lanes, skipped = _line_up(race, budget)
    if lanes:
        order = random.Random(repr((race.case.seed, race.case.kind)))
        interleave(lanes, budget.rounds(lanes.values()), race.case.device, order)
    for name, lane in lanes.items():
        budget.remember(name, race.case, min(lane.seconds))
    return _entry(race, lanes, skipped)


def _line_up(race: Comparison, budget: Budget) -> tuple[dict[str, Measurement], dict[str, str]]:
    """The lanes of those who can run, warmed up, and why the others cannot."""
    lanes, skipped = {}, {}
    for name, contender in race.contenders.items():
        try:
            lanes[name] = _warm_up(name, contender, race.case, budget)
        except UnavailableError as reason:
            skipped[name] = str(reason)
        except torch.OutOfMemoryError:
            skipped[name] = "the device has not enough memory"
    return lanes, skipped


def _warm_up(name: str, contender: Method, case: Case, budget: Budget) -> Measurement:
    """Two turns, because the first also pays for loading: in the first the work is counted, the second tells its time.

    A first turn that takes many times what is allowed is the last: loading does not take that long, compiling might.
    """
    _refuse_if(budget.refusal(name, case))
    step = contender(case)
    started = time.perf_counter()
    counts = count(step.run, step.leaves, case.device) if step.eager else step.run()
    if step.eager and (first := time.perf_counter() - started) > HOPELESS * budget.limit + LOADING:
        _refuse_if(budget.too_slow(name, case, first))
    probe = timed(step, case.device)
    _refuse_if(budget.too_slow(name, case, probe))
    return Measurement(step, counts, probe)


def _refuse_if(reason: str | None) -> None:
    if reason is not None:
        raise UnavailableError(reason)


def interleave(lanes: dict[str, Measurement], rounds: int, device: torch.device, order: random.Random) -> None:
    """Each round every lane runs once, in an order drawn anew; the seconds are kept in the lanes."""
    names = list(lanes)
    for _ in range(rounds):
        order.shuffle(names)
        for name in names:
            lanes[name].seconds.append(timed(lanes[name].step, device))


def timed(step: TimedCall, device: torch.device) -> float:
    """Seconds of one turn: by the clock on the CPU, by events on the device's own stream with CUDA."""
    if device.type == "cuda":
        return _timed_by_events(step, device)
    started = time.perf_counter()
    step.run()
    return time.perf_counter() - started


def _timed_by_events(step: TimedCall, device: torch.device) -> float:
    synchronize(device)
    with torch.cuda.device(device):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        step.run()
        end.record()
        end.synchronize()
    return float(start.elapsed_time(end)) / 1000


# ---- the entry of a case -------------------------------------------------------------------------------------------


def _entry(race: Comparison, lanes: dict[str, Measurement], skipped: dict[str, str]) -> dict[str, Any]:
    case, floor = race.case, next(iter(race.contenders))
    return {
        "suite": case.suite,
        "event_shape": list(case.event_shape),
        "batch": case.batch,
        "kernel_size": case.kernel_size,
        "model": case.model,
        "floor": floor,
        "rounds": min((len(lane.seconds) for lane in lanes.values()), default=0),
        "contenders": {
            name: _result(race.contenders[name], lane, lanes.get(floor)) for name, lane in lanes.items()
        },
        "skipped": skipped,
    }  # fmt: skip


def _result(contender: Method, lane: Measurement, floor: Measurement | None) -> dict[str, Any]:
    """Seconds a step or sample: median and quartiles; the ratio of medians; quartiles of the ratio round by round."""
    seconds = [taken / lane.step.per for taken in lane.seconds]
    base = None if floor is None else [taken / floor.step.per for taken in floor.seconds]
    return {
        "what": " ".join((contender.__doc__ or "").split()),
        "median": statistics.median(seconds),
        "quartiles": quartiles(seconds),
        "ratio": None if base is None else statistics.median(seconds) / statistics.median(base),
        "ratio_quartiles": base and quartiles([s / b for s, b in zip(seconds, base, strict=True)]),
        **(lane.counts.as_dict() if lane.counts else Counts().as_nothing()),
    }


def quartiles(values: list[float]) -> list[float]:
    """The first and the third quartile."""
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [first, third]
