"""Checkers of the chapter *What it costs*."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Stopped, Verdict, checker, judge, run, scalar, scalars, tensor
from snf_lite.benchmarks import cost_model
from snf_lite.benchmarks.operation_counts import count

Relative = Callable[[Tensor, Tensor, Tensor], Any]
Crossing = Callable[[float, int, float], Any]
Work = Callable[[], None]
Comparison = Callable[[Work, Work, Callable[[], float]], Any]


@checker
def check_costs_1(answer: Relative) -> Verdict:
    """δᵀ x WᵀW in three products of B·D²: ``answer(delta, x, W)`` takes δ and x (B, D) with B < D (eq-product-cost)."""
    B, D = 4, 20
    numbers = torch.Generator().manual_seed(5)
    delta, x, W = (torch.randn(rows, D, dtype=torch.float64, generator=numbers) for rows in (B, B, D))
    given: list[Any] = []
    found = count(lambda: given.append(run(answer, delta, x, W)))
    got = tensor(given[0], (D, D), "The gradient")
    plain = delta.T @ x
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(W),
        "this is δᵀx, the plain one; WᵀW is missing.": plain,
        "only one factor W; it is WᵀW that stands on the right.": plain @ W,
        "only the factor Wᵀ; it is WᵀW that stands on the right.": plain @ W.T,
        "W and Wᵀ are in the wrong order: this is δᵀx WWᵀ.": plain @ W @ W.T,
        "WᵀW stands on the left; it belongs on the right.": W.T @ W @ plain,
        "δ and x have changed places.": plain.T @ W.T @ W,
    }
    verdict = judge(got, delta.T @ x @ W.T @ W, slips, "", "The gradient: ")
    if not verdict.passed:
        return verdict
    spent, enough = found.multiply_adds, cost_model.product_cost(3, B, D)
    if spent == 0:
        return Verdict(False, "The numbers are right, but the counter saw no product; multiply with @.")
    if spent > enough:
        words = "Somewhere two D×D matrices are multiplied: begin from the side of the batch."
        return Verdict(False, f"The numbers are right, for {spent} multiply-adds; {enough} are enough. {words}")
    return Verdict(True, f"Right, with {spent} multiply-adds; (δᵀx)(WᵀW) takes {B * D**2 + 2 * D**3}.")


@checker
def check_costs_2(answer: Crossing) -> Verdict:
    """The whole batch at which the exact step is as cheap, split over N processors that all eliminate (eq-crossover).

    ``answer(D, processors, slowdown)`` gives the batch, of all processors together.
    """
    D, N, s = 900.0, 5, 2.5
    got = tensor(run(answer, D, N, s), (), "The batch")
    one = cost_model.crossover(int(D), s)
    slips = {
        "Still the stub, it gives 0.": 0.0,
        "This is the share of one processor; the question is for the batch of all.": one,
        "Turned round: each processor has B/N examples for the same elimination, so B has to grow with N.": one / N,
        "The slowdown is missing.": N * one / s,
        "The slowdown stands in the denominator: a slow elimination lets the exact layer win later.": N * one / s**2,
        "Only the factorization is counted; the solve that gives W⁻ᵀ is three times as much.": N * one / 4,
        "Only the solve is counted; the factorization adds a third to it.": N * one * 3 / 4,
        "The exact step has three products too; only the three that it lacks pay for its elimination.": N * one / 2,
    }
    praise = f"Right, {N * one:.0f} here: more processors favor the learned inverse."
    return judge(got, scalar(N * one), scalars(slips), praise)


# ---- fair timing -----------------------------------------------------------------------------------------------------


@dataclass
class Machine:
    """A simulated machine with its own clock; the second step takes twice the time of the first.

    Attributes:
        cold: extra seconds of the first call of each step.
        drift: relative slowdown of everything with each call.
        disturbance: extra seconds of every fifth call of either step.
    """

    cold: float = 0.0
    drift: float = 0.0
    disturbance: float = 0.0
    now: float = 0.0
    calls: int = 0

    def step(self, seconds: float) -> Work:
        fresh = [True]

        def work() -> None:
            extra = self.cold * fresh.pop() if fresh else 0.0
            extra += self.disturbance * (self.calls % 5 == 3)
            self.now += (seconds + extra) * (1 + self.drift * self.calls)
            self.calls += 1

        return work

    def clock(self) -> float:
        return self.now


TRUE_RATIO, CLOSE = 2.0, 0.05
#: Each machine, its description, and advice against its disturbance.
MACHINES = (
    (Machine(), "On a quiet machine", "Does each time belong to one call, and is the second divided by the first?"),
    (Machine(cold=100), "Where the first call of each step is slow", "Call each once as a warm-up, or take medians."),
    (Machine(drift=1 / 30), "Where the machine slows down by and by", "Interleave the two."),
    (Machine(disturbance=20), "Where others disturb every fifth call", "A median ignores them; a mean does not."),
)


@checker
def check_costs_3(answer: Comparison) -> Verdict:
    """How many times as long the second step takes, on four made-up machines, to 5 %.

    ``answer(first, second, clock)`` calls the steps as often as it likes; ``clock()`` gives seconds.
    """
    for kind, where, advice in MACHINES:
        machine = replace(kind)
        first, second = machine.step(1.0), machine.step(TRUE_RATIO)
        ratio = float(tensor(run(answer, first, second, machine.clock), (), "The ratio"))
        if machine.calls < 2:
            raise Stopped("Still the stub: time both steps, each more than once.")
        if abs(ratio * TRUE_RATIO - 1) < CLOSE:
            raise Stopped("Turned round: divide the second step's time by the first's.")
        if abs(ratio / TRUE_RATIO - 1) > CLOSE:
            return Verdict(False, f"{where} you find {ratio:.2f}, and {TRUE_RATIO:.0f} is right. {advice}")
    return Verdict(True, "Right, on all four machines, to 5 %.")
