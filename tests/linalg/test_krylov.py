"""BiCGStab against torch.linalg.solve: the same x, each row for itself, and an honest residual where it fails."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from snf_lite.linalg.krylov import bicgstab


def systems(
    rows: int, size: int, spread: float, seed: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Nonsymmetric matrices I + noise of norm about ``spread`` (B, D, D), and right-hand sides (B, D)."""
    torch.manual_seed(seed)
    noise = torch.randn(rows, size, size, dtype=dtype) * (spread / (2 * size**0.5))
    return torch.eye(size, dtype=dtype) + noise, torch.randn(rows, size, dtype=dtype)


def product(matrices: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: (matrices @ x[..., None])[..., 0]


def true_residuals(matrices: Tensor, x: Tensor, rhs: Tensor) -> Tensor:
    return (rhs - product(matrices)(x)).norm(dim=1) / rhs.norm(dim=1)


@pytest.mark.parametrize("spread", [0.2, 0.9, 1.6])
@pytest.mark.parametrize("seed", range(3))
def test_it_solves_nonsymmetric_systems(spread: float, seed: int) -> None:
    matrices, rhs = systems(5, 40, spread, seed)
    solution = bicgstab(product(matrices), rhs)
    assert (solution.x - torch.linalg.solve(matrices, rhs)).abs().max() < 1e-7
    assert solution.residuals.shape == (5,)
    assert solution.residuals.max() <= 1e-10
    assert torch.allclose(solution.residuals, true_residuals(matrices, solution.x, rhs), rtol=1e-3, atol=1e-14)


def test_a_preconditioner_saves_iterations_and_the_inverse_itself_needs_one() -> None:
    matrices, rhs = systems(4, 60, 1.6)
    apply, near = product(matrices), product(torch.linalg.inv(matrices + 0.01 * torch.randn_like(matrices)))
    plain, preconditioned = bicgstab(apply, rhs), bicgstab(apply, rhs, near)
    assert preconditioned.iterations < plain.iterations / 2
    assert preconditioned.residuals.max() <= 1e-10
    assert (preconditioned.x - torch.linalg.solve(matrices, rhs)).abs().max() < 1e-7
    assert bicgstab(apply, rhs, product(torch.linalg.inv(matrices))).iterations == 1


def test_rows_are_independent() -> None:
    easy, rhs = systems(3, 30, 0.2)
    hard, _ = systems(3, 30, 1.8, seed=1)
    matrices = torch.cat([easy, hard])
    rhs = torch.cat([1e6 * rhs, rhs])
    together = bicgstab(product(matrices), rhs)
    for row in range(6):
        alone = bicgstab(product(matrices[row, None]), rhs[row, None])
        assert (together.x[row] - alone.x[0]).norm() <= 1e-8 * alone.x.norm()
    assert together.residuals.max() <= 1e-10


def test_a_row_without_a_solution_says_so_and_leaves_the_others_alone() -> None:
    matrices, rhs = systems(4, 30, 0.5)
    matrices[1] = 0  # breaks down at once
    matrices[2, 0] = 0  # singular: no x gives the first number of b
    rhs[3] = float("nan")
    solution = bicgstab(product(matrices), rhs)
    assert solution.residuals[0] <= 1e-10
    assert torch.isfinite(solution.x[:3]).all()
    assert solution.residuals[1] == 1
    assert solution.residuals[2] > 1e-3
    assert not solution.residuals[3] <= 1e-10
    assert (solution.x[0] - torch.linalg.solve(matrices[0], rhs[0])).abs().max() < 1e-8
    assert solution.iterations <= 100


def test_the_limit_ends_it() -> None:
    matrices, rhs = systems(2, 40, 1.8)
    solution = bicgstab(product(matrices), rhs, limit=3)
    assert solution.iterations == 3
    assert torch.allclose(solution.residuals, true_residuals(matrices, solution.x, rhs), rtol=1e-9, atol=0)
    assert (solution.residuals > 1e-10).all()
    assert bicgstab(product(matrices), rhs, limit=0).residuals.tolist() == [1, 1]


def test_float32_stops_where_rounding_ends_it() -> None:
    matrices, rhs = systems(3, 40, 0.9, dtype=torch.float32)
    reached = bicgstab(product(matrices), rhs, tolerance=1e-5)
    assert reached.x.dtype == reached.residuals.dtype == torch.float32
    assert reached.residuals.max() <= 1e-5
    beyond = bicgstab(product(matrices), rhs, tolerance=1e-12)
    assert 1e-12 < beyond.residuals.max() < 1e-5
    assert beyond.iterations < 100


def test_a_residual_that_the_recursion_lost_is_found_again() -> None:
    """From a far first guess the recursion keeps the rounding of large numbers; a start from the x reached does not."""
    matrices, rhs = systems(4, 40, 0.9)
    solution = bicgstab(product(matrices), rhs, tolerance=1e-13, start=torch.full_like(rhs, 1e6))
    assert solution.residuals.max() <= 1e-13
    assert torch.allclose(solution.residuals, true_residuals(matrices, solution.x, rhs), rtol=0.1, atol=1e-15)


def test_zero_empty_and_a_first_guess() -> None:
    matrices, rhs = systems(3, 20, 0.5)
    rhs[1] = 0
    solution = bicgstab(product(matrices), rhs, start=torch.ones_like(rhs))
    assert solution.x[1].abs().max() == 0
    assert solution.residuals[1] == 0
    assert solution.residuals.max() <= 1e-10
    again = bicgstab(product(matrices), rhs, start=solution.x)
    assert again.iterations == 0
    assert torch.equal(again.x, solution.x)
    nothing = bicgstab(product(matrices[:0]), rhs[:0])
    assert nothing.x.shape == (0, 20)
    assert nothing.residuals.shape == (0,)
    assert nothing.iterations == 0


def test_images_vmap_and_no_gradient() -> None:
    kernel = torch.nn.init.dirac_(torch.empty(2, 2, 3, 3, dtype=torch.float64))
    kernel = (kernel + 0.05 * torch.randn_like(kernel)).requires_grad_()
    images = torch.randn(3, 2, 6, 5, dtype=torch.float64, requires_grad=True)

    def apply(x: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(x, kernel, padding=1)

    solution = bicgstab(apply, images)
    assert not solution.x.requires_grad
    assert solution.residuals.shape == (3,)
    assert (apply(solution.x) - images).norm() <= 1e-9 * images.norm()
    fixed = torch.vmap(lambda batch: bicgstab(apply, batch, limit=12).x)(images.detach()[None])
    assert (fixed[0] - solution.x).abs().max() < 1e-8
