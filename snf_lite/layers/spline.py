"""The monotone rational-quadratic spline: the readable pass, and the fused one for training."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softmax, softplus

from snf_lite.layer import FlowLayer
from snf_lite.runtime import checks


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

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The same z and log-determinant as ``transform``, from the fused pass: faster, differentiable once."""
        if checks.under_functorch():  # what is written in place would stop it
            return super().surrogate(x)
        rows, table = _rows(x), self._table(_axes_in_memory(x))
        step = step_for_compilers if torch.compiler.is_compiling() else _SplineStep.apply
        z, log_det = step(rows, table, self.bound)
        return _like(z, x), log_det, None

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

    def _table(self, axes: list[int]) -> Tensor:
        """(6, bins, D), the numbers of each bin that ``_SplineStep`` looks up; D runs through ``axes`` of the event."""
        widths, heights, slopes = (
            p.permute(*axes, len(axes)).flatten(0, -2) for p in (self.widths, self.heights, self.slopes)
        )
        corners = self._knots(torch.stack((widths, heights)))
        (x0, y0), (width, height) = corners[..., :-1], corners.diff(dim=-1)
        slopes = pad(self.MIN_SLOPE + softplus(slopes), (1, 1), value=1.0)
        relative0, relative1 = slopes[:, :-1] * width / height, slopes[:, 1:] * width / height
        return torch.stack((x0, 1 / width, y0, height, relative0, relative1)).mT.contiguous()

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


def _axes_in_memory(x: Tensor) -> list[int]:
    """The axes of an event, outermost in memory first: (C, H, W), or (H, W, C) where channels come last."""
    axes = list(range(x.dim() - 1))
    return axes[1:] + axes[:1] if x.dim() > 2 and x.stride(1) == 1 else axes


def _rows(x: Tensor) -> Tensor:
    """(B, D) with the numbers of each event in their order in memory, so that nothing is copied."""
    return x.permute(0, *(axis + 1 for axis in _axes_in_memory(x))).flatten(1)


def _like(rows: Tensor, x: Tensor) -> Tensor:
    """The inverse of ``_rows``: the shape and layout of x."""
    if _axes_in_memory(x) == list(range(x.dim() - 1)):
        return rows.view(x.shape)
    return rows.view(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1)


def step_for_compilers(x: Tensor, table: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """The formulas of ``_SplineStep`` as torch.compile likes them: it fuses all in a few loops, gradients included.

    Whether x has reached a knot is told in arithmetic. The truth of a comparison would be kept for the backward pass,
    one byte a number and stored one by one, which takes longer than all the rest.
    """
    inner, inside = x.clamp(-bound, bound), (bound - x.abs()).sign().clamp(0, 1)
    reached = [(inner.detach() - knot.detach()).sign().add(1).clamp(0, 1) for knot in table[0, 1:]]
    x0, per_width, y0, height, d0, d1 = (_in_its_bin(row, reached) for row in table)
    t = (inner - x0) * per_width
    r = 1 - t
    lower, upper = t * (t + d0 * r), r * (r + d1 * t)
    per_bottom = 1 / (lower + upper)
    slope = height * per_width * (d0 * r * r + 2 * t * r + d1 * t * t) * per_bottom * per_bottom
    return x + inside * (y0 + height * lower * per_bottom - inner), (slope.log() * inside).sum(1)


def _in_its_bin(row: Tensor, reached: list[Tensor]) -> Tensor:
    """Of the numbers (bins, D) of all bins that of each x's bin, (B, D)."""
    found = row[0]
    for number, mask in zip(row[1:], reached, strict=True):
        found = torch.lerp(found, number, mask)
    return found


def _look_up(x: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The six numbers of each x's bin, (6, B, D), and whether x has reached each inner knot, (bins-1, B, D), 0 or 1.

    A gather of single numbers costs more than one pass for each knot. ``lerp`` gives one end or the other exactly.
    """
    reached = torch.ge(x, table[0, 1:, None], out=x.new_empty(table.shape[1] - 1, *x.shape))
    numbers = table[:, 0, None].expand(-1, *x.shape).clone(memory_format=torch.contiguous_format)  # written to below
    for k, mask in enumerate(reached.unbind(0), start=1):
        numbers.lerp_(table[:, k, None], mask)
    return numbers, reached


class _SplineStep(torch.autograd.Function):
    """The spline's value and its log-determinant, with gradients written out; ``_Piece.forward`` is the readable way.

    In a bin of width w, height h and mean slope s = h/w, with t = (x-x0)/w, r = 1-t and the slopes at its ends
    relative to the mean, d0 = slope0/s and d1 = slope1/s:

        lower = t (t + d0 r),  upper = r (r + d1 t),  bottom = lower + upper = 1 + (d0 + d1 - 2) t r,
        z = y0 + h lower/bottom,  dz/dx = s top/bottom²,  top = d0 r² + 2 t r + d1 t².

    All summands are positive: nothing cancels. Beyond the bound x is clamped to it, so that all stays finite, and a
    mask leaves z = x, slope 1, and no gradient but that of z for x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, bound: float) -> tuple[Tensor, Tensor]:
        inner = x.clamp(-bound, bound)
        inside = torch.lt(x.abs(), bound, out=torch.empty_like(x))
        numbers, reached = _look_up(inner, table)
        x0, per_width, y0, height, d0, d1 = numbers.unbind(0)
        t = torch.sub(inner, x0, out=x0).mul_(per_width)
        r = 1 - t
        from0, from1 = d0 * r, d1 * t
        lower = torch.add(from0, t).mul_(t)
        per_bottom = torch.add(from1, r).mul_(r).add_(lower).reciprocal_()
        top = torch.mul(from0, r).addcmul_(from1, t).addcmul_(t, r, value=2)
        part = lower.mul_(per_bottom)  # how far up the bin
        z = torch.addcmul(y0, height, part).sub_(inner).mul_(inside).add_(x)
        slope = torch.mul(top, per_bottom).mul_(per_bottom).mul_(height).mul_(per_width)
        ctx.save_for_backward(
            table, inside, reached, per_width, height, d0, d1, t, r, from0, from1, per_bottom, top, part, slope
        )
        return z, slope.log().mul_(inside).sum(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor) -> tuple[Tensor, Tensor, None]:
        table, inside, reached, *saved = ctx.saved_tensors
        inner_z = grad_z * inside
        pulls = _pulls(inner_z, inside * grad_log_det[:, None], *saved)
        grad_x = torch.sub(grad_z, inner_z).add_(pulls[0])
        return grad_x, _bin_sums(pulls, reached) * _from_logarithms(table), None


def _pulls(
    grad_z: Tensor, grad_log: Tensor, per_width: Tensor, height: Tensor, d0: Tensor, d1: Tensor, t: Tensor, r: Tensor,
    from0: Tensor, from1: Tensor, per_bottom: Tensor, top: Tensor, part: Tensor, slope: Tensor,
) -> Tensor:  # fmt: skip
    """(6, B, D): the gradients ∂x, ∂log(1/w), ∂y0, ∂log h, ∂log d0 and ∂log d1 of each number of each event.

    Logarithms, because their gradients are of one size in all bins, which ``_bin_sums`` subtracts from each other.

    With g and l the gradients that come in for z and for log dz/dx = log h - log w + log top - 2 log bottom:

        ∂x        = g dz/dx + l/w (top'/top - 2 bottom'/bottom),   top' = 2 (d1 t - d0 r + r - t),
                                                                   bottom' = (d0 + d1 - 2) (r - t);
        ∂log(1/w) = (x - x0) ∂x + l,   since t = (x-x0)/w;         ∂y0 = g;
        ∂log h    = g h lower/bottom + l;
        ∂log d0   = d0 (g h (t r/bottom) (upper/bottom) + l (r²/top - 2 t r/bottom));
        ∂log d1   = d1 (- g h (t r/bottom) (lower/bottom) + l (t²/top - 2 t r/bottom)).
    """
    pulls = t.new_empty(6, *t.shape)
    to_x, to_width, to_y, to_height, to_d0, to_d1 = pulls.unbind(0)
    to_y.copy_(grad_z)
    per_top = top.reciprocal()
    tilt = r - t
    bottom_log = torch.add(d0, d1).sub_(2).mul_(tilt).mul_(per_bottom)
    top_log = torch.sub(from1, from0).add_(tilt).mul_(per_top)
    log_slope = top_log.sub_(bottom_log).mul_(per_width).mul_(grad_log)  # half of l times the bracket
    torch.mul(grad_z, slope, out=to_x).add_(log_slope, alpha=2)
    torch.div(t, per_width, out=to_width).mul_(to_x).add_(grad_log)
    tall = grad_z * height
    torch.mul(tall, part, out=to_height).add_(grad_log)
    hump = torch.mul(t, r).mul_(per_bottom)
    both = torch.add(to_height, grad_log).mul_(hump)  # hump (g h part + 2 l), subtracted from both
    per_top.mul_(grad_log)
    torch.mul(t, t, out=to_d1).mul_(per_top).sub_(both).mul_(d1)
    # upper/bottom = 1 - lower/bottom
    torch.mul(r, r, out=to_d0).mul_(per_top).sub_(both).addcmul_(tall, hump).mul_(d0)
    return pulls


def _bin_sums(pulls: Tensor, reached: Tensor) -> Tensor:
    """(6, bins, D): sums over the numbers in each bin, from those over all that have reached its left end.

    Overwrites ``pulls``: the masks are nested, so that each one may be multiplied onto the last.
    """
    sums = [pulls.sum(1)]
    for mask in reached.unbind(0):
        sums.append(pulls.mul_(mask).sum(1))
    beyond = torch.stack(sums, 1)
    return beyond - pad(beyond[:, 1:], (0, 0, 0, 1))


def _from_logarithms(table: Tensor) -> Tensor:
    """What turns the sums of ``_pulls`` into gradients of the table: ∂x0 = -∂x, ∂y0 as it is, ∂c = ∂log c / c."""
    factors = table.reciprocal()
    factors[0], factors[2] = -1, 1
    return factors
