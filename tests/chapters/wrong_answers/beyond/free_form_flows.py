"""Wrong answers to the exercises of *Free-form flows*."""

import math

import torch

solve = torch.linalg.solve

ESTIMATES = {
    "Still the stub": lambda J, A, v: 0.0,
    "J in place of its transpose": lambda J, A, v: solve(J, v) @ A @ v,
    "This is the trace itself": lambda J, A, v: torch.trace(solve(J, A)),
    "J is missing": lambda J, A, v: v @ A @ v,
    "Jᵀ multiplied": lambda J, A, v: (J.T @ v) @ A @ v,
    "A is transposed": lambda J, A, v: v @ A @ solve(J.T, v),
    "A is missing": lambda J, A, v: solve(J.T, v) @ v,
    "not yet; the largest difference": lambda J, A, v: 2 * solve(J.T, v) @ A @ v,
    "The estimate should be a tensor of shape (); it is of shape (4,)": lambda J, A, v: A @ v,
}

MASSES = {
    "Still the stub": lambda c: 0.0,
    "right for a map that is one-to-one": lambda c: 1.0,
    "those below −c have no point": lambda c: 2.0,
    "counts twice": lambda c: (1 + math.erf(c / math.sqrt(2))) / 2,
    "The wrong side": lambda c: 1 - math.erf(c / math.sqrt(2)),
    "The root of two is missing": lambda c: 1 + math.erf(c),
    "not yet; the largest difference": lambda c: 1 + math.erf(c / math.sqrt(2)) / 2,
}

DIMENSIONS = {
    "Still the stub": lambda n, k: 0,
    "both take equally many": lambda n, k: n * (2 * k + 1),
    "for the trace itself is missing": lambda n, k: 2 * n * k + 1,
    "takes two products": lambda n, k: n * (k + 1) + 1,
    "a system of its own": lambda n, k: 2 * k + 2,
    "is taken for each vector": lambda n, k: 2 * n * k + 2,
    "not yet; the largest difference": lambda n, k: n * (2 * k + 1) + 2,
}

WRONG = {
    "check_free_form_1": {words: (answer,) for words, answer in ESTIMATES.items()},
    "check_free_form_2": {words: (answer,) for words, answer in MASSES.items()},
    "check_free_form_3": {words: (answer,) for words, answer in DIMENSIONS.items()},
}
