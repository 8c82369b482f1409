"""Elementwise bijections: the smooth leaky ReLU, and the rational-quadratic spline."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, sigmoid, softmax, softplus

from . import checks
from .layer import FlowLayer


class SmoothLeakyReLU(FlowLayer):
    """a(x) = αx + (1-α) log(1+eˣ), elementwise on events of any shape; log|det| = Σ log a'(x)   (eq-smooth-leaky-relu).

    The inverse has no closed form. Newton's method finds it to float64 accuracy, in 6 steps for α = 0.3: a is convex,
    and the starting point lies on the side from which no step crosses the root.

    Args:
        alpha: α in (0, 1], the slope far to the left; 1 is the identity.
    """

    def __init__(self, alpha: float = 0.3) -> None:
        super().__init__()
        self.alpha = checks.number_between(alpha, 0, 1, "alpha", self.label, high_included=True)
        # near its root Newton doubles the digits; before that a flat left side costs a step for each factor e
        self.newton_steps = 4 + math.ceil(-math.log(self.alpha))

    def value(self, x: Tensor) -> Tensor:
        """a(x), elementwise."""
        return self.alpha * x + (1 - self.alpha) * softplus(x, threshold=40)

    def slope(self, x: Tensor) -> Tensor:
        """a'(x) = α + (1-α) σ(x), elementwise, in (α, 1)."""
        return self.alpha + (1 - self.alpha) * sigmoid(x)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = a(x), and Σ log a'(x) in nats: of one number the log-slope that carries a density (eq-change-1d)."""
        return self.value(x), self.slope(x).log().flatten(1).sum(1)

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        with torch.no_grad():
            x = self.newton(z, self.newton_steps)
        # two more steps, differentiable: the first gives x its first derivative, the second the next two
        for _ in range(2):
            x = x + (z - self.value(x)) / self.slope(x)
        return x

    def newton(self, z: Tensor, steps: int) -> Tensor:
        """``steps`` Newton steps towards a⁻¹(z), kept between the two lines that bracket it."""
        # max(αx, x) ≤ a(x) ≤ max(αx, x) + (1-α) log 2, so the inverse of the lower bound lies to the right of a⁻¹(z)
        right = self._leaky_inverse(z)
        left = self._leaky_inverse(z - (1 - self.alpha) * math.log(2))
        x = right
        for _ in range(steps):
            x = torch.clamp(x - (self.value(x) - z) / self.slope(x), left, right)
        return x

    def _leaky_inverse(self, z: Tensor) -> Tensor:
        return torch.where(z > 0, z, z / self.alpha)

    def settings(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class RationalQuadraticSpline(FlowLayer):
    """Monotone rational-quadratic spline on [-bound, bound], the identity outside (eq-spline); parameters per number.

    The fresh layer is the identity. The inverse is analytic: the root of a quadratic.

    Args:
        shape: the event shape; each of its numbers has 3·bins - 1 parameters of its own.
        bins: K ≥ 1.
        bound: the square [-bound, bound]² holds the spline.

    Attributes:
        widths, heights: (*shape, bins), unnormalised; a softmax makes bins of them, none below ``MIN_BIN``.
        slopes: (*shape, bins - 1), unnormalised slopes at the inner knots, above ``MIN_SLOPE``; 1 at the outer two.

    Source: Durkan et al., Neural Spline Flows, NeurIPS 2019 (https://arxiv.org/abs/1906.04032).
    """

    MIN_BIN = 1e-3
    MIN_SLOPE = 1e-3

    def __init__(self, shape: tuple[int, ...], bins: int = 5, bound: float = 10.0) -> None:
        super().__init__()
        self.shape = checks.shape_tuple(shape, "shape", self.label)
        self.bins = checks.positive_integer(bins, "bins", self.label)
        self.bound = checks.number_between(bound, 0, math.inf, "bound", self.label)
        if bins * self.MIN_BIN >= 1:
            raise ValueError(f"{self.label}: expected fewer than {round(1 / self.MIN_BIN)} bins, got {bins}.")
        self.widths = nn.Parameter(torch.zeros(*self.shape, bins))
        self.heights = nn.Parameter(torch.zeros(*self.shape, bins))
        unit_slope = math.log(math.expm1(1 - self.MIN_SLOPE))  # softplus of it is 1 - MIN_SLOPE
        self.slopes = nn.Parameter(torch.full((*self.shape, bins - 1), unit_slope))

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if event_shape != self.shape:
            raise self.shape_error(self.shape, event_shape)
        return event_shape

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inside = x.abs() < self.bound
        piece = self._piece(torch.where(inside, x, 0.0), self._knots(self.widths))
        z, log_slope = piece.forward(torch.where(inside, x, 0.0))
        return torch.where(inside, z, x), torch.where(inside, log_slope, 0.0).flatten(1).sum(1)

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        inside = z.abs() < self.bound
        piece = self._piece(torch.where(inside, z, 0.0), self._knots(self.heights))
        return torch.where(inside, piece.inverse(torch.where(inside, z, 0.0)), z)

    def _knots(self, unnormalised: Tensor) -> Tensor:
        """(*shape, bins + 1): increasing knots from -bound to bound exactly."""
        parts = self.MIN_BIN + (1 - self.MIN_BIN * self.bins) * softmax(unnormalised, dim=-1)
        inner = self.bound * (2 * parts.cumsum(-1)[..., :-1] - 1)
        return pad(pad(inner, (1, 0), value=-self.bound), (0, 1), value=self.bound)

    def _piece(self, value: Tensor, knots: Tensor) -> "_Piece":
        """The bin of each number among ``knots``: the widths' on the way forward, the heights' on the way back."""
        index = (value[..., None] >= knots[..., 1:-1]).sum(-1, keepdim=True)
        slopes = pad(self.MIN_SLOPE + softplus(self.slopes), (1, 1), value=1.0)
        across, up = self._knots(self.widths), self._knots(self.heights)

        def at(table: Tensor, offset: int) -> Tensor:
            return table.expand(*value.shape, -1).gather(-1, index + offset)[..., 0]

        return _Piece(at(across, 0), at(across, 1), at(up, 0), at(up, 1), at(slopes, 0), at(slopes, 1))

    def settings(self) -> dict[str, Any]:
        return {"shape": self.shape, "bins": self.bins, "bound": self.bound}


class _Piece(NamedTuple):
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
        return self.x0 + (self.x1 - self.x0) * (-2 * c / (b + root))
