"""What is measured of a system: claimed log-determinants against the Jacobian's, the integral, the pattern, times."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from snf_book.plane import Plane
from snf_book.prior_work.flows.integer_model import SIDE, LatticeModel
from snf_book.prior_work.model import Model
from snf_lite.analysis.jacobian import latent_and_jacobian

#: Half the side of the square of the integral, and cells along it; of the stored picture likewise.
SQUARE, CELLS = 4.0, 400
WINDOW, PICTURE_CELLS = 2.5, 64
#: Events at a time.
_PART = 20_000


def log_det_error(code: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> float:
    """The largest difference, over events, of the log|det| that ``code`` claims from its Jacobian's, in nats."""
    _, jacobian = latent_and_jacobian(lambda events: code(events)[0], x)
    claimed = code(x)[1].detach()
    return float((claimed - torch.linalg.slogdet(jacobian).logabsdet).abs().max())


def diagonal_log_det(jacobian: Tensor) -> Tensor:
    """log|det J| = Σ_i log|J_ii| nats of triangular matrices (B, D, D), in O(D) (eq-diagonal).

    Raises:
        ValueError: a matrix has entries on both sides of its diagonal; there the rule does not hold.
    """
    above, below = jacobian.triu(1).abs().amax((1, 2)), jacobian.tril(-1).abs().amax((1, 2))
    wrong = int((torch.minimum(above, below) > 0).sum())
    if wrong:
        raise ValueError(f"diagonal_log_det: expected triangular matrices, got {wrong} of {len(jacobian)} others.")
    return jacobian.diagonal(dim1=1, dim2=2).abs().log().sum(1)


def low_rank_log_det(u: Tensor, v: Tensor) -> Tensor:
    """log|det(I + U Vᵀ)| = log|det(I + Vᵀ U)| nats (eq-low-rank): of M×M matrices in place of D×D ones, (B,).

    u, v: (B, D, M).
    """
    small = torch.eye(u.shape[2], dtype=u.dtype) + v.mT @ u
    return torch.linalg.slogdet(small).logabsdet


def series_log_det(jacobian: Tensor, terms: int) -> Tensor:
    """log det(I + J) ≈ Σ_{k=1}^{n} (−1)^{k+1} tr(Jᵏ)/k nats (eq-series), of J (B, D, D) shorter than 1; (B,).

    What is left out is at most D·Lⁿ⁺¹ / ((n+1)(1−L)) where ‖J‖ ≤ L < 1: ``series_remainder``.
    """
    power, total = jacobian, jacobian.new_zeros(len(jacobian))
    for k in range(1, terms + 1):
        total = total + (-1) ** (k + 1) / k * power.diagonal(dim1=1, dim2=2).sum(1)
        power = power @ jacobian
    return total


def series_remainder(norm: float, terms: int, features: int) -> float:
    """What the first n terms of ``series_log_det`` leave out at most, in nats: D·Lⁿ⁺¹ / ((n+1)(1−L)).

    Raises:
        ValueError: the norm is not in [0, 1).
    """
    if not 0 <= norm < 1:
        raise ValueError(f"series_remainder: expected a norm in [0, 1), got {norm}.")
    return features * norm ** (terms + 1) / ((terms + 1) * (1 - norm))


def in_parts(log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The density of many events, some thousand at a time."""
    return torch.cat([log_prob(part).detach().exp() for part in x.split(_PART)])


def integral(model: Model, side: float = SQUARE, cells: int = CELLS) -> float:
    """The density's sum over a grid times the area of a cell: 1 but for mass outside and for what the grid misses."""
    if isinstance(model, LatticeModel):  # constant in each cell of its own: their centres say all
        cells = round(side / SIDE) * 32
        side = cells * SIDE / 32
    grid = Plane(side, cells)
    return grid.integral(in_parts(model.log_prob, grid.points.to(model.dtype)))


def picture(model: Model) -> Tensor:
    """The density over the window of the picture wall, (cells, cells), the second coordinate upwards."""
    grid = Plane(WINDOW, PICTURE_CELLS)
    density = in_parts(model.log_prob, grid.points.to(model.dtype))
    return density.reshape(PICTURE_CELLS, PICTURE_CELLS).T.flip(0)


def pattern(code: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The mean of |∂z_i/∂x_j| over events, (D, D)."""
    return latent_and_jacobian(code, x)[1].abs().mean(0)


def lattice_pattern(code: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The mean of |z_i(x + e_j) − z_i(x)| over whole-number events, (D, D): what stands for a derivative there."""
    events = x.flatten(1)
    start = code(x).flatten(1)
    columns = []
    for one in torch.eye(events.shape[1], dtype=events.dtype):
        columns.append((code((events + one).reshape(x.shape)).flatten(1) - start).abs().double().mean(0))
    return torch.stack(columns, 1)


def inputs_of(model: Model, number: int, x: Tensor) -> Tensor:
    """What reaches the step of that number when events x enter the model; shaped as the step wants it."""
    shape = getattr(getattr(model, "flow", None), "event_shape", x.shape[1:])
    x = x.reshape(len(x), *shape)
    for step in list(model.steps)[:number]:
        x = step(x)[0]
    return x.detach()


def best_time(run: Callable[[], Any], repeats: int = 3) -> float:
    """The shortest of some runs, in seconds, after one that does not count."""
    return min(list(_times(run, repeats + 1))[1:])


def _times(run: Callable[[], Any], repeats: int) -> Iterator[float]:
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        yield time.perf_counter() - start


def parameters(model: nn.Module) -> int:
    """How many numbers a model learns."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
