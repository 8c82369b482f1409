"""The equations of the chapter *Convolutions*, in float64 at random parameters."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

import snf_lite as snf
from snf_lite.linalg import toeplitz

#: Channels, kernel size, height, width; also an image smaller than the kernel.
SHAPES = [(1, 3, 5, 4), (2, 3, 4, 6), (3, 1, 3, 3), (2, 5, 6, 3), (1, 7, 2, 3)]
EACH_SHAPE = pytest.mark.parametrize("shape", SHAPES)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.equation("eq-conv-matrix")
@EACH_SHAPE
def test_entries_of_the_matrix_are_taps(shape: tuple[int, int, int, int]) -> None:
    C, k, H, W = shape
    w, p = drawn(C, C, k, k), k // 2
    T = toeplitz.matrix(w, H, W).reshape(C, H, W, C, H, W)
    for y in range(H):
        for x in range(W):
            for v in range(H):
                for u in range(W):
                    a, b = v - y + p, u - x + p
                    inside = 0 <= a < k and 0 <= b < k
                    wanted = w[:, :, a, b] if inside else torch.zeros(C, C, dtype=w.dtype)
                    assert torch.equal(T[:, y, x, :, v, u], wanted)
    images = drawn(3, C, H, W, seed=1)
    z = images.flatten(1) @ toeplitz.matrix(w, H, W).T
    assert (conv2d(images, w, padding=p).flatten(1) - z).abs().max() < 1e-12


@pytest.mark.equation("eq-tap-sums")
@EACH_SHAPE
def test_tap_sums_of_the_inverse_are_the_gradient_of_the_log_det(shape: tuple[int, int, int, int]) -> None:
    C, k, H, W = shape
    w = drawn(C, C, k, k).requires_grad_()
    T = toeplitz.matrix(w, H, W)
    exact = torch.autograd.grad(torch.linalg.slogdet(T).logabsdet, w)[0]
    found = toeplitz.tap_sums(torch.linalg.inv(T.detach()).T, C, k, H, W)
    assert (found - exact).norm() < 1e-9 * exact.norm()


@EACH_SHAPE
def test_tap_sums_are_the_adjoint_and_give_the_nearest_convolution(shape: tuple[int, int, int, int]) -> None:
    C, k, H, W = shape
    w, entries = drawn(C, C, k, k).requires_grad_(), drawn(C * H * W, C * H * W, seed=2)
    (adjoint,) = torch.autograd.grad((toeplitz.matrix(w, H, W) * entries).sum(), w)
    sums, counts = toeplitz.tap_sums(entries, C, k, H, W), toeplitz.tap_counts(w, H, W).detach()
    assert (sums - adjoint).abs().max() < 1e-12
    nearest = sums / counts.clamp_min(1)
    off = entries - toeplitz.matrix(nearest, H, W)
    assert toeplitz.tap_sums(off, C, k, H, W).abs().max() < 1e-12  # what is left is orthogonal to all convolutions


def test_the_nearest_convolution_to_the_inverse_gives_the_exact_gradient() -> None:
    C, k, H, W = 2, 3, 5, 4
    w = drawn(C, C, k, k)
    inverse, m = torch.linalg.inv(toeplitz.matrix(w, H, W)), toeplitz.tap_counts(w, H, W)
    r = toeplitz.tap_sums(inverse, C, k, H, W) / m
    exact = toeplitz.tap_sums(inverse.T, C, k, H, W)
    assert (toeplitz.flip(r) * m - exact).norm() < 1e-12 * exact.norm()
    assert (toeplitz.matrix(r, H, W) - inverse).norm() > 0.1 * inverse.norm()  # though it is not the inverse


def test_tap_sums_refuses_another_matrix() -> None:
    with pytest.raises(ValueError, match=r"expected a matrix \(12, 12\), got \(12, 11\)"):
        toeplitz.tap_sums(torch.zeros(12, 11), 1, 3, 3, 4)


def inverse_pair(k: int) -> tuple[Tensor, Tensor]:
    """Kernels of two channels whose matrices are inverses: a channel moved by the other, then both mixed."""
    moved, mix = torch.zeros(2, 2, k, k, dtype=torch.float64), drawn(2, 2, seed=5)
    moved[0, 0, k // 2, k // 2] = moved[1, 1, k // 2, k // 2] = 1.0
    back = moved.clone()
    moved[1, 0] = drawn(k, k, seed=6)
    back[1, 0] = -moved[1, 0]
    w = torch.einsum("om,miab->oiab", mix, moved)
    return w, torch.einsum("omab,mi->oiab", back, torch.linalg.inv(mix))


@pytest.mark.equation("eq-conv-gradients")
@pytest.mark.parametrize("k", [1, 3, 5])
def test_where_the_inverse_is_a_convolution_both_gradients_are_exact(k: int) -> None:
    """Twice that of w is the gradient of log p_f, twice that of r that of log p_g, by plain autograd."""
    H, W, layer = 5, 4, snf.SelfNormConv2d(2, k).double()
    w, r = inverse_pair(k)
    assert (toeplitz.matrix(r, H, W) @ toeplitz.matrix(w, H, W) - torch.eye(2 * H * W)).abs().max() < 1e-12
    with torch.no_grad():
        layer.weight.copy_(w)
        layer.inverse_weight.copy_(r)
        layer.bias.copy_(drawn(2, seed=8))
    x = drawn(3, 2, H, W, seed=7)

    def after(z: Tensor) -> Tensor:
        return -z.square().flatten(1).sum(1) / 2 + torch.sin(2 * z).flatten(1).sum(1)

    z, term, penalty = layer.surrogate(x)
    assert penalty is not None
    (after(z) + term - penalty).mean().backward()
    T_w, T_r = (toeplitz.matrix(kernel, H, W).requires_grad_() for kernel in (w, r))
    bias = layer.bias.detach().repeat_interleave(H * W)
    events = x.flatten(1)
    f = (after(events @ T_w.T + bias) + torch.linalg.slogdet(T_w).logabsdet).mean()
    code = torch.linalg.solve(T_r, events.T).T
    g = (after(code + bias) - torch.linalg.slogdet(T_r).logabsdet).mean()
    for gradient, value, matrix in ((layer.weight.grad, f, T_w), (layer.inverse_weight.grad, g, T_r)):
        assert gradient is not None
        exact = toeplitz.tap_sums(torch.autograd.grad(value, matrix)[0], 2, k, H, W)
        assert (2 * gradient - exact).norm() < 1e-10 * exact.norm()


@pytest.mark.equation("eq-block-banded")
@pytest.mark.parametrize("shape", [(1, 3, 6, 4), (2, 3, 5, 5), (2, 3, 4, 7)])
def test_row_by_row_gives_the_log_det(shape: tuple[int, int, int, int]) -> None:
    """The recursion itself, written out, and the package's elimination."""
    C, k, H, W = shape
    w = drawn(C, C, k, k)
    rows = toeplitz.matrix(w, H, W).reshape(C, H, W, C, H, W).permute(1, 0, 2, 4, 3, 5).reshape(H, C * W, H, C * W)
    D, U, L = rows[0, :, 0], rows[0, :, 1], rows[1, :, 0]
    S, total = D, torch.linalg.slogdet(D).logabsdet
    for _ in range(H - 1):
        S = D - L @ torch.linalg.solve(S, U)
        total = total + torch.linalg.slogdet(S).logabsdet
    dense = torch.linalg.slogdet(toeplitz.matrix(w, H, W)).logabsdet
    assert abs(total - dense) < 1e-8 and abs(toeplitz.log_abs_det(w, H, W) - dense) < 1e-9
