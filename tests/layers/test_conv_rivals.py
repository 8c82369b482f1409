"""The two exact convolutional models of Table 1 that bind their convolutions: built, trained, sampled, inverted."""

import pytest
import torch

import snf_lite as snf

RIVALS = {"conv-emerging": snf.EmergingConv2d, "conv-exponential": snf.ConvExponential2d}
EACH = pytest.mark.parametrize("name", RIVALS)


def random_flow(name: str, spread: float = 0.05, levels: int | None = None) -> snf.Flow:
    """Away from the identity in every layer, the splines and 1×1 convolutions included."""
    torch.manual_seed(0)
    flow = snf.build(name, (1, 8, 8), levels).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    return flow.initialise(torch.zeros(1, *flow.event_shape, dtype=torch.float64))


@EACH
def test_the_model_has_nine_convolutions_each_behind_a_1x1_one(name: str) -> None:
    layers = list(snf.build(name, (1, 28, 28), levels=256).layers)
    places = [index for index, layer in enumerate(layers) if isinstance(layer, RIVALS[name])]
    assert [layers[index].channels for index in places] == 3 * [1] + 3 * [4] + 3 * [16]
    assert all(isinstance(layers[index - 1], snf.ExactConv2d) for index in places)
    assert all(layers[index - 1].kernel_size == 1 and layers[index].kernel_size == 3 for index in places)
    assert sum(isinstance(layer, snf.RationalQuadraticSpline) for layer in layers) == 8
    assert places[-1] == len(layers) - 1


@EACH
def test_settings_reach_the_layers(name: str) -> None:
    flow = snf.build(name, (1, 8, 8), kernel_size=5, blocks=2, depth=1, bins=3)
    assert [layer.kernel_size for layer in flow.layers if isinstance(layer, RIVALS[name])] == [5, 5]
    assert [layer.bins for layer in flow.layers if isinstance(layer, snf.RationalQuadraticSpline)] == [3]
    with pytest.raises(ValueError, match="no setting 'recon_weight'; it has kernel_size, blocks, depth, bins"):
        snf.build(name, (1, 8, 8), recon_weight=1.0)


@EACH
def test_two_epochs_on_the_digits_improve_the_likelihood_and_samples_come_back(name: str) -> None:
    torch.manual_seed(0)
    flow = snf.build(name, (1, 8, 8), levels=17)
    before = snf.evaluate(flow, "digits", split="validation").nats
    history = snf.fit(flow, "digits", epochs=2, batch_size=100, lr=1e-3)
    assert history.validation_nats[-1] < before - 5
    for exact in (True, False):
        samples = flow.sample(5, exact=exact, generator=torch.Generator().manual_seed(0))
        assert samples.dtype == torch.uint8 and samples.shape == (5, 1, 8, 8)
        assert samples.max() < 17 and len(samples.unique()) > 5


@EACH
def test_the_whole_flow_round_trips(name: str) -> None:
    flow = random_flow(name)
    x, z = (2 * torch.randn(10, *shape, dtype=torch.float64) for shape in (flow.event_shape, flow.z_shape))
    assert (flow.inverse(flow(x)[0]) - x).abs().max() < 1e-6
    assert (flow(flow.inverse(z))[0] - z).abs().max() < 1e-6


@EACH
def test_the_training_loss_is_the_negative_log_likelihood(name: str) -> None:
    flow, x = random_flow(name), torch.randn(10, 1, 8, 8, dtype=torch.float64)
    exact = -flow.log_prob(x).mean()
    parameters = list(flow.parameters())
    wanted = torch.autograd.grad(exact, parameters)
    if name == "conv-exponential":
        assert 0 < abs(flow.loss(x) - exact) < 1e-3  # six terms
        for layer in flow.layers:
            if isinstance(layer, snf.ConvExponential2d):
                layer.terms = 30
    assert abs(flow.loss(x) - exact) < 1e-9
    for ours, gradient in zip(torch.autograd.grad(flow.loss(x), parameters), wanted, strict=True):
        assert torch.allclose(ours, gradient, atol=1e-8)
