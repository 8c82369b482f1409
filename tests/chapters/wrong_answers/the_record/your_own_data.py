"""Wrong answers to the exercises of *Your own data*."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

Level = Callable[[Tensor, Tensor, Tensor, Tensor, float], Any]


def bent(x: Tensor, c: float) -> tuple[Tensor, Tensor]:
    return x + c * x.sin(), (1 + c * x.cos()).log().sum(1)


def halved(z: Tensor, c: float) -> Tensor:
    low, high = z - 1, z + 1
    for _ in range(60):
        middle = (low + high) / 2
        below = bent(middle, c)[0] < z
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def newton(z: Tensor, c: float) -> Tensor:
    x = z.clone()
    for _ in range(60):
        x = x - (x + c * x.sin() - z) / (1 + c * x.cos())
    return x


def codes(rule: Callable[[Tensor, float], Any]) -> tuple[Any, ...]:
    return lambda x, c: (rule(x, c), bent(x, c)[1]), halved


def log_dets(rule: Callable[[Tensor, float], Any]) -> tuple[Any, ...]:
    return lambda x, c: (bent(x, c)[0], rule(x, c)), halved


LEVELS: dict[str, Level] = {
    "still the stub": lambda train, validation, test, foreign, share: 0.0,
    "chosen on test": lambda train, validation, test, foreign, share: test.quantile(1 - share),
    "chosen on train": lambda train, validation, test, foreign, share: train.quantile(1 - share),
    "chosen on the outliers": lambda train, validation, test, foreign, share: foreign.quantile(1 - share),
    "so as to catch": lambda train, validation, test, foreign, share: foreign.quantile(share),
    "keep it for the report": lambda train, validation, test, foreign, share: torch.cat([validation, test]).quantile(
        1 - share
    ),
    "the lower end": lambda train, validation, test, foreign, share: validation.quantile(share),
    "assume a normal shape": lambda train, validation, test, foreign, share: (
        validation.mean() + NormalDist().inv_cdf(1 - share) * validation.std()
    ),
    "not yet; the largest difference": lambda train, validation, test, foreign, share: validation.max(),
    "a tensor of shape (); it is of shape (300,)": lambda train, validation, test, foreign, share: validation,
}

WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_own_data_1": {
        "The codes, c = 0.5: still the stub": codes(lambda x, c: x),
        "c sin x alone": codes(lambda x, c: c * x.sin()),
        "The log-determinant, c = 0.5: still the stub": log_dets(lambda x, c: torch.zeros(len(x))),
        "with a plus": log_dets(lambda x, c: (1 - c * x.cos()).log().sum(1)),
        "the slope has the cosine": log_dets(lambda x, c: (1 + c * x.sin()).log().sum(1)),
        "take its logarithm": log_dets(lambda x, c: (1 + c * x.cos()).prod(1)),
        "slopes added up": log_dets(lambda x, c: (1 + c * x.cos()).sum(1)),
        "it is the sum": log_dets(lambda x, c: (1 + c * x.cos()).log().mean(1)),
        "belongs to the inverse": log_dets(lambda x, c: -(1 + c * x.cos()).log().sum(1)),
        "(300,); it is of shape (300, 4)": log_dets(lambda x, c: (1 + c * x.cos()).log()),
        "The inverse: still the stub": (bent, lambda z, c: z),
        "of 1200 numbers do not come back to within 1e-8, with c = 0.5": (bent, lambda z, c: z - c * z.sin()),
        "a Newton step leaps away": (bent, lambda z, c: newton(z, c).nan_to_num(0.0, 0.0, 0.0)),
        "Give back two tensors": (lambda x, c: x, halved),
    },
    "check_own_data_2": {
        "still the stub": (lambda scale, shift, features: 0.0,),
        "the sign is turned": (lambda scale, shift, features: -features * math.log(abs(scale)),),
        "one number's share": (lambda scale, shift, features: math.log(abs(scale)),),
        "in bits": (lambda scale, shift, features: features * math.log2(abs(scale)),),
        "does not change its height": (lambda scale, shift, features: features * (math.log(abs(scale)) + shift),),
        "the factor itself": (lambda scale, shift, features: features * abs(scale),),
        "stopped with ValueError": (lambda scale, shift, features: features * math.log(scale),),
        "With scale -0.25, shift 1 and D = 7: not yet": (
            lambda scale, shift, features: features * math.log(abs(scale)) if scale != -0.25 else 1.0,
        ),
    },
    "check_own_data_3": {words: (rule,) for words, rule in LEVELS.items()},
}
