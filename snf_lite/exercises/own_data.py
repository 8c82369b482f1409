"""Checkers of the chapter *Your own data*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .verdict import Slips, Verdict, checker, judge, run, tensor


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@checker
def check_own_data_1(answer: Callable[[int, int], tuple[float, float]]) -> Verdict:
    """What a flow that knows nothing gives: a uniform density over pixels.

    ``answer(levels, features)`` gives the nats of an event and its bits per dimension.
    """
    praise = "Right: a flow worth its training is below that."
    for levels, features in ((256, 784), (17, 64)):
        got = run(answer, levels, features)
        if not isinstance(got, tuple | list) or len(got) != 2:
            return Verdict(False, "Give back two numbers: the nats of an event, then its bits per dimension.")
        for what, part, wanted, slips in _uniform(levels, features, *got):
            where = f"{what} with {levels} levels and D = {features}: "
            verdict = judge(tensor(part, (), what), _number(wanted), slips, praise, where)
            if not verdict.passed:
                return verdict
    return verdict


def _uniform(levels: int, features: int, nats: Any, bits: Any) -> list[tuple[str, Any, float, Slips]]:
    of_nats = {
        "still the stub, it gives zero.": 0.0,
        "these are bits; a nat is 1/log 2 bits.": features * math.log2(levels),
        "this is one pixel's share; an event has D of them.": math.log(levels),
        "the sign is turned; nats are counted as -log p here, and are positive.": -features * math.log(levels),
        "a pixel can take as many values as there are levels; one got lost.": features * math.log(levels - 1),
        "D and the levels have changed places.": levels * math.log(features),
    }
    of_bits = {
        "still the stub, it gives zero.": 0.0,
        "this is in nats; divide by log 2.": math.log(levels),
        "this is for the whole event; divide by D.": features * math.log2(levels),
        "one level got lost.": math.log2(levels - 1),
    }
    wanted = features * math.log(levels), math.log2(levels)
    return [
        (what, part, value, {words: _number(wrong) for words, wrong in slips.items()})
        for what, part, value, slips in (("The nats", nats, wanted[0], of_nats), ("The bits", bits, wanted[1], of_bits))
    ]


@checker
def check_own_data_2(answer: Callable[[float, float, int], float]) -> Verdict:
    """How many nats an event gains when all its numbers are given in other units, y = scale · x + shift.

    ``answer(scale, shift, features)`` gives −log p(y) minus −log p(x), where the density of y follows from that of x.
    """
    praise = "Right: turning the levels round costs nothing, and nats depend on the units."
    for scale, shift, features in ((2.0, 3.0, 5), (-1.0, 16.0, 64), (-0.25, 1.0, 7)):
        got = tensor(run(answer, scale, shift, features), (), "The difference")
        wanted = features * math.log(abs(scale))
        where = f"With scale {scale:g}, shift {shift:g} and D = {features}: "
        slips = {words: _number(wrong) for words, wrong in _unit_slips(scale, shift, features)}
        verdict = judge(got, _number(wanted), {} if wanted == 0 and got == 0 else slips, praise, where)
        if not verdict.passed:
            return verdict
    return verdict


def _unit_slips(scale: float, shift: float, features: int) -> list[tuple[str, float]]:
    size = math.log(abs(scale))
    return [
        ("still the stub, it gives zero.", 0.0),
        (
            "the sign is turned; spread over a larger space the density is thinner, so −log p is larger.",
            -features * size,
        ),
        ("this is one number's share; an event has D of them.", size),
        ("this is in bits.", features * math.log2(abs(scale))),
        ("the shift moves the density and does not change its height.", features * size + features * shift),
        ("the factor itself in place of its logarithm.", features * abs(scale)),
    ]


@checker
def check_own_data_3(answer: Callable[[Tensor, Tensor, Tensor, Tensor, float], float]) -> Verdict:
    """An alarm level that gives a known share of false alarms (eq-alarm).

    ``answer(train, validation, test, foreign, share)`` takes the nats of the events of each kind, (N,) each, and a
    share; it gives a level.
    """
    generator = torch.Generator().manual_seed(0)
    train, validation, test, foreign = (
        spread * torch.randn(n, dtype=torch.float64, generator=generator) + mean
        for n, mean, spread in ((900, 99, 12), (300, 101, 13), (300, 101, 15), (200, 112, 14))
    )
    share = 0.1
    got = tensor(run(answer, train, validation, test, foreign, share), (), "The level")
    high = 1 - share
    everything = torch.cat([validation, test])
    slips = {
        "still the stub, it gives zero.": _number(0.0),
        "chosen on test: then the false alarms that you report are those you chose, and tell nothing.": test.quantile(
            high
        ),
        "chosen on train: the flow fits these better than new pictures, so there will be more alarms.": train.quantile(
            high
        ),
        "chosen on the foreign pictures: those that will come may be of another kind.": foreign.quantile(high),
        "chosen so as to catch foreign pictures: those that will come may be of another kind.": foreign.quantile(share),
        "test is in it: keep it for the report.": everything.quantile(high),
        "the lower end: alarm is for many nats.": validation.quantile(share),
        "the mean and some deviations assume a normal shape; a quantile does not.": validation.mean()
        + math.sqrt(2) * torch.erfinv(_number(1 - 2 * share)) * validation.std(),
    }
    praise = "Right: chosen on validation, reported on test."
    return judge(got, validation.quantile(high), slips, praise)
