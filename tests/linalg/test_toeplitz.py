"""The exact algebra of zero-padded convolutions against the dense matrix, near the identity and far from it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv2d

import snf_lite as snf
from snf_lite.linalg import dense_matrix, toeplitz
from snf_lite.linalg.block_tridiagonal import PivotedElimination, bands, layout
from snf_lite.linalg.cyclic_reduction import CyclicReduction

#: Channels, height, width, kernel size: also H not divisible by p, W > H, H < p, one row, one pixel.
SHAPES = [(1, 8, 8, 3), (2, 5, 6, 3), (3, 7, 5, 5), (4, 2, 2, 3), (2, 3, 3, 7), (3, 4, 4, 1), (16, 2, 2, 3)]
SHAPES += [(1, 13, 4, 3), (2, 4, 11, 5), (1, 17, 5, 7), (2, 2, 9, 7), (2, 1, 6, 3), (2, 1, 1, 5)]


def kernel(channels: int, size: int, kind: str, seed: int = 0) -> Tensor:
    """A float64 kernel: "near" the identity, or "gaussian": arbitrary numbers."""
    torch.manual_seed(seed)
    noise = torch.randn(channels, channels, size, size, dtype=torch.float64)
    if kind == "gaussian":
        return noise.requires_grad_()
    identity = torch.nn.init.dirac_(torch.empty_like(noise))
    return (identity + 0.1 * noise / (channels**0.5 * size)).requires_grad_()


def dense_log_det(weight: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    value = torch.linalg.slogdet(toeplitz.matrix(weight, height, width))[1]
    return value, torch.autograd.grad(value, weight)[0]


@pytest.mark.parametrize("kind", ["near", "gaussian"])
@pytest.mark.parametrize("shape", SHAPES)
def test_log_det_and_gradient_are_those_of_the_dense_matrix(shape: tuple[int, ...], kind: str) -> None:
    channels, height, width, size = shape
    weight = kernel(channels, size, kind)
    value = toeplitz.log_abs_det(weight, height, width)
    (gradient,) = torch.autograd.grad(value, weight)
    wanted, wanted_gradient = dense_log_det(weight, height, width)
    assert abs(float((value - wanted).detach())) < 1e-9
    assert (gradient - wanted_gradient).norm() < 1e-9 * wanted_gradient.norm()


@pytest.mark.parametrize("elimination", [CyclicReduction, PivotedElimination])
@pytest.mark.parametrize("shape", SHAPES)
def test_both_eliminations_solve_and_give_the_log_det(shape: tuple[int, ...], elimination: type) -> None:
    channels, height, width, size = shape
    weight = kernel(channels, size, "near").detach()
    plan = layout(weight, height, width)
    factors = elimination(bands(weight, plan), plan)
    x = torch.randn(3, channels, height, width, dtype=torch.float64)
    assert (factors.solve(conv2d(x, weight, padding=size // 2)) - x).abs().max() < 1e-10
    wanted = torch.linalg.slogdet(toeplitz.matrix(weight, height, width))[1]
    assert abs(float(factors.log_abs_det - wanted)) < 1e-10


@pytest.mark.parametrize("shape", [(1, 7, 4, 3), (1, 5, 3, 5), (2, 2, 3, 3)])
def test_log_det_has_exact_first_and_second_derivatives(shape: tuple[int, ...]) -> None:
    channels, height, width, size = shape
    weight = kernel(channels, size, "near")
    assert torch.autograd.gradcheck(toeplitz.log_abs_det, (weight, height, width))
    assert torch.autograd.gradgradcheck(toeplitz.log_abs_det, (weight, height, width))


@pytest.mark.parametrize("kinds", [("near", "near", "near"), ("near", "gaussian", "near")])
@pytest.mark.parametrize("shape", [(1, 9, 7, 3), (2, 5, 6, 5), (2, 3, 3, 1)])
def test_a_batch_of_kernels_gives_what_each_gives_alone(shape: tuple[int, ...], kinds: tuple[str, ...]) -> None:
    channels, height, width, size = shape
    alone = [kernel(channels, size, kind, seed) for seed, kind in enumerate(kinds)]
    together = torch.stack([weight.detach() for weight in alone]).requires_grad_()
    values = toeplitz.log_abs_dets(together, height, width, ["a", "b", "c"])
    wanted = torch.stack([dense_log_det(weight, height, width)[0] for weight in alone])
    assert (values - wanted).abs().max() < 1e-9
    factors = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    (gradients,) = torch.autograd.grad(factors @ values, together)
    for gradient, weight, factor in zip(gradients, alone, factors, strict=True):
        wanted_gradient = factor * dense_log_det(weight, height, width)[1]
        assert (gradient - wanted_gradient).norm() < 1e-9 * wanted_gradient.norm()


@pytest.mark.parametrize("size", [1, 3])
def test_the_singular_one_of_a_batch_is_named(size: int) -> None:
    weights = torch.stack([kernel(1, size, "near", seed).detach() for seed in range(3)])
    weights[2] = 0
    with pytest.raises(snf.NotInvertibleError, match=r"^third: the weight is singular"):
        toeplitz.log_abs_dets(weights, 5, 4, ["first", "second", "third"])
    with pytest.raises(snf.NotInvertibleError, match=r"^alone: the weight is singular"):
        toeplitz.log_abs_det(weights[2], 5, 4, "alone")


def tiny_centre(seed: int = 0, channels: int = 2) -> Tensor:
    """A Gaussian kernel with a tiny centre row of taps: D is nearly singular though T(w) is not."""
    weight = kernel(channels, 3, "gaussian", seed).detach()
    weight[:, :, 1, :] *= 1e-7
    return weight.requires_grad_()


def test_elimination_without_exchanges_loses_digits_and_the_safeguard_gives_them_back() -> None:
    weight = tiny_centre()
    wanted, wanted_gradient = dense_log_det(weight, 6, 6)
    quick, quick_gradient = toeplitz.factors_and_gradient(weight.detach(), 6, 6)
    assert toeplitz.residual(quick, weight[None], 6, 6) > toeplitz.RESIDUAL_BOUND
    assert (quick_gradient - wanted_gradient).norm() > 1e-6 * wanted_gradient.norm()
    assert isinstance(toeplitz.eliminate(weight, 6, 6), PivotedElimination)
    value = toeplitz.log_abs_det(weight, 6, 6)
    assert abs(float((value - wanted).detach())) < 1e-9
    assert (torch.autograd.grad(value, weight)[0] - wanted_gradient).norm() < 1e-9 * wanted_gradient.norm()


def test_the_safeguard_has_second_derivatives_too() -> None:
    weight = tiny_centre(68, 1)
    assert isinstance(toeplitz.eliminate(weight.detach(), 4, 4), PivotedElimination)
    value = toeplitz.log_abs_det(weight, 4, 4)
    (gradient,) = torch.autograd.grad(value, weight, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), weight)
    again = torch.autograd.grad(torch.linalg.slogdet(toeplitz.matrix(weight, 4, 4))[1], weight, create_graph=True)[0]
    (wanted_second,) = torch.autograd.grad(again.square().sum(), weight)
    assert (second - wanted_second).norm() < 1e-7 * wanted_second.norm()


def test_taps_times_gradients_would_not_see_the_lost_digits() -> None:
    """Euler's identity Σ w ∂log|det T|/∂w = H·W holds in every channel for a gradient that is wrong all the same."""
    weight = tiny_centre(68, 1)
    _, wanted = dense_log_det(weight, 8, 8)
    _, gradient = toeplitz.factors_and_gradient(weight.detach(), 8, 8)
    assert abs(float((weight * gradient).sum().detach()) / 64 - 1) < 1e-9
    assert (gradient - wanted).norm() > 1e-6 * wanted.norm()


@pytest.mark.parametrize("kind", ["gaussian", "tiny centre", "scales"])
def test_no_kernel_loses_digits(kind: str) -> None:
    """What is believed without exchanges, and what is not, agrees with the dense matrix; some are not believed."""
    careful = 0
    for seed in range(40):
        weight = tiny_centre(seed) if kind == "tiny centre" else kernel(2, 3, "gaussian", seed)
        if kind == "scales":
            weight = (weight * torch.logspace(0, -6, 9, dtype=torch.float64)[torch.randperm(9)].view(3, 3)).detach()
            weight.requires_grad_()
        if torch.linalg.cond(toeplitz.matrix(weight.detach(), 6, 5)) > 1e5:
            continue  # the dense matrix has lost those digits too
        value = toeplitz.log_abs_det(weight, 6, 5)
        wanted, wanted_gradient = dense_log_det(weight, 6, 5)
        assert abs(float((value - wanted).detach())) < 1e-9
        assert (torch.autograd.grad(value, weight)[0] - wanted_gradient).norm() < 1e-9 * wanted_gradient.norm()
        careful += isinstance(toeplitz.eliminate(weight.detach(), 6, 5), PivotedElimination)
    assert careful > 0


def test_a_first_block_of_zeros_is_no_obstacle() -> None:
    """The centre row of taps is zero, so S_1 is singular; with H even T(w) is regular all the same."""
    weight = kernel(1, 3, "gaussian").detach()
    weight[:, :, 1, :] = 0
    wanted = torch.linalg.slogdet(toeplitz.matrix(weight, 4, 3))[1]
    assert torch.isfinite(wanted)
    assert abs(float(toeplitz.log_abs_det(weight, 4, 3) - wanted)) < 1e-10
    with pytest.raises(snf.NotInvertibleError, match="singular"):
        toeplitz.log_abs_det(weight, 5, 3)


def test_float32_kernels_get_float64_log_dets() -> None:
    weight = kernel(3, 3, "gaussian").detach().float()
    wanted = torch.linalg.slogdet(toeplitz.matrix(weight.double(), 6, 6))[1]
    assert abs(float(toeplitz.log_abs_det(weight, 6, 6) - wanted)) < 1e-9


@given(
    channels=st.integers(1, 3), height=st.integers(1, 6), width=st.integers(1, 6),
    size=st.sampled_from([1, 3, 5, 7]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_any_shape(channels: int, height: int, width: int, size: int, seed: int) -> None:
    weight = kernel(channels, size, "near", seed).detach()
    matrix = toeplitz.matrix(weight, height, width)
    assert abs(float(toeplitz.log_abs_det(weight, height, width) - torch.linalg.slogdet(matrix)[1])) < 1e-9
    x = torch.randn(2, channels, height, width, dtype=torch.float64)
    layer = snf.ExactConv2d(channels, size).double()
    with torch.no_grad():
        layer.weight.copy_(weight)
    assert (matrix @ x.flatten(1).T - conv2d(x, weight, padding=size // 2).flatten(1).T).abs().max() < 1e-10
    assert (layer.inverse(layer(x)[0]) - x).abs().max() < 1e-8


@pytest.mark.parametrize("shape", [(1, 4, 5, 3), (2, 3, 3, 5), (1, 2, 2, 7)])
def test_tap_counts_count_the_taps_of_the_matrix(shape: tuple[int, ...]) -> None:
    channels, height, width, size = shape
    weight = torch.zeros(channels, channels, size, size, dtype=torch.float64)
    counts = toeplitz.tap_counts(weight, height, width)
    for a in range(size):
        for b in range(size):
            weight.zero_()[0, 0, a, b] = 1
            assert int((toeplitz.matrix(weight, height, width) != 0).sum()) == int(counts[a, b])


def test_tap_counts_of_mnist() -> None:
    weight = torch.zeros(1, 1, 3, 3)
    assert toeplitz.tap_counts(weight, 28, 28).tolist() == [[729, 756, 729], [756, 784, 756], [729, 756, 729]]


def test_flip_is_the_transpose() -> None:
    weight = kernel(3, 5, "gaussian").detach()
    assert torch.equal(toeplitz.matrix(toeplitz.flip(weight), 4, 6), toeplitz.matrix(weight, 4, 6).T)


def test_log_abs_det_has_exact_first_and_second_derivatives() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(dense_matrix.log_abs_det, (matrix,))
    assert torch.autograd.gradgradcheck(dense_matrix.log_abs_det, (matrix,))


def test_log_abs_det_survives_vmap_and_jacrev() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, 4, 4, dtype=torch.float64)
    gradients = torch.func.vmap(torch.func.grad(dense_matrix.log_abs_det))(matrices)
    assert torch.allclose(gradients, torch.linalg.inv(matrices).mT)
