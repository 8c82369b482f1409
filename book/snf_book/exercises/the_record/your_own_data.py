"""Checkers of the chapter *Your own data*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Verdict, checker, judge, run, scalar, scalars, tensor


@checker
def check_own_data_1(transform: Callable[[Tensor, float], Any], invert: Callable[[Tensor, float], Any]) -> Verdict:
    """A layer whose inverse has no formula, z = x + c sin x element-wise.

    ``transform(x, c)`` gives z (B, D) and log|det J| (B,), ``invert(z, c)`` gives x to within 1e-8.
    """
    x = torch.linspace(-9.0, 9.0, 1200, dtype=torch.float64).reshape(300, 4)
    for c in (0.5, 0.99):
        verdict = _passes(transform, x, c)
        if not verdict.passed:
            return verdict
        z = x + c * x.sin()
        back = run(invert, z.clone(), c)
        lost = (tensor(back, (300, 4), f"With c = {c} the inverse") - x).abs() > 1e-8
        if bool(lost.any()):
            words = f"{int(lost.sum())} of 1200 numbers do not come back to within 1e-8"
            if torch.equal(back, z):
                words = "still the stub, it gives z."
            elif c < 0.9:
                words = f"{words}, with c = {c}."
            else:
                words = (
                    f"right for c = 0.5, but with c = {c} {words}. Where the slope is nearly 0 a Newton step leaps "
                    "away; x lies within c of z, and an interval that is halved cannot lose it."
                )
            return Verdict(False, f"The inverse: {words}")
    return Verdict(True, "Right: with a bracket the inverse is safe, at some passes for each sample.")


def _passes(transform: Callable[[Tensor, float], Any], x: Tensor, c: float) -> Verdict:
    got = run(transform, x.clone(), c)
    if not isinstance(got, tuple | list) or len(got) != 2:
        return Verdict(False, "Give back two tensors: the latents, then the log-determinants.")
    slope = 1 + c * x.cos()
    of_z = {
        "still the stub, it gives x.": x,
        "the curve is x + c sin x; this is c sin x alone.": c * x.sin(),
    }
    verdict = judge(tensor(got[0], tuple(x.shape), "The code"), x + c * x.sin(), of_z, "", f"The codes, c = {c}: ")
    if not verdict.passed:
        return verdict
    of_log_det = {
        "still the stub, it gives zeros.": 0 * x.sum(1),
        "the derivative of the sine is the cosine, with a plus.": (1 - c * x.cos()).log().sum(1),
        "this is the logarithm of 1 + c sin x; the slope has the cosine.": (1 + c * x.sin()).log().sum(1),
        "this is the determinant; take its logarithm.": slope.prod(1),
        "slopes multiply, so their logarithms add up; these are slopes added up.": slope.sum(1),
        "the mean over the numbers of a row; it is the sum.": slope.log().mean(1),
        "the sign is turned: this belongs to the inverse.": -slope.log().sum(1),
    }
    found = tensor(got[1], (len(x),), "The log-determinant")
    return judge(found, slope.log().sum(1), of_log_det, "Right.", f"The log-determinant, c = {c}: ")


@checker
def check_own_data_2(answer: Callable[[float, float, int], float]) -> Verdict:
    """Difference in −log p, in nats, between y = scale · x + shift and x: a change of units.

    ``answer(scale, shift, features)`` gives −log p(y) minus −log p(x), where the density of y follows from that of x.
    """
    praise = "Right: turning the levels round costs nothing, and nats depend on the units."
    for scale, shift, features in ((2.0, 3.0, 5), (-1.0, 16.0, 64), (-0.25, 1.0, 7)):
        got = tensor(run(answer, scale, shift, features), (), "The difference")
        wanted = features * math.log(abs(scale))
        where = f"With scale {scale:g}, shift {shift:g} and D = {features}: "
        size = math.log(abs(scale))
        slips = {
            "still the stub, it gives zero.": 0.0,
            "the sign is turned; spread over a larger space the density is thinner, so −log p is larger.":
                -features * size,
            "this is one number's share; an example has D of them.": size,
            "this is in bits.": features * math.log2(abs(scale)),
            "the shift moves the density and does not change its height.": features * size + features * shift,
            "the factor itself in place of its logarithm.": features * abs(scale),
        }  # fmt: skip
        verdict = judge(got, scalar(wanted), {} if wanted == 0 and got == 0 else scalars(slips), praise, where)
        if not verdict.passed:
            return verdict
    return verdict


@checker
def check_own_data_3(answer: Callable[[Tensor, Tensor, Tensor, Tensor, float], float]) -> Verdict:
    """A detection threshold with a given share of false alarms (eq-alarm).

    ``answer(train, validation, test, outliers, share)`` takes -log p of the examples of each kind, (N,) each, and a
    share; it gives a threshold.
    """
    generator = torch.Generator().manual_seed(0)
    train, validation, test, outliers = (
        spread * torch.randn(n, dtype=torch.float64, generator=generator) + mean
        for n, mean, spread in ((900, 99, 12), (300, 101, 13), (300, 101, 15), (200, 112, 14))
    )
    share = 0.1
    got = tensor(run(answer, train, validation, test, outliers, share), (), "The level")
    high = 1 - share
    everything = torch.cat([validation, test])
    slips = {
        "still the stub, it gives zero.": scalar(0.0),
        "chosen on test: then the false alarms that you report are those you chose, and prove nothing.":
            test.quantile(high),
        "chosen on train: the flow fits these better than new images, so there will be more alarms.":
            train.quantile(high),
        "chosen on the outliers: those that will come may be of another kind.": outliers.quantile(high),
        "chosen so as to catch outliers: those that will come may be of another kind.": outliers.quantile(share),
        "test is in it: keep it for the report.": everything.quantile(high),
        "the lower end: alarm is for many nats.": validation.quantile(share),
        "the mean and some deviations assume a normal shape; a quantile does not.":
            validation.mean() + math.sqrt(2) * torch.erfinv(scalar(1 - 2 * share)) * validation.std(),
    }  # fmt: skip
    praise = "Right: chosen on validation, reported on test."
    return judge(got, validation.quantile(high), slips, praise)
