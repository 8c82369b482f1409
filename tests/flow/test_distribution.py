"""A flow as a distribution of torch.distributions, alone and inside of torch's own constructs."""

import copy

import pytest
import torch
from torch import Tensor
from torch import distributions as d

import snf_lite as snf

K = 3


def flow_of(context_features: int | None = None) -> snf.Flow:
    torch.manual_seed(0)
    layers = [
        snf.SelfNormLinear(2, context_features=context_features), snf.SmoothLeakyReLU(),
        snf.ExactLinear(2, context_features=context_features),
    ]  # fmt: skip
    flow = snf.Flow(layers, (2,)).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return flow


def contexts(*shape: int) -> Tensor:
    return torch.randn(*shape, K, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_is_a_distribution_with_shapes_and_support() -> None:
    flow = flow_of()
    density = flow.distribution()
    assert isinstance(density, d.Distribution) and density.has_rsample
    assert (tuple(density.batch_shape), tuple(density.event_shape)) == ((), (2,))
    torch.manual_seed(1)
    x = density.sample((4, 3))
    assert x.shape == (4, 3, 2) and not x.requires_grad
    torch.manual_seed(1)
    assert torch.equal(x.flatten(0, 1), flow.sample(12, exact=True))
    assert torch.allclose(density.log_prob(x).flatten(), flow.log_prob(x.flatten(0, 1)))
    assert density.log_prob(x).shape == (4, 3) and density.log_prob(x[0, 0]).shape == ()
    assert density.sample().shape == (2,)
    with pytest.raises(ValueError, match="support"):  # other libraries change the default
        flow.distribution(validate_args=True).log_prob(torch.full((2,), torch.nan, dtype=torch.float64))
    with pytest.raises(NotImplementedError, match=r"entropy of a flow has no closed form; estimate it by"):
        density.entropy()
    assert copy.deepcopy(density).log_prob(x).shape == (4, 3)


def test_one_distribution_for_each_context() -> None:
    flow, given = flow_of(K), contexts(5, 4)
    density = flow.distribution(given)
    assert tuple(density.batch_shape) == (5, 4)
    x = density.rsample((3,))
    assert x.shape == (3, 5, 4, 2) and x.requires_grad
    wanted = flow.log_prob(x.reshape(-1, 2), given.expand(3, 5, 4, K).reshape(-1, K)).reshape(3, 5, 4)
    assert torch.allclose(density.log_prob(x), wanted)
    assert density.log_prob(x[0, 0, 0]).shape == (5, 4)  # one value under all of them
    x, log_prob = density.rsample_and_log_prob((3,))
    assert torch.allclose(log_prob, density.log_prob(x), atol=1e-9)
    one = flow.distribution(given[1, 2])
    assert tuple(one.batch_shape) == () and one.sample((2,)).shape == (2, 2)
    assert torch.allclose(one.log_prob(x[0, 1, 2]), density.log_prob(x)[0, 1, 2])
    wide = one.expand((6,))
    assert wide.sample().shape == (6, 2) and torch.allclose(wide.log_prob(x[0, 1, 2]), one.log_prob(x[0, 1, 2]))
    assert flow_of().distribution().expand((6,)).sample((2,)).shape == (2, 6, 2)


def test_works_inside_of_other_distributions() -> None:
    flow, given = flow_of(K), contexts(4)
    components = flow.distribution(given)
    joint = d.Independent(components, 1)
    x = joint.sample((3,))
    assert (tuple(joint.event_shape), x.shape) == ((4, 2), (3, 4, 2))
    assert torch.allclose(joint.log_prob(x), components.log_prob(x).sum(-1))
    assert joint.rsample((2,)).requires_grad
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    mixture = d.MixtureSameFamily(d.Categorical(weights), components)
    points = mixture.sample((6,))
    wanted = torch.logsumexp(components.log_prob(points[:, None]) + weights.log(), -1)
    assert points.shape == (6, 2) and torch.allclose(mixture.log_prob(points), wanted)
    affine = d.AffineTransform(torch.ones(2, dtype=torch.float64), 2.0, event_dim=1)
    moved = d.TransformedDistribution(flow_of().distribution(), affine)
    points = moved.rsample((5,))
    alone = flow_of().distribution().log_prob((points - 1) / 2) - 2 * torch.tensor(2.0).double().log()
    assert torch.allclose(moved.log_prob(points), alone)


def test_the_distribution_of_pixels_and_of_numbers_in_the_unit_interval() -> None:
    pixels = snf.build("dense-exact", (1, 2, 2), levels=17).distribution(validate_args=True)
    x = pixels.sample((3,))
    assert x.dtype == torch.uint8 and not pixels.has_rsample
    assert pixels.log_prob(x).shape == (3,)
    with pytest.raises(ValueError, match="support"):
        pixels.log_prob(torch.full((1, 2, 2), 17, dtype=torch.uint8))
    with pytest.raises(TypeError, match="pixels have no gradient"):
        pixels.rsample()
    unit = snf.Flow([snf.Logit(0.1), snf.ExactLinear(2)], (2,)).distribution(validate_args=True)
    with pytest.raises(ValueError, match="support"):
        unit.log_prob(torch.tensor([0.5, 1.5]))
    assert snf.Flow([], (2,)).distribution().log_prob(torch.zeros(2)).shape == ()


def test_refuses_a_context_at_once() -> None:
    with pytest.raises(ValueError, match=r"Flow\.distribution: is conditioned"):
        flow_of(K).distribution()
    with pytest.raises(ValueError, match=r"Flow\.distribution: takes no context"):
        flow_of().distribution(contexts(2))
    with pytest.raises(ValueError, match=r"Flow\.distribution, context: expected shape \(4, 3\)"):
        flow_of(K).distribution(torch.zeros(4, 2, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"context: expected torch.float64 input"):
        flow_of(K).distribution(torch.zeros(4, K))


def test_variational_inference_through_the_distribution() -> None:
    """The usual two lines of other libraries train it."""
    torch.manual_seed(0)
    flow = snf.build("dense-exact", (2,), depth=1)
    target = d.Independent(d.Normal(torch.tensor([3.0, -1.0]), torch.tensor([0.5, 2.0])), 1)
    x, log_prob = flow.distribution().rsample_and_log_prob((5000,))
    assert (log_prob - target.log_prob(x)).mean() > 5
    adam = torch.optim.Adam(flow.parameters(), 0.03)
    for _ in range(400):
        x, log_prob = flow.distribution().rsample_and_log_prob((64,))
        adam.zero_grad()
        (log_prob - target.log_prob(x)).mean().backward()
        adam.step()
    with torch.no_grad():
        x, log_prob = flow.distribution().rsample_and_log_prob((5000,))
    assert 0 <= float((log_prob - target.log_prob(x)).mean()) < 0.3
