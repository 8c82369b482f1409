"""The checkers behind the book's exercises: each takes the reader's function and says what is wrong with its answer."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

GradientOfR = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Verdict:
    """Whether an answer holds, and what to say to the reader; a notebook shows the words."""

    passed: bool
    message: str

    def __repr__(self) -> str:
        return f"{'✓' if self.passed else '✗'} {self.message}"


def gradient_of_r(x: Tensor, W: Tensor, R: Tensor, delta_z: Tensor, recon_weight: float) -> Tensor:
    """½(-δx (Wx)ᵀ - Wᵀ) - 2λ (x̂-x)(Wx)ᵀ for one event (eq-dense-gradients): the solution of exercise 1."""
    code = W @ x
    data = 0.5 * (-torch.outer(W.T @ delta_z, code) - W.T)
    return data - 2 * recon_weight * torch.outer(R @ code - x, code)


def check_learned_inverse_1(answer: GradientOfR) -> Verdict:
    """Exercise 1 of *A learned inverse*: the gradient of the objective with respect to R, for one event.

    ``answer(x, W, R, delta_z, recon_weight)`` takes x and δz (D,), W and R (D, D) and λ, and gives (D, D), to ascend.
    """
    torch.manual_seed(0)
    x, delta_z = torch.randn(2, 3, dtype=torch.float64)
    W, R = torch.randn(2, 3, 3, dtype=torch.float64)
    try:
        got = answer(x, W, R, delta_z, 0.7)
    except Exception as error:  # the reader's own code may raise anything
        return Verdict(False, f"Your function stopped with {type(error).__name__}: {error}")
    if not isinstance(got, Tensor) or got.shape != R.shape:
        described = f"shape {tuple(got.shape)}" if isinstance(got, Tensor) else type(got).__name__
        return Verdict(False, f"The gradient has the shape of R, (3, 3); yours is a {described}.")
    wanted = gradient_of_r(x, W, R, delta_z, 0.7)
    if torch.allclose(got.double(), wanted, atol=1e-9):
        return Verdict(True, "Right: both substitutions, the half and the reconstruction term are in place.")
    return Verdict(False, _typical_error(got.double(), wanted, (x, W, R, delta_z)))


def _typical_error(got: Tensor, wanted: Tensor, drawn: tuple[Tensor, Tensor, Tensor, Tensor]) -> str:
    """The words for a known slip, or for an unknown one how far the answer is off."""
    x, W, R, delta_z = drawn
    code = W @ x
    log_det, data = -0.5 * W.T, -0.5 * torch.outer(W.T @ delta_z, code)
    recon = -1.4 * torch.outer(R @ code - x, code)
    slips = {
        "This is still the stub: it gives zeros.": torch.zeros_like(wanted),
        "The sign is turned: this descends. The formula is the gradient to ascend.": -wanted,
        "The likelihood's part lacks its ½: the other half belongs to f.": 2 * (log_det + data) + recon,
        "The log-determinant's part should be the transpose of W.": data + recon - 0.5 * W,
        "The log-determinant's part has the sign of f; g divides by its volume, so it is -Wᵀ.": data + recon - log_det,
        "The log-determinant's part is missing.": data + recon,
        "The reconstruction term is missing.": log_det + data,
        "The reconstruction term lacks the 2 that a square leaves behind.": log_det + data + 0.5 * recon,
        "The data term has δz where δx = Wᵀδz belongs.": log_det + recon - 0.5 * torch.outer(delta_z, code),
        "The data term has x where the code Wx belongs.": log_det + recon - 0.5 * torch.outer(W.T @ delta_z, x),
    }
    for words, slip in slips.items():
        if torch.allclose(got, slip, atol=1e-9):
            return words
    return f"Not yet: the largest difference from the right matrix is {float((got - wanted).abs().max()):.3g}."
