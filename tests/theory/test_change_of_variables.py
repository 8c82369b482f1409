"""The equations of *Densities that move*: densities from conserved mass, log-determinants in a row, the likelihood's
floor. (That samples follow a flow's density, and that it integrates to one, stands in theory/test_flow.py.)"""

import math

import pytest
import torch
from torch import Tensor

import snf_lite as snf
from snf_lite.analysis.jacobian import log_volume

DOUBLE = torch.float64


def random_flow(*layers: snf.FlowLayer, features: int) -> snf.Flow:
    """With parameters far from those of fresh layers; they depend on the seed set before."""
    flow = snf.Flow(layers, (features,)).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter))
    return flow


def mass_below(z: Tensor) -> Tensor:
    """The share of normal codes below z."""
    return torch.special.ndtr(z)


@pytest.mark.equation("eq-change-1d")
@pytest.mark.parametrize("seed", range(3))
def test_a_density_on_the_line_is_the_mass_of_short_intervals(seed: int) -> None:
    """The events between x - h and x + h have the mass of their codes, and that is a difference of two shares."""
    torch.manual_seed(seed)
    layer, h = snf.SmoothLeakyReLU(float(torch.rand(()))), 1e-4
    x = 3 * torch.randn(200, 1, dtype=DOUBLE)
    (low, _), (z, log_slope), (high, _) = (layer(x + by) for by in (-h, 0.0, h))
    mass = (mass_below(high) - mass_below(low))[:, 0]
    log_p = -z[:, 0].square() / 2 - math.log(2 * math.pi) / 2 + log_slope
    assert torch.allclose(mass / (2 * h), log_p.exp(), rtol=1e-6, atol=1e-9)


@pytest.mark.equation("eq-change-1d")
def test_points_that_were_moved_back_follow_the_density_on_the_line() -> None:
    """The share of events in each of thirty intervals, against the integral of the density over it."""
    layer, count = snf.SmoothLeakyReLU(0.1), 100_000
    codes = torch.randn(count, 1, dtype=DOUBLE, generator=torch.Generator().manual_seed(0))
    counted = torch.histc(layer.inverse(codes), 30, -20, 3)
    x = torch.linspace(-20, 3, 30_001, dtype=DOUBLE)[:, None]
    z, log_slope = layer(x)
    density = torch.exp(-z[:, 0].square() / 2 + log_slope) / math.sqrt(2 * math.pi)
    pieces = torch.cumulative_trapezoid(density, x[:, 0])[999::1000].diff(prepend=torch.zeros(1))
    chance = (count * pieces).sqrt()
    assert ((counted - count * pieces) / chance).square().mean() < 2  # about 1 where the density is right


@pytest.mark.equation("eq-change")
@pytest.mark.parametrize("seed", range(3))
def test_a_density_in_the_plane_is_the_mass_of_small_boxes(seed: int) -> None:
    """A flow that moves each coordinate by itself: the mass of a box is then a product of two shares."""
    torch.manual_seed(seed)
    flow = random_flow(snf.RationalQuadraticSpline((2,), 6, 4.0), snf.SmoothLeakyReLU(), features=2)
    x, h = torch.randn(200, 2, dtype=DOUBLE), 1e-4
    with torch.no_grad():
        mass = (mass_below(flow(x + h)[0]) - mass_below(flow(x - h)[0])).prod(1)
        density = flow.log_prob(x).exp()
    close = torch.isclose(mass / (2 * h) ** 2, density, rtol=1e-4, atol=1e-9)
    assert close.double().mean() > 0.98  # a box across a knot of the spline has a bend in it


@pytest.mark.equation("eq-compose")
@pytest.mark.parametrize("seed", range(3))
def test_log_determinants_of_layers_in_a_row_add_up(seed: int) -> None:
    """Each layer's own by autograd, at its own input; their sum is that of the whole map's Jacobian."""
    torch.manual_seed(seed)
    spline, bend = snf.RationalQuadraticSpline((4,)), snf.SmoothLeakyReLU()
    dense = snf.SelfNormLinear(4), snf.ExactLinear(4), snf.RelativeGradientLinear(4)
    flow = random_flow(dense[0], bend, dense[1], spline, dense[2], features=4)
    h = x = torch.randn(50, 4, dtype=DOUBLE)
    total = torch.zeros(50, dtype=DOUBLE)
    for layer in flow.bijections:
        total = total + log_volume(lambda h, layer=layer: layer(h)[0], h)
        h = layer(h)[0]
    z, log_det = flow(x)
    assert torch.equal(z, h)
    assert (log_det - total).abs().max() < 1e-10
    assert (log_det - log_volume(lambda x: flow(x)[0], x)).abs().max() < 1e-10


@pytest.mark.equation("eq-likelihood")
@pytest.mark.parametrize("seed", range(3))
def test_the_mean_over_data_is_their_entropy_plus_a_divergence(seed: int) -> None:
    """Both by integrals over the plane, which know nothing of the data drawn."""
    torch.manual_seed(seed)
    flow = random_flow(snf.ExactLinear(2), snf.SmoothLeakyReLU(), snf.ExactLinear(2), features=2)
    line = torch.linspace(-6, 6, 601, dtype=DOUBLE)
    points, cell = torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2
    log_truth = snf.mixture_log_prob(points)
    with torch.no_grad():
        ratio = log_truth - flow.log_prob(points)
    entropy, divergence = (float((log_truth.exp() * part).sum()) * cell for part in (-log_truth, ratio))
    result = snf.evaluate(flow, snf.sample_density("mixture", 20_000, seed).double())
    assert divergence > 1
    assert abs(result.nats - (entropy + divergence)) < 4 * result.standard_error
