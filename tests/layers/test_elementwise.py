"""Newton's method, the spline's form, dequantisation noise, and the logit near its ends."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import snf_lite as snf


@pytest.mark.parametrize(("alpha", "steps"), [(0.3, 5), (0.1, 6), (0.01, 8), (0.9, 4)])
def test_smooth_leaky_relu_inverts_to_float64_in_a_handful_of_steps(alpha: float, steps: int) -> None:
    layer = snf.SmoothLeakyReLU(alpha)
    torch.manual_seed(0)
    x = torch.cat([torch.linspace(-60, 60, 20_001, dtype=torch.float64), 1e3 * torch.randn(999, dtype=torch.float64)])
    found = layer.newton(layer.value(x), steps)
    assert ((found - x).abs() / (1 + x.abs())).max() < 1e-14


@pytest.mark.parametrize("alpha", [1e-6, 1e-3, 0.3, 1.0])
def test_smooth_leaky_relu_inverts_for_every_slope(alpha: float) -> None:
    layer = snf.SmoothLeakyReLU(alpha)
    x = torch.linspace(-60, 60, 20_001, dtype=torch.float64)[:, None]
    z, _ = layer(x)
    # beyond a flat stretch x is known only as well as z: compare where the layer has a slope, and always in z
    assert (layer(layer.inverse(z))[0] - z).abs().max() < 1e-13
    assert ((layer.inverse(z) - x).abs() * layer.slope(x)).max() < 1e-13


def test_a_fresh_spline_is_the_identity() -> None:
    layer = snf.RationalQuadraticSpline((50,)).double()
    x = torch.linspace(-12, 12, 50, dtype=torch.float64)[None]
    z, log_det = layer(x)
    assert (z - x).abs().max() < 1e-7 and log_det.abs().max() < 1e-5  # the unit slopes were drawn up in float32


@given(seed=st.integers(0, 10_000), bins=st.integers(1, 12), bound=st.floats(0.5, 50), spread=st.floats(0, 6))
def test_any_spline_rises_is_continuous_and_inverts(seed: int, bins: int, bound: float, spread: float) -> None:
    torch.manual_seed(seed)
    layer = snf.RationalQuadraticSpline((1,), bins, bound).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    x = torch.linspace(-1.2 * bound, 1.2 * bound, 2001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        z, log_det = layer(x)
        assert (z.diff(dim=0) > 0).all()
        assert torch.isfinite(log_det).all()
        assert (layer.inverse(z) - x).abs().max() < 1e-7 * max(1.0, bound)


@given(seed=st.integers(0, 10_000), bins=st.integers(1, 12))
def test_splines_meet_at_their_knots_in_value_and_slope(seed: int, bins: int) -> None:
    torch.manual_seed(seed)
    layer = snf.RationalQuadraticSpline((1,), bins, 3.0).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
        parts = layer.MIN_BIN + (1 - layer.MIN_BIN * bins) * torch.softmax(layer.widths[0], 0)
        knots = torch.cat([torch.tensor([-3.0], dtype=torch.float64), 6 * parts.cumsum(0) - 3])[:, None]
        (left, slope_left), (right, slope_right) = layer(knots - 1e-9), layer(knots + 1e-9)
    assert (left - right).abs().max() < 1e-6
    assert (slope_left - slope_right).abs().max() < 1e-4


def test_dequantisation_noise_is_uniform_and_fresh() -> None:
    layer = snf.Dequantize(17)
    torch.manual_seed(0)
    x = torch.full((20_000, 1), 5, dtype=torch.uint8)
    first, second = layer(x)[0], layer(x)[0]
    assert not torch.equal(first, second)
    noise = 17 * first - 5
    assert noise.min() >= 0 and noise.max() < 1.0001
    assert abs(float(noise.mean()) - 0.5) < 0.01 and abs(float(noise.var()) - 1 / 12) < 0.002
    assert torch.equal(layer.inverse(first), x)


def test_floats_pass_dequantisation_without_noise() -> None:
    layer = snf.Dequantize(17)
    x = torch.tensor([[0.0, 16.999, 3.25]])
    z, log_det = layer(x)
    assert torch.equal(z, x / 17)
    assert log_det.item() == pytest.approx(-3 * math.log(17))


def test_every_pixel_value_survives_the_preprocessing() -> None:
    for levels in (17, 256):
        flow = snf.Flow([snf.Dequantize(levels), snf.Logit()], (1, 1, levels))
        pixels = torch.arange(levels, dtype=torch.uint8).reshape(1, 1, 1, levels)
        torch.manual_seed(0)
        assert torch.equal(flow.reconstruct(pixels), pixels)


def test_logit_in_float32_keeps_its_digits_at_both_ends() -> None:
    x = torch.tensor([[0.0, 1e-7, 0.5, 1 - 2**-20, 1.0]])
    z32, log_det32 = snf.Logit()(x)
    z64, log_det64 = snf.Logit()(x.double())
    assert (z32 - z64).abs().max() < 1e-5
    assert (log_det32 - log_det64).abs().max() < 1e-5


def test_preprocessing_log_det_of_mnist() -> None:
    """log|det| of x/256 alone is -784 log 256 nats; the logit adds at least 784 log 4."""
    flow = snf.Flow([snf.Dequantize(256)], (1, 28, 28)).double()
    x = 256 * torch.rand(2, 1, 28, 28, dtype=torch.float64)
    assert torch.allclose(flow(x)[1], torch.tensor(-784 * math.log(256), dtype=torch.float64))
    with_logit = snf.Flow([snf.Dequantize(256), snf.Logit()], (1, 28, 28)).double()
    assert (with_logit(x)[1] - flow(x)[1] > 784 * (math.log(4) - 1e-5)).all()


def test_the_inverse_of_the_smooth_leaky_relu_has_two_right_derivatives() -> None:
    torch.manual_seed(0)
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    layer = snf.SmoothLeakyReLU()
    assert torch.autograd.gradcheck(layer.inverse, (z,))
    assert torch.autograd.gradgradcheck(layer.inverse, (z,))


def test_noise_never_rounds_up_to_the_next_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest float32 below 1, which torch.rand does give, added to a large pixel would be the next pixel."""
    largest = float(torch.nextafter(torch.tensor(1.0), torch.tensor(0.0)))
    monkeypatch.setattr(torch, "rand_like", lambda x, dtype: torch.full_like(x, largest, dtype=dtype))
    for levels in (17, 256):
        layer = snf.Dequantize(levels)
        pixels = torch.arange(levels, dtype=torch.uint8)[None]
        z, _ = layer(pixels)
        assert z.max() < 1 and torch.equal(layer.inverse(z), pixels)
