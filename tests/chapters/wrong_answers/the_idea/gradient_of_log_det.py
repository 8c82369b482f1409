"""Wrong answers to the exercises of *The gradient of log|det J|*."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

inverse = torch.linalg.inv
J, QUARTER_TURN = torch.tensor([[1.0, 0.5], [0.0, 2.0]]), torch.tensor([[0.0, -1.0], [1.0, 0.0]])


def factors(by_s: Any = torch.ones_like, by_N: Any = None, move: Any = None) -> Callable[..., Any]:
    """The right answer to the second exercise, but for what is given: functions of s, of L, s, N, and of L, s, N."""

    def answer(L: Tensor, s: Tensor, N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return by_s(s), by_N(L, s, N) if by_N else 0 * N, move(L, s, N) if move else L @ s.exp().diag()

    return answer


def matrix(L: Tensor, s: Tensor, N: Tensor) -> Tensor:
    return L @ (s.exp().diag() + N)


def third(turn: Callable[[Tensor, Tensor], Tensor]) -> tuple[Any, ...]:
    return turn, J, QUARTER_TURN


def right(M: Tensor, A: Tensor) -> Tensor:
    return -inverse(M).T @ A.T @ inverse(M).T


WRONG = {
    "check_gradient_1": {
        "Still the stub": (lambda u, v: 0 * u,),
        "The determinant is missing": (lambda u, v: v,),
        "gradient with respect to v": (lambda u, v: u / (1 + v @ u),),
        "The sign is turned": (lambda u, v: -v / (1 + v @ u),),
        "A sign is lost": (lambda u, v: v / (1 + v @ u).abs(),),
        "divides by it": (lambda u, v: v * (1 + v @ u),),
        "The 1 of the identity is missing": (lambda u, v: v / (v @ u),),
        "largest difference": (lambda u, v: v / (1 + v.norm() * u.norm()),),
        "a tensor of shape (3,); it is of shape (3, 3)": (lambda u, v: inverse(torch.eye(3) + torch.outer(u, v)),),
        "stopped with RuntimeError": (lambda u, v: u @ torch.zeros(7, dtype=u.dtype),),
    },
    "check_gradient_2": {
        "Return three tensors": (lambda L, s, N: s,),
        "gradient with respect to s: still the stub": (factors(by_s=torch.zeros_like),),
        "gradient with respect to s: this is 1/u_ii": (factors(by_s=lambda s: 1 / s.exp()),),
        "gradient with respect to s: this is u_ii": (factors(by_s=torch.exp),),
        "gradient with respect to s: this is the value": (factors(by_s=lambda s: s),),
        "diagonal of W⁻ᵀ": (lambda L, s, N: (inverse(matrix(L, s, N)).diagonal(), 0 * N, L),),
        "gradient with respect to N: this is U⁻ᵀ": (factors(by_N=lambda L, s, N: inverse(s.exp().diag() + N).T),),
        "gradient with respect to N: this is W⁻ᵀ": (factors(by_N=lambda L, s, N: inverse(matrix(L, s, N)).T),),
        "gradient with respect to N: ones": (factors(by_N=lambda L, s, N: (N != 0).double()),),
        "change of W: nothing moves": (factors(move=lambda L, s, N: 0 * L),),
        "change of W: this is the steepest": (factors(move=lambda L, s, N: inverse(matrix(L, s, N)).T),),
        "change of W: L is missing": (factors(move=lambda L, s, N: s.exp().diag()),),
        "change of W: u_ii = exp(s_i) is missing": (factors(move=lambda L, s, N: L),),
        "change of W: N moves along": (factors(move=matrix),),
        "change of W: the factors stand": (factors(move=lambda L, s, N: s.exp().diag() @ L),),
        "change of W: not yet": (factors(move=lambda L, s, N: 2 * L @ s.exp().diag()),),
    },
    "check_gradient_3": {
        "still the stub": third(lambda M, A: 0 * M),
        "the sign is turned": third(lambda M, A: -right(M, A)),
        "A should be transposed": third(lambda M, A: right(M, A.T)),
        "derivative of J⁻¹": third(lambda M, A: right(M, A).T),
        "A has to stand between": third(lambda M, A: -inverse(M).T @ inverse(M).T @ A.T),
        "one inverse is missing": third(lambda M, A: -inverse(M).T @ A.T),
        "A is missing": third(lambda M, A: -inverse(M).T @ inverse(M).T),
        "does not curve": (right, J, torch.zeros(2, 2)),
        "curves downward, by -1.2": (right, J, torch.eye(2)),
        "direction should be a tensor of shape (2, 2); it is of shape (3,)": (right, J, torch.zeros(3)),
        "direction is not finite": (right, J, J / 0),
    },
}
