"""Weights of data points in the loss: a weight of two is a data point that occurs twice."""

import math

import pytest
import torch
from torch import Tensor

import snf_lite as snf


def flow_of(linear: str = "SelfNormLinear", **settings: float) -> snf.Flow:
    torch.manual_seed(0)
    layer = getattr(snf, linear)
    layers = [layer(2, **settings), snf.RationalQuadraticSpline((2,), 4, 3.0), layer(2, **settings)]
    flow = snf.Flow(layers, (2,)).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return flow


def gradients(flow: snf.Flow, x: Tensor, weights: Tensor | None = None) -> list[Tensor]:
    return list(torch.autograd.grad(flow.loss(x, weights=weights), list(flow.parameters())))


@pytest.mark.parametrize(
    ("linear", "settings"),
    [
        ("SelfNormLinear", {"recon_weight": 0.7}),
        ("SelfNormLinear", {"recon_weight": 0.7, "tolerance": 0.1}),
        ("ExactLinear", {}),
        ("RelativeGradientLinear", {}),
        ("LULinear", {}),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.int64])
def test_a_weight_counts_like_repetitions(linear: str, settings: dict[str, float], dtype: torch.dtype) -> None:
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    counts = torch.tensor([2, 0, 1, 3])
    weighted, repeated = flow_of(linear, **settings), flow_of(linear, **settings)
    twice = x.repeat_interleave(counts, 0)
    assert torch.allclose(weighted.loss(x, weights=counts.to(dtype)), repeated.loss(twice), atol=1e-12)
    for a, b in zip(gradients(weighted, x, 0.5 * counts), gradients(repeated, twice), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    for flow, batch, weights in ((weighted, x, counts), (repeated, twice, None)):
        flow.loss(batch, weights=weights).backward()
        flow.after_step()  # moves λ where there is a tolerance
    for name, buffer in weighted.named_buffers():
        assert torch.allclose(buffer, repeated.get_buffer(name)), name
    weighted.loss(x)  # and a loss without weights takes the plain mean again
    repeated.loss(x)
    for name, buffer in weighted.named_buffers():
        assert torch.allclose(buffer, repeated.get_buffer(name)), name


def test_equal_weights_are_no_weights() -> None:
    flow, x = flow_of(), torch.randn(5, 2, dtype=torch.float64)
    assert torch.allclose(flow.loss(x, weights=torch.full((5,), 0.1)), flow.loss(x), atol=1e-14)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1.0, 1.0], TypeError, r"weights: expected a torch\.Tensor, got list"),
        (torch.ones(3), ValueError, r"weights of shape \(2,\), one for each data point, got \(3,\)"),
        (torch.ones(2, 1), ValueError, r"weights of shape \(2,\).* got \(2, 1\)"),
        (torch.tensor([1.0, -1.0]), ValueError, r"finite weights ≥ 0 that are not all zero, got -1.0 to 1.0"),
        (torch.zeros(2), ValueError, "not all zero, got 0.0 to 0.0"),
        (torch.tensor([1.0, math.nan]), ValueError, "expected finite weights"),
        (torch.tensor([1.0, math.inf]), ValueError, "expected finite weights"),
    ],
)
def test_refuses_what_is_no_weight(weights: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        flow_of().loss(torch.zeros(2, 2, dtype=torch.float64), weights=weights)
