"""The numbered equations of the chapter on Glow, at random parameters in float64."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

import snf_lite as snf
from snf_lite import geco
from snf_lite.linalg import toeplitz


def randomised(layer: snf.FlowLayer, spread: float = 0.3) -> snf.FlowLayer:
    layer = layer.double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    return layer


def jacobian(layer: snf.FlowLayer, x: Tensor) -> Tensor:
    """The (D, D) Jacobian at one event, channel by channel."""
    found = torch.autograd.functional.jacobian(lambda event: layer(event[None])[0][0], x)
    return found.reshape(x.numel(), x.numel())


@pytest.mark.equation("eq-one-by-one")
def test_a_1x1_convolution_adds_one_log_determinant_for_each_pixel() -> None:
    torch.manual_seed(0)
    w = torch.randn(5, 5, 1, 1, dtype=torch.float64, requires_grad=True)
    whole = torch.linalg.slogdet(toeplitz.matrix(w, 3, 4)).logabsdet
    small = 3 * 4 * torch.linalg.slogdet(w[:, :, 0, 0]).logabsdet
    found = toeplitz.log_abs_det(w, 3, 4)
    assert torch.allclose(found, whole, atol=1e-10) and torch.allclose(found, small, atol=1e-10)
    (gradient,) = torch.autograd.grad(found, w)
    assert torch.allclose(gradient[:, :, 0, 0], 12 * torch.linalg.inv(w[:, :, 0, 0].detach()).T, atol=1e-9)


@pytest.mark.equation("eq-coupling")
@pytest.mark.parametrize("channels", [4, 5])
def test_a_couplings_jacobian_is_triangular_and_its_diagonal_gives_the_log_determinant(channels: int) -> None:
    torch.manual_seed(1)
    layer, x = randomised(snf.AffineCoupling(channels, 6)), torch.randn(channels, 3, 3, dtype=torch.float64)
    matrix = jacobian(layer, x)
    assert matrix.triu(1).abs().max() == 0 < matrix.tril(-1).abs().max()
    diagonal = matrix.diagonal().log()
    assert diagonal[: layer.given * 9].abs().max() == 0
    assert torch.allclose(layer(x[None])[1][0], diagonal.sum(), atol=1e-10)


@pytest.mark.equation("eq-split-prior")
def test_a_split_gives_the_conditional_density_and_keeps_all_numbers() -> None:
    torch.manual_seed(2)
    layer = randomised(snf.SplitPrior(4, [snf.ActNorm(2)], image_size=(3, 3)))
    x = torch.randn(6, 4, 3, 3, dtype=torch.float64)
    z, log_det = layer(x)
    assert z.shape == (6, x[0].numel())
    found = snf.flow.standard_normal_log_prob(z) + log_det
    given, others = layer.halves(x)
    deep, deep_log_det = layer.layers[0](given)
    mean, log_deviation = layer.mean_and_log_deviation(given)
    conditional = Normal(mean, log_deviation.exp()).log_prob(others).flatten(1).sum(1)
    deep_density = Normal(0.0, 1.0).log_prob(deep).flatten(1).sum(1) + deep_log_det
    assert torch.allclose(found, deep_density + conditional, atol=1e-10)


@pytest.mark.equation("eq-geco")
@pytest.mark.parametrize("start", [1.0, 100.0])
def test_an_error_that_answers_the_weight_settles_at_the_tolerance(start: float) -> None:
    """With the error (10/λ)² the tolerance 0.25 is met at λ = 20, from below and from above."""
    adapted = geco.AdaptiveWeight(start, 0.25, "layer").double()
    for _ in range(6000):
        adapted.weigh((10 / adapted.weight).square().expand(2))
        before = float(adapted.weight)
        adapted.after_step()
        step = math.log(float(adapted.weight) / before)
        assert step == pytest.approx(1e-3 * min(1.0, float(adapted.average) / 0.25 - 1), abs=1e-12)
    assert float(adapted.weight) == pytest.approx(20, rel=1e-2)
