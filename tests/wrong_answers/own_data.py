"""Wrong answers to the exercises of *Your own data*."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

Level = Callable[[Tensor, Tensor, Tensor, Tensor, float], Any]


def uniform(nats: Callable[[int, int], Any] | None = None, bits: Callable[[int, int], Any] | None = None) -> Any:
    """The right pair, with one of its numbers by another rule."""

    def both(levels: int, features: int) -> tuple[Any, Any]:
        right = features * math.log(levels), math.log2(levels)
        return nats(levels, features) if nats else right[0], bits(levels, features) if bits else right[1]

    return both


NATS: dict[str, Callable[[int, int], Any]] = {
    "The nats with 256 levels and D = 784: still the stub": lambda L, D: 0.0,
    "these are bits": lambda L, D: D * math.log2(L),
    "one pixel's share": lambda L, D: math.log(L),
    "the sign is turned": lambda L, D: -D * math.log(L),
    "one got lost": lambda L, D: D * math.log(L - 1),
    "changed places": lambda L, D: L * math.log(D),
    "not yet; the largest difference": lambda L, D: D * L,
}
BITS: dict[str, Callable[[int, int], Any]] = {
    "The bits with 256 levels and D = 784: still the stub": lambda L, D: 0.0,
    "this is in nats": lambda L, D: math.log(L),
    "for the whole event": lambda L, D: D * math.log2(L),
    "one level got lost": lambda L, D: math.log2(L - 1),
    "The bits with 17 levels": lambda L, D: 8.0,
}
LEVELS: dict[str, Level] = {
    "still the stub": lambda train, validation, test, foreign, share: 0.0,
    "chosen on test": lambda train, validation, test, foreign, share: test.quantile(1 - share),
    "chosen on train": lambda train, validation, test, foreign, share: train.quantile(1 - share),
    "chosen on the foreign": lambda train, validation, test, foreign, share: foreign.quantile(1 - share),
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
        **{words: (uniform(nats=rule),) for words, rule in NATS.items()},
        **{words: (uniform(bits=rule),) for words, rule in BITS.items()},
        "Give back two numbers": (lambda levels, features: math.log2(levels),),
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
