"""The numbered equations of the chapter *MNIST, convolutional*, at random parameters in float64."""

import math

import pytest
import torch
from torch import Tensor

import snf_lite as snf
from snf_lite.layers import conv_exponential
from snf_lite.linalg import toeplitz


def scattered(layer: snf.FlowLayer, spread: float) -> snf.FlowLayer:
    layer = layer.double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    return layer


def kernel_of_norm(norm: float, channels: int = 2) -> tuple[Tensor, Tensor]:
    """A random kernel whose matrix on 5×4 pixels has this largest singular value, and the matrix."""
    w = torch.randn(channels, channels, 3, 3, dtype=torch.float64)
    w *= norm / torch.linalg.matrix_norm(toeplitz.matrix(w, 5, 4), ord=2)
    return w, toeplitz.matrix(w, 5, 4)


@pytest.mark.equation("eq-emerging")
def test_two_diagonals_give_the_determinant_of_the_product() -> None:
    torch.manual_seed(0)
    layer = scattered(snf.EmergingConv2d(3, 3), 0.5)
    first, second = (toeplitz.matrix(kernel, 4, 5) for kernel in layer.kernels())
    found = torch.linalg.slogdet(second @ first).logabsdet
    assert abs(found) > 1 and torch.allclose(layer.log_abs_det(4, 5), found, atol=1e-9)


@pytest.mark.equation("eq-exponential")
@pytest.mark.parametrize("norm", [0.5, 3.0])
def test_the_log_determinant_of_an_exponential_is_a_trace(norm: float) -> None:
    torch.manual_seed(1)
    w, T = kernel_of_norm(norm)
    found = torch.linalg.slogdet(torch.linalg.matrix_exp(T)).logabsdet
    assert torch.allclose(conv_exponential.log_det_of_exponential(w, 5, 4), found, atol=1e-9)


@pytest.mark.equation("eq-remainder")
@pytest.mark.parametrize("norm", [0.3, 0.9, 2.0, 5.0])
def test_what_the_series_leaves_out_stays_below_the_bound_and_comes_near_it(norm: float) -> None:
    torch.manual_seed(2)
    _, T = kernel_of_norm(norm)
    whole, sized = torch.linalg.matrix_exp(T), T * 0
    power = torch.eye(len(T), dtype=T.dtype)
    for n in range(12):
        sized, power = sized + power, power @ T / (n + 1)
        left = float(torch.linalg.matrix_norm(whole - sized, ord=2))
        tail = sum(norm**m / math.factorial(m) for m in range(n + 1, n + 60))
        bound = conv_exponential.remainder_bound(norm, n)
        assert left <= bound + 1e-12 and tail <= bound * (1 + 1e-12)
        if n > norm:
            assert bound < 1.5 * tail


def test_no_bound_where_the_terms_still_grow() -> None:
    assert conv_exponential.remainder_bound(5.0, 3) == math.inf
    assert conv_exponential.remainder_bound(0.0, 1) == 0.0


@pytest.mark.equation("eq-spline")
def test_a_splines_pieces_meet_and_their_slopes_give_the_log_determinant() -> None:
    torch.manual_seed(3)
    layer = scattered(snf.RationalQuadraticSpline((1,), 4, 3.0), 1.0)
    x = torch.linspace(-4, 4, 4001, dtype=torch.float64)[:, None].requires_grad_()
    z, log_det = layer(x)
    (slope,) = torch.autograd.grad(z.sum(), x)
    assert torch.allclose(log_det, slope[:, 0].log(), atol=1e-9)
    assert (z.diff(dim=0) > 0).all()  # rising, also across the knots
    assert (slope.diff(dim=0).abs() < 0.2).all()  # and without a corner
    outside = x.abs()[:, 0] > 3
    assert torch.equal(z[outside], x[outside])
