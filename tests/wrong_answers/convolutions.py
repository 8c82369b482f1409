"""Wrong answers to the exercises of *Convolutions*."""

from typing import Any

import torch
from torch import Tensor


def away(k: int) -> Tensor:
    return (torch.arange(k) - k // 2).double()


def unclamped(height: int, width: int, k: int) -> Tensor:
    return torch.outer(height - away(k).abs(), width - away(k).abs())


def clamped(height: int, width: int, k: int) -> Tensor:
    return torch.outer((height - away(k).abs()).clamp_min(0), (width - away(k).abs()).clamp_min(0))


def without_gaps(a: int, b: int, height: int, width: int, k: int) -> Tensor:
    offset = (a - k // 2) * width + b - k // 2
    return torch.ones(height * width - abs(offset)).diag(offset)


def places(a: int, b: int, height: int, width: int, k: int, around: bool = False, by_column: bool = False) -> Tensor:
    found = torch.zeros(height * width, height * width)
    for h in range(height):
        for v in range(width):
            row, column = h + a - k // 2, v + b - k // 2
            if around:
                row, column = row % height, column % width
            if 0 <= row < height and 0 <= column < width:
                seen = [(v, column, height), (h, row, 1)] if by_column else [(h, row, width), (v, column, 1)]
                found[sum(n * s for n, _, s in seen), sum(n * s for _, n, s in seen)] = 1.0
    return found


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_convolutions_1": {
        "Still the stub": (lambda height, width, k: torch.zeros(k, k),),
        "forgets the edges": (lambda height, width, k: torch.full((k, k), float(height * width)),),
        "Every tap once": (lambda height, width, k: torch.ones(k, k),),
        "have changed places": (lambda height, width, k: clamped(width, height, k),),
        "the whole kernel fits": (lambda height, width, k: torch.full((k, k), (height - k + 1.0) * (width - k + 1)),),
        "take the absolute value": (lambda height, width, k: torch.outer(height - away(k), width - away(k)),),
        "not from the first": (
            lambda height, width, k: torch.outer(height - torch.arange(k), width - torch.arange(k)),
        ),
        "multiply the two counts": (
            lambda height, width, k: height * width - away(k).abs()[:, None] - away(k).abs()[None],
        ),
        "no count may fall below 0": (unclamped,),
        "should be a tensor of shape (3, 3)": (lambda height, width, k: torch.zeros(height, width),),
    },
    "check_convolutions_2": {
        "still the stub": (lambda a, b, height, width, k: torch.zeros(height * width, height * width),),
        "without gaps": (without_gaps,),
        "transposed: rows belong": (lambda *given: places(*given).T,),
        "column by column": (lambda *given: places(*given, by_column=True),),
        "(2, 1): rows and columns of the kernel": (lambda a, b, *rest: places(b, a, *rest),),
        "on the other side": (lambda *given: places(*given, around=True),),
        "not yet; the largest difference": (lambda *given: 2 * places(*given),),
        "(12, 12); it is of shape (3, 4)": (lambda a, b, height, width, k: torch.zeros(height, width),),
    },
    "check_convolutions_3": {
        "Still the stub": (lambda w: w,),
        "have yet to be exchanged": (lambda w: w.flip(2, 3),),
        "have yet to be mirrored": (lambda w: w.transpose(0, 1),),
        "Mirrored up and down alone": (lambda w: w.transpose(0, 1).flip(2),),
        "Mirrored left and right alone": (lambda w: w.transpose(0, 1).flip(3),),
        "The taps are transposed": (lambda w: w.transpose(0, 1).mT,),
        "mirrored instead of exchanged": (lambda w: w.flip(0, 1, 2, 3),),
        "not yet; the largest difference": (lambda w: -w,),
    },
}
