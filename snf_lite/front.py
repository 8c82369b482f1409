"""Fixed maps in front of a model, set from the data once and never trained: whitening, and whitening pixel by pixel.

The paper has neither. They are where the fast schedule of ``reproduce`` begins; their log-determinants are counted.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from snf_lite.layer import FlowLayer
from snf_lite.linalg import dense_matrix
from snf_lite.linalg.dense_matrix import principal_axes
from snf_lite.runtime import checks


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
        if checks.values_are_readable(deviation) and deviation.max() == 0:
            raise ValueError(f"{self.label}: cannot standardise by a batch whose events are all the same.")
        self.mean.copy_(seen.mean(0))
        self.deviation.copy_(deviation.clamp_min(1e-3 * deviation.max()))

    def settings(self) -> dict[str, Any]:
        return {"event_shape": self.event_shape}
