"""Free-form flows: f and g are any two networks of one dimension, and g learns to invert f.

Nothing in f is made invertible by construction, and log|det J_f| has no closed form. Training needs its gradient alone,
tr(J_f⁻¹ ∂J_f), which ``surrogate`` estimates from products of vectors with the Jacobians of f and g: with J_g in place
of J_f⁻¹ as published (eq-general), or corrected, without bias (eq-corrected-trace).

The penalty λ ‖g(f(x)) − x‖² has to train f as well as g here. A network can fold the plane: then several x have one z,
each counts the density of that z as its own, and the "likelihood" rises while p integrates to more than one
(eq-folds). Where g(f(x)) = x at the data, they have latents of their own.

The exact log-determinant is that of the Jacobian from automatic differentiation, D products and O(D³) for each data
point; the exact inverse is found by Newton's method, which starts at g(z) and solves for its steps by the same
iteration, with J_g as preconditioner.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import vjp

from snf_lite.geco import ReconstructionPenalty
from snf_lite.linalg.dense_matrix import gradient_wanted
from snf_lite.linalg.krylov import bicgstab, norms
from snf_lite.runtime import checks
from snf_lite.surrogate import MOST_FEATURES, Map, estimate, jacobian, unsolved_text

#: Numbers of the Jacobians that are held at a time where no gradient is needed.
HELD = 2**24
#: Newton steps of an exact inverse, and relative residual to which each is solved.
STEPS, FORCING = 40, 1e-3


class FreeForm(ReconstructionPenalty):
    """A layer of two networks: z = f(x), and g ≈ f⁻¹ learned beside it.

    ``loss`` needs a few products for each of the ``probes``, whatever D is. ``log_prob`` needs the Jacobian: D products
    with f in a batch. It is exact for an f that is one-to-one, which no such layer guarantees: the sign of det J_f is
    the same everywhere if it is, and evaluation warns where it is not.

    Args:
        f, g: Modules (B, ...) → (B, ...) that keep the shape and treat the data points of a batch independently: no
            batch normalization. With ``context_features`` they take the context (B, K) as a second argument.
        probes: Number n of random signs in the estimate of the trace; None, or D ≤ n: the exact trace in D products.
        correct: Relative residual to which J_fᵀ u = v is solved for each probe v, as in ``self_norm_log_det``; None:
            J_g replaces J_f⁻¹ as published, which leaves a bias.
        recon_weight: Weight λ ≥ 0 of the penalty ‖g(f(x)) − x‖², a sum over features.
        penalize_f: Whether the penalty trains f too; False lets f fold the space.
        context_features: K, the number of features of a context c (B, K); None: no context.

    Attributes:
        iterations: Iterations of the solve in the last training pass that needed most.
        unsolved: Data points so far for which 20 iterations did not suffice: each was eliminated, O(D³), for D up to
            1024.

    Raises:
        ValueError: ``forward`` for D above 1024, where no Jacobian is built. ``NotInvertibleError``: the exact inverse
            is not found.
        FloatingPointError: J_f is singular.

    Example:
        >>> bend = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LeakyReLU(0.5), torch.nn.Linear(2, 2))
        >>> flow = snf.Flow([snf.FreeForm(bend, torch.nn.Linear(2, 2))], (2,))
        >>> flow.loss(torch.randn(5, 2)).backward()
        >>> flow.log_prob(torch.zeros(5, 2)).shape, flow.sample(3).shape
        (torch.Size([5]), torch.Size([3, 2]))

    References:
        Draxler et al., Free-form flows: make any architecture a normalizing flow, AISTATS 2024
        (https://arxiv.org/abs/2310.16624), for the published objective.
    """

    def __init__(
        self, f: nn.Module, g: nn.Module, probes: int | None = 4, correct: float | None = 1e-3,
        recon_weight: float = 10.0, penalize_f: bool = True, context_features: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.f, self.g = checks.modules([f, g], self.label)
        self.probes = None if probes is None else checks.positive_integer(probes, "probes", self.label)
        self.correct = None if correct is None else checks.number_between(correct, 0, 1, "correct", self.label)
        self.penalize_f = checks.boolean(penalize_f, "penalize_f", self.label)
        self.set_penalty(recon_weight, None)
        self.set_context(context_features)
        self.iterations = self.unsolved = 0
        self._warned_of_folds = False

    def transform(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        features = math.prod(x.shape[1:])
        if features > MOST_FEATURES:
            raise ValueError(
                f"{self.label}: expected at most {MOST_FEATURES} features for an exact log-determinant, whose Jacobian "
                f"has D² numbers for each data point, got {features}; train by loss, sample by exact=False."
            )
        size = len(x) if gradient_wanted(x, *self.f.parameters()) else max(1, HELD // features**2)
        parts = [jacobian(f, some, self.label) for f, some in self._in_parts(x, size, *context)]
        signs, log_dets = zip(*(torch.linalg.slogdet(matrices) for _, matrices in parts), strict=True)
        if checks.is_eager(x) and not torch.is_grad_enabled() and not self._warned_of_folds:
            self._warn_of_folds(torch.cat(signs))
        return torch.cat([z for z, _ in parts]), torch.cat(log_dets)

    def _warn_of_folds(self, signs: Tensor) -> None:
        """Warn once that f folds the space, from the signs (B,) of det J_f: between two signs it passes zero."""
        negative = int((signs < 0).sum())
        if 0 < negative < len(signs):
            self._warned_of_folds = True
            checks.warn(
                f"{self.label}: det J_f is negative at {negative} of {len(signs)} data points and positive at the "
                "others: f is not one-to-one, and log_prob is too high. Train with penalize_f=True and a larger "
                "recon_weight."
            )

    def _in_parts(self, x: Tensor, size: int, *context: Tensor) -> Iterator[tuple[Map, Tensor]]:
        """f with the context of some data points, and these data points."""
        for start in range(0, max(1, len(x)), max(1, size)):
            own = [c[start : start + size] for c in context]
            yield (lambda some, own=own: self.f(some, *own)), x[start : start + size]  # type: ignore[misc]

    def surrogate(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """z, a term (B,) with the estimated gradient of log|det J_f|, and the penalty, of one pass (eq-free-form)."""
        f, g = (lambda some: self.f(some, *context)), (lambda some: self.g(some, *context))
        whole = self.probes is None or x[0:1].numel() <= self.probes
        with checks.without_autocast(x):  # half precision has fewer digits than ``correct`` asks for
            if whole and self.correct is not None:  # D products build J_f, fewer than an iteration for each direction
                z, log_det = self.transform(x, *context)
                return z, log_det, self._penalty(f, g, x, None if self.penalize_f else g(z.detach()))
            found = estimate(f, g, x, None if whole else self.probes, self.correct, self.label)
        if checks.is_eager(x):
            self.iterations = found.iterations
            if found.unsolved and not self.unsolved:
                checks.warn(unsolved_text(found, self.label))
            self.unsolved += found.unsolved
        return found.z, found.term, self._penalty(f, g, x, found.back)

    def _penalty(self, f: Map, g: Map, x: Tensor, back: Tensor | None) -> Tensor:
        """λ ‖g(f(x)) − x‖², which trains g, and f with ``penalize_f``; x is stopped: a term of this layer alone.

        back: g(f(x)) whose gradient reaches g alone, for a layer without ``penalize_f``.
        """
        with checks.without_autocast(x):
            if self.penalize_f or back is None:
                back = g(f(x.detach()))
        return self.penalty((back - x.detach()).flatten(1).square().sum(1))

    def invert(self, z: Tensor, exact: bool, *context: Tensor) -> Tensor:
        if not exact:
            return self.g(z, *context)
        f, g = (lambda x: self.f(x, *context)), (lambda z: self.g(z, *context))
        x = self._newton(f, g, z)
        if not gradient_wanted(z, *self.f.parameters(), *context):
            return x
        z_again, matrices = jacobian(f, x, self.label)
        # zero up to rounding, with the gradients of the inverse: J⁻¹ for z, −J⁻¹ ∂f for parameters and context
        step = torch.linalg.solve(matrices.detach(), (z - z_again).flatten(1)[..., None])
        return x + step.reshape(x.shape)

    @torch.no_grad()
    def _newton(self, f: Map, g: Map, z: Tensor) -> Tensor:
        """x with f(x) = z, by Newton's method from g(z) with the step halved where the residual does not fall."""
        eager, precision = checks.is_eager(z), torch.finfo(z.dtype).eps
        x = g(z)
        error = z - f(x)
        size, left = 1 + norms(z), norms(error)
        share, near = torch.ones_like(left), precision**0.625 * size  # 1.6e-10 in float64, 5e-5 in float32
        for _ in range(STEPS):
            active = (left > 4 * precision * size) & (share > 1e-3)
            if eager and not bool(active.any()):
                break
            moved = x + share * active * self._step(f, g, x, z, error * active)
            again = z - f(moved)
            better = norms(again) < left  # False for NaN
            x, error = torch.where(better, moved, x), torch.where(better, again, error)
            left = norms(error)
            share = torch.where(better, (2 * share).clamp_max(1.0), share / 2 * (left > near))  # near: rounding
        failed = left > near
        if eager and bool(failed.any()):
            raise checks.NotInvertibleError(
                f"{self.label}: no x with f(x) = z was found for {int(failed.sum())} of {len(z)} latents, ‖f(x) − z‖ "
                f"is up to {float(left.max()):.1e} after {STEPS} Newton steps from g(z): f is not one-to-one there or "
                "does not reach z. Use exact=False, or train for longer."
            )
        return x

    def _step(self, f: Map, g: Map, x: Tensor, z: Tensor, error: Tensor) -> Tensor:
        """dx with J_f dx = error: by the iteration, or by elimination where it cannot stop by itself."""
        if not checks.is_eager(x):
            return torch.linalg.solve(jacobian(f, x, self.label)[1], error.flatten(1)[..., None]).reshape(x.shape)
        return bicgstab(_pushforward(f, x), error, _pushforward(g, z), FORCING, 20).x


def _pushforward(f: Map, x: Tensor) -> Map:
    """v ↦ J_f v at x, the derivative of u ↦ J_fᵀ u: ``torch.func.jvp`` has no rule for some operations."""
    z, pull = vjp(f, x)[:2]
    push = vjp(lambda u: pull(u)[0], torch.zeros_like(z))[1]
    return lambda v: push(v)[0]


class ResidualMap(nn.Module):
    """x + Σ_k N_k(x_k): residual blocks of two hidden layers each, the identity at first.

    Args:
        features: D.
        hidden: Width of the hidden layers.
        blocks: Number of blocks.
        context_features: K numbers that each block takes besides x_k.
    """

    def __init__(self, features: int, hidden: int, blocks: int, context_features: int = 0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for _ in range(blocks):
            last = nn.Linear(hidden, features)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            inner = [nn.Linear(features + context_features, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()]
            self.blocks.append(nn.Sequential(*inner, last))

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(torch.cat([x, *context], 1))
        return x


class ResidualFreeForm(FreeForm):
    """``FreeForm`` of two residual networks of one architecture, both the identity at first, so that g = f⁻¹.

    Args:
        features: D, the number of features.
        hidden: Width of the two hidden layers of a block.
        blocks: Number of residual blocks of each network.
        probes, correct, recon_weight, penalize_f, context_features: As for ``FreeForm``.

    Raises the errors of ``FreeForm``.

    Example:
        >>> layer = snf.ResidualFreeForm(3, hidden=16)
        >>> z, log_det = layer(torch.randn(5, 3))
        >>> torch.allclose(z, layer.inverse(z, exact=False), atol=1e-6), bool((log_det.abs() < 1e-6).all())
        (True, True)
    """

    def __init__(
        self, features: int, hidden: int = 64, blocks: int = 4, probes: int | None = 4, correct: float | None = 1e-3,
        recon_weight: float = 10.0, penalize_f: bool = True, context_features: int | None = None,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        for size, key in ((features, "features"), (hidden, "hidden"), (blocks, "blocks")):
            checks.positive_integer(size, key, name)
        known = 0 if context_features is None else checks.positive_integer(context_features, "context_features", name)
        f, g = (ResidualMap(features, hidden, blocks, known) for _ in range(2))
        super().__init__(f, g, probes, correct, recon_weight, penalize_f, context_features)
        self.features, self.hidden, self.blocks = features, hidden, blocks
        self.accepted_shape = (features,)
