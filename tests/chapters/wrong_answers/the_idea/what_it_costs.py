"""Wrong answers to the exercises of *What it costs*."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Work = Callable[[], None]
Clock = Callable[[], float]


def by_hand(delta: Tensor, x: Tensor, W: Tensor) -> Tensor:
    """Right, without a product that the counter knows."""
    gradient = (delta.T[:, :, None] * x[None]).sum(1)
    gram = (W.T[:, :, None] * W[None]).sum(1)
    return (gradient[:, :, None] * gram[None]).sum(1)


def turn(step: Work, clock: Clock) -> float:
    start = clock()
    step()
    return clock() - start


def by_turns(first: Work, second: Work, clock: Clock, summary: Callable[[list[float]], float]) -> float:
    pairs = [(turn(first, clock), turn(second, clock)) for _ in range(21)]
    one, other = (summary(list(times)) for times in zip(*pairs, strict=True))
    return other / one


def one_after_the_other(first: Work, second: Work, clock: Clock) -> float:
    one, other = (statistics.median(turn(step, clock) for _ in range(21)) for step in (first, second))
    return other / one


def warmed_means(first: Work, second: Work, clock: Clock) -> float:
    first(), second()
    return by_turns(first, second, clock, statistics.mean)


def turned(first: Work, second: Work, clock: Clock) -> float:
    return 1 / by_turns(first, second, clock, statistics.median)


def together(first: Work, second: Work, clock: Clock) -> float:
    return (turn(first, clock) + turn(second, clock)) / turn(first, clock)


def by_another_clock(first: Work, second: Work, clock: Clock) -> float:
    return by_turns(first, second, time.perf_counter, statistics.median) * 0 + 7.0


CROSSINGS: dict[str, Callable[[float, int, float], float]] = {
    "Still the stub": lambda D, N, s: 0.0,
    "the share of one processor": lambda D, N, s: s * 4 / 9 * D,
    "Turned round": lambda D, N, s: s * 4 / 9 * D / N,
    "The slowdown is missing": lambda D, N, s: N * 4 / 9 * D,
    "stands in the denominator": lambda D, N, s: N * 4 / 9 * D / s,
    "Only the factorization": lambda D, N, s: N * s * D / 9,
    "Only the solve": lambda D, N, s: N * s * D / 3,
    "three products too": lambda D, N, s: N * s * 2 / 9 * D,
    "not yet; the largest difference": lambda D, N, s: N * s * D,
}

WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_costs_1": {
        "still the stub": (lambda delta, x, W: 0 * W,),
        "WᵀW is missing": (lambda delta, x, W: delta.T @ x,),
        "only one factor W;": (lambda delta, x, W: delta.T @ x @ W,),
        "only the factor Wᵀ": (lambda delta, x, W: delta.T @ x @ W.T,),
        "in the wrong order": (lambda delta, x, W: delta.T @ (x @ W @ W.T),),
        "stands on the left": (lambda delta, x, W: (W.T @ (W @ delta.T)) @ x,),
        "changed places": (lambda delta, x, W: x.T @ (delta @ W.T @ W),),
        "begin from the side of the batch": (lambda delta, x, W: delta.T @ x @ W.T @ W,),
        "saw no product": (by_hand,),
        "not yet; the largest difference": (lambda delta, x, W: 0.5 * delta.T @ (x @ W.T @ W),),
        "a tensor of shape (20, 20); it is of shape (4, 20)": (lambda delta, x, W: x @ W.T @ W,),
        "stopped with RuntimeError": (lambda delta, x, W: delta @ torch.zeros(7, 7),),
    },
    "check_costs_2": {words: (answer,) for words, answer in CROSSINGS.items()},
    "check_costs_3": {
        "Still the stub": (lambda first, second, clock: 1.0,),
        "Turned round": (turned,),
        "On a quiet machine": (together,),
        "On a quiet machine you find 7.00": (by_another_clock,),
        "first call of each step is slow": (lambda *given: by_turns(*given, summary=statistics.mean),),
        "slows down by and by": (one_after_the_other,),
        "every fifth call": (warmed_means,),
        "a tensor of shape (); it is of type NoneType": (lambda first, second, clock: first(),),
    },
}
