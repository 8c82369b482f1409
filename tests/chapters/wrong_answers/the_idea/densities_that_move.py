"""Wrong answers to the exercises of *Densities that move*."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Answer = Callable[..., Tensor]


def log_normal(code: Tensor) -> Tensor:
    return torch.distributions.Normal(0.0, 1.0).log_prob(code)


def right_1(x: Tensor, s: float, m: float) -> Tensor:
    return log_normal((x.log() - m) / s) - (s * x).log()


def backwards(x: Tensor, s: float, m: float) -> Tensor:
    return log_normal((s * x + m).exp()) + s * x + m + math.log(s)


LOG_NORMAL: dict[str, Answer] = {
    "Still the stub": lambda x, s, m: 0 * x,
    "the density itself": lambda *given: right_1(*given).exp(),
    "log-determinant is missing": lambda x, s, m: log_normal((x.log() - m) / s),
    "wrong sign": lambda x, s, m: log_normal((x.log() - m) / s) + (s * x).log(),
    "lacks its s": lambda x, s, m: log_normal((x.log() - m) / s) - x.log(),
    "lacks its x": lambda x, s, m: log_normal((x.log() - m) / s) - math.log(s),
    "lacks its m": lambda x, s, m: log_normal(x.log() / s) - (s * x).log(),
    "not divided by s": lambda x, s, m: log_normal(x.log() - m) - (s * x).log(),
    "½ log 2π": lambda x, s, m: -(((x.log() - m) / s) ** 2) / 2 - (s * x).log(),
    "goes the wrong way": backwards,
    "largest difference": lambda *given: right_1(*given) + 0.1,
    "of shape (5,); it is of shape ()": lambda *given: right_1(*given).sum(),
}


def right_2(r: Tensor, theta: Tensor) -> Tensor:
    return r.log() - r**2 / 2 - math.log(2 * math.pi)


POLAR: dict[str, Answer] = {
    "Still the stub": lambda r, theta: 0 * r,
    "the density itself": lambda *given: right_2(*given).exp(),
    "The log-determinant is missing": lambda r, theta: right_2(r, theta) - r.log(),
    "becomes r dr dθ": lambda r, theta: right_2(r, theta) - 2 * r.log(),
    "the density of r alone": lambda r, theta: r.log() - r**2 / 2,
    "belongs to one dimension": lambda r, theta: r.log() - r**2 / 2 - math.log(2 * math.pi) / 2,
    "constant and the log-determinant are missing": lambda r, theta: -(r**2) / 2,
    "The ½ in the exponent": lambda r, theta: right_2(r, theta) - r**2 / 2,
    "largest difference": lambda r, theta: right_2(r, theta) + theta.cos(),
    "stopped with TypeError": lambda r: right_2(r, r),
}


def pair(first: Tensor, second: Tensor) -> Tensor:
    return torch.stack([first, second], 1)


def in_place(x: Tensor) -> Tensor:
    moved = x.clone()
    moved[:, 1] += moved[:, 0].sin()
    return moved


def swirl(x: Tensor) -> Tensor:
    angle = x.norm(dim=1)
    cosine, sine = angle.cos(), angle.sin()
    return pair(cosine * x[:, 0] - sine * x[:, 1], sine * x[:, 0] + cosine * x[:, 1])


MOVES: dict[str, Answer] = {
    "Still the stub": lambda x: x,
    "Everywhere areas are multiplied by 4": lambda x: 2 * x,
    "Everywhere areas are multiplied by 0;": lambda x: pair(x[:, 0], x[:, 0]),
    "At (-6.29, -0.23) areas are multiplied by 6.29": lambda x: pair(x[:, 0] ** 2 / 2, x[:, 1]),
    "Find one that bends lines": lambda x: x @ torch.tensor([[1.0, 0.0], [3.0, 1.0]]).to(x) + 1,
    "folds the plane": lambda x: pair(x[:, 0].abs(), x[:, 1]),
    "as the swirl of the figure does": swirl,
    "depends on the others in its batch": lambda x: x - x.mean(0) + x.sin().roll(1, 1),
    "Autograd cannot follow": in_place,
    "No derivative comes through": lambda x: pair(x[:, 0], x[:, 1] + x[:, 0].sin()).detach(),
    "of shape (200, 2) should be a tensor of shape (200, 2); it is of shape (2,)": lambda x: x[0],
    "for one point should be a tensor of shape (1, 2); it is of shape (200, 2)": lambda x: x.sin().expand(200, 2),
    "is not finite": lambda x: x.log(),
    "stopped with": lambda x: x @ torch.zeros(3, 3).to(x),
}

WRONG = {
    "check_densities_1": {words: (answer,) for words, answer in LOG_NORMAL.items()},
    "check_densities_2": {words: (answer,) for words, answer in POLAR.items()},
    "check_densities_3": {words: (answer,) for words, answer in MOVES.items()},
}
