"""The checkers behind the book's exercises: each takes the reader's answer and says what is wrong with it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ScaleGradients = Callable[[Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Verdict:
    """Whether an answer holds, and what to say to the reader; a notebook shows the words."""

    passed: bool
    message: str

    def __repr__(self) -> str:
        return f"{'✓' if self.passed else '✗'} {self.message}"


# ---- A learned inverse, exercise 1: the layer that only scales -------------------------------------------------------


def check_learned_inverse_1(answer: ScaleGradients) -> Verdict:
    """The self-normalised gradients of the layer z = w ⊙ x with learned inverse x̂ = r ⊙ z, for one event.

    ``answer(x, w, r, delta_z, recon_weight)`` takes four vectors (D,) and λ; it gives the gradients by w and by r, (D,)
    each, to ascend (eq-dense-gradients with W = diag w, R = diag r).
    """
    torch.manual_seed(0)
    x, w, r, delta_z = torch.randn(4, 3, dtype=torch.float64)
    try:
        got = answer(x, w, r, delta_z, 0.7)
    except Exception as error:  # the reader's own code may raise anything
        return Verdict(False, f"Your function stopped with {type(error).__name__}: {error}")
    if not isinstance(got, tuple | list) or [getattr(part, "shape", None) for part in got] != [x.shape, x.shape]:
        return Verdict(False, "Give back two tensors of the shape of x: the gradient by w, then the one by r.")
    for name, part, terms in zip("wr", got, _scale_terms(x, w, r, delta_z), strict=True):
        if not torch.allclose(part.double(), sum(terms), atol=1e-9):  # type: ignore[arg-type]
            return Verdict(False, f"The gradient by {name}: {_slip(part.double(), *terms)}")
    return Verdict(True, "Right: both halves, both signs and the reconstruction term are in place.")


def _scale_terms(x: Tensor, w: Tensor, r: Tensor, delta_z: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
    """The data, log-determinant and reconstruction terms (λ = 0.7) of the gradients by w and by r."""
    z = w * x
    miss = r * z - x
    by_w = (0.5 * delta_z * x, 0.5 * r, -1.4 * r * miss * x)
    by_r = (-0.5 * w * delta_z * z, -0.5 * w, -1.4 * miss * z)
    return by_w, by_r


def _slip(got: Tensor, data: Tensor, log_det: Tensor, recon: Tensor) -> str:
    """The words for a known slip, or for an unknown one how far the answer is off."""
    wanted = data + log_det + recon
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(wanted),
        "the sign is turned, this descends; the formula is the gradient to ascend.": -wanted,
        "the likelihood's part lacks its ½; the other half belongs to the partner.": 2 * (data + log_det) + recon,
        "the log-determinant's part has the wrong sign; f multiplies by its stretch, g divides.": wanted - 2 * log_det,
        "the log-determinant's part is missing.": data + recon,
        "the data term has the wrong sign.": wanted - 2 * data,
        "the data term is missing.": log_det + recon,
        "the reconstruction term is missing.": data + log_det,
        "the reconstruction term has the wrong sign; the error is to become smaller.": wanted - 2 * recon,
        "the reconstruction term lacks the 2 that a square leaves behind.": wanted - 0.5 * recon,
    }
    for words, slip in slips.items():
        if torch.allclose(got, slip, atol=1e-9):
            return words
    return f"not yet; the largest difference from the right one is {float((got - wanted).abs().max()):.3g}."


# ---- A learned inverse, exercise 2: errors that hurt and errors that do not ------------------------------------------


def check_learned_inverse_2(W: Tensor, hurts: Any, harmless: Any) -> Verdict:
    """Two errors E for a given W (D, D), R = (I + E) W⁻¹: one of size 1 to 1.1 that points downhill, one of 10 or more
    that points uphill (eq-ascent)."""
    for name, error in (("first", hurts), ("second", harmless)):
        if not isinstance(error, Tensor) or error.shape != W.shape:
            return Verdict(False, f"The {name} error should be a tensor of the shape of W, {tuple(W.shape)}.")
    small, large = (float(torch.linalg.matrix_norm(error.double(), ord=2)) for error in (hurts, harmless))
    if not small <= 1.1:
        return Verdict(False, f"The first error has size {small:.2f}; find one of at most 1.1.")
    if _slope(W, hurts) >= 0:
        return Verdict(False, f"The first error, of size {small:.2f}, still points uphill. What would turn R round?")
    if not large >= 10:
        return Verdict(False, f"The second error has size {large:.2f}; find one of at least 10.")
    if _slope(W, harmless) <= 0:
        return Verdict(False, f"The second error, of size {large:.1f}, does not point uphill. What only lengthens R?")
    return Verdict(True, "Right: the size alone does not decide; below 1 it does.")


def _slope(W: Tensor, error: Tensor) -> float:
    """⟨Rᵀ, W⁻ᵀ⟩ with R = (I + E) W⁻¹."""
    inverse = torch.linalg.inv(W.double())
    identity = torch.eye(len(W), dtype=torch.float64)
    return float((((identity + error.double()) @ inverse) * inverse).sum())
