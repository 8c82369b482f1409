"""Samples of a flow: seeds, temperature, gradients, and samples with the density from which they are drawn."""

import math

import numpy
import pytest
import torch
from small_models import random_glow
from torch import Tensor
from torch.distributions import MultivariateNormal

import snf_lite as snf


def flow_of(linear: type = snf.SelfNormLinear, seed: int = 0, spread: float = 0.3) -> snf.Flow:
    torch.manual_seed(seed)
    layers = [linear(2), snf.RationalQuadraticSpline((2,), 4, 3.0), linear(2), snf.SmoothLeakyReLU(), snf.ActNorm(2)]
    flow = snf.Flow(layers, (2,)).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    return flow


def pixel_flow() -> snf.Flow:
    torch.manual_seed(0)
    return snf.build("dense-exact", (1, 2, 1), levels=3).double()


# ---- seeds, generators, temperature ----------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
def test_a_seed_draws_as_a_generator_of_that_seed(exact: bool) -> None:
    flow = flow_of()
    state = torch.get_rng_state()
    drawn = flow.sample(5, exact, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(drawn, flow.sample(5, exact, torch.Generator().manual_seed(7)))
    assert torch.equal(drawn, flow.sample(5, exact, seed=numpy.int64(7)))
    assert not torch.equal(drawn, flow.sample(5, exact, seed=8))


def test_todays_arguments_draw_the_same_latents() -> None:
    flow = flow_of()
    torch.manual_seed(3)
    wanted = torch.randn(4, 2, dtype=torch.float64)
    torch.manual_seed(3)
    assert torch.equal(flow.sample(4), flow.inverse(wanted, exact=False))
    torch.manual_seed(3)
    assert torch.equal(flow.sample(4, True), flow.inverse(wanted))
    torch.manual_seed(3)
    assert torch.equal(flow.sample_base(4), wanted)


def test_the_temperature_scales_the_latents() -> None:
    flow = flow_of()
    z = flow.sample_base(6, seed=1)
    assert torch.allclose(flow.sample(6, True, seed=1, temperature=0.7), flow.inverse(0.7 * z), atol=1e-12)
    assert torch.equal(flow.sample(6, True, seed=1, temperature=0), flow.inverse(0 * z))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"generator": 0}, TypeError, r"generator to be a torch\.Generator, got 0; for a number, write seed="),
        ({"generator": torch.Generator(), "seed": 0}, ValueError, "a generator or a seed, got both"),
        ({"seed": "0"}, ValueError, "seed to be an integer of 64 bits, got '0'"),
        ({"seed": 2**70}, ValueError, "seed to be an integer of 64 bits, got"),
        ({"seed": True}, ValueError, "seed to be an integer of 64 bits, got True"),
        ({"temperature": -1.0}, ValueError, r"temperature in \[0, inf\), got -1.0"),
        ({"temperature": math.nan}, ValueError, r"temperature in \[0, inf\), got nan"),
        ({"temperature": "hot"}, ValueError, r"temperature in \[0, inf\), got 'hot'"),
        ({"context": torch.zeros(3)}, ValueError, "takes no context"),
    ],
)
@pytest.mark.parametrize("method", ["sample", "rsample", "sample_and_log_prob"])
def test_refuses_what_it_cannot_draw_with(
    method: str, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace(r"\[0", r"[\[(]0") if method == "sample_and_log_prob" else message):
        getattr(flow_of(), method)(3, **arguments)


# ---- gradients -------------------------------------------------------------------------------------------------------


TARGET = MultivariateNormal(torch.tensor([1.0, -2.0]), torch.tensor([[2.0, 0.6], [0.6, 0.5]]))


def divergence(flow: snf.Flow) -> float:
    with torch.no_grad():
        x = flow.sample(20_000, exact=True, seed=5)
        return float((flow.log_prob(x) - TARGET.log_prob(x)).mean())


@pytest.mark.parametrize("method", ["rsample", "sample_and_log_prob"])
@pytest.mark.parametrize("name", ["dense-exact", "dense-selfnorm"])
def test_a_flow_learns_a_density_from_its_own_samples(method: str, name: str) -> None:
    """Reverse Kullback-Leibler divergence, which needs samples with a gradient."""
    torch.manual_seed(0)
    flow = snf.build(name, (2,), depth=1)
    adam = torch.optim.Adam(flow.parameters(), 3e-2)
    assert divergence(flow) > 5
    for _ in range(300):
        if method == "rsample":
            x = flow.rsample(128)
            log_prob = flow.log_prob(x)
        else:
            x, log_prob = flow.sample_and_log_prob(128)
        adam.zero_grad()
        (log_prob - TARGET.log_prob(x)).mean().backward()
        adam.step()
    assert divergence(flow) < 0.05


def test_samples_without_an_r_have_no_gradient_and_those_with_it_follow_the_parameters() -> None:
    flow = flow_of()
    assert not flow.sample(3, seed=0).requires_grad
    drawn = flow.rsample(3, seed=0)
    assert torch.allclose(drawn, flow.sample(3, exact=True, seed=0))
    weight = flow.layers[0].weight
    (got,) = torch.autograd.grad(drawn.sum(), weight)
    step = torch.zeros_like(weight)
    step[0, 1] = 1e-6
    with torch.no_grad():
        weight.add_(step)
        above = flow.sample(3, exact=True, seed=0).sum()
        weight.sub_(2 * step)
        below = flow.sample(3, exact=True, seed=0).sum()
    assert float(got[0, 1]) == pytest.approx(float(above - below) / 2e-6, rel=1e-5)
    learned = torch.autograd.grad(flow.rsample(3, exact=False).sum(), flow.layers[0].inverse_weight)[0]
    assert learned.abs().sum() > 0


def test_pixels_have_no_gradient() -> None:
    with pytest.raises(TypeError, match=r"pixels have no gradient.*use sample"):
        pixel_flow().rsample(2)


# ---- samples with their density --------------------------------------------------------------------------------------


def mean_weight(log_q: Tensor, log_p: Tensor) -> tuple[float, float]:
    """Mean of q/p over samples of p, and its standard error."""
    weights = (log_q - log_p).exp()
    return float(weights.mean()), float(weights.std() / len(weights) ** 0.5)


@pytest.mark.equation("eq-two-likelihoods")
def test_samples_and_log_probs_belong_together() -> None:
    flow = flow_of()
    x, log_prob = flow.sample_and_log_prob(5, seed=2)
    assert torch.equal(x, flow.sample(5, exact=True, seed=2))
    assert torch.allclose(log_prob, flow.log_prob(x), atol=1e-9)
    with torch.no_grad():
        x, log_prob = flow.sample_and_log_prob(40_000, seed=1)
        q = MultivariateNormal(x.mean(0), 0.2 * torch.cov(x.T))
        mean, error = mean_weight(q.log_prob(x), log_prob)
        for layer in flow.layers:
            if layer.learned_inverse:
                layer.inverse_weight.copy_(1.3 * torch.linalg.inv(layer.weight))
        learned = flow.sample(40_000, seed=1)  # has another density
        wrong, _ = mean_weight(q.log_prob(learned), flow.log_prob(learned))
    assert error < 0.02 and abs(mean - 1) < 4 * error
    assert abs(wrong - 1) > 0.1


def test_the_log_prob_of_cooler_samples_is_that_of_their_own_density() -> None:
    flow = flow_of()
    with torch.no_grad():
        x, log_prob = flow.sample_and_log_prob(40_000, seed=1, temperature=0.6)
        q = MultivariateNormal(x.mean(0), 0.2 * torch.cov(x.T))
        mean, error = mean_weight(q.log_prob(x), log_prob)
    assert error < 0.02 and abs(mean - 1) < 4 * error


def test_the_density_of_the_learned_inverse_is_not_given() -> None:
    message = r"density p\(z\) / \|det J_g\(z\)\|, and log_prob is that of f; use exact=True"
    with pytest.raises(ValueError, match=message):
        flow_of().sample_and_log_prob(3, exact=False)
    flow = flow_of(snf.ExactLinear)  # where nothing is learned there is one density
    assert torch.equal(flow.sample_and_log_prob(3, False, seed=0)[1], flow.sample_and_log_prob(3, seed=0)[1])


def test_pixels_come_with_the_density_of_the_point_they_are_rounded_from() -> None:
    """Importance weights Q(x) / p(y) of all distributions Q of pixels have the mean 1."""
    flow = pixel_flow()
    state = torch.get_rng_state()
    with torch.no_grad():
        x, log_prob = flow.sample_and_log_prob(40_000, seed=0)
    assert torch.equal(torch.get_rng_state(), state)  # no noise is drawn
    assert x.dtype == torch.uint8 and torch.equal(x, flow.sample(40_000, seed=0))
    q = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    mean, error = mean_weight(q[x.long()].log().sum((1, 2, 3)), log_prob)
    assert error < 0.02 and abs(mean - 1) < 4 * error


@pytest.mark.parametrize("name", ["glow-exact", "glow-selfnorm"])
def test_log_probs_of_samples_of_a_chain_within_a_chain(name: str) -> None:
    flow = random_glow(name)
    x, log_prob = flow.sample_and_log_prob(3, seed=0)
    assert torch.allclose(log_prob, flow.log_prob(x), atol=1e-7)
    assert flow.rsample(2).requires_grad
