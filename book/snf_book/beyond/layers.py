"""A dense layer whose gradient lies between the paper's and the exact one, in plain autograd, for reading."""

import math

import torch
from torch import Tensor, nn

from snf_lite.dense import DensePair
from snf_lite.layers.preprocessing import Whiten
from snf_lite.runtime.rng import isolated_rng

#: What takes the place of W⁻ᵀ in the gradient of W.
SUBSTITUTES = ("exact", "learned", "corrected")


class BetweenLinear(DensePair):
    """Dense layer with a learned inverse R, in which each part of the paper's gradient can be changed alone.

    With three switches q, each 0 or 1, its gradients are (eq-between)

        W: ½ (δ_z xᵀ + (1 − q₁) W⁻ᵀ + q₁ Rᵀ) − 2λ q₂ Rᵀ(x̂ − x) xᵀ
        R: ½ q₃ (−δ_x (W x)ᵀ − Wᵀ) − 2λ (x̂ − x)(W x)ᵀ.

    With q₁ = q₂ = q₃ = 1 it is the paper's layer, ``SelfNormLinear``; with q₁ = q₂ = 0 it trains W exactly.

    Args:
        features: D, the number of features.
        substitute: what takes the place of W⁻ᵀ: "exact", W⁻ᵀ itself (q₁ = 0); "learned", Rᵀ (q₁ = 1); or "corrected",
            Rᵀ + (u − Rᵀ v) vᵀ, where v are random signs, new at each step, and Wᵀ u = v. The last has the mean W⁻ᵀ.
        weight_penalized: q₂: whether the reconstruction penalty acts on W too, not on R alone.
        likelihood: q₃: whether R also gets the gradient of its own likelihood.
        recon_weight: λ ≥ 0.
        seed: Seed of the probes v, which do not come from torch's global generators: the noise of the data is the
            same with and without them.

    Raises:
        ValueError: the substitute is unknown.
    """

    learned_inverse = True

    def __init__(
        self, features: int, substitute: str = "learned", weight_penalized: bool = True, likelihood: bool = True,
        recon_weight: float = 1.0, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(features)
        if substitute not in SUBSTITUTES:
            raise ValueError(f"{self.label}: expected substitute out of {', '.join(SUBSTITUTES)}, got {substitute!r}.")
        self.substitute, self.weight_penalized, self.likelihood = substitute, weight_penalized, likelihood
        self.recon_weight, self.seed, self._drawn = recon_weight, seed, 0
        self.inverse_weight = nn.Parameter(self.weight.detach().T.clone(memory_format=torch.contiguous_format))

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """z, a term that is zero in value and has the gradients of eq-between, and the penalty."""
        W, R, constant = self.weight, self.inverse_weight, x.detach()
        term, moved = 0.5 * (W * self.substituted()).sum(), x
        if self.likelihood:
            moved = x - 0.5 * (constant @ W.detach().T @ (R - R.detach()).T)  # sends -½ δx (Wx)ᵀ to R
            term = term - 0.5 * (R * W.detach().T).sum()
        z = moved @ (0.5 * W + 0.5 * W.detach()).T + self.bias  # W gets half of δz xᵀ; b and x get all of it
        back = constant @ (W if self.weight_penalized else W.detach()).T @ R.T
        penalty = self.recon_weight * (back - constant).square().sum(1)
        return z, (term - term.detach()).expand(len(x)), penalty

    @torch.no_grad()
    def substituted(self) -> Tensor:
        """What takes the place of W⁻ᵀ (D, D); a new probe at each call."""
        W, R = self.weight, self.inverse_weight
        if self.substitute == "exact":
            return torch.linalg.inv(W).T
        if self.substitute == "learned":
            return R.T
        with isolated_rng("cpu", "gap", "probe", self.seed, self._drawn):
            v = torch.randint(0, 2, (self.features,)).to(W) * 2 - 1
        self._drawn += 1
        return R.T + torch.outer(torch.linalg.solve(W.T, v) - R.T @ v, v)


class ScaledWhiten(Whiten):
    """A fixed whitening times a factor; with ``centered_only``, the mean is subtracted in place of the whitening."""

    def __init__(self, features: int, factor: float = 1.0, centered_only: bool = False) -> None:
        super().__init__(features)
        self.factor, self.centered_only = factor, centered_only

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Set mean and matrix from the batch x (B, D), B > D, whatever ``whiten`` is."""
        super().initialise(x, whiten)
        if self.centered_only:
            self.weight.copy_(torch.eye(self.features))
            self.inverse_weight.copy_(self.weight)
            self.log_det.zero_()
        self.weight.mul_(self.factor)
        self.inverse_weight.div_(self.factor)
        self.log_det.add_(self.features * math.log(self.factor))
