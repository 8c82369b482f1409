"""A convolution with a learned inverse whose training gradient is exact in the mean (eq-unbiased-taps).

``SelfNormConv2d`` puts flip(r) in place of T(w)⁻ᵀ, and its penalty acts on w too, so that the difference stays small.
Here the difference is estimated from a few random images, without bias, and w takes the whole gradient of the
likelihood: the reconstruction penalty acts on r alone. r only has to make the estimate cheap and precise. It
preconditions the solves, and only what it leaves over is random.
"""

import torch
from torch import Tensor

from snf_lite.conv import LearnedInverseConv
from snf_lite.linalg import toeplitz, unbiased_step
from snf_lite.linalg.convolution import convolve
from snf_lite.linalg.dense_matrix import gradient_wanted
from snf_lite.runtime import checks


class UnbiasedConv2d(LearnedInverseConv):
    """Convolution trained with an unbiased estimate of the gradient of log|det T(w)| (eq-unbiased-taps).

    A training pass takes three convolutions of the batch, as ``nn.Conv2d`` does, and about a dozen of the n probes,
    however large the batch. ``log_prob`` stays exact. For 1×1 kernels ``ExactConv2d`` is as fast, without noise.

    Args:
        channels: C, the number of channels.
        kernel_size: k, odd.
        probes: Number n of random images of signs in a training pass.
        learn_from: What r reconstructs: "noise", the probes (eq-noise-inverse), or "batch", ‖r ⋆ (w ⋆ x) − x‖² with
            w constant, which costs two more convolutions of the batch and gives better samples through r.
        solve_tolerance: Largest residual of a solve, relative to its right-hand side.
        limit: Largest number of BiCGStab iterations. A pass whose solves do not converge takes the exact gradient,
            by elimination, as ``ExactConv2d`` does; the first one warns, and ``fallbacks`` counts them. Inside
            ``torch.compile``, a CUDA graph or vmap, ``unbiased_step.STEPS`` steps are taken without a fall-back:
            ``fallbacks`` counts a pass that did not converge, and the next evaluation warns.
        recon_weight: Weight λ ≥ 0 of the penalty, a sum over all numbers of an image.

    Attributes:
        inverse_weight: r (C, C, k, k), at first flip(w).
        passes: Number of training passes.
        iterations: Sum of the iterations of all passes.
        fallbacks: Number of passes whose solves did not converge.

    Raises:
        NotInvertibleError: T(w) is singular, where the exact log-determinant or inverse is computed.

    Example:
        >>> layer = snf.UnbiasedConv2d(2)
        >>> z, term, penalty = layer.surrogate(torch.randn(5, 2, 8, 8))  # the training pass: no log-determinant
        >>> (z.square().sum() / 2 - term.sum() + penalty.sum()).backward()
        >>> layer.weight.grad.shape, int(layer.passes), int(layer.fallbacks)
        (torch.Size([2, 2, 3, 3]), 1, 0)

    References:
        Hutchinson, A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines, 1989;
        Keller et al., Self Normalizing Flows, ICML 2021, for the learned inverse (https://arxiv.org/abs/2011.07248).
    """

    passes: Tensor
    iterations: Tensor
    fallbacks: Tensor
    residual: Tensor

    def __init__(
        self, channels: int, kernel_size: int = 3, probes: int = 4, learn_from: str = "noise",
        solve_tolerance: float = 1e-3, limit: int = 20, recon_weight: float = 1.0,
    ) -> None:  # fmt: skip
        super().__init__(channels, kernel_size, recon_weight)
        self.probes = checks.positive_integer(probes, "probes", self.label)
        if learn_from not in ("noise", "batch"):
            raise ValueError(f"{self.label}: expected learn_from to be 'noise' or 'batch', got {learn_from!r}.")
        self.learn_from = learn_from
        self.solve_tolerance = checks.number_between(solve_tolerance, 0, 1, "solve_tolerance", self.label)
        self.limit = checks.positive_integer(limit, "limit", self.label)
        for name in ("passes", "iterations", "fallbacks"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.register_buffer("residual", torch.zeros(()), persistent=False)
        self._reported = False

    def restore_constants(self, like: Tensor) -> None:
        self.residual = like.new_zeros(())

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not self._reported and checks.is_eager(x):
            self.report()
        return super().transform(x)

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """z, a term with the gradient of eq-unbiased-taps for w, and the penalty, whose gradient reaches r alone."""
        functorch = checks.under_functorch()
        with checks.without_autocast(x):
            taps, recon = self.estimate(*x.shape[2:])
        z, term = unbiased_step.UnbiasedConvStep.apply(x, self.weight, self.bias, taps, functorch)
        if recon is None:
            wx = z.detach() - self.bias.detach()[:, None, None]
            error = convolve(wx, self.inverse_weight, functorch) - x.detach()
            recon = error.to(z.dtype).square().sum((1, 2, 3))
        return z, term, self.penalty(recon.expand(len(x)))

    def estimate(self, height: int, width: int) -> tuple[Tensor, Tensor | None]:
        """The gradient for w in a training pass, (C, C, k, k), and what the probes' reconstruction adds to the loss."""
        w, r = self.weight.detach(), self.inverse_weight
        trained = gradient_wanted(self.weight)
        probes = unbiased_step.random_signs(self.probes, w, height, width)
        found = unbiased_step.correction(w, r.detach(), probes, self.solve_tolerance, self.limit, solve=trained)
        recon = unbiased_step.recon_from_noise(w, r, found, probes) if self.learn_from == "noise" else None
        if trained and self.count(found):
            with torch.enable_grad():
                leaf = w.clone().requires_grad_()
                (exact,) = torch.autograd.grad(toeplitz.log_abs_det(leaf, height, width, self.label), leaf)
            return exact, recon
        return unbiased_step.taps_of(r.detach(), self.tap_counts(height, width), found, probes), recon

    @torch.no_grad()
    def count(self, found: unbiased_step.Correction) -> bool:
        """Count a training pass; whether it needs the fall-back, which is not asked where no value can be looked at."""
        if checks.under_functorch():
            return False
        missed = ~(found.residual <= self.solve_tolerance)  # NaN is a miss
        self.passes.add_(1)
        self.iterations.add_(found.iterations)
        self.fallbacks.add_(missed)
        self.residual.copy_(found.residual)
        if not checks.is_eager(self.weight) or not bool(missed):
            return False
        if not self._reported:
            self.report()
        return True

    def report(self) -> None:
        """Warn, once, if solves did not converge."""
        if int(self.fallbacks) > 0:
            self._reported = True
            checks.warn(
                f"{self.label}: the probes of {int(self.fallbacks)} of {int(self.passes)} training passes did not "
                f"converge to a residual of {self.solve_tolerance:g}; the last pass left {float(self.residual):.1g}. "
                "In eager mode such a pass takes the exact gradient, as slow as ExactConv2d; compiled it "
                "keeps an estimate with a bias. Lower the learning rate, or raise recon_weight or limit."
            )
