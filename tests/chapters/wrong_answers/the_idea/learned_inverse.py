"""Wrong answers to the exercises of *A learned inverse*."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Answer = Callable[..., Any]


def terms(x: Tensor, w: Tensor, r: Tensor, d: Tensor, weight: float) -> dict[str, tuple[Tensor, Tensor]]:
    """The terms of the two gradients, for the gradient with respect to w and by r, written apart from the checker's."""
    miss = r * w * x - x
    return {
        "data": (d * x / 2, -w * d * w * x / 2),
        "log-det": (r / 2, -w / 2),
        "recon": (-2 * weight * miss * r * x, -2 * weight * miss * w * x),
    }


def answer(**factors: float) -> Answer:
    """The gradients with each term multiplied by a factor, 1 unless told."""

    def gradients(*arguments: Any) -> tuple[Tensor, Tensor]:
        parts = terms(*arguments)
        by_w, by_r = (sum(factors.get(name, 1.0) * part[side] for name, part in parts.items()) for side in (0, 1))
        return by_w, by_r

    return gradients


SLIPS = {
    "gradient with respect to w: still the stub": lambda x, *_: (0 * x, 0 * x),
    "gradient with respect to w: the sign is turned": answer(**{"data": -1, "log-det": -1, "recon": -1}),
    "gradient with respect to w: the likelihood's part lacks its ½": answer(**{"data": 2, "log-det": 2}),
    "gradient with respect to w: the log-determinant's part has the wrong sign": answer(**{"log-det": -1}),
    "gradient with respect to w: the log-determinant's part is missing": answer(**{"log-det": 0}),
    "gradient with respect to w: the data term has the wrong sign": answer(data=-1),
    "gradient with respect to w: the data term is missing": answer(data=0),
    "gradient with respect to w: the reconstruction term is missing": answer(recon=0),
    "gradient with respect to w: the reconstruction term has the wrong sign": answer(recon=-1),
    "gradient with respect to w: the reconstruction term lacks the 2": answer(recon=0.5),
    "gradient with respect to w: not yet; the largest difference": answer(recon=1.01),
    "gradient with respect to r: the log-determinant's part has the wrong sign": lambda *arguments: (
        answer()(*arguments)[0],
        answer(**{"log-det": -1})(*arguments)[1],
    ),
    "two tensors of the shape of x": lambda x, *_: x,
    "gradient with respect to w should be a tensor of shape (3,); it is of shape (2,)": lambda x, *_: (x[:2], x),
    "stopped with RuntimeError": lambda x, *_: x @ torch.zeros(7, dtype=x.dtype),
}


def exact(data: float = 1, log_det: float = 1) -> Answer:
    """The exact gradient of log p_g with respect to R with its two parts multiplied."""

    def gradient(x: Tensor, R: Tensor) -> Tensor:
        solved = torch.linalg.solve(R, x)
        return torch.linalg.solve(R.T, data * torch.outer(solved, solved) - log_det * torch.eye(len(R)).to(R))

    return gradient


def slope(g: Answer, z: Tensor) -> Tensor:
    return torch.autograd.functional.jvp(g, z, torch.ones_like(z))[1]


def f(x: Tensor, t: float) -> Tensor:
    return x + t * x.tanh()


def bend(x: Tensor) -> Tensor:
    return 1 / x.cosh().square()


WRONG = {
    "check_learned_inverse_1": {words: (answer,) for words, answer in SLIPS.items()},
    "check_learned_inverse_2": {
        "still the stub": (lambda x, R: 0 * R,),
        "log-determinant's part is missing": (exact(log_det=0),),
        "the part of the latent is missing": (exact(data=0),),
        "log-determinant's part has the wrong sign": (exact(log_det=-1),),
        "the part of the latent has the wrong sign": (exact(data=-1),),
        "the sign is turned": (exact(-1, -1),),
        "it is transposed": (lambda x, R: exact()(x, R).T,),
        "in front of the outer product is missing": (lambda x, R: R.T @ exact(log_det=0)(x, R) + exact(data=0)(x, R),),
        "it has x where the latent": (lambda x, R: exact(log_det=0)(R @ x, R) + exact(data=0)(x, R),),
        "gradient should be a tensor of shape (3, 3); it is of shape (3,)": (lambda x, R: x,),
        "not yet": (exact(data=2),),
    },
    "check_learned_inverse_3": {
        "still the stub": (lambda x, t, g: 0 * x,),
        "this is the exact gradient": (lambda x, t, g: bend(x) / (1 + t * bend(x)),),
        "taken at x": (lambda x, t, g: slope(g, x) * bend(x),),
        "slope of g alone": (lambda x, t, g: slope(g, f(x, t)),),
        "slope of g is missing": (lambda x, t, g: bend(x),),
        "f' itself in place": (lambda x, t, g: slope(g, f(x, t)) * (1 + t * bend(x)),),
        "derivative of f by θ": (lambda x, t, g: slope(g, f(x, t)) * x.tanh(),),
        "g itself in place": (lambda x, t, g: g(f(x, t)) * bend(x),),
        "sign is turned": (lambda x, t, g: -slope(g, f(x, t)) * bend(x),),
    },
}
