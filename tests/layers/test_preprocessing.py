"""The fixed maps in front of a model: what they make of the data they were set by."""

import pytest
import torch

import snf_lite as snf


def stretched(count: int = 400) -> torch.Tensor:
    """Events of five coordinates that move together."""
    numbers = torch.Generator().manual_seed(2)
    mix = torch.randn(5, 5, dtype=torch.float64, generator=numbers)
    return torch.randn(count, 5, dtype=torch.float64, generator=numbers) @ mix.T + 3


@pytest.mark.equation("eq-whitening")
def test_whitening_makes_the_covariance_the_identity_and_counts_it() -> None:
    x = stretched()
    flow = snf.Flow([snf.Whiten(5)], (5,)).double().initialise(x)
    z, log_det = flow(x)
    assert torch.allclose(torch.cov(z.T), torch.eye(5, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(z.mean(0), torch.zeros(5, dtype=torch.float64), atol=1e-10)
    C = torch.cov(x.T)
    V = flow.layers[0].weight
    assert torch.allclose(V, V.T, atol=1e-10) and torch.allclose(V @ C @ V, torch.eye(5, dtype=V.dtype), atol=1e-10)
    assert torch.allclose(log_det, -0.5 * torch.logdet(C).expand(len(x)), atol=1e-10)


def test_a_whitened_gaussian_is_the_one_that_fits_best() -> None:
    x = stretched()
    flow = snf.Flow([snf.Whiten(5)], (5,)).double().initialise(x)
    fitted = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
    assert torch.allclose(flow.log_prob(x), fitted.log_prob(x), atol=1e-9)
