"""Wrong answers to the exercises of *An inverse that follows*."""

from collections.abc import Callable

import torch
from torch import Tensor


def series(*factors: float, left: bool = False) -> Callable[[Tensor, Tensor], Tensor]:
    """R times (or behind) the polynomial of the residual with these coefficients."""

    def improved(W: Tensor, R: Tensor) -> Tensor:
        E = torch.eye(len(W)).to(W) - W @ R
        polynomial = sum(c * torch.linalg.matrix_power(E, k) for k, c in enumerate(factors))
        return polynomial @ R if left else R @ polynomial

    return improved


def forgets_R(W: Tensor, R: Tensor) -> Tensor:
    E = torch.eye(len(W)).to(W) - W @ R
    return series(1, 1)(W, R) + E @ E


def norm(W: Tensor) -> Tensor:
    return torch.linalg.svdvals(W)[0]


def limit(e: float, m: int, rounds: int = 500) -> float:
    """The residual before an update after many of them."""
    found = 0.0
    for _ in range(rounds):
        found = found**2 + m * e
    return found


WRONG = {
    "check_tracked_inverse_1": {
        "still the stub": (lambda W, R: R,),
        "this squares the residual": (series(1, 1),),
        "the middle term is missing": (series(1, 0, 1),),
        "missing its R": (forgets_R,),
        "E stands on the left": (series(1, 1, 1, left=True),),
        "the sign of the last term": (series(1, 1, -1),),
        "W R − I here": (series(1, -1, 1),),
        "the fourth power": (series(1, 1, 1, 1),),
        "not yet": (series(1, 1, 2),),
    },
    "check_tracked_inverse_2": {
        "still the stub": (lambda W: 0 * W,),
        "the inverse itself": (torch.linalg.inv,),
        "Wᵀ alone is too long": (lambda W: W.T,),
        "the square of the norm": (lambda W: W.T / norm(W),),
        "W in place of Wᵀ": (lambda W: W / norm(W) ** 2,),
        "a multiple of I": (lambda W: torch.eye(3).to(W) / norm(W),),
        "on the edge": (lambda W: 2 * W.T / norm(W) ** 2,),
        "not yet; for a W with": (lambda W: 3 * W.T / norm(W) ** 2,),
        "should be a tensor of shape (3, 3)": (lambda W: W[0],),
    },
    "check_tracked_inverse_3": {
        "still the stub": (lambda e, m: 0.0,),
        "what m steps add": (lambda e, m: m * e,),
        "after an update": (lambda e, m: limit(e, m) - m * e,),
        "the other root": (lambda e, m: 1 - limit(e, m),),
        "the half is missing": (lambda e, m: 2 * limit(e, m),),
        "under the root": (lambda e, m: limit(e, m / 4),),
        "one step in place of m": (lambda e, m: limit(e, 1),),
        "once around": (lambda e, m: limit(e, m, rounds=2),),
    },
}
