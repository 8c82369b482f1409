"""The convolution exponential: against the matrix exponential, its truncation, its bounds and its power iteration."""

import copy
import math
from itertools import product

import pytest
import torch
from torch import Tensor

import snf_lite as snf
from snf_lite.layers import conv_exponential
from snf_lite.linalg import toeplitz

SIZE = (6, 5)


def random_layer(
    channels: int = 2, kernel: int = 3, spread: float = 0.5, seed: int = 0, **settings: float
) -> snf.ConvExponential2d:
    torch.manual_seed(seed)
    layer = snf.ConvExponential2d(channels, kernel, image_size=SIZE, **settings).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    layer.initialise(torch.empty(0), whiten=False)
    return layer


def images(channels: int = 2, batch: int = 3) -> Tensor:
    return torch.randn(batch, channels, *SIZE, dtype=torch.float64)


def dense(weight: Tensor) -> Tensor:
    return toeplitz.matrix(weight.detach(), *SIZE)


def singular_value(weight: Tensor, size: tuple[int, int] = SIZE) -> float:
    """The largest of T(w)."""
    return float(torch.linalg.matrix_norm(toeplitz.matrix(weight.detach(), *size), 2))


# ---- the map ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "kernel"), [(1, 3), (2, 3), (3, 5), (4, 1)])
def test_it_is_the_exponential_of_the_dense_matrix(channels: int, kernel: int) -> None:
    layer, x = random_layer(channels, kernel), images(channels)
    T = dense(layer.kernel())
    z, log_det = layer(x)
    wanted = (x.flatten(1) @ torch.linalg.matrix_exp(T).T).reshape(x.shape) + layer.bias[:, None, None]
    assert (z - wanted).norm() < 1e-11 * wanted.norm()
    assert torch.allclose(log_det, T.trace().expand(3), atol=1e-11)
    assert torch.allclose(log_det, torch.linalg.slogdet(torch.linalg.matrix_exp(T))[1].expand(3), atol=1e-9)
    back = (x.flatten(1) - layer.bias.repeat_interleave(math.prod(SIZE))) @ torch.linalg.matrix_exp(-T).T
    assert torch.allclose(layer.inverse(x).flatten(1), back, atol=1e-11)


@pytest.mark.parametrize("terms", [1, 2, 6, 10])
def test_training_leaves_out_less_than_the_remainder_of_its_terms(terms: int) -> None:
    """|Σ_{n>N} Tⁿx/n!| ≤ β^(N+1)/(N+1)! / (1 - β/(N+2)) |x| with β = |T|; the log-determinant leaves out nothing."""
    layer, x = random_layer(terms=terms), images()
    norm = singular_value(layer.kernel())
    truncated, log_det, _ = layer.surrogate(x)
    exact, exact_log_det = layer(x)
    bound = norm ** (terms + 1) / math.factorial(terms + 1) / (1 - norm / (terms + 2))
    left_out = (truncated - exact).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    assert left_out.max() < bound
    assert left_out.min() > 1e-4 * bound  # it does stop there
    assert torch.equal(log_det, exact_log_det)


def test_six_terms_are_the_default_and_leave_out_a_ten_thousandth() -> None:
    layer, x = random_layer(), images()
    assert layer.terms == 6
    left_out = (layer.surrogate(x)[0] - layer(x)[0]).norm() / x.norm()
    assert left_out < 0.9**7 / math.factorial(7) / (1 - 0.9 / 8) < 1.1e-4


# at 4.4 and 7.19 the first term left out alone would ask for one less
@pytest.mark.parametrize("norm", [0.0, 0.1, 0.9, 1.3, 3.0, 4.4, 7.19, 7.5])
def test_terms_are_as_many_as_the_remainder_asks_for(norm: float) -> None:
    terms = conv_exponential.terms_for(norm)

    def share(first: int) -> float:
        return sum(norm**n / math.factorial(n) for n in range(first, first + 100)) * math.exp(norm)

    assert share(terms + 1) <= conv_exponential.REMAINDER <= 1e-10
    assert terms == 1 or share(terms - 1) > conv_exponential.REMAINDER


def test_where_values_cannot_be_read_the_terms_cover_twice_the_coefficient() -> None:
    layer = random_layer(spread=0.05)
    used = torch.func.vmap(lambda kernel: kernel.sum() * 0 + layer.terms_needed(kernel))(layer.kernel().detach()[None])
    assert used.item() == conv_exponential.terms_for(1.8) > layer.terms_needed(layer.kernel())


@pytest.mark.parametrize(("channels", "kernel"), [(1, 1), (1, 3), (1, 5), (3, 3), (2, 5)])
def test_the_bound_holds_between_its_frequencies_too(channels: int, kernel: int) -> None:
    """Above the norm on a fine grid of frequencies and that of any image's matrix, and not far above."""
    for seed in range(50):
        torch.manual_seed(seed)
        weight = torch.randn(channels, channels, kernel, kernel, dtype=torch.float64)
        symbols = torch.fft.fft2(weight, s=(60, 60)).permute(2, 3, 0, 1)
        norm = float(torch.linalg.matrix_norm(symbols, ord=2).max())
        bound = conv_exponential.norm_bound(weight)
        assert singular_value(weight) <= bound * (1 + 1e-12)
        assert norm <= bound * (1 + 1e-12) and bound <= 1.18 * norm


def test_the_bound_is_met_where_the_peak_lies_midway_between_its_frequencies_on_both_axes() -> None:
    """Two channels that a tap turns by ±π/8 on each axis: singular values |cos(θ ± π/8) cos(φ ± π/8)|, at most 1."""
    weight = torch.zeros(2, 2, 3, 3, dtype=torch.float64)
    for row, column in product((-1, 1), (-1, 1)):
        angle = (row + column) * math.pi / 8
        turn = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        weight[:, :, 1 + row, 1 + column] = torch.tensor(turn) / 4
    assert conv_exponential.norm_bound(weight) == pytest.approx(1.0, rel=1e-6)
    assert 0.95 < singular_value(weight, (16, 16)) < 1


def test_the_bound_is_that_of_the_present_weight() -> None:
    layer, x = random_layer(spread=0.01), images()
    layer(x)
    with torch.no_grad():
        layer.weight.mul_(40)
        T = dense(layer.kernel())
        wanted = (x.flatten(1) @ torch.linalg.matrix_exp(T).T).reshape(x.shape) + layer.bias[:, None, None]
        assert torch.allclose(layer(x)[0], wanted, atol=1e-10)


@pytest.mark.parametrize(("dtype", "norm"), [(torch.float32, 4.0), (torch.float64, 9.0)])
def test_refuses_a_norm_at_which_the_series_loses_half_of_its_digits(dtype: torch.dtype, norm: float) -> None:
    layer, x = snf.ConvExponential2d(1, 1).to(dtype), torch.randn(2, 1, 4, 4, dtype=dtype)
    with torch.no_grad():
        layer.weight.fill_(-1.02 * norm)
        layer.norm_gradient.zero_()  # as if the norm were small
        for attempt in (layer, layer.inverse):
            with pytest.raises(FloatingPointError, match=rf"Exponential2d: .* norm {norm} at most.*got \d.*after_step"):
                attempt(x)
        layer.weight.fill_(-0.97 * norm)
        assert torch.allclose(layer.inverse(layer(x)[0]), x, rtol=torch.finfo(dtype).eps ** 0.5)
        layer.weight.fill_(torch.nan)
        with pytest.raises(FloatingPointError, match="the scaled weight is not finite"):
            layer(x)


# ---- the spectral norm -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "kernel"), [(1, 3), (3, 3), (2, 5), (4, 1)])
def test_the_power_iteration_finds_the_largest_singular_value(channels: int, kernel: int) -> None:
    layer = random_layer(channels, kernel)
    for _ in range(1000):
        layer.after_step()
    largest = singular_value(layer.weight)
    assert layer.spectral_norm().item() == pytest.approx(largest, rel=1e-6)
    assert singular_value(layer.kernel()) == pytest.approx(0.9, rel=1e-6)


def test_the_estimate_follows_a_weight_that_changes_slowly() -> None:
    layer = random_layer()
    for _ in range(200):
        with torch.no_grad():
            layer.weight.add_(torch.randn_like(layer.weight), alpha=0.01)
        layer.after_step()
    assert singular_value(layer.kernel()) < 0.9 * 1.01


def test_a_small_weight_is_left_as_it_is() -> None:
    layer = random_layer(spread=0.02)
    assert layer.spectral_norm().item() < 0.9
    assert torch.equal(layer.kernel(), layer.weight)


def test_the_gradient_goes_through_the_norm() -> None:
    """With u and v at their limit the derivative of σ is that of the largest singular value (Miyato et al. 2018)."""
    layer = random_layer()
    for _ in range(1000):
        layer.after_step()
    pull = torch.randn_like(layer.weight)
    (got,) = torch.autograd.grad((pull * layer.kernel()).sum(), layer.weight)
    largest = torch.linalg.matrix_norm(toeplitz.matrix(layer.weight, *SIZE), 2)
    (wanted,) = torch.autograd.grad((pull * layer.weight * 0.9 / largest).sum(), layer.weight)
    assert torch.allclose(got, wanted, atol=1e-6)


def test_a_flow_tells_the_size_of_its_images_and_fit_takes_a_step_after_each_of_its_own() -> None:
    torch.manual_seed(0)
    layer = snf.ConvExponential2d(2)
    flow = snf.Flow([layer], (2, 5, 3))
    assert layer.image_size == (5, 3) and layer.left.shape == (1, 2, 5, 3)
    with torch.no_grad():
        layer.weight.mul_(40)
    snf.fit(flow, torch.randn(200, 2, 5, 3), epochs=6, lr=0.01)
    assert singular_value(layer.weight, (5, 3)) > 1.2
    assert singular_value(layer.kernel(), (5, 3)) == pytest.approx(0.9, rel=0.02)


def test_no_pass_moves_the_power_iteration() -> None:
    layer, x = random_layer(), images()
    before = copy.deepcopy(layer.state_dict())
    for mode in (layer.train, layer.eval):
        mode()
        layer(x), layer.surrogate(x), layer.inverse(x)
    assert all(torch.equal(layer.state_dict()[name], value) for name, value in before.items())


def test_a_restored_flow_has_the_same_norm(tmp_path: object) -> None:
    flow = snf.build("conv-exponential", (1, 8, 8), blocks=2, depth=1).double()
    with torch.no_grad():
        for layer in flow.layers:
            if isinstance(layer, snf.ConvExponential2d):
                layer.weight.mul_(100)
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    flow.initialise(x)
    snf.save(flow, f"{tmp_path}/flow.pt")
    assert torch.equal(snf.restore(f"{tmp_path}/flow.pt").log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize("number", [0.0, math.nan])
def test_a_weight_without_direction_leaves_the_iteration_able_to_go_on(number: float) -> None:
    layer = random_layer()
    weight = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight.fill_(number)
        layer.after_step()
        assert torch.isfinite(layer.left).all() and torch.isfinite(layer.norm_gradient).all()
        layer.weight.copy_(weight)
        layer.after_step()
    assert layer.spectral_norm().item() > 0.9 * singular_value(weight)


def test_a_zero_weight_is_the_identity() -> None:
    layer, x = snf.ConvExponential2d(2), torch.randn(3, 2, 4, 4)
    with torch.no_grad():
        layer.weight.zero_()
        layer.after_step()
    assert torch.equal(layer(x)[0], x) and torch.equal(layer(x)[1], torch.zeros(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"coefficient": 0.0}, r"coefficient in \(0, 2\], got 0.0"),
        ({"coefficient": 2.5}, r"coefficient in \(0, 2\], got 2.5"),
        ({"terms": 0}, "terms to be a positive integer, got 0"),
        ({"image_size": (4,)}, r"image_size to be \(H, W\), got \(4,\)"),
        ({"kernel_size": 2}, "kernel_size to be odd.* got 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"ConvExponential2d: expected {message}"):
        snf.ConvExponential2d(2, **settings)
