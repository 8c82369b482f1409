"""Dense layers z = W x + b: self-normalizing, exact, and with the relative gradient.

The Jacobian is W for every x. With δ_z the derivative of the log-likelihood with respect to z, all later layers
included, the exact gradient of a data point's log-likelihood is

    ∂ log p_f/∂W = δ_z xᵀ + W⁻ᵀ    (eq-jacobi),

and the inverse costs O(D³). With a learned inverse R ≈ W⁻¹, Rᵀ replaces W⁻ᵀ in the gradient of W, and Wᵀ replaces R⁻ᵀ
in that of R, whose likelihood is that of the map x = R (z − b). Half of each likelihood and the reconstruction penalty
give, with δ_x = Wᵀ δ_z and x̂ = R W x,

    W: ½ (δ_z xᵀ + Rᵀ) − 2λ Rᵀ(x̂ − x) xᵀ
    R: ½ (−δ_x (W x)ᵀ − Wᵀ) − 2λ (x̂ − x)(W x)ᵀ    (eq-dense-gradients).

The bias cancels in W x. These are six products of B·D² for a batch, two forward and four backward.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from snf_lite.geco import ReconstructionPenalty
from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix
from snf_lite.linalg.dense_matrix import principal_axes
from snf_lite.linalg.dense_steps import RelativeGradientStep, SelfNormLinearStep
from snf_lite.runtime import checks

#: Approximate spectral norm of the noise that separates a fresh weight from the identity.
INITIAL_NOISE = 0.1


class ConditionedBias(FlowLayer):
    """What layers z = W x + b + A c share, conditioned on a context c (B, K); its log-determinant is that of W.

    A learned inverse gives R (z − b − A c). In R W x both biases cancel, so that the gradients of W and R are those of
    eq-dense-gradients, and A has the gradient Σ δ_z cᵀ.

    Attributes:
        context_weight: A (D, K), zero at first; None without a context.
    """

    context_weight: nn.Parameter | None
    bias: nn.Parameter

    def set_context_of(self, features: int, context_features: int | None) -> None:
        """Make A for D features and K numbers of a context; None: no context."""
        self.set_context(context_features)
        empty = None if context_features is None else nn.Parameter(torch.zeros(features, context_features))
        self.register_parameter("context_weight", empty)

    def shifted(self, z: Tensor, context: Tensor | None) -> Tensor:
        """z + A c."""
        return z if context is None or self.context_weight is None else z + linear(context, self.context_weight)

    def centered(self, z: Tensor, context: Tensor | None) -> Tensor:
        """z − b − A c."""
        z = z - self.bias
        return z if context is None or self.context_weight is None else z - linear(context, self.context_weight)


class DenseLayer(ConditionedBias):
    """What the dense layers share: z = W x + b, its exact log-determinant log|det W| and its exact inverse.

    Attributes:
        weight: W (D, D), at first the identity with a little noise.
        bias: b (D,).
        context_weight: A (D, K), zero at first, with ``context_features`` K: then z = W x + b + A c for a context c.
    """

    def __init__(self, features: int, context_features: int | None = None) -> None:
        super().__init__()
        self.features = checks.positive_integer(features, "features", self.label)
        self.set_context_of(self.features, context_features)
        self.accepted_shape = (self.features,)
        noise = torch.randn(features, features) * (INITIAL_NOISE / (2 * features**0.5))
        self.weight = nn.Parameter(torch.eye(features) + noise)
        self.bias = nn.Parameter(torch.zeros(features))
        self._factor: dense_matrix.WeightCache[dense_matrix.Factor] = dense_matrix.WeightCache()

    def transform(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.shifted(linear(x, self.weight, self.bias), context), self.log_abs_det().expand(len(x))

    def log_abs_det(self) -> Tensor:
        """log|det W| in nats; differentiable, or cached where no gradient is needed. O(D³)."""
        if dense_matrix.gradient_wanted(self.weight) or not checks.is_eager(self.weight):
            return dense_matrix.log_abs_det(self.weight, self.label)
        return self.factor().log_abs_det

    @torch.no_grad()
    def factor(self) -> dense_matrix.Factor:
        """The LU factorization of W, computed again when W has changed."""
        return self._factor.get(self.weight, lambda: dense_matrix.factor(self.weight, self.label))

    def invert(self, z: Tensor, exact: bool, context: Tensor | None = None) -> Tensor:
        centered = self.centered(z, context)
        if dense_matrix.gradient_wanted(centered, self.weight):
            self.factor()  # refuses a singular W by name
            return torch.linalg.solve(self.weight, centered.mT).mT
        return self.factor().solve(centered)

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """With ``whiten``: W = cov^-1/2 of the batch x, b = -W·mean, so that z has mean 0 and covariance I."""
        if whiten:
            self.whiten(*principal_axes(x, self.label))

    def whiten(self, mean: Tensor, deviations: Tensor, directions: Tensor) -> None:
        """Set W and b from the results of ``principal_axes``."""
        self.weight.copy_(directions / deviations @ directions.mT)
        self.bias.copy_(-(dense_matrix.precise(self.weight) @ mean))

    def clear_cache(self) -> None:
        self._factor.clear()


class ExactLinear(DenseLayer):
    """Dense layer trained with the exact gradient of log|det W|, which is W⁻ᵀ (eq-jacobi).

    A training step costs 3 products of B·D² and one LU factorization with its inverse, O(D³); a sample one solve.

    Args:
        features: D, the number of features.
        context_features: K, the number of features of a context c (B, K): z = W x + b + A c; None: no context.

    Raises:
        NotInvertibleError: W is singular.

    Example:
        >>> layer = snf.ExactLinear(3)
        >>> z, log_det = layer(torch.zeros(5, 3))
        >>> torch.allclose(log_det, torch.linalg.slogdet(layer.weight).logabsdet)
        True

    References:
        Keller et al., Self Normalizing Flows, ICML 2021, Table 1 (https://arxiv.org/abs/2011.07248).
    """


class DensePair(DenseLayer):
    """What dense layers with R ≈ W⁻¹ beside W share: the inverse R (z − b − A c), and whitening.

    Attributes:
        inverse_weight: R (D, D).
    """

    inverse_weight: Tensor

    def invert(self, z: Tensor, exact: bool, context: Tensor | None = None) -> Tensor:
        return super().invert(z, exact, context) if exact else linear(self.centered(z, context), self.inverse_weight)

    def whiten(self, mean: Tensor, deviations: Tensor, directions: Tensor) -> None:
        """Set W and b, and R = cov^1/2, the exact inverse of W."""
        super().whiten(mean, deviations, directions)
        self.inverse_weight.copy_(directions * deviations @ directions.mT)


class SelfNormLinear(ReconstructionPenalty, DensePair):
    """Dense layer with a learned inverse R ≈ W⁻¹ whose transpose replaces W⁻ᵀ in the gradient (eq-dense-gradients).

    Trained by ``Flow.loss``: six products of B·D², no determinant, inverse or solve. ``log_prob`` stays exact;
    its gradients train the weight alone and leave the learned inverse behind, of which ``Flow.sample`` then warns.

    Args:
        features: D, the number of features.
        recon_weight: Weight λ ≥ 0 of the penalty ‖R W x − x‖², a sum over features.
        tolerance: Mean of ‖R W x − x‖² that λ is adapted to reach (``AdaptiveWeight``); None keeps λ fixed.
        context_features: K, the number of features of a context c (B, K): z = W x + b + A c; None: no context.

    Attributes:
        inverse_weight: R (D, D), at first Wᵀ.

    Raises:
        NotInvertibleError: W is singular, in ``log_prob`` or an exact inverse; ``loss`` needs neither.

    Example:
        >>> layer = snf.SelfNormLinear(3, recon_weight=0.5)
        >>> z, term, penalty = layer.surrogate(torch.randn(5, 3))  # the training pass: no log-determinant
        >>> (z.square().sum() - term.sum() + penalty.sum()).backward()
        >>> layer.inverse(z, exact=False).shape, layer.inverse_weight.grad.shape
        (torch.Size([5, 3]), torch.Size([3, 3]))

    References:
        Keller et al., Self Normalizing Flows, ICML 2021, dense layers (https://arxiv.org/abs/2011.07248).
    """

    def __init__(
        self, features: int, recon_weight: float = 1.0, tolerance: float | None = None,
        context_features: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(features, context_features)
        self.set_penalty(recon_weight, tolerance)
        self.inverse_weight = nn.Parameter(self.weight.detach().T.clone(memory_format=torch.contiguous_format))

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """z, a term with the gradients of eq-dense-gradients, and the penalty, from the fused pass."""
        z, log_det, recon, _, _ = SelfNormLinearStep.apply(x, self.weight, self.inverse_weight, self.bias)
        return self.shifted(z, context), log_det, self.penalty(recon)


def reference_self_norm_linear(x: Tensor, W: Tensor, R: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The self-normalizing training pass of a dense layer (eq-dense-gradients) in plain autograd, for reading.

    The layer uses the fused ``SelfNormLinearStep``, which gives the same gradients in six matrix products.

    Args:
        x: Inputs (B, D).
        W, R: Weights (D, D).
        b: Bias (D,).

    Returns:
        z (B, D); a (B,) term, zero in value, whose gradients are ½Rᵀ for W and -½Wᵀ for R; ‖RWx − x‖², (B,).
    """
    Wx = x.detach() @ W.detach().T
    moved = x - 0.5 * (Wx @ (R - R.detach()).T)  # x in value; sends -½ δx (Wx)ᵀ to R
    z = moved @ (0.5 * W + 0.5 * W.detach()).T + b  # W gets half of δz xᵀ; b and x get all of it
    traces = 0.5 * (W * R.detach().T).sum() - 0.5 * (R * W.detach().T).sum()
    recon = (x.detach() @ W.T @ R.T - x.detach()).square().sum(1)  # the input is stopped: a term of this layer alone
    return z, (traces - traces.detach()).expand(len(x)), recon


class RelativeGradientLinear(DenseLayer):
    """Dense layer trained with the relative gradient: the exact gradient times WᵀW from the right (eq-relative).

    The log-determinant's part W⁻ᵀ becomes W, so that a training step needs no determinant, inverse or solve and costs
    O(B·D²). The direction is an ascent direction, not the gradient. No inverse is learned: samples need a solve.

    Args:
        features: D, the number of features.
        context_features: K, the number of features of a context c (B, K): z = W x + b + A c; None: no context.

    Raises:
        NotInvertibleError: W is singular, in ``log_prob`` or the inverse.

    Example:
        >>> layer = snf.RelativeGradientLinear(3)
        >>> z, term, _ = layer.surrogate(torch.zeros(1, 3))
        >>> term.sum().backward()  # leaves W in place of the inverse transpose of W
        >>> torch.equal(layer.weight.grad, layer.weight)
        True

    References:
        Gresele et al., Relative gradient optimization of the Jacobian term in unsupervised deep learning, NeurIPS 2020
        (https://arxiv.org/abs/2006.15090).
    """

    def surrogate(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """A training pass that leaves δ_z (Wx)ᵀ W + W on the weight, summed over the batch (eq-relative)."""
        z, log_det, _ = RelativeGradientStep.apply(x, self.weight, self.bias)
        return self.shifted(z, context), log_det, None
