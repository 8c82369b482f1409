"""Checkers of the chapter *MNIST, dense*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import TOLERANCE, Stopped, Verdict, checker, judge, normal, run, scalar, scalars, tensor

Hours = Callable[[int, int, int, float], Any]
Whitening = Callable[[Tensor], Any]
Direction = Callable[[Tensor, Tensor, Tensor], Any]


@checker
def check_mnist_dense_1(answer: Hours) -> Verdict:
    """The hours of a training: ``answer(epochs, images, batch, milliseconds)``."""
    epochs, images, batch, milliseconds = 70, 1050, 100, 36.0
    got = tensor(run(answer, epochs, images, batch, milliseconds), (), "The hours")
    steps = epochs * math.ceil(images / batch)
    hours = steps * milliseconds / 3.6e6
    slips = {
        "Still the stub, it gives 0.": 0.0,
        "These are seconds.": hours * 3600,
        "These are minutes.": hours * 60,
        "Milliseconds were taken for seconds.": hours * 1000,
        "The last batch of an epoch, which is not full, counts as a part of one; it takes as long as the others.":
            epochs * images / batch * milliseconds / 3.6e6,
        "The last batch of an epoch, which is not full, was left out.":
            epochs * (images // batch) * milliseconds / 3.6e6,
        "This is one epoch.": hours / epochs,
        "An image was taken for a batch.": epochs * images * milliseconds / 3.6e6,
    }  # fmt: skip
    paper = 6000 * 500 * 18.7 / 3.6e6
    praise = f"Right. The paper's dense run took {paper:.1f} hours, for a model that whole chapters train in a minute."
    return judge(got, scalar(hours), scalars(slips), praise)


@checker
def check_mnist_dense_2(answer: Whitening) -> Verdict:
    """C^-1/2 and its log-determinant from a covariance C (D, D): ``answer(C)`` gives both (eq-whitening)."""
    root = normal(5, 5, seed=7)
    C = root @ root.T + 0.3 * torch.eye(5, dtype=torch.float64)
    given = run(answer, C)
    if not isinstance(given, tuple) or len(given) != 2:
        raise Stopped("Return two things, V and its log-determinant.")
    V = tensor(given[0], (5, 5), "V")
    variances, directions = torch.linalg.eigh(C)
    right = directions / variances.sqrt() @ directions.T
    if not torch.allclose(V, right, atol=TOLERANCE, rtol=TOLERANCE):
        identity = torch.eye(5, dtype=C.dtype)
        if torch.allclose(V @ C @ V.T, identity, atol=TOLERANCE):
            words = "This V whitens, and so does any rotation of it; asked for is the symmetric one, C^-1/2."
            return Verdict(False, words)
        of_v = {
            "V is still the stub's, the identity.": identity,
            "V is C^1/2: it makes wide data wider.": directions * variances.sqrt() @ directions.T,
            "V is C⁻¹; its root is asked for.": torch.linalg.inv(C),
            "V has the roots of C's single entries; the root of a matrix is that of its eigenvalues.":
                1 / C.abs().sqrt(),
        }  # fmt: skip
        return judge(V, right, of_v, "", "")
    log_det = tensor(given[1], (), "The log-determinant")
    wanted = -0.5 * variances.log().sum()
    slips = {
        "still the stub.": torch.zeros(()),
        "its sign is turned: V shrinks where the data are wide.": -wanted,
        "this is the log-determinant of C⁻¹; V is its root, half of that.": 2 * wanted,
        "this is the log-determinant of C.": -2 * wanted,
        "this is the determinant, not its logarithm.": wanted.exp(),
    }
    return judge(
        log_det, wanted, slips, "Right. C Vᵀ V = I, and its log-determinant is counted.", "V is right. The other: "
    )


@checker
def check_mnist_dense_3(answer: Direction) -> Verdict:
    """W Wᵀ (δ_z xᵀ + W⁻ᵀ) without an inverse: ``answer(delta, x, W)`` for one example, delta and x (D,)."""
    numbers = torch.Generator().manual_seed(3)
    delta, x = torch.randn(2, 4, dtype=torch.float64, generator=numbers)
    W = torch.randn(4, 4, dtype=torch.float64, generator=numbers)
    got = tensor(run(answer, delta, x, W), (4, 4), "The direction")
    from_left = torch.outer(W @ W.T @ delta, x)
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(W),
        "the log-determinant's part is missing.": from_left,
        "this is the relative gradient, from the right.": torch.outer(delta, W @ x) @ W + W,
        "this is the exact gradient itself.": torch.outer(delta, x) + torch.linalg.inv(W).T,
        "WᵀW stands on the left; it is W Wᵀ.": torch.outer(W.T @ W @ delta, x) + W,
        "the log-determinant's part is W Wᵀ W⁻ᵀ = W, not its transpose.": from_left + W.T,
        "the log-determinant's part is W Wᵀ W⁻ᵀ = W; I is what W Wᵀ would leave of the inverse of itself.":
            from_left + torch.eye(4, dtype=W.dtype),
        "δ_z and x have changed places.": torch.outer(W @ W.T @ x, delta) + W,
    }  # fmt: skip
    return judge(got, from_left + W, slips, "Right, and uphill: its product with G is ‖WᵀG‖².", "The direction: ")
