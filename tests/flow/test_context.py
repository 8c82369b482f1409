"""Conditioning on a context: determinants, inverses, gradients and refusals of the layers and flows that take one."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import snf_lite as snf
from snf_lite import FlowLayer
from snf_lite.analysis import learned_inverse, sampling

K = 3
LAYERS: dict[str, tuple[Callable[[], FlowLayer], tuple[int, ...]]] = {
    "SelfNormLinear": (lambda: snf.SelfNormLinear(4, 0.7, context_features=K), (4,)),
    "SelfNormLinear-tolerance": (lambda: snf.SelfNormLinear(4, 0.7, 0.1, context_features=K), (4,)),
    "ExactLinear": (lambda: snf.ExactLinear(4, context_features=K), (4,)),
    "RelativeGradientLinear": (lambda: snf.RelativeGradientLinear(4, context_features=K), (4,)),
    "LULinear": (lambda: snf.LULinear(4, context_features=K), (4,)),
    "AffineVectorCoupling": (lambda: snf.AffineVectorCoupling(3, (6,), context_features=K), (3,)),
    "SplineVectorCoupling": (lambda: snf.SplineVectorCoupling(4, 3, 3.0, (6,), True, context_features=K), (4,)),
    "AffineCoupling": (lambda: snf.AffineCoupling(3, 5, context_features=K), (3, 2, 3)),
    "AffineCoupling-checkpointing": (lambda: snf.AffineCoupling(2, 5, True, context_features=K), (2, 2, 3)),
    "SplitPrior": (lambda: snf.SplitPrior(4, [snf.Squeeze(), snf.AffineCoupling(8, 5, context_features=K)]), (4, 2, 4)),
}
ALL = pytest.mark.parametrize("name", LAYERS)


def randomized(module: torch.nn.Module, spread: float = 0.4) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    for layer in module.modules():
        if isinstance(layer, snf.LULinear):
            layer.clear()


def made(name: str, batch: int = 4) -> tuple[FlowLayer, Tensor, Tensor]:
    """A layer at random parameters in float64, inputs and contexts."""
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer = make().double()
    layer.bind(shape)
    randomized(layer)
    return layer, torch.randn(batch, *shape, dtype=torch.float64), torch.randn(batch, K, dtype=torch.float64)


@ALL
def test_log_det_is_that_of_the_autograd_jacobian_at_each_context(name: str) -> None:
    layer, x, context = made(name)
    z, log_det = layer(x, context)
    for k in range(len(x)):
        one = torch.autograd.functional.jacobian(lambda e, k=k: layer.transform(e[None], context[k, None])[0], x[k])
        wanted = torch.linalg.slogdet(one.reshape(x[k].numel(), -1))[1]
        assert torch.allclose(log_det[k], wanted, atol=1e-9)
    assert (z - layer(x, context.flip(0))[0]).abs().max() > 1e-2  # the context acts


@ALL
def test_round_trips_at_each_context(name: str) -> None:
    layer, x, context = made(name)
    z = layer(x, context)[0]
    assert torch.allclose(layer.inverse(z, context=context), x, atol=1e-8)
    with torch.no_grad():
        assert torch.allclose(layer.inverse(z, context=context), x, atol=1e-8)
    if "SelfNorm" in name:
        back = layer.inverse(z, exact=False, context=context)
        assert torch.allclose(back, x @ layer.weight.T @ layer.inverse_weight.T, atol=1e-10)
        assert torch.allclose(layer.surrogate(x, context)[2], layer.penalty((back - x).square().sum(1)), atol=1e-10)


@ALL
def test_the_training_pass_sends_exact_gradients_to_input_context_and_the_weights_of_the_context(name: str) -> None:
    layer, x, context = made(name)
    x, context = x.requires_grad_(), context.requires_grad_()
    trained = [p for n, p in layer.named_parameters() if "context" in n or "net" in n]
    assert trained
    for pull in (torch.ones_like(x), torch.randn_like(x)):
        found = []
        for z, term in (layer.surrogate(x, context)[:2], layer(x, context)):
            value = (pull.reshape(z.shape) * z.sin()).sum() + term.sum()
            found.append(torch.autograd.grad(value, [x, context, *trained], allow_unused=True, materialize_grads=True))
        for ours, exact in zip(*found, strict=True):
            assert torch.allclose(ours, exact, atol=1e-9)


@ALL
def test_a_fresh_layer_takes_no_notice_of_the_context_and_settings_make_it_again(name: str) -> None:
    make, shape = LAYERS[name]
    layer, x = make(), torch.randn(2, *shape)
    layer.bind(shape)
    assert torch.equal(layer(x, torch.randn(2, K))[0], layer(x, torch.zeros(K))[0])
    twin = type(layer)(**layer.settings())
    assert twin.context_features == K
    twin.load_state_dict(layer.state_dict())


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*should not be instantiated")
@ALL
def test_works_compiled_and_under_vmap(name: str) -> None:
    layer, x, context = made(name)
    each = torch.func.vmap(lambda one, own: layer(one[None], own[None])[1][0])
    with torch.no_grad():
        assert torch.allclose(each(x, context), layer(x, context)[1], atol=1e-10)
    torch._dynamo.reset()
    if "checkpointing" not in name:
        compiled = torch.compile(layer.forward, fullgraph=True, backend="eager")
        assert torch.allclose(compiled(x, context)[0], layer(x, context)[0], atol=1e-10)


# ---- flows -----------------------------------------------------------------------------------------------------------


def flow_of(context_features: int | None = K) -> snf.Flow:
    torch.manual_seed(0)
    layers = [
        snf.SelfNormLinear(2, context_features=context_features), snf.RationalQuadraticSpline((2,), 4, 3.0),
        snf.ExactLinear(2), snf.AffineVectorCoupling(2, (6,), context_features=context_features),
    ]  # fmt: skip
    flow = snf.Flow(layers, (2,)).double()
    randomized(flow, 0.3)
    return flow


def image_flow() -> snf.Flow:
    torch.manual_seed(0)
    inner = [snf.Squeeze(), snf.SelfNormConv2d(8, 1), snf.AffineCoupling(8, 5, context_features=K)]
    layers = [snf.Squeeze(), snf.ActNorm(4), snf.AffineCoupling(4, 5, context_features=K), snf.SplitPrior(4, inner)]
    flow = snf.Flow(layers, (1, 4, 8)).double()
    randomized(flow, 0.2)
    return flow


@pytest.mark.parametrize("make", [flow_of, image_flow])
def test_a_conditioned_flow_is_one_density_for_each_context(make: Callable[[], snf.Flow]) -> None:
    flow = make()
    assert flow.context_features == K
    x = torch.randn(3, *flow.event_shape, dtype=torch.float64)
    context = torch.randn(3, K, dtype=torch.float64)
    z, log_det = flow(x, context)
    jacobian = torch.autograd.functional.jacobian(lambda e: flow(e[None], context[1, None])[0][0], x[1])
    assert torch.allclose(log_det[1], torch.linalg.slogdet(jacobian.reshape(z[1].numel(), -1))[1], atol=1e-8)
    assert torch.allclose(flow.inverse(z, context=context), x, atol=1e-7)
    assert torch.allclose(flow.log_prob(x, context)[1:2], flow.log_prob(x[1:2], context[1]), atol=1e-10)
    assert flow.reconstruct(x, context).shape == x.shape
    flow.loss(x, context).backward()
    assert flow.sample(3, context=context[0]).shape == flow.sample(3, context=context).shape == x.shape
    drawn, log_prob = flow.sample_and_log_prob(3, seed=0, context=context)
    assert torch.allclose(log_prob, flow.log_prob(drawn, context), atol=1e-7)
    assert torch.autograd.grad(flow.rsample(3, context=context.requires_grad_()).sum(), context)[0].abs().sum() > 0
    flow.initialise(x, context=context.detach())


def test_initialising_runs_at_the_given_contexts() -> None:
    layers = [snf.ExactLinear(2, context_features=1), snf.ActNorm(2)]
    flow = snf.Flow(layers, (2,)).double()
    with torch.no_grad():
        layers[0].context_weight.fill_(3.0)
    x, context = torch.randn(50, 2, dtype=torch.float64), torch.randn(50, 1, dtype=torch.float64)
    z = flow.initialise(x, context=context)(x, context)[0]
    assert z.mean(0).abs().max() < 1e-8 and (z.std(0, correction=0) - 1).abs().max() < 1e-8


def test_the_mean_of_a_conditioned_density_is_learned() -> None:
    """Data around A c: one dense layer of each kind finds it."""
    torch.manual_seed(0)
    context = torch.randn(500, 1)
    x = context @ torch.tensor([[2.0, -1.0]]) + 0.5 * torch.randn(500, 2)
    nats = {}
    for name in ("SelfNormLinear", "ExactLinear", "LULinear"):
        flow = snf.Flow([getattr(snf, name)(2, context_features=1)], (2,))
        adam = torch.optim.Adam(flow.parameters(), 0.03)
        for _ in range(300):
            adam.zero_grad()
            flow.loss(x, context).backward()
            adam.step()
        nats[name] = float(-flow.log_prob(x, context).detach().mean())
        middle = flow.sample(2000, seed=0, context=torch.tensor([2.0])).mean(0)
        assert torch.allclose(middle, torch.tensor([4.0, -2.0]), atol=0.2), name
    wanted = 2 * (0.5 + torch.tensor(0.5 * (2 * torch.pi) ** 0.5).log())  # the entropy of the noise
    assert max(abs(value - float(wanted)) for value in nats.values()) < 0.08


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda f, x: f.log_prob(x), ValueError, r"Flow: is conditioned, expected context= as a tensor \(B, 3\)"),
        (lambda f, x: f.loss(x), ValueError, "is conditioned"),
        (lambda f, x: f.sample(2), ValueError, "is conditioned"),
        (lambda f, x: f.initialise(x), ValueError, "is conditioned"),
        (lambda f, x: f.reconstruct(x), ValueError, "is conditioned"),
        (lambda f, x: f.layers[0](x), ValueError, r"layers\[0\] SelfNormLinear: is conditioned"),
        (lambda f, x: f.layers[0].inverse(x), ValueError, r"layers\[0\] SelfNormLinear: is conditioned"),
        (lambda f, x: f.log_prob(x, x), ValueError, r"expected shape \(4, 3\), or \(3,\) for all.*got \(4, 2\)"),
        (lambda f, x: f.sample(2, context=torch.zeros(4, K).double()), ValueError, r"shape \(2, 3\).*got \(4, 3\)"),
        (lambda f, x: f.log_prob(x, torch.zeros(K)), TypeError, "context: expected torch.float64 input, got torch.fl"),
        (lambda f, x: f.log_prob(x, [0.0] * K), TypeError, "context: expected a torch.Tensor, got list"),
        (lambda f, x: f.log_prob(x, torch.zeros(K).double() / 0), ValueError, "context: expected finite input"),
        (lambda f, x: flow_of(None).log_prob(x, x), ValueError, "takes no context, as none of its layers"),
        (lambda f, x: flow_of(None).layers[0](x, x), ValueError, "SelfNormLinear: takes no context"),
        (
            lambda f, x: snf.Flow([snf.ExactLinear(2, 1), snf.ExactLinear(2, 2)], (2,)), ValueError,
            r"one context for all layers.*layers\[1\] ExactLinear takes 2, layers\[0\] ExactLinear takes 1",
        ),
        (lambda f, x: snf.ExactLinear(2, context_features=0), ValueError, "context_features to be a positive integer"),
    ],
)  # fmt: skip
def test_refuses_a_context_that_is_missing_or_of_no_use(
    call: Callable[[snf.Flow, Tensor], object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(flow_of(), torch.randn(4, 2, dtype=torch.float64))


def test_a_layer_that_is_not_finite_at_a_context_is_named() -> None:
    flow, x = flow_of(), torch.randn(4, 2, dtype=torch.float64)
    with pytest.raises(FloatingPointError, match=r"layers\[3\] AffineVectorCoupling"):
        flow.loss(x, torch.full((K,), 1e308, dtype=torch.float64))


def test_hooks_of_a_conditioned_layer_see_the_context() -> None:
    flow, x, seen = flow_of(), torch.randn(4, 2, dtype=torch.float64), []
    flow.layers[3].register_forward_hook(lambda layer, inputs, outputs: seen.append(inputs[1].shape))
    flow.log_prob(x, torch.zeros(K, dtype=torch.float64))
    assert seen == [(4, K)]


def test_the_analysis_of_learned_inverses_takes_contexts() -> None:
    flow, x = flow_of(), torch.randn(4, 2, dtype=torch.float64)
    context = torch.randn(4, K, dtype=torch.float64)
    z = flow(x, context)[0]
    pair = sampling.sample_pair(flow, 4, context=context)
    latents = flow(pair.exact, context)[0]
    assert torch.allclose(pair.learned, flow.inverse(latents, False, context), atol=1e-9)
    gaps = sampling.layer_gaps(flow, z, context)
    assert torch.allclose(gaps[-1].gap, (flow.inverse(z, False, context) - x).norm(dim=1), atol=1e-9)
    assert torch.equal(sampling.refine(flow, z, 0, context), flow.inverse(z, False, context))
    assert (sampling.refine(flow, z, 1, context) - flow.inverse(z, False, context)).abs().max() > 1e-6
    R, W = flow.layers[0].inverse_weight.detach(), flow.layers[0].weight.detach()
    wanted = float((R.T - torch.linalg.inv(W).T).norm() / torch.linalg.inv(W).norm())
    assert learned_inverse.log_det_gradient_errors(flow, x, context) == [pytest.approx(wanted)]
    assert torch.allclose(learned_inverse.error_matrix(flow.layers[0], (2,)), R @ W - torch.eye(2).double())
    assert len(learned_inverse.gradient_angles(flow, x, context)) == 1


def test_conditioned_flows_are_copied_saved_and_restored(tmp_path: Path) -> None:
    flow, x = flow_of(), torch.randn(4, 2, dtype=torch.float64)
    context = torch.randn(4, K, dtype=torch.float64)
    snf.save(flow, tmp_path / "flow.pt")
    for twin in (copy.deepcopy(flow), snf.restore(tmp_path / "flow.pt")):
        assert torch.equal(twin.log_prob(x, context), flow.log_prob(x, context))


def test_a_layer_of_a_user_may_be_conditioned() -> None:
    class Shift(FlowLayer):
        context_features = 2

        def transform(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
            return x + context, x.new_zeros(len(x))

        def invert(self, z: Tensor, exact: bool, context: Tensor) -> Tensor:
            return z - context

    flow = snf.Flow([Shift(), snf.ExactLinear(2)], (2,))
    assert torch.allclose(
        flow.log_prob(torch.ones(1, 2), torch.full((2,), -1.0)), flow.log_prob(torch.zeros(1, 2), torch.zeros(2))
    )
