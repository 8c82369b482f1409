"""Wrong answers to the exercises of *Where it ends*."""

import math
from typing import Any

WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_where_it_ends_1": {
        "a least B above 0": (lambda D, m, q: 0.0,),
        "leaves out the updates of R": (lambda D, m, q: 4 / 3 * D / (3 * (q - 1)),),
        "leaves out the 3": (lambda D, m, q: D * (4 / 3 - 2 * q / m) / (q - 1),),
        "3 (q − 1) B in all": (lambda D, m, q: D * (4 / 3 - 2 * q / m) / (3 * q),),
        "take 4/3 D³": (lambda D, m, q: D * (1 - 2 * q / m) / (3 * (q - 1)),),
        "two products of D³": (lambda D, m, q: D * (4 / 3 - q / m) / (3 * (q - 1)),),
        "no negative size": (lambda D, m, q: D * (4 / 3 - 2 * q / m) / (3 * (q - 1)),),
    },
    "check_where_it_ends_2": {
        "without a step": (lambda rho, epsilon: 0,),
        "round it up": (lambda rho, epsilon: math.log(epsilon) / math.log(rho),),
        "rounded down": (lambda rho, epsilon: math.floor(math.log(epsilon) / math.log(rho)),),
        "counts it twice": (lambda rho, epsilon: math.ceil(math.log(epsilon) / math.log(rho)) + 1,),
        "wrong way round": (lambda rho, epsilon: math.log(rho) / math.log(epsilon),),
        "take logarithms": (lambda rho, epsilon: math.ceil(1 / (epsilon * rho)),),
    },
    "check_where_it_ends_3": {
        "a block has numbers": (lambda C, H, W, k: 0,),
        "each has 8 bytes": (lambda C, H, W, k: (k // 2 * C * min(H, W)) ** 2,),
        "the shorter side": (lambda C, H, W, k: 8 * (k // 2 * C * W) ** 2,),
        "rows are in a block": (lambda C, H, W, k: 8 * (C * min(H, W)) ** 2,),
        "its side times its side": (lambda C, H, W, k: 8 * (k // 2 * C * min(H, W)),),
    },
}
