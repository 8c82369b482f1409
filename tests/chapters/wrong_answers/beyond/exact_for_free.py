"""Wrong answers to the exercises of *Exact for free*."""

from typing import Any

import torch
from torch import Tensor


def rest(T: Tensor, R: Tensor, v: Tensor) -> Tensor:
    return torch.linalg.solve(T.T, v.T) - R.T @ v.T


def pairs(A: Tensor) -> Tensor:
    return (A + A.T).triu(1).square().sum()


def off(A: Tensor) -> Tensor:
    return A - A.diag().diag()


def solved(more: int = 0, first: Any = None, plain: bool = False, inverted: bool = False, by: bool = True) -> Any:
    """A function of A, P, b and steps, with one slip."""

    def x_of(A: Tensor, P: Tensor, b: Tensor, steps: int) -> Tensor:
        x = P @ b if first is None else first(b)
        for _ in range(max(steps + more, 0)):
            e = b - A @ x
            moved = P @ e if by else e
            q = A @ moved
            length = 1.0 if plain else (q @ e) / (q @ q)
            x = x + (1 / length if inverted else length) * moved
        return x

    return x_of


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_exact_for_free_1": {
        "still the stub": (lambda T, R, v: 0 * T,),
        "the known part alone": (lambda T, R, v: R.T,),
        "the rest alone": (lambda T, R, v: rest(T, R, v) @ v / len(v),),
        "the exact inverse": (lambda T, R, v: torch.linalg.inv(T).T,),
        "in it twice": (lambda T, R, v: R.T + torch.linalg.solve(T.T, v.T) @ v / len(v),),
        "plain probes": (lambda T, R, v: torch.linalg.solve(T.T, v.T) @ v / len(v),),
        "of the transposed matrix": (lambda T, R, v: R.T + (torch.linalg.solve(T, v.T) - R.T @ v.T) @ v / len(v),),
        "their mean is wanted": (lambda T, R, v: R.T + rest(T, R, v) @ v,),
        "wrong way round": (lambda T, R, v: R.T + (rest(T, R, v) @ v).T / len(v),),
        "the transpose of R": (lambda T, R, v: R + (torch.linalg.solve(T.T, v.T) - R @ v.T) @ v / len(v),),
        "not yet; the largest difference": (lambda T, R, v: 2 * R.T,),
    },
    "check_exact_for_free_2": {
        "still the stub": (lambda A: 0.0,),
        "for normal numbers": (lambda A: pairs(A) + 2 * A.diag().square().sum(),),
        "for a symmetric A alone": (lambda A: 2 * off(A).square().sum(),),
        "the diagonal does not vary": (lambda A: A.square().sum(),),
        "has two entries": (lambda A: off(A).square().sum(),),
        "before they are squared": (lambda A: A.triu(1).square().sum(),),
        "each pair counts once": (lambda A: 2 * pairs(A),),
        "the root of it": (lambda A: pairs(A).sqrt(),),
        "this is the mean": (lambda A: A.trace(),),
        "not yet; the largest difference": (lambda A: 3 * pairs(A),),
        "a tensor of shape (); it is of shape (4, 4)": (lambda A: A,),
    },
    "check_exact_for_free_3": {
        "With 0 steps: still the stub": (lambda A, P, b, steps: 0 * b,),
        "the exact solution": (lambda A, P, b, steps: torch.linalg.solve(A, b),),
        "With 2 steps: this is the first guess": (solved(more=-2),),
        "the start is P b": (solved(first=lambda b: b),),
        "plain refinement": (solved(plain=True),),
        "upside down": (solved(inverted=True),),
        "P has to map it to x": (solved(by=False),),
        "one step too many": (solved(more=1),),
        "one step too few": (solved(more=-1),),
        "not yet; the largest difference": (lambda A, P, b, steps: 2 * (P @ b),),
    },
}
