"""Preprocessing: dequantization, logit, and fixed maps set once from the data (whitening, standardizing).

The paper has no whitening and no standardizing; the fast schedule of ``reproduce`` starts from them. The
log-determinant of every layer counts towards the likelihood.
"""

import math

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import linear

from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix
from snf_lite.linalg.dense_matrix import principal_axes
from snf_lite.runtime import checks


class Dequantize(FlowLayer):
    """Uniform dequantization x → (x + u) / levels, u ~ U[0, 1), from pixels 0 … levels-1 to numbers in [0, 1).

    log|det| = -D log levels nats (eq-dequantise). uint8 pixels get fresh noise from torch's global generator. Floats
    are points of the continuous density on [0, levels]^D, which include their noise: none is added. The inverse gives
    uint8 pixels.

    Args:
        levels: Number of values of a pixel, 2 … 256: 256, or 17 for the digits.

    Raises:
        ValueError: a pixel is outside of 0 … levels-1, or a float outside of [0, levels].
        TypeError: the input is neither uint8 nor of the flow's dtype.

    Example:
        >>> z, log_det = snf.Dequantize(17)(torch.full((1, 2), 16, dtype=torch.uint8))
        >>> bool((z < 1).all()), torch.allclose(log_det, -2 * torch.tensor(17.0).log())
        (True, True)

    References:
        Theis et al., A note on the evaluation of generative models, ICLR 2016, section 3.1
        (https://arxiv.org/abs/1511.01844).
    """

    scale: Tensor

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        self.levels = checks.integer(levels, "levels", self.label, at_least=2, at_most=256, wanted="from 2 to 256")
        # A buffer only to follow .to(): noisy pixels have its dtype.
        self.register_buffer("scale", torch.tensor(1.0 / levels), persistent=False)

    def restore_constants(self, like: Tensor) -> None:
        self.scale = torch.full((), 1.0 / self.levels, dtype=like.dtype, device=like.device)

    def check_dtype(self, x: Tensor) -> None:
        if x.dtype != torch.uint8 and x.dtype != self.scale.dtype:
            raise TypeError(f"{self.label}: expected uint8 pixels, or {self.scale.dtype} points, got {x.dtype}.")

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z, and -D log levels in nats (eq-dequantise)."""
        noisy, top = x, self.levels
        if x.dtype == torch.uint8:  # u is so far below 1 that x + u cannot round up to the next pixel
            below_one = 1 - self.levels * torch.finfo(self.scale.dtype).eps
            noisy, top = x + torch.rand_like(x, dtype=self.scale.dtype).clamp_max(below_one), self.levels - 1
        if x.numel() and checks.is_eager(x) and (x.max().item() > top or x.min().item() < 0):
            raise ValueError(f"{self.label}: expected pixels from 0 to {top}, got {x.min():g} to {x.max():g}.")
        log_det = -math.prod(x.shape[1:]) * math.log(self.levels)
        return noisy / self.levels, torch.full((len(x),), log_det, dtype=self.scale.dtype, device=x.device)

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return (z * self.levels).floor().clamp(0, self.levels - 1).to(torch.uint8)


class Logit(FlowLayer):
    """x → log(p / (1-p)), p = α + (1-2α) x: from [0, 1] to the real line, element-wise (eq-logit).

    log|det| = Σ log(1-2α) - log p - log(1-p) nats.

    Args:
        alpha: Distance α in (0, ½) of p from 0 and 1.

    Raises:
        ValueError: α is not in (0, ½), or a number of x not in [0, 1].

    Example:
        >>> snf.Logit(0.05)(torch.tensor([[0.5, 0.5]]))[0]
        tensor([[0., 0.]])

    References:
        Dinh et al., Density estimation using Real NVP, ICLR 2017, section 4.1 (https://arxiv.org/abs/1605.08803).
    """

    #: The numbers that the layer takes, for ``Flow.distribution``.
    support = constraints.unit_interval

    def __init__(self, alpha: float = 1e-6) -> None:
        super().__init__()
        self.alpha = checks.number_between(alpha, 0, 0.5, "alpha", self.label)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and its log-determinant (eq-logit)."""
        if x.numel() and checks.is_eager(x) and (x.max().item() > 1 or x.min().item() < 0):
            raise ValueError(f"{self.label}: expected numbers in [0, 1], got {float(x.min())} to {float(x.max())}.")
        squeeze = 1 - 2 * self.alpha
        # 1-p from 1-x, not from p: near x = 1 the difference of two rounded numbers would lose its digits
        log_p, log_q = (self.alpha + squeeze * x).log(), (self.alpha + squeeze * (1 - x)).log()
        return log_p - log_q, (math.log(squeeze) - log_p - log_q).flatten(1).sum(1)

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return ((torch.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)).clamp(0, 1)


class Whiten(FlowLayer):
    """z = V (x - mean) with V = cov^-1/2 of the batch seen by ``initialise`` (eq-whitening); before, the identity.

    log|det V| = -Σ log of the standard deviations along the principal axes, in nats. Nothing is trained: a step costs
    one product of B·D². The layers behind it get latents of mean 0 and covariance I.

    Args:
        features: D, the number of features.

    Raises:
        ValueError: ``initialise`` got D data points or fewer, or equal ones.

    Example:
        >>> layer = snf.Whiten(2)
        >>> x = torch.randn(100, 2) * torch.tensor([1.0, 5.0])
        >>> layer.initialise(x, whiten=False)
        >>> torch.allclose(torch.cov(layer(x)[0].T), torch.eye(2), atol=1e-4)
        True

    References:
        Kessy et al., Optimal whitening and decorrelation, 2018 (https://arxiv.org/abs/1512.00809): ZCA.
    """

    weight: Tensor
    inverse_weight: Tensor
    mean: Tensor
    log_det: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = checks.positive_integer(features, "features", self.label)
        self.accepted_shape = (self.features,)
        self.register_buffer("weight", torch.eye(features))
        self.register_buffer("inverse_weight", torch.eye(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("log_det", torch.zeros(()))

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return linear(x - self.mean, self.weight), self.log_det.expand(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return linear(z, self.inverse_weight) + self.mean

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Set mean and V from the batch x (B, D), B > D, whatever ``whiten`` is (eq-whitening)."""
        mean, deviations, directions = principal_axes(x, self.label)
        self.mean.copy_(mean)
        self.weight.copy_(directions / deviations @ directions.mT)
        self.inverse_weight.copy_(directions * deviations @ directions.mT)
        self.log_det.copy_(-deviations.log().sum())


class Standardize(FlowLayer):
    """z = (x - mean) / deviation, element-wise, of the batch seen by ``initialise``; before, the identity.

    log|det| = -Σ log deviation nats. Nothing is trained.

    Args:
        event_shape: The event shape: (C, H, W) for images.
        floor: Lowest deviation as a fraction of the largest. 0 for the columns of a table, whose units differ: only
            constant columns are then left unscaled.

    Raises:
        ValueError: ``initialise`` got fewer than two data points, or equal ones.

    Example:
        >>> layer = snf.Standardize((2,))
        >>> layer.initialise(torch.tensor([[0.0, 0.0], [2.0, 4.0]]), whiten=False)
        >>> layer.mean
        tensor([1., 2.])
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, event_shape: tuple[int, ...], floor: float = 1e-3) -> None:
        super().__init__()
        self.event_shape = self.accepted_shape = checks.shape_tuple(event_shape, "event_shape", self.label)
        self.floor = checks.non_negative(floor, "floor", self.label)
        self.register_buffer("mean", torch.zeros(self.event_shape))
        self.register_buffer("deviation", torch.ones(self.event_shape))

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.mean) / self.deviation, -self.deviation.log().sum().expand(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return z * self.deviation + self.mean

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Set mean and deviation from the batch x (B, *event_shape), B ≥ 2, whatever ``whiten`` is.

        Deviations below ``floor`` times the largest are raised to it, as by ``Whiten``. With ``floor`` 0 a deviation of
        0, or of the rounding of its mean, counts as 1.
        """
        if len(x) < 2:
            raise ValueError(f"{self.label}: expected a batch of at least 2 data points to standardize, got {len(x)}.")
        precise = dense_matrix.precise(x)
        deviation = precise.std(0)
        if checks.is_eager(deviation) and deviation.max() == 0:
            raise ValueError(f"{self.label}: cannot standardize a batch whose data points are all the same.")
        mean = precise.mean(0)
        if self.floor == 0:
            rounding = torch.finfo(x.dtype).eps * mean.abs()
            deviation = torch.where(deviation > rounding, deviation, 1.0)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation.clamp_min(self.floor * deviation.max()))
