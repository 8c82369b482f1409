"""Cyclic reduction of block-tridiagonal matrices with repeated blocks: values, gradients, solves and its economy."""

import math

import pytest
import torch
from torch import Tensor

from snf_lite.linalg import cyclic_reduction
from snf_lite.linalg.block_tridiagonal import Bands, bands, gather, layout
from snf_lite.linalg.cyclic_reduction import Blocks, CyclicReduction, reduction

SIZE = 3


def blocks(n: int, seed: int = 0) -> Blocks:
    """D, E, U, L with a dominant diagonal, so that any n of them make a regular matrix."""
    torch.manual_seed(seed)
    D, E, U, L = torch.randn(4, SIZE, SIZE, dtype=torch.float64)
    big = 8 * torch.eye(SIZE, dtype=torch.float64)
    return Blocks(D + big, E + big, U, L)


def assembled(rows: Blocks, n: int) -> Tensor:
    """The dense matrix of n block rows."""
    up, down = torch.ones(2, n - 1, dtype=torch.float64).diag_embed(1)[0], torch.ones(n - 1).double().diag(-1)
    inner = torch.ones(n, dtype=torch.float64).diag()
    last = torch.zeros(n, n, dtype=torch.float64)
    last[-1, -1] = 1
    parts = ((inner - last, rows.D), (last, rows.E), (up, rows.U), (down, rows.L))
    return sum((torch.kron(place, block) for place, block in parts), torch.zeros(()))


@pytest.mark.parametrize("n", [*range(1, 20), 28, 32])
def test_value_gradient_and_solve_are_those_of_the_dense_matrix(n: int) -> None:
    rows = Blocks(*(block.requires_grad_() for block in blocks(n)))
    dense = assembled(rows, n)
    factors = reduction(rows, n)
    wanted = torch.linalg.slogdet(dense)[1]
    assert abs(float((factors.log_abs_det - wanted).detach())) < 1e-11
    wanted_gradients = torch.autograd.grad(wanted, rows, allow_unused=True, materialize_grads=True)
    for ours, theirs in zip(factors.gradient(), wanted_gradients, strict=True):
        assert (ours - theirs).abs().max() < 1e-12
    x = torch.randn(2, n, SIZE, dtype=torch.float64)
    known = (x.flatten(1) @ dense.T).reshape(x.shape)
    assert (factors.solve(known) - x).abs().max() < 1e-12


def test_its_own_gradient_is_what_autograd_finds_in_its_value() -> None:
    rows = Blocks(*(block.requires_grad_() for block in blocks(13)))
    factors = reduction(rows, 13)
    for ours, theirs in zip(factors.gradient(), torch.autograd.grad(factors.log_abs_det, rows), strict=True):
        assert (ours - theirs).abs().max() < 1e-12


@pytest.mark.parametrize("n", [16, 28, 31, 200])
def test_few_blocks_are_factorised(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most two for each halving, where elimination row by row factorises n."""
    calls: list[int] = []
    plain = cyclic_reduction.invert
    monkeypatch.setattr(cyclic_reduction, "invert", lambda block: calls.append(1) or plain(block))
    reduction(blocks(n), n)
    assert math.log2(n) <= len(calls) <= 2 * math.log2(n) < n


@pytest.mark.parametrize("shape", [(2, 7, 5, 3), (1, 4, 9, 5), (1, 5, 5, 7), (2, 3, 2, 1), (1, 1, 1, 3)])
def test_gather_is_the_adjoint_of_bands(shape: tuple[int, ...]) -> None:
    """⟨bands(w), G⟩ = ⟨w, gather(G)⟩ for any w and G."""
    channels, height, width, size = shape
    torch.manual_seed(0)
    weight = torch.randn(channels, channels, size, size, dtype=torch.float64)
    plan = layout(weight, height, width)
    spread = bands(weight, plan)
    pull = Bands(*torch.randn(3, plan.size, plan.size, dtype=torch.float64))
    there = sum((getattr(spread, name) * getattr(pull, name)).sum() for name in ("diagonal", "upper", "lower"))
    assert abs(float(there - (weight * gather(pull, plan)).sum())) < 1e-10


@pytest.mark.parametrize(("height", "width", "size"), [(28, 6, 3), (6, 28, 3), (11, 9, 7)])
def test_blocks_are_cut_across_the_shorter_side(height: int, width: int, size: int) -> None:
    plan = layout(torch.zeros(2, 2, size, size), height, width)
    assert plan.size == size // 2 * 2 * min(height, width)
    assert sum(plan.sizes) == 2 * height * width
    images = torch.randn(3, 2, height, width)
    assert torch.equal(plan.from_rows(plan.to_rows(images)), images)


def test_many_matrices_are_factorised_and_solved_at_once() -> None:
    torch.manual_seed(0)
    weights = 0.1 * torch.randn(4, 1, 1, 5, 5, dtype=torch.float64)
    weights[..., 2, 2] += 1
    plan = layout(weights, 9, 6)
    together = CyclicReduction(bands(weights, plan), plan)
    images = torch.randn(4, 1, 9, 6, dtype=torch.float64)
    solved = together.solve(images)
    for i, weight in enumerate(weights):
        alone = CyclicReduction(bands(weight, plan), plan)
        assert torch.allclose(together.log_abs_det[i], alone.log_abs_det, atol=1e-12)
        assert torch.allclose(solved[i : i + 1], alone.solve(images[i : i + 1]), atol=1e-12)
