"""Wrong answers to the exercises of *Two-dimensional flows*."""

import math

import torch
from torch import Tensor

identity, quarter = torch.eye(2), torch.tensor([[0.0, -1.0], [1.0, 0.0]])


def size(matrix: Tensor) -> Tensor:
    return torch.linalg.svdvals(matrix)[0]


def error(W: Tensor, R: Tensor) -> Tensor:
    return R @ W - torch.eye(3)


def turn(degrees: float) -> Tensor:
    return math.cos(math.radians(degrees)) * identity + math.sin(math.radians(degrees)) * quarter


ERRORS = {
    "This is still the stub": lambda W, size: torch.zeros_like(W),
    "At size 0.5: this error has size 2.00": lambda W, size: -2 * identity,
    "makes R longer or shorter": lambda W, size: -size * identity,
    "A quarter turn pushes straight sideways": lambda W, size: -size * quarter,
    "not used up": lambda W, size: 0.5 * size * turn(120),
    "seen from its foot": lambda W, size: size * turn(160),
    "At size 0.1: it turns": lambda W, size: size * turn(120),
    "should be a tensor of shape (2, 2); it is of type NoneType": lambda W, size: None,
    "is not finite": lambda W, size: identity / 0,
}

STEPS = {
    "Still the stub: a step of 0": lambda W, R, G: torch.zeros(()),
    "‖E‖ is missing": lambda W, R, G: 1 / size(R @ G),
    "‖E‖ has the wrong sign": lambda W, R, G: (1 + size(error(W, R))) / size(R @ G),
    "both norms are Frobenius norms": lambda W, R, G: (1 - error(W, R).norm()) / (R @ G).norm(),
    "‖E‖ is the largest stretch": lambda W, R, G: (1 - error(W, R).norm()) / size(R @ G),
    "‖RG‖ is the largest stretch": lambda W, R, G: (1 - size(error(W, R))) / (R @ G).norm(),
    "W⁻¹ replaces R": lambda W, R, G: (1 - size(error(W, R))) / size(torch.linalg.solve(W, G)),
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
    "Still the stub: without the penalty": lambda m: 0.0,
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
    "check_two_dimensional_1": {words: (error,) for words, error in ERRORS.items()},
    "check_two_dimensional_2": {words: (step,) for words, step in STEPS.items()},
    "check_two_dimensional_3": {words: (tie,) for words, tie in TIES.items()},
}
