"""Emerging convolutions: what each output may see, the triangular matrices behind them, and a solve for each row."""

from itertools import product

import pytest
import torch
from torch import Tensor

import snf_lite as snf
from snf_lite.linalg import toeplitz

SIZES = pytest.mark.parametrize(("channels", "kernel", "size"), [(2, 3, (5, 4)), (1, 5, (6, 7)), (3, 1, (2, 3))])


def random_layer(channels: int, kernel: int, spread: float = 0.5) -> snf.EmergingConv2d:
    torch.manual_seed(0)
    layer = snf.EmergingConv2d(channels, kernel).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    return layer


def by_pixels(matrix: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """T with rows and columns ordered pixel by pixel, the channels of a pixel together: (H, W, C, H, W, C)."""
    return matrix.detach().reshape(channels, *size, channels, *size).permute(1, 2, 0, 4, 5, 3)


@SIZES
def test_the_layer_is_the_product_of_two_triangular_matrices(channels: int, kernel: int, size: tuple[int, int]) -> None:
    layer, x = random_layer(channels, kernel), torch.randn(3, channels, *size, dtype=torch.float64)
    first, second = (toeplitz.matrix(w, *size) for w in layer.kernels())
    lower, upper = (by_pixels(T, channels, size).reshape(first.shape) for T in (first, second))
    assert torch.equal(lower, lower.tril()) and torch.equal(upper, upper.triu())
    z, log_det = layer(x)
    product_of_both = (x.flatten(1) @ (second @ first).T).reshape(x.shape) + layer.bias[:, None, None]
    assert torch.allclose(z, product_of_both, atol=1e-11)
    diagonal = lower.diagonal().abs().log().sum() + upper.diagonal().abs().log().sum()
    assert torch.allclose(log_det, diagonal.expand(3), atol=1e-10)
    assert torch.allclose(layer.inverse(z), x, atol=1e-8)


@SIZES
def test_an_output_sees_what_its_masks_allow_and_nothing_else(
    channels: int, kernel: int, size: tuple[int, int]
) -> None:
    """Up and left within (k+1)/2 taps, and of its own pixel the channels up to its own; the flipped one mirrored."""
    layer, reach = random_layer(channels, kernel), (kernel + 1) // 2
    first, second = (by_pixels(toeplitz.matrix(w, *size), channels, size) for w in layer.kernels())
    places = list(product(range(size[0]), range(size[1]), range(channels)))
    for (i, j, c), (m, n, d) in product(places, places):
        own = (i, j) == (m, n)
        allowed = d <= c if own else 0 <= i - m < reach and 0 <= j - n < reach
        mirrored = d >= c if own else 0 <= m - i < reach and 0 <= n - j < reach
        assert (first[i, j, c, m, n, d] != 0) == allowed
        assert (second[i, j, c, m, n, d] != 0) == mirrored


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_both_together_see_as_far_as_a_plain_convolution(kernel: int) -> None:
    layer, reach, size = random_layer(2, kernel), kernel // 2, (9, 9)
    first, second = (toeplitz.matrix(w, *size) for w in layer.kernels())
    seen = by_pixels(second @ first, 2, size)[4, 4] != 0  # by both channels of the pixel in the middle
    rows, columns = torch.where(seen.any(3).all(0))
    assert seen.sum() == 4 * kernel**2
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4 - reach, 4 + reach, 4 - reach, 4 + reach)


def test_what_is_masked_neither_matters_nor_learns() -> None:
    layer, x = random_layer(3, 3), torch.randn(2, 3, 4, 4, dtype=torch.float64)
    before, code = layer(x), layer.inverse(x)
    hidden = {"weight": ~layer.mask, "flipped_weight": ~layer.mask.flip(0, 1, 2, 3)}
    assert all(int(where.sum()) == 3 for where in hidden.values())  # the channels above, at one tap
    with torch.no_grad():
        for name, where in hidden.items():
            getattr(layer, name)[where] = torch.nan
    for ours, wanted in zip((*layer(x), layer.inverse(x)), (*before, code), strict=True):
        assert torch.equal(ours, wanted)
    z, term, _ = layer.surrogate(x)
    (z.sin().sum() + term.sum()).backward()
    for name, where in hidden.items():
        gradient = getattr(layer, name).grad
        assert torch.count_nonzero(gradient[where]) == 0 and torch.count_nonzero(gradient) == 33


def test_training_keeps_the_masked_numbers_zero() -> None:
    torch.manual_seed(0)
    layer = snf.EmergingConv2d(3)
    snf.fit(snf.Flow([layer], (3, 2, 2)), torch.randn(100, 3, 2, 2), epochs=2, lr=0.05)
    assert torch.count_nonzero(layer.weight) == torch.count_nonzero(layer.flipped_weight) == int(layer.mask.sum())


def test_the_inverse_takes_one_triangular_solve_for_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    solve, shapes = torch.linalg.solve_triangular, []

    def noted(matrix: Tensor, rows: Tensor, **how: bool) -> Tensor:
        shapes.append(matrix.shape)
        return solve(matrix, rows, **how)

    monkeypatch.setattr(torch.linalg, "solve_triangular", noted)
    random_layer(2, 3).inverse(torch.randn(50, 2, 6, 9, dtype=torch.float64))
    assert shapes == [(2 * 9, 2 * 9)] * (2 * 6)


def test_the_inverse_of_float32_images_is_solved_in_float64() -> None:
    layer = random_layer(4, 3, spread=0.2).float()
    x = torch.randn(20, 4, 14, 14)
    z = layer(x)[0].detach()
    precise = torch.nn.Module.double(random_layer(4, 3, spread=0.2).float()).inverse(z.double())
    assert layer.inverse(z).dtype == torch.float32
    assert torch.allclose(layer.inverse(z).double(), precise, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "tap"), [("weight", -1), ("flipped_weight", 0)])
def test_refuses_a_zero_among_its_own_taps(name: str, tap: int) -> None:
    layer, x = random_layer(2, 3), torch.randn(2, 2, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        getattr(layer, name)[1, 1, tap, tap] = 0.0
    for attempt in (layer, layer.inverse, layer.surrogate):
        with pytest.raises(snf.NotInvertibleError, match=r"EmergingConv2d: the weight is singular: .* entry is 0"):
            attempt(x)
