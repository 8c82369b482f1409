"""Wrong answers to the exercises of *Two-dimensional flows*."""

import torch
from torch import Tensor

W, identity = torch.tensor([[1.0, 0.5], [0.0, 2.0]]), torch.eye(2)


def size(matrix: Tensor) -> Tensor:
    return torch.linalg.svdvals(matrix)[0]


def error(W: Tensor, R: Tensor) -> Tensor:
    return R @ W - torch.eye(3)


STEPS = {
    "Still the stub: a step of 0": lambda W, R, G: torch.zeros(()),
    "‖E‖ is forgotten": lambda W, R, G: 1 / size(R @ G),
    "‖E‖ has the wrong sign": lambda W, R, G: (1 + size(error(W, R))) / size(R @ G),
    "both norms are Frobenius norms": lambda W, R, G: (1 - error(W, R).norm()) / (R @ G).norm(),
    "‖E‖ is the largest stretch": lambda W, R, G: (1 - error(W, R).norm()) / size(R @ G),
    "‖RG‖ is the largest stretch": lambda W, R, G: (1 - size(error(W, R))) / (R @ G).norm(),
    "W⁻¹ stands in place of R": lambda W, R, G: (1 - size(error(W, R))) / size(torch.linalg.solve(W, G)),
    "R is missing below": lambda W, R, G: (1 - size(error(W, R))) / size(G),
    "‖R‖ ‖G‖ is more than ‖RG‖": lambda W, R, G: (1 - size(error(W, R))) / size(R) / size(G),
    "The product is turned round": lambda W, R, G: (1 - size(error(W, R))) / size(G @ R),
    "not WR − I": lambda W, R, G: (1 - size(error(R, W))) / size(R @ G),
    "Multiplied, where": lambda W, R, G: (1 - size(error(W, R))) * size(R @ G),
    "not yet; the largest difference": lambda W, R, G: 0.9 * (1 - size(error(W, R))) / size(R @ G),
    "The step should be a tensor of shape (); it is of shape (3, 3)": lambda W, R, G: G,
    "stopped with TypeError": lambda W: W,
}

TIES = {
    "Still the stub: without a tie": lambda m: 0.0,
    "Right where E[x²] = 1": lambda m: 1 / 8,
    "stands upside down": lambda m: m / 8,
    "the root is one too many": lambda m: m**-0.5 / 8,
    "Twice too large": lambda m: 0.25 / m,
    "Four times too large": lambda m: 0.5 / m,
    "not yet; the largest difference": lambda m: 0.1 / m,
    "stopped with ZeroDivisionError": lambda m: 1 / (m - m),
    "The least λ is not finite": lambda m: torch.tensor(1.0) / 0,
}

WRONG = {
    "check_two_dimensional_1": {
        "first error should be a tensor of shape (2, 2); it is of type NoneType": (W, None, identity),
        "second error should be a tensor of shape (2, 2); it is of shape (3,)": (W, identity, torch.zeros(3)),
        "first error is not finite": (W, identity / 0, identity),
        "size 2.00; find one of at most 1.1": (W, -2 * identity, 20 * identity),
        "size 0.50, still points uphill": (W, -0.5 * identity, 20 * identity),
        "size 9.00; find one of at least 10": (W, -1.05 * identity, 9 * identity),
        "size 20.0, does not point uphill": (W, -1.05 * identity, -20 * identity),
    },
    "check_two_dimensional_2": {words: (step,) for words, step in STEPS.items()},
    "check_two_dimensional_3": {words: (tie,) for words, tie in TIES.items()},
}
