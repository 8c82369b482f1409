"""Wrong answers to the exercises of *Convolutions*."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d


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


def by_data(delta: Tensor, x: Tensor, k: int) -> Tensor:
    """δ ⋆ x, with pictures as kernels."""
    return conv2d(x[:, None], delta[:, None], padding=k // 2).transpose(0, 1)


def mask(r: Tensor) -> Tensor:
    return clamped(5, 4, r.shape[-1])


def flip(r: Tensor) -> Tensor:
    return r.transpose(0, 1).flip(2, 3)


def gradient(data: Any = by_data, volume: Any = lambda r: flip(r) * mask(r), share: float = 0.5) -> Any:
    """The right gradient, with one of its parts by another rule."""
    return lambda delta, x, r: share * (data(delta, x, r.shape[-1]) + volume(r))


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_convolutions_1": {
        "Still the stub": (lambda height, width, k: torch.zeros(k, k),),
        "ignores the edges": (lambda height, width, k: torch.full((k, k), float(height * width)),),
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
        "Still the stub": (lambda delta, x, r: torch.zeros_like(r),),
        "The ½ is missing": (gradient(share=1.0),),
        "part alone; δ ⋆ x": (gradient(data=lambda *given: 0.0),),
        "The data alone": (gradient(volume=lambda r: 0.0),),
        "sign of the log-determinant's part": (gradient(volume=lambda r: -flip(r) * mask(r)),),
        "The mask is missing": (gradient(volume=flip),),
        "ignores the edges": (gradient(volume=lambda r: flip(r) * 20),),
        "r has yet to be flipped": (gradient(volume=lambda r: r * mask(r)),),
        "channels have yet to be exchanged": (gradient(volume=lambda r: r.flip(2, 3) * mask(r)),),
        "taps have yet to be mirrored": (gradient(volume=lambda r: r.transpose(0, 1) * mask(r)),),
        "the wrong way round": (gradient(data=lambda *given: by_data(*given).transpose(0, 1)),),
        "the taps run backward": (gradient(data=lambda *given: by_data(*given).flip(2, 3)),),
        "have changed places": (gradient(data=lambda delta, x, k: by_data(x, delta, k)),),
        "the pixels are averaged": (gradient(data=lambda *given: by_data(*given) / 20),),
        "With 5 by 5": (gradient(volume=lambda r: flip(r) * mask(r[..., :3, :3]) if r.shape[-1] == 3 else 0.0),),
        "(2, 2, 3, 3); it is of shape (2, 5, 4)": (lambda delta, x, r: x,),
    },
}
