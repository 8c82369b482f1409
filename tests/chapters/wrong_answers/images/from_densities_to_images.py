"""Wrong answers to the exercises of *From densities to images*."""

import math
from typing import Any

import torch
from torch import Tensor

import snf_lite as snf


def filled(pixels: Tensor, value: float) -> Tensor:
    return torch.full((len(pixels),), value, dtype=torch.float64)


def by_total(first: float, second: float, total: Tensor) -> str:
    return "first" if (second - first) * total > 0 else "second"


def scaling_alone(first: float, second: float, pixels: Tensor, levels: int) -> str:
    return by_total(first, second, snf.Dequantize(levels)(pixels)[1].mean())


def turned(first: float, second: float, pixels: Tensor, levels: int) -> str:
    y, scaled = snf.Dequantize(levels)(pixels)
    return by_total(second, first, (scaled + snf.Logit()(y)[1]).mean())


def by_levels(first: float, second: float, pixels: Tensor, levels: int) -> str:
    return ("first" if first < second else "second") if levels == 17 else "first"


def draws(estimate: Any = None, bound: Any = None) -> Any:
    """The right pair, with one of the two by another rule."""

    def both(log_p: Tensor) -> tuple[Any, Any]:
        right = log_p.logsumexp(0) - math.log(len(log_p)), log_p.mean(0)
        return estimate(log_p) if estimate else right[0], bound(log_p) if bound else right[1]

    return both


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_pixels_1": {
        "The estimate: still the stub": (draws(lambda log_p: torch.zeros(5)),),
        "mean of the logarithms": (draws(lambda log_p: log_p.mean(0)),),
        "log K is missing": (draws(lambda log_p: log_p.logsumexp(0)),),
        "has the wrong sign": (draws(lambda log_p: log_p.logsumexp(0) + math.log(7)),),
        "it belongs inside": (draws(lambda log_p: log_p.logsumexp(0) / 7),),
        "the best draw alone": (draws(lambda log_p: log_p.amax(0)),),
        "without its logarithm": (draws(lambda log_p: log_p.exp().mean(0)),),
        "Near -5000, where each p is 0": (draws(lambda log_p: log_p.exp().mean(0).log()),),
        "The bound: still the stub": (draws(bound=lambda log_p: torch.zeros(5)),),
        "this is the estimate again": (draws(bound=lambda log_p: log_p.logsumexp(0) - math.log(7)),),
        "one draw is enough": (draws(bound=lambda log_p: log_p[0]),),
        "the worst draw": (draws(bound=lambda log_p: log_p.amin(0)),),
        "shape (5,); it is of shape (7,)": (draws(lambda log_p: log_p.logsumexp(1)),),
        "Return two tensors": (lambda log_p: log_p.mean(0),),
    },
    "check_pixels_2": {
        "Still the stub": (lambda pixels, levels: filled(pixels, 0.0),),
        "without the factor 2": (lambda pixels, levels: filled(pixels, -40 * math.log(levels)),),
        "The sign is turned": (lambda pixels, levels: filled(pixels, 40 * math.log(levels / 2)),),
        "of one number": (lambda pixels, levels: filled(pixels, math.log(2 / levels)),),
        "channels are missing": (lambda pixels, levels: filled(pixels, 20 * math.log(2 / levels)),),
        "not of the whole batch": (lambda pixels, levels: filled(pixels, 120 * math.log(2 / levels)),),
        "has the derivative 0": (lambda pixels, levels: filled(pixels, 40 * (math.log(2 / levels) - 1)),),
        "inside the logarithm": (lambda pixels, levels: filled(pixels, -80 * math.log(levels)),),
        "of shape (3,); it is of type float": (lambda pixels, levels: 40 * math.log(2 / levels),),
    },
    "check_pixels_3": {
        "Still the stub": (lambda first, second, pixels, levels: "neither",),
        "it is 1": (lambda first, second, pixels, levels: 1,),
        "Turned round every time": (turned,),
        "always take the smaller": (lambda first, second, pixels, levels: "first" if first < second else "second",),
        "always take the larger": (scaling_alone,),
        "Your answer is 'first' for every pair": (lambda first, second, pixels, levels: "first",),
        "pairs are judged wrongly": (by_levels,),
    },
}
