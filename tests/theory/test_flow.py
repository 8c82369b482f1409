"""The flow: exact likelihoods that integrate to one, samples that follow them, losses, initialisation, refusals."""

import math

import numpy
import pytest
import torch
from small_models import small
from torch import Tensor
from torch.nn.utils import prune

import snf_lite as snf


def random_flow(layers: list[snf.FlowLayer], shape: tuple[int, ...], spread: float = 0.3, seed: int = 0) -> snf.Flow:
    torch.manual_seed(seed)
    flow = snf.Flow(layers, shape).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    return flow


def two_dimensional(linear: type = snf.SelfNormLinear) -> snf.Flow:
    torch.manual_seed(0)
    layers = [linear(2), snf.SmoothLeakyReLU(), linear(2), snf.RationalQuadraticSpline((2,), 4, 3.0), linear(2)]
    return random_flow(layers, (2,))


def grid(half_width: float, steps: int) -> tuple[Tensor, float]:
    line = torch.linspace(-half_width, half_width, steps, dtype=torch.float64)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


@pytest.mark.equation("eq-change")
@pytest.mark.parametrize("linear", [snf.SelfNormLinear, snf.ExactLinear, snf.RelativeGradientLinear])
def test_density_integrates_to_one(linear: type) -> None:
    flow = two_dimensional(linear)
    points, cell = grid(40.0, 1001)
    with torch.no_grad():
        mass = flow.log_prob(points).exp().sum() * cell
    assert abs(float(mass) - 1) < 1e-3


@pytest.mark.equation("eq-change")
def test_samples_follow_the_density() -> None:
    """Mean log-density of exact samples against the integral of p log p, and the mass of a half-plane."""
    flow = two_dimensional()
    points, cell = grid(40.0, 1001)
    x = flow.sample(20_000, exact=True, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        log_p = flow.log_prob(points)
        drawn = flow.log_prob(x)
    negative_entropy = float((log_p.exp() * log_p).sum() * cell)
    assert abs(float(drawn.mean()) - negative_entropy) < 4 * float(drawn.std()) / len(x) ** 0.5
    mass_right = float(log_p.exp()[points[:, 0] > 1].sum() * cell)
    assert abs(float((x[:, 0] > 1).double().mean()) - mass_right) < 4 * 0.5 / len(x) ** 0.5


@pytest.mark.equation("eq-change")
def test_log_prob_is_base_plus_log_dets() -> None:
    flow, x = two_dimensional(), torch.randn(5, 2, dtype=torch.float64)
    z, log_det = flow(x)
    normal = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=z.dtype), torch.eye(2, dtype=z.dtype))
    assert torch.allclose(flow.log_prob(x), normal.log_prob(z) + log_det, atol=1e-12)
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda e: flow(e[None])[0][0], event) for event in x])
    assert (log_det - torch.linalg.slogdet(jacobians)[1]).abs().max() < 1e-8


@pytest.mark.parametrize("name", snf.model_names())
def test_models_have_the_log_det_of_their_jacobian(name: str) -> None:
    flow = small(name, (1, 4, 4), levels=17).double()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    x = 0.5 + 16 * torch.rand(2, 1, 4, 4, dtype=torch.float64)
    z, log_det = flow(x)
    jacobians = [torch.autograd.functional.jacobian(lambda e: flow(e[None])[0][0], event) for event in x]
    wanted = torch.stack([torch.linalg.slogdet(j.reshape(16, 16))[1] for j in jacobians])
    assert (log_det - wanted).abs().max() < 1e-8
    assert torch.equal(flow.inverse(z), x.floor().to(torch.uint8))


def test_float32_likelihood_of_many_terms_follows_float64() -> None:
    torch.manual_seed(0)
    flow = snf.build("dense-selfnorm", (1, 28, 28), levels=256)
    x = torch.randint(0, 256, (20, 1, 28, 28)) + 0.5
    log_p = flow.log_prob(x)
    assert log_p.dtype == torch.float32
    assert (flow.double().log_prob(x.double()) - log_p).abs().max() < 0.05  # nats, of thousands


def test_uint8_likelihood_has_the_dtype_of_the_flow() -> None:
    pixels = torch.randint(0, 17, (3, 1, 8, 8), dtype=torch.uint8)
    flow = snf.build("dense-exact", (1, 8, 8), levels=17)
    assert flow.log_prob(pixels).dtype == torch.float32
    assert flow.double().log_prob(pixels).dtype == torch.float64


# ---- the training loss -----------------------------------------------------------------------------------------------


def test_loss_of_an_exact_flow_is_its_negative_log_likelihood() -> None:
    flow, x = two_dimensional(snf.ExactLinear), torch.randn(6, 2, dtype=torch.float64)
    assert torch.allclose(flow.loss(x), -flow.log_prob(x).mean(), atol=1e-12)
    from_loss = torch.autograd.grad(flow.loss(x), list(flow.parameters()))
    exact = torch.autograd.grad(-flow.log_prob(x).mean(), list(flow.parameters()))
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(from_loss, exact, strict=True))


@pytest.mark.equation("eq-objective")
def test_with_true_inverses_the_loss_gradients_are_exact_or_half() -> None:
    """Weights get half of the exact gradient (the other half belongs to R), everything else the whole."""
    flow, x = two_dimensional(), torch.randn(6, 2, dtype=torch.float64)
    with torch.no_grad():
        for layer in flow.layers:
            if layer.learned_inverse:
                layer.inverse_weight.copy_(torch.linalg.inv(layer.weight))
    flow.loss(x).backward()
    names = [name for name, _ in flow.named_parameters() if "inverse_weight" not in name]
    parameters = dict(flow.named_parameters())
    exact = torch.autograd.grad(-flow.log_prob(x).mean(), [parameters[name] for name in names])
    for name, gradient in zip(names, exact, strict=True):
        share = 0.5 if name.endswith(".weight") else 1.0
        assert torch.allclose(parameters[name].grad, share * gradient, atol=1e-10), name


@pytest.mark.equation("eq-objective")
def test_reconstruction_terms_are_local() -> None:
    """The penalty of a later layer sends nothing to the layers before it."""
    x = torch.randn(6, 2, dtype=torch.float64)

    def first_gradient(later_weight: float) -> Tensor:
        flow = two_dimensional()
        flow.layers[2].recon_weight = later_weight
        flow.loss(x).backward()
        return flow.layers[0].weight.grad

    assert torch.equal(first_gradient(0.0), first_gradient(100.0))


def test_loss_scales_with_the_batch_mean_and_with_whoever_scales_it() -> None:
    flow, x = two_dimensional(), torch.randn(6, 2, dtype=torch.float64)
    once = torch.autograd.grad(flow.loss(x), list(flow.parameters()))
    twice = torch.autograd.grad(flow.loss(torch.cat([x, x])), list(flow.parameters()))
    scaled = torch.autograd.grad(3 * flow.loss(x), list(flow.parameters()))
    for a, b, c in zip(once, twice, scaled, strict=True):
        assert torch.allclose(a, b, atol=1e-12)
        assert torch.allclose(3 * a, c, atol=1e-12)


def test_train_and_eval_modes_change_nothing() -> None:
    flow, x = two_dimensional(), torch.randn(4, 2, dtype=torch.float64)
    training = flow.train().log_prob(x), flow.loss(x)
    evaluating = flow.eval().log_prob(x), flow.loss(x)
    assert all(torch.equal(a, b) for a, b in zip(training, evaluating, strict=True))


# ---- learned inverses and samples ------------------------------------------------------------------------------------


def test_reconstruct_is_the_identity_where_g_inverts_f() -> None:
    flow, x = two_dimensional(), torch.randn(5, 2, dtype=torch.float64)
    assert (flow.reconstruct(x) - x).abs().max() > 1e-2
    with torch.no_grad():
        for layer in flow.layers:
            if layer.learned_inverse:
                layer.inverse_weight.copy_(torch.linalg.inv(layer.weight))
    assert (flow.reconstruct(x) - x).abs().max() < 1e-9


def test_samples_are_pixels_and_repeat_with_a_generator() -> None:
    flow = snf.build("dense-selfnorm", (1, 4, 4), levels=17)
    first, second = (flow.sample(5, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.dtype == torch.uint8 and first.shape == (5, 1, 4, 4) and int(first.max()) <= 16
    assert torch.equal(first, second)
    assert flow.sample(0).shape == (0, 1, 4, 4)
    z = flow.sample_base(5, torch.Generator().manual_seed(3))
    assert torch.equal(flow.inverse(z, exact=False), first)
    assert torch.equal(flow.inverse(z), flow.sample(5, exact=True, generator=torch.Generator().manual_seed(3)))


# ---- initialisation --------------------------------------------------------------------------------------------------


def test_whitening_gives_mean_zero_and_unit_covariance() -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 6, dtype=torch.float64) @ torch.randn(6, 6, dtype=torch.float64) + 5
    flow = snf.Flow([snf.SelfNormLinear(6), snf.SmoothLeakyReLU(), snf.SelfNormLinear(6)], (6,)).double()
    assert flow.initialise(x, whiten=True) is flow
    first, _, last = flow.layers
    for z in (first(x)[0], flow(x)[0]):
        assert z.mean(0).abs().max() < 1e-9
        assert (torch.cov(z.T) - torch.eye(6)).abs().max() < 1e-9
    for layer in (first, last):
        assert (layer.inverse_weight @ layer.weight - torch.eye(6)).abs().max() < 1e-9
    covariance = torch.cov(x.T)
    assert torch.allclose(first.weight @ first.weight @ covariance, torch.eye(6, dtype=x.dtype), atol=1e-8)


def test_initialised_survives_the_state_dict() -> None:
    flow = snf.build("dense-exact", (2,))
    assert not flow.initialised
    flow.initialise(torch.randn(10, 2))
    twin = snf.build("dense-exact", (2,))
    twin.load_state_dict(flow.state_dict())
    assert twin.initialised


def test_forward_initialises_nothing() -> None:
    flow = snf.build("dense-selfnorm", (2,))
    before = {key: value.clone() for key, value in flow.state_dict().items()}
    flow.loss(torch.randn(10, 2))
    flow.log_prob(torch.randn(10, 2))
    assert all(torch.equal(before[key], value) for key, value in flow.state_dict().items())


def test_whitening_wants_more_events_than_features_and_some_variation() -> None:
    flow = snf.build("dense-exact", (5,))
    with pytest.raises(ValueError, match=r"more than 5 data points, got 5"):
        flow.initialise(torch.randn(5, 5), whiten=True)
    with pytest.raises(ValueError, match="all the same"):
        flow.initialise(torch.ones(10, 5), whiten=True)


# ---- refusals --------------------------------------------------------------------------------------------------------


def test_refuses_bad_events_by_name() -> None:
    flow = snf.build("dense-selfnorm", (2,))
    with pytest.raises(ValueError, match=r"\(B, 2\), got \(4, 3\)"):
        flow.log_prob(torch.randn(4, 3))
    with pytest.raises(ValueError, match=r"\(B, 2\), got \(2,\)"):
        flow.loss(torch.randn(2))
    with pytest.raises(TypeError, match=r"float32.*got torch.int64"):
        flow.loss(torch.ones(4, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match=r"got torch.uint8"):
        flow.loss(torch.ones(4, 2, dtype=torch.uint8))
    with pytest.raises(TypeError, match=r"float32.*got torch.float64"):
        flow.log_prob(torch.ones(4, 2, dtype=torch.float64))
    for bad in (math.nan, math.inf):
        for call in (flow.log_prob, flow.loss, flow.initialise, flow.reconstruct):
            with pytest.raises(ValueError, match="Flow: expected finite input, got 1 NaN or infinite"):
                call(torch.tensor([[0.0, bad]]))


def test_refuses_pixels_above_the_levels() -> None:
    flow = snf.build("dense-selfnorm", (1, 2, 2), levels=17)
    with pytest.raises(ValueError, match=r"layers\[0\] Dequantize: expected pixels from 0 to 16, got 0 to 17"):
        flow.log_prob(torch.tensor([[[[0, 17], [3, 4]]]], dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"expected pixels from 0 to 17, got -0.5 to 3"):
        flow.log_prob(torch.tensor([[[[-0.5, 1.0], [2.0, 3.0]]]]))
    with pytest.raises(ValueError, match=r"Logit: expected numbers in \[0, 1\], got -0.5 to 1.5"):
        snf.Logit()(torch.tensor([[-0.5, 1.5]]))


@pytest.mark.parametrize("bad", [-1, 1.5, True, "3", None])
def test_refuses_bad_sample_counts(bad: object) -> None:
    with pytest.raises(ValueError, match=f"number of samples ≥ 0, got {bad!r}"):
        snf.build("dense-selfnorm", (2,)).sample(bad)  # type: ignore[arg-type]


def test_refuses_layers_that_do_not_fit_together() -> None:
    with pytest.raises(ValueError, match=r"layers\[1\] SelfNormLinear: expected event shape \(3,\), got \(2,\)"):
        snf.Flow([snf.SelfNormLinear(2), snf.SelfNormLinear(3)], (2,))
    with pytest.raises(TypeError, match=r"layers\[0\] to be a FlowLayer, got Linear"):
        snf.Flow([torch.nn.Linear(2, 2)], (2,))  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"even H and W, got \(1, 3, 4\)"):
        snf.Flow([snf.Squeeze()], (1, 3, 4))
    with pytest.raises(ValueError, match=r"event_shape to be a positive integer, got 0"):
        snf.Flow([], (0,))


def test_a_layer_that_lost_invertibility_is_named() -> None:
    flow = two_dimensional()
    with torch.no_grad():
        flow.layers[2].weight.zero_()
    x = torch.randn(3, 2, dtype=torch.float64)
    for call in (flow.log_prob, lambda _: flow.sample(2, exact=True)):
        with pytest.raises(snf.NotInvertibleError, match=r"layers\[2\] SelfNormLinear: the weight is singular"):
            call(x)
    assert torch.isfinite(flow.loss(x))  # the training pass needs no inverse of W


def test_overflow_is_named() -> None:
    flow, x = two_dimensional(), torch.randn(3, 2, dtype=torch.float64)
    with torch.no_grad():
        flow.layers[2].weight.mul_(1e200)
    with pytest.raises(FloatingPointError, match=r"layers\[2\] SelfNormLinear"):
        flow.loss(x)
    quiet = snf.build("dense-exact", (2,))
    with torch.no_grad():
        quiet.layers[-1].weight.mul_(1e30)  # finite codes, whose squares are not
    with pytest.raises(FloatingPointError, match=r"layers\[3\] ExactLinear: its latents reach .*overflow"):
        quiet.loss(torch.ones(3, 2))


def test_overflow_in_the_exact_passes_is_named() -> None:
    """Layers in a chain check no inputs, but each result is checked, also where a later layer would hide it."""
    flow, x = two_dimensional(), torch.randn(3, 2, dtype=torch.float64)
    with torch.no_grad():
        flow.layers[2].weight.mul_(1e200)
        flow.layers[0].inverse_weight.mul_(1e200)
        flow.layers[2].inverse_weight.mul_(1e200)
    for call in (flow, flow.log_prob):
        with pytest.raises(FloatingPointError, match=r"layers\[2\] SelfNormLinear: z is not finite"):
            call(1e150 * x)
    with pytest.raises(FloatingPointError, match=r"layers\[0\] SelfNormLinear: the inverse is not finite"):
        flow.inverse(x, exact=False)
    pixels = snf.Flow([snf.Dequantize(17), snf.Logit(), snf.ActNorm(2)], (2,))
    with torch.no_grad():
        pixels.layers[2].log_scale.fill_(-100.0)
    with pytest.raises(FloatingPointError, match=r"layers\[2\] ActNorm: the inverse is not finite"):
        pixels.sample(3)  # of which the logit would make pixels
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"Flow\.inverse: expected finite input, got 1 NaN or infinite"):
            pixels.inverse(torch.tensor([[0.0, bad]]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: snf.SelfNormLinear(0), "SelfNormLinear: expected features to be a positive integer, got 0"),
        (lambda: snf.ExactLinear(2.5), "features to be a positive integer, got 2.5"),
        (lambda: snf.SelfNormLinear(3, recon_weight=-1.0), r"recon_weight in \[0, inf\), got -1.0"),
        (lambda: snf.SelfNormConv2d(3, recon_weight=math.nan), r"recon_weight in \[0, inf\), got nan"),
        (lambda: snf.SelfNormConv2d(0), "channels to be a positive integer, got 0"),
        (lambda: snf.ExactConv2d(3, kernel_size=4), "kernel_size to be odd.* got 4"),
        (lambda: snf.SmoothLeakyReLU(0.0), r"alpha in \(0, 1\], got 0.0"),
        (lambda: snf.SmoothLeakyReLU(1.5), r"alpha in \(0, 1\], got 1.5"),
        (lambda: snf.Logit(0.5), r"alpha in \(0, 0.5\), got 0.5"),
        (lambda: snf.Dequantize(1), "levels from 2 to 256, got 1"),
        (lambda: snf.Dequantize(300), "levels from 2 to 256, got 300"),
        (lambda: snf.RationalQuadraticSpline((2, 0)), "size in shape to be a positive integer, got 0"),
        (lambda: snf.RationalQuadraticSpline((2,), bins=0), "bins to be a positive integer, got 0"),
        (lambda: snf.RationalQuadraticSpline((2,), bins=2000), "fewer than 1000 bins, got 2000"),
        (lambda: snf.RationalQuadraticSpline((2,), bound=-1.0), r"bound in \(0, inf\), got -1.0"),
        (lambda: snf.build("dense-snf", (2,)), "a model among dense-selfnorm.*, got 'dense-snf'"),
        (lambda: snf.build("dense-exact", (2,), recon_weight=1.0), "no setting 'recon_weight'; it has depth, alpha"),
        (lambda: snf.Flatten().inverse(torch.zeros(2, 4)), "no shape to come back to"),
        (lambda: snf.build("dense-exact", (2,), depth=0), "depth to be a positive integer, got 0"),
        (lambda: snf.build("conv-exact", (1, 8, 8), blocks=-1), "blocks to be a positive integer, got -1"),
        (lambda: snf.build("conv-exact", (1, 6, 6)), r"even H and W, got \(4, 3, 3\)"),
    ],
)
def test_refuses_bad_settings(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_a_flow_has_the_dtype_of_its_layers() -> None:
    flow = snf.Flow([snf.SelfNormLinear(2).double(), snf.SmoothLeakyReLU()], (2,))
    assert flow.dtype == flow.log_prob(torch.ones(1, 2, dtype=torch.float64)).dtype == flow.sample(1).dtype
    with pytest.raises(TypeError, match=r"layers of one dtype.*layers\[0\] SelfNormLinear has torch.float64"):
        snf.Flow([snf.SelfNormLinear(2).double(), snf.SelfNormLinear(2)], (2,))


def test_refuses_empty_batches_and_events_without_axes() -> None:
    flow = snf.build("dense-selfnorm", (2,))
    with pytest.raises(ValueError, match=r"at least one data point, got a batch of shape \(0, 2\)"):
        flow.loss(torch.zeros(0, 2))
    assert flow.log_prob(torch.zeros(0, 2)).shape == (0,)
    for layer in (snf.Logit(), snf.Dequantize(17), snf.Flatten(), snf.SmoothLeakyReLU()):
        for shape in ((), (5,)):
            with pytest.raises(ValueError, match="expected a batch of data points"):
                layer(torch.rand(shape))


def test_integers_of_numpy_are_integers() -> None:
    three = numpy.int64(3)
    flow = snf.Flow([snf.SelfNormLinear(three)], (three,))
    assert flow.sample(three).shape == (3, 3)


def test_hooks_of_a_layer_run_in_a_flow() -> None:
    flow = snf.Flow([snf.ExactLinear(2), snf.ExactLinear(2)], (2,)).double()
    seen: list[int] = []
    flow.layers[1].register_forward_hook(lambda layer, inputs, outputs: seen.append(len(outputs)))
    flow.layers[1].register_full_backward_hook(lambda layer, inputs, outputs: seen.append(-len(outputs)))
    flow.log_prob(torch.randn(3, 2, dtype=torch.float64)).sum().backward()
    assert seen == [2, -2]


def test_a_pruned_weight_follows_the_weight_behind_it() -> None:
    """Pruning computes the weight in a hook before each call of the layer."""
    layer = snf.ExactLinear(2).double()
    flow = snf.Flow([layer], (2,))
    prune.custom_from_mask(layer, "weight", torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
    x = torch.randn(3, 2, dtype=torch.float64)
    with torch.no_grad():
        layer.get_parameter("weight_orig").copy_(torch.tensor([[2.0, 9.0], [1.0, 4.0]]))
    assert torch.allclose(flow(x)[1], torch.full((3,), math.log(8.0), dtype=torch.float64))
