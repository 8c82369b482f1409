"""Checkers of the chapter *A learned inverse*."""

from collections.abc import Callable

import torch
from torch import Tensor

from snf_book.exercises.verdict import Verdict, checker, judge, normal, run, tensor

ScaleGradients = Callable[[Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]


@checker
def check_learned_inverse_1(answer: ScaleGradients) -> Verdict:
    """The self-normalized gradients of the layer z = w ⊙ x with learned inverse x̂ = r ⊙ z, for one example.

    ``answer(x, w, r, delta_z, recon_weight)`` takes four vectors (D,) and λ; it gives the gradients with respect to w
    and r, (D,) each, to ascend (eq-dense-gradients with W = diag w, R = diag r).
    """
    x, w, r, delta_z = normal(4, 3, seed=0)
    got = run(answer, x, w, r, delta_z, 0.7)
    if not isinstance(got, tuple | list) or len(got) != 2:
        return Verdict(False, "Return two tensors of the shape of x: the derivatives with respect to w, then to r.")
    praise = "Right: both halves, both signs and the reconstruction term are in place."
    z = w * x
    miss = r * z - x
    by_w = (0.5 * delta_z * x, 0.5 * r, -1.4 * r * miss * x)
    by_r = (-0.5 * w * delta_z * z, -0.5 * w, -1.4 * miss * z)
    for name, part, (data, log_det, recon) in zip("wr", got, (by_w, by_r), strict=True):
        what, wanted = f"The gradient with respect to {name}", data + log_det + recon
        slips = {
            "still the stub, it gives zeros.": torch.zeros_like(wanted),
            "the sign is turned, this descends; the formula is the gradient to ascend.": -wanted,
            "the likelihood's part lacks its ½; the other half belongs to the partner.": 2 * (data + log_det) + recon,
            "the log-determinant's part has the wrong sign; f multiplies by its stretch, g divides.":
                wanted - 2 * log_det,
            "the log-determinant's part is missing.": data + recon,
            "the data term has the wrong sign.": wanted - 2 * data,
            "the data term is missing.": log_det + recon,
            "the reconstruction term is missing.": data + log_det,
            "the reconstruction term has the wrong sign; the error is to become smaller.": wanted - 2 * recon,
            "the reconstruction term lacks the 2 that a square leaves behind.": wanted - 0.5 * recon,
        }  # fmt: skip
        verdict = judge(tensor(part, tuple(x.shape), what), wanted, slips, praise, f"{what}: ")
        if not verdict.passed:
            return verdict
    return verdict


@checker
def check_learned_inverse_2(answer: Callable[[Tensor, Tensor], Tensor]) -> Verdict:
    """The exact gradient of log p_g(x) = log N(R⁻¹x; 0, I) − log|det R| with respect to R (eq-two-likelihoods).

    ``answer(x, R)`` takes (D,) and (D, D) and gives (D, D).
    """
    generator = torch.Generator().manual_seed(1)
    x, R = (torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((3,), (3, 3)))
    inverse = torch.linalg.inv(R)
    y = inverse @ x
    data, log_det = inverse.T @ torch.outer(y, y), -inverse.T
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(R),
        "the log-determinant's part is missing.": data,
        "the part of the latent is missing; y moves when R does.": log_det,
        "the log-determinant's part has the wrong sign; g divides by its stretch.": data - log_det,
        "the part of the latent has the wrong sign; δ_y is -y, and y moves by -R⁻¹ dR y.": log_det - data,
        "the sign is turned, this descends.": -data - log_det,
        "it is transposed: the entry in row i, column j belongs to R_ij.": (data + log_det).T,
        "the inverse in front of the outer product is missing.": torch.outer(y, y) + log_det,
        "it has x where the latent y belongs.": inverse.T @ torch.outer(x, x) + log_det,
    }
    praise = "Right: and each of the three inverses in it is what the learned partner replaces."
    return judge(tensor(run(answer, x, R), (3, 3), "The gradient"), data + log_det, slips, praise)


@checker
def check_learned_inverse_3(answer: Callable[[Tensor, float, Callable[[Tensor], Tensor]], Tensor]) -> Verdict:
    """The surrogate g'(f(x)) ∂_θ f'(x) of ∂_θ log f'(x), with f(x) = x + θ tanh x (eq-general on the line).

    ``answer(x, theta, g)`` takes (B,), a number and a map of (B,) to (B,), and gives (B,).
    """
    x, theta = torch.linspace(-1.5, 2.0, 6, dtype=torch.float64), 0.8

    def g(z: Tensor) -> Tensor:
        return 0.6 * z + 0.1 * torch.sin(2 * z)

    def slope(z: Tensor) -> Tensor:
        return 0.6 + 0.2 * torch.cos(2 * z)

    z, bend = x + theta * x.tanh(), 1 - x.tanh().square()
    wanted = slope(z) * bend
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(x),
        "this is the exact gradient; its 1/f'(x) is what the slope of g replaces.": bend / (1 + theta * bend),
        "the slope of g is taken at x; it belongs at the latent f(x).": slope(x) * bend,
        "the slope of g alone: how f' changes with θ is missing.": slope(z),
        "how f' changes with θ alone: the slope of g is missing.": bend,
        "this has f' itself in place of its derivative by θ.": slope(z) * (1 + theta * bend),
        "this has the derivative of f by θ; asked is that of its slope f'.": slope(z) * x.tanh(),
        "g itself in place of its slope.": g(z) * bend,
        "the sign is turned.": -wanted,
    }
    praise = "Right: no division by f' is left."
    return judge(tensor(run(answer, x, theta, g), (6,), "The surrogate"), wanted, slips, praise)
