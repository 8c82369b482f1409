"""Wrong answers to the exercises of *MNIST, dense*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def whitening(root: Callable[[Tensor], Tensor], log_det: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    """A function of the eigenvalues for V, another for its log-determinant."""

    def answer(C: Tensor) -> tuple[Tensor, Any]:
        variances, directions = torch.linalg.eigh(C)
        return directions * root(variances) @ directions.T, log_det(variances)

    return answer


def by_cholesky(C: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.linalg.cholesky(C)
    return torch.linalg.inv(low), -low.diag().log().sum()


def right_root(variances: Tensor) -> Tensor:
    return variances**-0.5


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_mnist_dense_1": {
        "Still the stub": (lambda e, n, b, ms: 0.0,),
        "These are seconds": (lambda e, n, b, ms: e * math.ceil(n / b) * ms / 1000,),
        "These are minutes": (lambda e, n, b, ms: e * math.ceil(n / b) * ms / 6e4,),
        "taken for seconds": (lambda e, n, b, ms: e * math.ceil(n / b) * ms / 3600,),
        "counts as a part of one": (lambda e, n, b, ms: e * n / b * ms / 3.6e6,),
        "was left out": (lambda e, n, b, ms: e * (n // b) * ms / 3.6e6,),
        "one epoch": (lambda e, n, b, ms: math.ceil(n / b) * ms / 3.6e6,),
        "taken for a batch": (lambda e, n, b, ms: e * n * ms / 3.6e6,),
        "not yet": (lambda e, n, b, ms: 1.0,),
    },
    "check_mnist_dense_2": {
        "Return two things": (lambda C: C,),
        "the stub's": (lambda C: (torch.eye(len(C)), 0.0),),
        "makes wide data wider": (whitening(lambda v: v**0.5, lambda v: 0.0),),
        "its root is asked for": (whitening(lambda v: 1 / v, lambda v: 0.0),),
        "the symmetric one": (by_cholesky,),
        "single entries": (lambda C: (1 / C.abs().sqrt(), 0.0),),
        "still the stub": (whitening(right_root, lambda v: 0.0),),
        "its sign is turned": (whitening(right_root, lambda v: 0.5 * v.log().sum()),),
        "half of that": (whitening(right_root, lambda v: -v.log().sum()),),
        "of C.": (whitening(right_root, lambda v: v.log().sum()),),
        "not its logarithm": (whitening(right_root, lambda v: v.prod() ** -0.5),),
    },
    "check_mnist_dense_3": {
        "still the stub": (lambda delta, x, W: torch.zeros_like(W),),
        "part is missing": (lambda delta, x, W: torch.outer(W @ W.T @ delta, x),),
        "from the right": (lambda delta, x, W: torch.outer(delta, W @ x) @ W + W,),
        "exact gradient itself": (lambda delta, x, W: torch.outer(delta, x) + torch.linalg.inv(W).T,),
        "it is W Wᵀ.": (lambda delta, x, W: torch.outer(W.T @ W @ delta, x) + W,),
        "not its transpose": (lambda delta, x, W: torch.outer(W @ W.T @ delta, x) + W.T,),
        "inverse of itself": (lambda delta, x, W: torch.outer(W @ W.T @ delta, x) + torch.eye(len(W)),),
        "changed places": (lambda delta, x, W: torch.outer(W @ W.T @ x, delta) + W,),
    },
}
