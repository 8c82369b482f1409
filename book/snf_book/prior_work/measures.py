"""Measurements of a system: reported log-determinants against the Jacobian's, integral, Jacobian pattern, times."""

import timeit
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from snf_book.plane import Plane
from snf_book.prior_work.flows.integer_model import SIDE, LatticeModel
from snf_book.prior_work.model import Model
from snf_lite.analysis.jacobian import latent_and_jacobian

#: Half the side of the integral's square, and cells along a side; the same for the stored density.
SQUARE, CELLS = 4.0, 400
WINDOW, PICTURE_CELLS = 2.5, 64
#: Points in one call.
_PART = 20_000


def log_det_error(encode: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor) -> float:
    """Largest difference, over points, between the log|det| that ``encode`` reports and its Jacobian's, in nats."""
    _, jacobian = latent_and_jacobian(lambda h: encode(h)[0], x)
    claimed = encode(x)[1].detach()
    return float((claimed - torch.linalg.slogdet(jacobian).logabsdet).abs().max())


def diagonal_log_det(jacobian: Tensor) -> Tensor:
    """log|det J| = Σ_i log|J_ii| nats of triangular matrices (B, D, D), in O(D) (eq-diagonal).

    Raises:
        ValueError: a matrix is not triangular.
    """
    above, below = jacobian.triu(1).abs().amax((1, 2)), jacobian.tril(-1).abs().amax((1, 2))
    wrong = int((torch.minimum(above, below) > 0).sum())
    if wrong:
        raise ValueError(f"diagonal_log_det: expected triangular matrices, got {wrong} of {len(jacobian)} others.")
    return jacobian.diagonal(dim1=1, dim2=2).abs().log().sum(1)


def low_rank_log_det(u: Tensor, v: Tensor) -> Tensor:
    """log|det(I + U Vᵀ)| = log|det(I + Vᵀ U)| nats (eq-low-rank): with M×M instead of D×D matrices, (B,).

    u, v: (B, D, M).
    """
    small = torch.eye(u.shape[2], dtype=u.dtype) + v.mT @ u
    return torch.linalg.slogdet(small).logabsdet


def series_log_det(jacobian: Tensor, terms: int) -> Tensor:
    """log det(I + J) ≈ Σ_{k=1}^{n} (−1)^{k+1} tr(Jᵏ)/k nats (eq-series), for J (B, D, D) of norm below 1; (B,).

    The truncation error is at most D·ρⁿ⁺¹ / ((n+1)(1−ρ)) where ‖J‖ ≤ ρ < 1: ``series_remainder``.
    """
    power, total = jacobian, jacobian.new_zeros(len(jacobian))
    for k in range(1, terms + 1):
        total = total + (-1) ** (k + 1) / k * power.diagonal(dim1=1, dim2=2).sum(1)
        power = power @ jacobian
    return total


def series_remainder(norm: float, terms: int, features: int) -> float:
    """Bound of the truncation error of ``series_log_det`` after n terms, in nats: D·ρⁿ⁺¹ / ((n+1)(1−ρ)).

    Raises:
        ValueError: the norm is not in [0, 1).
    """
    if not 0 <= norm < 1:
        raise ValueError(f"series_remainder: expected a norm in [0, 1), got {norm}.")
    return features * norm ** (terms + 1) / ((terms + 1) * (1 - norm))


def in_parts(log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The density at many points, in batches."""
    return torch.cat([log_prob(part).detach().exp() for part in x.split(_PART)])


def integral(model: Model, side: float = SQUARE, cells: int = CELLS) -> float:
    """Sum of the density over a grid times the area of a cell: 1 up to mass outside and the grid's error."""
    if isinstance(model, LatticeModel):  # constant in each of its cells: their centers suffice
        cells = round(side / SIDE) * 32
        side = cells * SIDE / 32
    grid = Plane(side, cells)
    return grid.integral(in_parts(model.log_prob, grid.points.to(model.dtype)))


def density_grid(model: Model, cells: int = PICTURE_CELLS) -> Tensor:
    """The density over the window of the gallery, (cells, cells), the second coordinate upwards."""
    density = in_parts(model.log_prob, Plane(WINDOW, cells).points.to(model.dtype))
    return density.reshape(cells, cells).T.flip(0)


def pattern(encode: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Mean of |∂z_i/∂x_j| over x (B, ...), (D, D)."""
    return latent_and_jacobian(encode, x)[1].abs().mean(0)


def lattice_pattern(encode: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Mean of the differences |z_i(x + e_j) − z_i(x)| over integer x (B, ...), (D, D)."""
    flat = x.flatten(1)
    start = encode(x).flatten(1)
    columns = []
    for one in torch.eye(flat.shape[1], dtype=flat.dtype):
        columns.append((encode((flat + one).reshape(x.shape)).flatten(1) - start).abs().double().mean(0))
    return torch.stack(columns, 1)


def inputs_of(model: Model, number: int, x: Tensor) -> Tensor:
    """Input of the step of that number for the model's input x, in the shape that the step takes."""
    shape = getattr(getattr(model, "flow", None), "event_shape", x.shape[1:])
    x = x.reshape(len(x), *shape)
    for step in list(model.steps)[:number]:
        x = step(x)[0]
    return x.detach()


def best_time(run: Callable[[], Any], repeats: int = 3) -> float:
    """Shortest time of ``repeats`` runs, in seconds, after a warm-up run."""
    return min(timeit.repeat(run, number=1, repeat=repeats + 1)[1:])


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
