"""The split prior: its likelihood, the layers behind it, and the error of their learned inverses."""

from typing import Any

import pytest
import torch
from small_models import images, inner, random_glow
from torch import Tensor
from torch.distributions import Normal

import snf_lite as snf
from snf_lite.analysis import learned_inverse
from snf_lite.linalg import toeplitz

BOTH = pytest.mark.parametrize("name", ["glow-exact", "glow-selfnorm"])


# ---- the split prior -------------------------------------------------------------------------------------------------


def test_likelihood_is_the_sum_over_the_scales() -> None:
    """log N(z₁) + log N(x₂; μ(x₁), σ(x₁)) + the layers' log-determinants, each part by hand."""
    flow, x = random_glow("glow-selfnorm", steps=1), images()
    squeeze, norm, mixing, coupling, split = flow.layers
    h, total = x, torch.zeros(len(x), dtype=x.dtype)
    for layer in (squeeze, norm, mixing, coupling):
        h, log_det = layer(h)
        total = total + log_det
    given, others = h[:, :2], h[:, 2:]
    out = torch.nn.functional.conv2d(given, split.prior.weight, split.prior.bias, padding=1)
    mean, log_sigma = (out * torch.exp(3 * split.prior.log_scale)[:, None, None]).split(2, 1)
    total = total + Normal(mean, log_sigma.exp()).log_prob(others).sum((1, 2, 3))
    for layer in split.layers:
        given, log_det = layer(given)
        total = total + log_det
    total = total + Normal(0.0, 1.0).log_prob(given).sum((1, 2, 3))
    assert torch.allclose(flow.log_prob(x), total, atol=1e-10)


def test_the_code_is_the_deep_half_and_then_the_shallow_one() -> None:
    split, x = snf.SplitPrior(4, [snf.Squeeze()], (2, 2)).double(), images(3, 4, 2, 2)
    z = split(x)[0]
    assert torch.equal(z[:, :8], snf.Squeeze()(x[:, :2])[0].flatten(1))
    assert torch.equal(z[:, 8:], x[:, 2:].flatten(1))  # the prior starts as N(0, I)


@BOTH
def test_samples_are_exact(name: str) -> None:
    flow = random_glow(name)
    z = images(5, 64)
    assert (flow(flow.inverse(z))[0] - z).abs().max() < 1e-9
    assert flow.z_shape == (64,)


def test_reconstruction_goes_through_the_learned_inverses_behind_the_split() -> None:
    flow, x = random_glow("glow-selfnorm"), images()
    assert (flow.reconstruct(x) - x).abs().max() > 1e-2
    convolutions = inner(flow, snf.SelfNormConv2d)
    assert len(convolutions) == 4
    with torch.no_grad():
        for layer in convolutions[:-1]:
            layer.inverse_weight.copy_(torch.linalg.inv(layer.weight[:, :, 0, 0])[:, :, None, None])
        before = flow.reconstruct(x)
        convolutions[-1].inverse_weight.copy_(torch.linalg.inv(convolutions[-1].weight[:, :, 0, 0])[:, :, None, None])
    assert (before - x).abs().max() > 1e-2
    assert (flow.reconstruct(x) - x).abs().max() < 1e-9


def test_penalties_behind_the_split_are_summed() -> None:
    flow, x = random_glow("glow-selfnorm", recon_weight=0.7, kernel_size=3), images()
    errors: list[Tensor] = []
    for layer in inner(flow, snf.SelfNormConv2d):
        transform = layer.transform

        def noting(x: Tensor, layer: snf.SelfNormConv2d = layer, transform: Any = transform) -> Any:
            errors.append(layer.inverse(transform(x)[0], exact=False) - x)
            return transform(x)

        layer.transform = noting
    flow(x)
    wanted = 0.7 * sum(error.square().sum((1, 2, 3)) for error in errors)
    assert torch.allclose(flow.training_pass(x, x.dtype)[2], wanted, atol=1e-10)


@pytest.mark.equation("eq-objective")
def test_with_true_inverses_the_gradients_are_exact_or_half() -> None:
    flow, x = random_glow("glow-selfnorm"), images()
    convolutions = inner(flow, snf.SelfNormConv2d)
    with torch.no_grad():
        for layer in convolutions:
            layer.inverse_weight.copy_(torch.linalg.inv(layer.weight[:, :, 0, 0])[:, :, None, None])
    flow.loss(x).backward()
    halved = {id(layer.weight) for layer in convolutions}
    parameters = [(name, p) for name, p in flow.named_parameters() if "inverse_weight" not in name]
    exact = torch.autograd.grad(-flow.log_prob(x).mean(), [parameter for _, parameter in parameters])
    for (name, parameter), gradient in zip(parameters, exact, strict=True):
        share = 0.5 if id(parameter) in halved else 1.0
        assert torch.allclose(parameter.grad, share * gradient, atol=1e-9), name


def test_exact_convolutions_behind_the_split_are_eliminated_together(monkeypatch: pytest.MonkeyPatch) -> None:
    together, batches = toeplitz.log_abs_dets, []
    monkeypatch.setattr(toeplitz, "log_abs_dets", lambda w, *rest: batches.append(len(w)) or together(w, *rest))
    split = snf.SplitPrior(2, [snf.ExactConv2d(1), snf.ActNorm(1), snf.ExactConv2d(1)])
    flow, x = snf.Flow([snf.ExactConv2d(2), split], (2, 4, 4)).double(), images(3, 2, 4, 4)
    loss = flow.loss(x)
    assert batches == [1, 2]
    assert torch.allclose(loss, -flow.log_prob(x).mean(), atol=1e-10)


def test_what_a_flow_asks_of_its_layers_reaches_those_behind_the_split() -> None:
    asked: list[str] = []

    class Asked(snf.ActNorm):
        def after_step(self) -> None:
            asked.append("adapt")

        def clear_cache(self) -> None:
            asked.append("forget")

        def initialise(self, x: Tensor, whiten: bool) -> None:
            asked.append(f"initialise {tuple(x.shape)} {whiten}")

    flow = snf.Flow([snf.SplitPrior(3, [Asked(2), Asked(2)])], (3, 2, 2))
    flow.initialise(torch.randn(5, 3, 2, 2), whiten=True)
    flow.after_step()
    flow.clear_cache()
    assert asked == [*["initialise (5, 2, 2, 2) True"] * 2, "adapt", "adapt", "forget", "forget"]


# ---- a learned inverse's error behind the split ----------------------------------------------------------------------


def test_diagnosis_sees_the_learned_inverses_behind_the_split() -> None:
    flow, x = random_glow("glow-selfnorm"), images()
    convolutions = inner(flow, snf.SelfNormConv2d)
    assert learned_inverse.learned_layers(flow) == convolutions
    with torch.no_grad():
        pairs = [(layer.inverse_weight[:, :, 0, 0], layer.weight[:, :, 0, 0]) for layer in convolutions]
        sizes = [float(torch.linalg.matrix_norm(R @ W - torch.eye(len(W)), ord=2)) for R, W in pairs]
    assert min(sizes) > 1e-2 and learned_inverse.inverse_errors(flow) == pytest.approx(sizes, abs=1e-9)
    with torch.no_grad():
        for layer in convolutions:
            layer.inverse_weight.copy_(torch.linalg.inv(layer.weight[:, :, 0, 0])[:, :, None, None])
    assert max(learned_inverse.gradient_angles(flow, x)) < 1e-6
