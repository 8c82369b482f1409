"""The equations of *The gradient of log|det J|*, at random matrices in float64, each against another way to it."""

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor

from snf_lite.analysis.jacobian import log_volume
from snf_lite.linalg.dense_matrix import factor, log_abs_det

SEEDS = pytest.mark.parametrize("seed", range(5))


def gaussians(count: int, size: int, seed: int) -> Tensor:
    """Square matrices with normal entries: neither near the identity nor orthogonal."""
    torch.manual_seed(seed)
    return torch.randn(count, size, size, dtype=torch.float64)


def determinant(matrix: Tensor) -> float:
    """The sum over all permutations, from its definition: no elimination, no inverse."""
    rows = matrix.tolist()
    return sum(sign(order) * math.prod(map(list.__getitem__, rows, order)) for order in permutations(range(len(rows))))


def sign(order: tuple[int, ...]) -> int:
    swapped = sum(order[i] > order[j] for j in range(len(order)) for i in range(j))
    return -1 if swapped % 2 else 1


def cofactor(matrix: Tensor, i: int, j: int) -> float:
    rest = [[k for k in range(len(matrix)) if k != left_out] for left_out in (i, j)]
    return (-1) ** (i + j) * determinant(matrix[rest[0]][:, rest[1]])


@SEEDS
@pytest.mark.equation("eq-jacobi-trace")
def test_a_small_change_moves_it_by_the_trace(seed: int) -> None:
    """The remainder is of second order: -½ tr((J⁻¹dJ)²) for a small dJ."""
    J, direction = gaussians(2, 6, seed)
    dJ = 1e-4 * direction / torch.linalg.solve(J, direction).norm()
    here, ahead, behind = (float(log_abs_det(J + step * dJ)) for step in (0, 1, -1))
    change = torch.linalg.solve(J, dJ)
    assert (ahead - behind) / 2 == pytest.approx(float(change.trace()), abs=2e-12)
    assert (ahead + behind) / 2 - here == pytest.approx(-float((change @ change).trace()) / 2, abs=1e-12)


@SEEDS
@pytest.mark.equation("eq-jacobi")
def test_the_gradient_is_the_transposed_inverse_and_the_cofactors_over_the_determinant(seed: int) -> None:
    (J,) = gaussians(1, 5, seed).requires_grad_()
    (gradient,) = torch.autograd.grad(3 * log_abs_det(J), J)
    J = J.detach()
    by_minors = torch.tensor([[cofactor(J, i, j) for j in range(5)] for i in range(5)], dtype=J.dtype) / determinant(J)
    assert torch.allclose(gradient / 3, by_minors, rtol=1e-9, atol=1e-9)
    assert torch.allclose(gradient.T @ J, 3 * torch.eye(5, dtype=J.dtype), atol=1e-9)


@SEEDS
@pytest.mark.equation("eq-chain")
def test_a_parameter_moves_it_by_the_trace_of_what_it_does_to_the_jacobian(seed: int) -> None:
    """For z = a x + b sin(M x), whose Jacobian is a I + b diag(cos(M x)) M, at several events at once."""
    (M,) = gaussians(1, 4, seed)
    theta = torch.tensor([1.3, 0.8], dtype=M.dtype, requires_grad=True)
    x = torch.randn(3, 4, dtype=M.dtype)
    values = log_volume(lambda event: theta[0] * event + theta[1] * torch.sin(event @ M.T), x)
    parts = torch.eye(4, dtype=M.dtype).expand(3, 4, 4), torch.cos(x @ M.T)[:, :, None] * M
    J = theta[0].detach() * parts[0] + theta[1].detach() * parts[1]
    assert values.tolist() == pytest.approx([math.log(abs(determinant(each))) for each in J], abs=1e-10)
    for event in range(3):
        (by_theta,) = torch.autograd.grad(values[event], theta, retain_graph=True)
        wanted = [float(torch.linalg.solve(J[event], part[event]).trace()) for part in parts]
        assert by_theta.tolist() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@SEEDS
@pytest.mark.equation("eq-triangular")
def test_the_factors_give_the_matrix_back_and_their_diagonal_the_determinant(seed: int) -> None:
    (J,) = gaussians(1, 6, seed)
    found = factor(J, "a test")
    P, L, U = torch.lu_unpack(found.lu, found.pivots)  # J = P L U, and Pᵀ is the P of the book
    assert torch.allclose(P.T @ J, L @ U, atol=1e-12)
    assert torch.equal(L, L.tril()) and torch.equal(L.diagonal(), torch.ones(6, dtype=J.dtype))
    assert torch.equal(U, U.triu())
    wanted = math.log(abs(determinant(J)))
    assert float(U.diagonal().abs().log().sum()) == pytest.approx(wanted, abs=1e-11)
    assert float(found.log_abs_det) == pytest.approx(wanted, abs=1e-11)
