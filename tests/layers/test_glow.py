"""Glow: the rules of its layers, and its models as a whole."""

from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import SMALL, images, inner, random_glow
from small_runs import stepper
from torch import Tensor

import snf_lite as snf
from snf_lite.layers import glow
from snf_lite.linalg import toeplitz
from snf_lite.training import checkpoints
from snf_lite.training.loop.resumption import architecture_differences

BOTH = pytest.mark.parametrize("name", ["glow-exact", "glow-selfnorm"])


# ---- activation normalization ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4, 5), (3,)])
def test_initialised_channels_have_mean_zero_and_variance_one(shape: tuple[int, ...]) -> None:
    layer = snf.ActNorm(3).double()
    x = images(50, *shape)
    assert torch.equal(layer(x)[0], x)  # the identity until then
    x = x * torch.tensor([0.1, 1.0, 7.0]).reshape(3, *[1] * (len(shape) - 1)) - 4
    with torch.no_grad():
        layer.initialise(x, whiten=False)
    channels = layer(x)[0].transpose(0, 1).flatten(1)
    assert channels.mean(1).abs().max() < 1e-12
    assert (channels.var(1, correction=0) - 1).abs().max() < 1e-12


def test_a_channel_that_does_not_vary_is_only_centred() -> None:
    layer, x = snf.ActNorm(2), torch.randn(6, 2, 3, 3)
    x[:, 1] = 0.1
    flow = snf.Flow([layer], (2, 3, 3)).initialise(x)
    z, log_det = flow(x)
    assert z[:, 1].abs().max() < 1e-6 and torch.isfinite(log_det).all()
    assert layer.log_scale[1] == 0 != layer.log_scale[0]
    flow.initialise(x[:1])  # one event, and of vectors one number a channel
    assert snf.Flow([snf.ActNorm(2)], (2,)).initialise(torch.ones(1, 2)).log_prob(torch.ones(1, 2)).isfinite().all()


@BOTH
def test_each_normalisation_of_a_model_sees_its_own_inputs(name: str) -> None:
    """On both sides of the split, and from the inputs that the initialised layers before it give."""
    flow, x = random_glow(name), 3 * images(200) + 1
    flow.initialise(x)
    seen: list[Tensor] = []
    layers = inner(flow, snf.ActNorm)
    for layer in layers:
        transform = layer.transform
        layer.transform = lambda x, transform=transform: (seen.append(transform(x)[0]), transform(x))[1]
    flow(x)
    assert len(seen) == len(layers) == 4 and flow.initialised
    for z in seen:
        assert z.mean((0, 2, 3)).abs().max() < 1e-9
        assert (z.var((0, 2, 3), correction=0) - 1).abs().max() < 1e-9


# ---- affine coupling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [2, 3, 4, 7])
def test_coupling_starts_as_the_identity_and_leaves_the_first_half(channels: int) -> None:
    layer, x = snf.AffineCoupling(channels, width=5).double(), images(3, channels, 3, 2)
    z, log_det = layer(x)
    assert torch.equal(z, x) and not log_det.any()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
    changed = (layer(x)[0] != x).any(0).any(1).any(1)
    assert changed.tolist() == [False] * (channels - channels // 2) + [True] * (channels // 2)


def test_coupling_is_its_formula() -> None:
    layer, x = snf.AffineCoupling(2, width=5).double(), images(3, 2, 3, 2)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    first, _, second, _, last = layer.net
    hidden = torch.relu(second(torch.relu(first(x[:, :1]))))
    out = torch.nn.functional.conv2d(hidden, last.weight, last.bias, padding=1)
    h, shift = (out * torch.exp(3 * last.log_scale)[:, None, None]).unbind(1)
    z, log_det = layer(x)
    assert torch.allclose(z[:, 1], torch.exp(2 * torch.tanh(h / 2)) * (x[:, 1] + shift), atol=1e-12)
    assert torch.allclose(log_det, 2 * torch.tanh(h / 2).sum((1, 2)), atol=1e-12)


def test_zero_parameters_share_no_memory() -> None:
    """One tensor of zeros for the bias and the scales would tie the two for ever."""
    for net in (snf.AffineCoupling(4).net[-1], snf.SplitPrior(4, []).prior):
        places = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
        assert len(places) == 3 and not any(parameter.any() for parameter in net.parameters())


def test_checkpointing_gives_the_same_gradients_and_keeps_less() -> None:
    def gradients(checkpointing: bool) -> tuple[list[Tensor], int]:
        flow, kept = random_glow("glow-selfnorm", checkpointing=checkpointing, width=32), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            loss = flow.loss(images())
        return list(torch.autograd.grad(loss, list(flow.parameters()))), sum(kept)

    (plain, plain_kept), (again, again_kept) = gradients(False), gradients(True)
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert again_kept < 0.7 * plain_kept


def test_without_a_gradient_many_images_go_through_the_net_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = snf.AffineCoupling(2, width=5).double(), images(7, 2, 3, 2)
    with torch.no_grad():
        layer.net[-1].weight.normal_()
        whole = layer(x)[0]
        monkeypatch.setattr(glow, "IMAGES_AT_ONCE", 3)
        sizes: list[int] = []
        layer.net.register_forward_hook(lambda _, inputs, output: sizes.append(len(output)))
        assert torch.allclose(layer(x)[0], whole, atol=1e-12)
        assert sizes == [3, 3, 1]


# ---- how the 1×1 convolutions start ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_convolutions_start_orthogonal_and_with_their_inverse(kernel_size: int) -> None:
    torch.manual_seed(0)
    layer = glow.init_orthogonal_(snf.SelfNormConv2d(6, kernel_size))
    centre = layer.weight[:, :, kernel_size // 2, kernel_size // 2]
    assert (centre - torch.eye(6)).abs().max() > 0.3
    assert (centre @ centre.T - torch.eye(6)).abs().max() < (1e-5 if kernel_size == 1 else 0.1)
    assert torch.equal(layer.inverse_weight, toeplitz.flip(layer.weight))
    if kernel_size == 1:
        x = torch.randn(2, 6, 3, 3)
        assert torch.allclose(layer.inverse(layer(x)[0], exact=False), x, atol=1e-5)
    else:
        aside = layer.weight.detach().clone()
        aside[:, :, 1, 1] = 0
        assert 0 < float(aside.abs().max()) < 0.05


@BOTH
def test_each_convolution_of_a_model_starts_with_another_rotation(name: str) -> None:
    flow = snf.build(name, (1, 8, 8), 17, steps=2, width=4)
    weights = [layer.weight[:, :, 0, 0] for layer in inner(flow, (snf.SelfNormConv2d, snf.ExactConv2d))]
    assert [len(weight) for weight in weights] == [8, 8, 4, 4] or [len(weight) for weight in weights] == [4, 4, 8, 8]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[2], weights[3])
    for weight in weights:
        assert (weight @ weight.T - torch.eye(len(weight))).abs().max() < 1e-5


# ---- the models ------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("event_shape", "scales", "steps", "shapes"),
    [
        ((1, 28, 28), 2, 16, [(4, 14, 14), (8, 7, 7)]),
        ((3, 32, 32), 3, 32, [(12, 16, 16), (24, 8, 8), (48, 4, 4)]),
    ],
)
def test_the_papers_shapes(
    name: str, event_shape: tuple[int, ...], scales: int, steps: int, shapes: list[tuple[int, ...]]
) -> None:
    flow = snf.build(name, event_shape, 256, scales=scales, steps=steps, width=4)
    found = [shape for layer, shape in flow.iter_layers(event_shape) if isinstance(layer, snf.AffineCoupling)]
    assert found == [shape for shape in shapes for _ in range(steps)]
    assert len(inner(flow, snf.SplitPrior)) == scales - 1
    assert flow.sample(1).shape == (1, *event_shape)


def test_defaults_are_the_papers() -> None:
    flow = snf.build("glow-selfnorm", (1, 28, 28), 256)
    couplings, convolutions = inner(flow, snf.AffineCoupling), inner(flow, snf.SelfNormConv2d)
    assert len(couplings) == len(convolutions) == 32
    assert {layer.width for layer in couplings} == {512}
    assert {(layer.recon_weight, layer.kernel_size) for layer in convolutions} == {(100.0, 1)}


@BOTH
def test_training_on_the_digits_raises_the_likelihood(name: str) -> None:
    torch.manual_seed(0)
    flow = snf.build(name, (1, 8, 8), 17, scales=2, steps=2, width=16)
    history = snf.fit(flow, "digits", 2, progress=False)
    assert history.validation_nats[-1] < history.validation_nats[0] - 5
    assert torch.isfinite(flow.log_prob(snf.load("digits", "test")[:20])).all()


@BOTH
def test_state_and_file_give_the_flow_again(name: str, tmp_path: Path) -> None:
    flow, x = random_glow(name, levels=17), 16 * torch.rand(3, 1, 8, 8, dtype=torch.float64)
    flow.initialise(x)
    twin = snf.build(name, (1, 8, 8), 17, **SMALL[name]).double()
    assert "layers.2.log_scale" not in flow.state_dict() and "layers.3.log_scale" in flow.state_dict()
    twin.load_state_dict(flow.state_dict())
    assert twin.initialised and torch.equal(twin.log_prob(x), flow.log_prob(x))
    snf.save(flow, tmp_path / "glow.pt")
    back = snf.restore(tmp_path / "glow.pt")
    for key, value in flow.state_dict().items():
        assert torch.equal(value, back.state_dict()[key]), key
    assert torch.equal(back.loss(x), flow.loss(x))
    assert checkpoints.architecture(back) == checkpoints.architecture(flow)
    assert architecture_differences(
        checkpoints.architecture(flow), checkpoints.architecture(random_glow(name, levels=17, width=9))
    )


def test_a_step_by_lower_precision_is_finite() -> None:
    flow = snf.build("glow-selfnorm", (1, 8, 8), 17, **SMALL["glow-selfnorm"])
    step = stepper(flow, clip_norm=100.0, precision="bf16")
    step(torch.randint(0, 17, (10, 1, 8, 8), dtype=torch.uint8), 1e-3)
    assert all(parameter.isfinite().all() and parameter.dtype == torch.float32 for parameter in flow.parameters())


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: snf.ActNorm(0), "ActNorm: expected channels to be a positive integer, got 0"),
        (lambda: snf.AffineCoupling(1), "AffineCoupling: expected channels to be an integer ≥ 2.* got 1"),
        (lambda: snf.AffineCoupling(4, width=0), "AffineCoupling: expected width to be a positive integer, got 0"),
        (lambda: snf.SplitPrior(1, []), "SplitPrior: expected channels to be an integer ≥ 2.* got 1"),
        (lambda: snf.SplitPrior(2, [["Nowhere", {}]]), "SplitPrior: needs the layer class Nowhere"),
        (lambda: snf.SplitPrior(2, [], (3, 0)), "image_size to be a positive integer, got 0"),
        (lambda: snf.SplitPrior(2, []).inverse(torch.zeros(1, 8)), "no image size to come back to"),
        (lambda: snf.SplitPrior(2, [snf.ActNorm(2)])(torch.zeros(1, 2, 2, 2)), r"ActNorm: expected .* got \(1, 2, 2\)"),
        (
            lambda: snf.Flow([snf.Squeeze(), snf.SplitPrior(4, [snf.ActNorm(2), snf.Squeeze()])], (1, 6, 6)),
            r"layers\[1\] SplitPrior, layers\[1\] Squeeze: expected event shape .*even H and W, got \(2, 3, 3\)",
        ),
        (lambda: snf.build("glow-exact", (1, 6, 8)), r"H and W divisible by 4 .*got \(1, 6, 8\)"),
        (lambda: snf.build("glow-exact", (3, 8, 8), scales=4), r"divisible by 16 .*got \(3, 8, 8\)"),
        (lambda: snf.build("glow-selfnorm", (64,)), r"shape \(C, H, W\) .*got \(64,\)"),
        (lambda: snf.build("glow-exact", (1, 8, 8), scales=0), "scales to be a positive integer, got 0"),
        (lambda: snf.build("glow-exact", (1, 8, 8), steps=0), "steps to be a positive integer, got 0"),
        (lambda: snf.build("glow-exact", (1, 8, 8), recon_weight=1.0), "no setting 'recon_weight'"),
        (lambda: snf.Flow([snf.ActNorm(2)], (2, 3, 3)).initialise(torch.zeros(0, 2, 3, 3)), "at least one data point"),
    ],
)
def test_refuses_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_refuses_what_is_no_layer_behind_the_split() -> None:
    with pytest.raises(TypeError, match="SplitPrior: expected a FlowLayer, or its name and settings, got Linear"):
        snf.SplitPrior(2, [torch.nn.Linear(2, 2)])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"one dtype.*SplitPrior, layers\[0\] ActNorm has torch.float64"):
        snf.Flow([snf.SplitPrior(2, [snf.ActNorm(1).double()])], (2, 2, 2))


def broken(weight: str, value: float) -> tuple[snf.Flow, Tensor]:
    split = snf.SplitPrior(2, [snf.ActNorm(1), snf.ExactConv2d(1)])
    flow = snf.Flow([snf.ActNorm(2), split], (2, 4, 4)).double()
    with torch.no_grad():
        flow.get_parameter(weight).fill_(value)
    return flow, images(3, 2, 4, 4)


def test_a_layer_behind_the_split_is_named() -> None:
    flow, x = broken("layers.1.layers.1.weight", 0.0)
    for call in (flow.log_prob, flow.loss, lambda _: flow.sample(2, exact=True)):
        with pytest.raises(snf.NotInvertibleError, match=r"layers\[1\] SplitPrior, layers\[1\] ExactConv2d: "):
            call(x)
    for name, owner in (("layers.1.layers.0.log_scale", r", layers\[0\] ActNorm"), ("layers.1.prior.bias", "")):
        flow, x = broken(name, 1e4 if "log_scale" in name else -1e4)
        for call in (flow.log_prob, flow.loss):
            with pytest.raises(FloatingPointError, match=rf"layers\[1\] SplitPrior{owner}: z is not finite"):
                call(x)


def test_a_gradient_behind_the_split_is_named() -> None:
    flow, x = broken("layers.1.layers.0.bias", 0.5)
    flow.get_parameter("layers.1.layers.1.bias").register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(
        FloatingPointError, match=r"layers\[1\] SplitPrior, layers\[1\] ExactConv2d: the gradient of bias"
    ):
        stepper(flow)(x, 1e-3)
