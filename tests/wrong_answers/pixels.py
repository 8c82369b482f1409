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


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_pixels_1": {
        "Still the stub": (lambda nats, shape: 0.0,),
        "nats per dimension": (lambda nats, shape: nats / math.prod(shape),),
        "bits of the whole picture": (lambda nats, shape: nats / math.log(2),),
        "a bit is less than a nat": (lambda nats, shape: nats / math.prod(shape) * math.log(2),),
        "the side of the picture": (lambda nats, shape: nats / (shape[-1] * math.log(2)),),
        "base 10": (lambda nats, shape: nats / (math.prod(shape) * math.log10(2)),),
        "no log 256 to take off": (lambda nats, shape: nats / (math.prod(shape) * math.log(2)) - 8,),
        "The sign is turned": (lambda nats, shape: -nats / (math.prod(shape) * math.log(2)),),
        "take D from the shape": (lambda nats, shape: nats / (784 * math.log(2)),),
        "not yet; the largest difference": (lambda nats, shape: nats,),
        "stopped with TypeError": (lambda nats, shape: nats / shape,),
    },
    "check_pixels_2": {
        "Still the stub": (lambda pixels, levels: filled(pixels, 0.0),),
        "without the factor 2": (lambda pixels, levels: filled(pixels, -40 * math.log(levels)),),
        "The sign is turned": (lambda pixels, levels: filled(pixels, 40 * math.log(levels / 2)),),
        "of one number": (lambda pixels, levels: filled(pixels, math.log(2 / levels)),),
        "channels are missing": (lambda pixels, levels: filled(pixels, 20 * math.log(2 / levels)),),
        "not of the whole batch": (lambda pixels, levels: filled(pixels, 120 * math.log(2 / levels)),),
        "does not change volumes": (lambda pixels, levels: filled(pixels, 40 * (math.log(2 / levels) - 1)),),
        "inside the logarithm": (lambda pixels, levels: filled(pixels, -80 * math.log(levels)),),
        "of shape (3,); it is of type float": (lambda pixels, levels: 40 * math.log(2 / levels),),
    },
    "check_pixels_3": {
        "Still the stub": (lambda first, second, pixels, levels: "neither",),
        "it is 1": (lambda first, second, pixels, levels: 1,),
        "Turned round every time": (turned,),
        "always take the smaller": (lambda first, second, pixels, levels: "first" if first < second else "second",),
        "always take the larger": (scaling_alone,),
        "You say 'first' of every pair": (lambda first, second, pixels, levels: "first",),
        "pairs are judged wrongly": (by_levels,),
    },
}
