"""Wrong answers to the exercises of *Sampling*."""

from typing import Any

import torch
from torch import Tensor


def mended(sign: float = 1.0, more: int = 0, bias: bool = True, by: bool = True) -> Any:
    """A function of R, W, b, z and passes, with one slip."""

    def event(R: Tensor, W: Tensor, b: Tensor, z: Tensor, passes: int) -> Tensor:
        z = z - b if bias else z
        x = R @ z
        for _ in range(passes + more):
            x = x + sign * (R if by else torch.eye(3).double()) @ (z - W @ x)
        return x

    return event


def later(own: Tensor, stretch: Tensor) -> Tensor:
    return torch.stack([stretch[k + 1 :].prod() for k in range(len(own))])


def earlier(own: Tensor, stretch: Tensor) -> Tensor:
    return torch.stack([stretch[:k].prod() for k in range(len(own))])


def spread(E: Tensor, C: Tensor) -> Tensor:
    return (E @ C @ E.T).trace()


def centre(E: Tensor, mean: Tensor) -> Tensor:
    return (E @ mean).square().sum()


def length(mean: Tensor, C: Tensor) -> Tensor:
    return C.trace() + mean @ mean


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_sampling_1": {
        "With 0 passes: still the stub": (lambda R, W, b, z, passes: 0 * z,),
        "With 3 passes: g(z) without passes": (mended(more=-3),),
        "by a solve": (lambda R, W, b, z, passes: torch.linalg.solve(W, z - b),),
        "the bias is missing": (mended(bias=False),),
        "wrong sign": (mended(sign=-1.0),),
        "one pass too many": (mended(more=1),),
        "one pass too few": (mended(more=-1),),
        "R has to map it to x": (mended(by=False),),
        "not yet; the largest difference": (lambda R, W, b, z, passes: 2 * mended()(R, W, b, z, passes),),
        "stopped with RuntimeError": (lambda R, W, b, z, passes: R @ z[:2],),
    },
    "check_sampling_2": {
        "still the stub": (lambda own, stretch: 0.0,),
        "as if no layer stretched": (lambda own, stretch: own.sum(),),
        "by the layer itself": (lambda own, stretch: (own * stretch * later(own, stretch)).sum(),),
        "by the layers before it": (lambda own, stretch: (own * earlier(own, stretch)).sum(),),
        "stretched by all layers": (lambda own, stretch: own.sum() * stretch.prod(),),
        "only the last layer's": (lambda own, stretch: own[-1],),
        "only the first layer's": (lambda own, stretch: own[0] * stretch[1:].prod(),),
        "the squares are added": (lambda own, stretch: (own * later(own, stretch)).norm(),),
        "not yet; the largest difference": (lambda own, stretch: 2 * own.sum(),),
        "a tensor of shape (); it is of shape (4,)": (lambda own, stretch: own,),
    },
    "check_sampling_3": {
        "still the stub": (lambda E, mean, C: 0.0,),
        "the mean's part is missing": (lambda E, mean, C: spread(E, C),),
        "the mean x alone": (lambda E, mean, C: centre(E, mean),),
        "the wrong way round": (lambda E, mean, C: spread(E.T, C) + centre(E.T, mean),),
        "the worst case": (lambda E, mean, C: torch.linalg.matrix_norm(E, ord=2) ** 2 * length(mean, C),),
        "the root of it": (lambda E, mean, C: (spread(E, C) + centre(E, mean)).sqrt(),),
        "all entries are added": (lambda E, mean, C: (E @ C @ E.T).sum() + centre(E, mean),),
        "equally common": (lambda E, mean, C: E.square().sum() * length(mean, C) / 3,),
        "not yet; the largest difference": (lambda E, mean, C: 2 * spread(E, C),),
    },
}
