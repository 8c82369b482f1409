"""The monotone rational-quadratic spline."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softmax, softplus

from snf_lite.layer import FlowLayer
from snf_lite.layers.spline_fused import axes_in_memory, fused_spline
from snf_lite.runtime import checks

#: Unnormalized widths, heights and slopes of splines.
Parameters = tuple[Tensor, Tensor, Tensor]


class SplineLayer(FlowLayer):
    """What layers with splines share: monotone rational-quadratic splines on [-bound, bound], one for each number.

    The parameters of a spline of K bins are unnormalized widths and heights (..., K), a softmax of which makes bins,
    none below ``MIN_BIN``, and unnormalized slopes (..., K - 1) at the inner knots, above ``MIN_SLOPE``; the outer two
    slopes are 1. Their leading axes broadcast with the numbers.
    """

    MIN_BIN = 1e-3
    MIN_SLOPE = 1e-3
    #: The unnormalized slope of a fresh spline, which is the identity: softplus of it is 1 - MIN_SLOPE.
    UNIT_SLOPE = math.log(math.expm1(1 - MIN_SLOPE))

    def set_bins(self, bins: int, bound: float) -> None:
        self.bins = checks.positive_integer(bins, "bins", self.label)
        self.bound = checks.number_between(bound, 0, math.inf, "bound", self.label)
        if bins * self.MIN_BIN >= 1:
            raise ValueError(f"{self.label}: expected fewer than {round(1 / self.MIN_BIN)} bins, got {bins}.")

    def spline(self, x: Tensor, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """z, and the log of the slope at each number (eq-spline)."""
        inside = x.abs() < self.bound
        piece = self._piece(torch.where(inside, x, 0.0), self._knots(parameters[0]), parameters)
        z, log_slope = piece.forward(torch.where(inside, x, 0.0))
        return torch.where(inside, z, x), torch.where(inside, log_slope, 0.0)

    def inverse_spline(self, z: Tensor, parameters: Parameters) -> Tensor:
        inside = z.abs() < self.bound
        piece = self._piece(torch.where(inside, z, 0.0), self._knots(parameters[1]), parameters)
        return torch.where(inside, piece.inverse(torch.where(inside, z, 0.0)), z)

    def _knots(self, unnormalized: Tensor) -> Tensor:
        """(*shape, bins + 1): increasing knots from -bound to bound exactly."""
        parts = self.MIN_BIN + (1 - self.MIN_BIN * self.bins) * softmax(unnormalized, dim=-1)
        inner = self.bound * (2 * parts.cumsum(-1)[..., :-1] - 1)
        return pad(pad(inner, (1, 0), value=-self.bound), (0, 1), value=self.bound)

    def _piece(self, value: Tensor, knots: Tensor, parameters: Parameters) -> "Piece":
        """The bin of each number among ``knots``: those of the widths for x, those of the heights for z."""
        index = (value[..., None] >= knots[..., 1:-1]).sum(-1, keepdim=True)
        slopes = pad(self.MIN_SLOPE + softplus(parameters[2]), (1, 1), value=1.0)
        across, up = self._knots(parameters[0]), self._knots(parameters[1])

        def at(table: Tensor, offset: int) -> Tensor:
            return table.expand(*value.shape, -1).gather(-1, index + offset)[..., 0]

        return Piece(at(across, 0), at(across, 1), at(up, 0), at(up, 1), at(slopes, 0), at(slopes, 1))


class RationalQuadraticSpline(SplineLayer):
    """Monotone rational-quadratic spline on [-bound, bound], the identity outside; parameters per number (eq-spline).

    log|det| = Σ log of the slopes, in nats. The fresh layer is the identity. The inverse is analytic: the root of a
    quadratic.

    Args:
        shape: The event shape; each of its numbers has 3·bins - 1 parameters of its own.
        bins: Number of bins K ≥ 1.
        bound: Half the side of the square [-bound, bound]² that holds the spline.

    Attributes:
        widths, heights: (*shape, bins), unnormalized; a softmax makes bins of them, none below ``MIN_BIN``.
        slopes: (*shape, bins - 1), unnormalized slopes at the inner knots, above ``MIN_SLOPE``; 1 at the outer two.

    Raises:
        ValueError: too many bins for ``MIN_BIN``, or a bound that is not positive.

    Example:
        >>> layer = snf.RationalQuadraticSpline((2,), bins=4, bound=3.0)
        >>> z, log_det = layer(torch.tensor([[0.5, 100.0]]))  # fresh: the identity
        >>> torch.allclose(z, torch.tensor([[0.5, 100.0]])), bool(log_det.abs() < 1e-5)
        (True, True)

    References:
        Durkan et al., Neural Spline Flows, NeurIPS 2019, section 3.1 (https://arxiv.org/abs/1906.04032).
    """

    def __init__(self, shape: tuple[int, ...], bins: int = 5, bound: float = 10.0) -> None:
        super().__init__()
        self.shape = self.accepted_shape = checks.shape_tuple(shape, "shape", self.label)
        self.set_bins(bins, bound)
        self.widths = nn.Parameter(torch.zeros(*self.shape, bins))
        self.heights = nn.Parameter(torch.zeros(*self.shape, bins))
        self.slopes = nn.Parameter(torch.full((*self.shape, bins - 1), self.UNIT_SLOPE))

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and Σ log of the slopes, (B,) in nats (eq-spline)."""
        z, log_slope = self.spline(x, (self.widths, self.heights, self.slopes))
        return z, log_slope.flatten(1).sum(1)

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The same z and log-determinant as ``transform``, from the fused pass: faster, differentiable once."""
        if checks.under_functorch():  # the fused pass writes in place, which torch.func does not support
            return super().surrogate(x)
        axes = axes_in_memory(x)
        return *fused_spline(x, self._table(axes), self.bound, axes), None

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return self.inverse_spline(z, (self.widths, self.heights, self.slopes))

    def _table(self, axes: list[int]) -> Tensor:
        """(6, bins, D), the numbers of each bin for the fused pass; D runs through ``axes`` of the event shape."""
        widths, heights, slopes = [
            p.permute(*axes, len(axes)).flatten(0, -2) for p in (self.widths, self.heights, self.slopes)
        ]
        corners = self._knots(torch.stack((widths, heights)))
        (x0, y0), (width, height) = corners[..., :-1], corners.diff(dim=-1)
        slopes = pad(self.MIN_SLOPE + softplus(slopes), (1, 1), value=1.0)
        relative0, relative1 = slopes[:, :-1] * width / height, slopes[:, 1:] * width / height
        return torch.stack((x0, 1 / width, y0, height, relative0, relative1)).mT.contiguous()


class Piece(NamedTuple):
    """One bin of the spline for each number: its corners (x0, y0), (x1, y1) and the slopes there."""

    x0: Tensor
    x1: Tensor
    y0: Tensor
    y1: Tensor
    slope0: Tensor
    slope1: Tensor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The spline's value and the log of its slope at x (eq-spline)."""
        mean = (self.y1 - self.y0) / (self.x1 - self.x0)
        t = (x - self.x0) / (self.x1 - self.x0)
        bend = self.slope0 + self.slope1 - 2 * mean
        bottom = mean + bend * t * (1 - t)
        y = self.y0 + (self.y1 - self.y0) * (mean * t**2 + self.slope0 * t * (1 - t)) / bottom
        top = self.slope1 * t**2 + 2 * mean * t * (1 - t) + self.slope0 * (1 - t) ** 2
        return y, 2 * mean.log() + top.log() - 2 * bottom.log()

    def inverse(self, y: Tensor) -> Tensor:
        """x with forward(x) = y: the root in [0, 1] of a t² + b t + c, in the form that cancels no digits."""
        mean = (self.y1 - self.y0) / (self.x1 - self.x0)
        bend, height = self.slope0 + self.slope1 - 2 * mean, y - self.y0
        a = (self.y1 - self.y0) * (mean - self.slope0) + height * bend
        b = (self.y1 - self.y0) * self.slope0 - height * bend
        c = -mean * height
        root = (b.square() - 4 * a * c).clamp_min(0).sqrt()
        # rounding may leave [0, 1], where the neighboring bin has another curve
        return self.x0 + (self.x1 - self.x0) * (-2 * c / (b + root)).clamp(0, 1)
