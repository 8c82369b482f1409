"""A dense layer whose inverse follows the weight by the iteration of Newton and Schulz instead of being learned.

R ≈ W⁻¹ is a buffer. Its transpose stands for W⁻ᵀ in the gradient of log|det W| (eq-jacobi),

    ∂/∂W: δ_z xᵀ + Rᵀ    (eq-tracked-gradient),

three products of B·D² as for a plain linear layer, since Rᵀ is added within one of them. There is no penalty, no λ and
no gradient of R. A step of an optimizer changes W little, so that R stays within the basin ‖I − W R‖ < 1, where
R ← R + R (I − W R) squares the error (eq-newton-schulz): two products of D³ every few steps.
"""

import math
from typing import Any

import torch
from torch import Tensor

from snf_lite.dense import DensePair
from snf_lite.linalg import dense_matrix
from snf_lite.linalg.dense_steps import TrackedLinearStep
from snf_lite.linalg.newton_schulz import inverse_residual, newton_schulz, residual_norm, spectral_norm, start_vector
from snf_lite.runtime import checks

#: ‖I − W R‖₂ from which R is computed by a factorization: beyond 1 the iteration diverges.
BASIN = 0.9
#: ‖I − W R‖₂ from which one iteration is not enough: during training, and for a weight that was written.
FOLLOWING, SETTLING = 0.5, 1e-3
#: Residual along one vector up to which R is left as it is: that of a run that is resumed, and for a written weight.
RESUMED, WRITTEN = 0.5, 1e-4
#: Iterations at most: from ``BASIN`` to rounding it takes ten.
LIMIT = 10


class TrackedLinear(DensePair):
    """Dense layer trained with the exact gradient up to ‖I − W R‖, where R follows W⁻¹ by eq-newton-schulz.

    ``after_step`` counts the steps of the optimizer and brings R up to date. A loop that does not call it trains
    correctly too: the training pass then does the same before it begins. Where W was written from outside (loaded,
    whitened, initialized, pruned), the next training pass or sample checks R and corrects it.

    Within a CUDA graph, and in a compiled loop that does not call ``after_step``, no value can be read: R is then
    updated at every step, and is NaN from ‖I − W R‖ = 0.9 on, so that training stops.

    Args:
        features: D, the number of features.
        every: Number of steps m from one update of R to the next.
        tolerance: ‖I − W R‖₂ in (0, 0.9) beyond which R is updated, in place of ``every``: estimated at each step by
            one step of a power iteration, four products with a vector. None: ``every`` decides.
        context_features: K, the number of features of a context c (B, K): z = W x + b + A c; None: no context.

    Attributes:
        inverse_weight: R (D, D), a buffer; at first W⁻¹.
        steps: Number of steps that R has followed.
        factorizations: Number of steps at which R had left the basin and was computed by a factorization, O(D³).

    Raises:
        NotInvertibleError: W is singular, in ``log_prob``, an exact inverse, or where R is factorized.

    Warns:
        UserWarning: R left the basin, once for a layer.

    Example:
        >>> layer = snf.TrackedLinear(3, every=1)
        >>> optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
        >>> for _ in range(5):
        ...     z, term, _ = layer.surrogate(torch.randn(8, 3))
        ...     (z.square().sum() / 2 - term.sum()).backward()
        ...     optimizer.step()
        ...     layer.after_step()
        >>> (layer.inverse_weight @ layer.weight - torch.eye(3)).abs().max() < 1e-3
        tensor(True)

    References:
        Schulz, Iterative Berechnung der reziproken Matrix, 1933; Ben-Israel & Cohen, On iterative computation of
        generalized inverses and associated projections, 1966.
    """

    learned_inverse = True
    steps: Tensor
    factorizations: Tensor
    direction: Tensor | None

    def __init__(
        self, features: int, every: int = 10, tolerance: float | None = None, context_features: int | None = None
    ) -> None:
        super().__init__(features, context_features)
        self.every = checks.positive_integer(every, "every", self.label)
        self.tolerance = None
        if tolerance is not None:
            self.tolerance = checks.number_between(tolerance, 0, BASIN, "tolerance", self.label)
        self.register_buffer("inverse_weight", self._factorized(self.weight.detach()))
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("factorizations", torch.tensor(0))
        self.register_buffer("direction", None if tolerance is None else start_vector(self.weight.detach()))
        self._awaits_step = False  # a training pass came after the last step that R followed
        self._followed: tuple[int, int] | None = None  # the weight and its version that R belongs to
        self._reported = False

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """z, and a term that is zero in value and has the gradient Rᵀ for W (eq-tracked-gradient); no penalty."""
        if torch.is_grad_enabled() and self.weight.requires_grad:
            self._prepare()
        z, term = TrackedLinearStep.apply(x, self.weight, self.inverse_weight, self.bias)
        return self.shifted(z, context), term, None

    def initialise(self, x: Tensor, whiten: bool) -> None:
        super().initialise(x, whiten)
        self._settle(WRITTEN)

    def invert(self, z: Tensor, exact: bool, context: Tensor | None = None) -> Tensor:
        if not exact and checks.is_eager(self.weight) and self._followed != _version(self.weight):
            self._settle(WRITTEN)
        return super().invert(z, exact, context)

    def _prepare(self) -> None:
        """Let R belong to W before a training pass, whether or not ``after_step`` was called since the last one."""
        if checks.is_eager(self.weight):
            if self._awaits_step:
                self.after_step()
                self._settle(RESUMED)  # there may have been more than a step: a line search, or a written weight
            elif (now := _version(self.weight)) != self._followed:
                written = self._followed is not None and self._followed[0] == now[0]
                self._settle(WRITTEN if written else RESUMED)
        elif checks.under_functorch() or self.weight.is_meta:
            return
        elif self._awaits_step:
            self.after_step()
        self._awaits_step = True

    @torch.no_grad()
    def after_step(self) -> None:
        """Let R follow a step of the optimizer: at every ``every``-th step, or where the residual is too large."""
        W = self.weight.detach()
        if W.is_meta or checks.under_functorch():
            return
        self._awaits_step = False
        self.steps.add_(1)
        with checks.without_autocast(W):
            if not checks.is_eager(W):
                E = inverse_residual(W, self.inverse_weight)
                inside = spectral_norm(E) < BASIN
                self.inverse_weight.copy_(torch.where(inside, newton_schulz(self.inverse_weight, E), math.nan))
                return
            if self._followed is None:  # as after a load, if the training pass is compiled
                self._settle(RESUMED)
            if self._is_due(W) and not self._improve(W, FOLLOWING):
                self.factorizations.add_(1)
                self._report()
        self._followed = _version(self.weight)

    def _is_due(self, W: Tensor) -> bool:
        """Whether R is to be updated at this step."""
        if self.tolerance is None or self.direction is None:
            return int(self.steps) % self.every == 0
        size, self.direction = residual_norm(W, self.inverse_weight, self.direction)
        return not float(size) <= self.tolerance

    @torch.inference_mode(False)
    @torch.no_grad()
    def _settle(self, accepted: float) -> None:
        """Correct R if its residual along one vector is more than ``accepted``."""
        W = self.weight.detach()
        if not checks.is_eager(W):
            return
        with checks.without_autocast(W):
            if not float(residual_norm(W, self.inverse_weight, start_vector(W))[0]) <= accepted:
                self._improve(W, SETTLING)
        self._followed = _version(self.weight)

    def _improve(self, W: Tensor, enough: float) -> bool:
        """Iterate until a residual of at most ``enough`` was squared; False: outside of the basin, R was factorized."""
        R = self.inverse_weight
        for _ in range(LIMIT):
            E = inverse_residual(W, R)
            size = float(E.norm())  # at least the spectral norm
            if not size <= enough:
                size = float(spectral_norm(E))
            inside = size < BASIN
            R = newton_schulz(R, E) if inside else self._factorized(W)
            if not inside or size <= enough:
                break
        self.inverse_weight.data.copy_(R)  # not a new version: a gradient that is still to be computed may use it
        return inside

    def _factorized(self, W: Tensor) -> Tensor:
        """W⁻¹ by a factorization."""
        identity = torch.eye(self.features, dtype=W.dtype, device=W.device)
        return dense_matrix.factor(W, self.label).solve(identity).mT.contiguous()

    def _report(self) -> None:
        """Warn, once, that R left the basin."""
        if not self._reported:
            self._reported = True
            checks.warn(
                f"{self.label}: at step {int(self.steps)} the weight had moved too far from R, its tracked inverse, "
                f"for an iteration (‖I − W R‖ ≥ {BASIN}), and R was computed by a factorization, which costs more; "
                "where that happens often (see factorizations), lower the learning rate or every."
            )

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._followed, self._awaits_step = None, False


def _version(weight: Tensor) -> tuple[int, int]:
    """What changes when a weight is replaced, or written other than by a fused optimizer or through ``.data``."""
    return id(weight), 0 if weight.is_inference() else weight._version
