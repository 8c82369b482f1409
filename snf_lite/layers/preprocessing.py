"""Before the trained layers: dequantization, logit, and fixed maps set once from the data (whitening, standardizing).

The paper has no whitening. It is where the fast schedule of ``reproduce`` begins; its log-determinant is counted.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix
from snf_lite.linalg.dense_matrix import principal_axes
from snf_lite.runtime import checks


class Dequantize(FlowLayer):
    """Uniform dequantisation x → (x + u) / levels, u ~ U[0, 1), from pixels 0 … levels-1 to numbers in [0, 1).

    log|det| = -D log levels nats (eq-dequantise). uint8 pixels get fresh noise from torch's global generator. Floats
    are taken as points of the continuous density on [0, levels]^D, noise included already: they pass without any.
    The inverse gives pixels again, uint8.

    Args:
        levels: how many values a pixel takes: 256, or 17 for the digits; 2 … 256.
    """

    scale: Tensor

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        self.levels = checks.integer(levels, "levels", self.label, at_least=2, at_most=256, wanted="from 2 to 256")
        # A buffer only to follow .to(): noisy pixels take its dtype.
        self.register_buffer("scale", torch.tensor(1.0 / levels), persistent=False)

    def check_dtype(self, x: Tensor) -> None:
        if x.dtype != torch.uint8 and x.dtype != self.scale.dtype:
            raise TypeError(f"{self.label}: expected uint8 pixels, or {self.scale.dtype} points, got {x.dtype}.")

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        noisy = x + self._noise(x) if x.dtype == torch.uint8 else x
        self._check_range(x)
        log_det = -math.prod(x.shape[1:]) * math.log(self.levels)
        return noisy / self.levels, torch.full((len(x),), log_det, dtype=self.scale.dtype, device=x.device)

    def _noise(self, x: Tensor) -> Tensor:
        """u in [0, 1) so far below 1 that x + u cannot round up to the next pixel."""
        room = self.levels * torch.finfo(self.scale.dtype).eps
        return torch.rand_like(x, dtype=self.scale.dtype).clamp_max(1 - room)

    def _check_range(self, x: Tensor) -> None:
        top = self.levels - 1 if x.dtype == torch.uint8 else self.levels
        if x.numel() and checks.is_eager(x) and (x.max() > top or x.min() < 0):
            raise ValueError(f"{self.label}: expected pixels from 0 to {top}, got {x.min():g} to {x.max():g}.")

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return (z * self.levels).floor().clamp(0, self.levels - 1).to(torch.uint8)

    def settings(self) -> dict[str, Any]:
        return {"levels": self.levels}


class Logit(FlowLayer):
    """x → log(p / (1-p)), p = α + (1-2α) x: from [0, 1] to the real line, each number for itself (eq-logit).

    log|det| = Σ log(1-2α) - log p - log(1-p).

    Args:
        alpha: α in (0, ½): how far p stays from 0 and 1.
    """

    def __init__(self, alpha: float = 1e-6) -> None:
        super().__init__()
        self.alpha = checks.number_between(alpha, 0, 0.5, "alpha", self.label)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.numel() and checks.is_eager(x) and (x.max() > 1 or x.min() < 0):
            raise ValueError(f"{self.label}: expected numbers in [0, 1], got {float(x.min())} to {float(x.max())}.")
        squeeze = 1 - 2 * self.alpha
        # 1-p from 1-x, not from p: near x = 1 the difference of two rounded numbers would lose its digits
        log_p, log_q = (self.alpha + squeeze * x).log(), (self.alpha + squeeze * (1 - x)).log()
        return log_p - log_q, (math.log(squeeze) - log_p - log_q).flatten(1).sum(1)

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return ((torch.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)).clamp(0, 1)

    def settings(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class Whiten(FlowLayer):
    """z = V (x - mean) with V = cov^-1/2 of the events seen by ``initialise``; before that the identity.

    log|det V| = -Σ log of the standard deviations along the principal axes. Nothing is trained: a step costs one
    product of B·D². Every model behind it starts from codes of mean 0 and covariance I.

    Args:
        features: D.
    """

    weight: Tensor
    inverse_weight: Tensor
    mean: Tensor
    log_det: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = checks.positive_integer(features, "features", self.label)
        self.register_buffer("weight", torch.eye(features))
        self.register_buffer("inverse_weight", torch.eye(features))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("log_det", torch.zeros(()))

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if event_shape != (self.features,):
            raise self.shape_error((self.features,), event_shape)
        return event_shape

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return linear(x - self.mean, self.weight), self.log_det.expand(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return linear(z, self.inverse_weight) + self.mean

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Whiten the batch x (B, D), B > D, whatever ``whiten`` says to the layers that are trained (eq-whitening)."""
        mean, deviations, directions = principal_axes(x, self.label)
        self.mean.copy_(mean)
        self.weight.copy_(directions / deviations @ directions.mT)
        self.inverse_weight.copy_(directions * deviations @ directions.mT)
        self.log_det.copy_(-deviations.log().sum())

    def settings(self) -> dict[str, Any]:
        return {"features": self.features}


class Standardize(FlowLayer):
    """z = (x - mean) / deviation, each number of an event by its own, as ``initialise`` saw them; before, the identity.

    log|det| = -Σ log deviation. Nothing is trained.

    Args:
        event_shape: of the events: (C, H, W) for images.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.event_shape = checks.shape_tuple(event_shape, "event_shape", self.label)
        self.register_buffer("mean", torch.zeros(self.event_shape))
        self.register_buffer("deviation", torch.ones(self.event_shape))

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if event_shape != self.event_shape:
            raise self.shape_error(self.event_shape, event_shape)
        return event_shape

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x - self.mean) / self.deviation, -self.deviation.log().sum().expand(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return z * self.deviation + self.mean

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Take mean and deviation of the batch x (B, *event_shape), B ≥ 2, whatever ``whiten`` says to other layers.

        Deviations below a thousandth of the largest are raised to it, as by ``Whiten``.
        """
        if len(x) < 2:
            raise ValueError(f"{self.label}: expected a batch of at least 2 events to standardise by, got {len(x)}.")
        seen = dense_matrix.precise(x)
        deviation = seen.std(0)
        if checks.is_eager(deviation) and deviation.max() == 0:
            raise ValueError(f"{self.label}: cannot standardise by a batch whose events are all the same.")
        self.mean.copy_(seen.mean(0))
        self.deviation.copy_(deviation.clamp_min(1e-3 * deviation.max()))

    def settings(self) -> dict[str, Any]:
        return {"event_shape": self.event_shape}
