"""Base densities other than N(0, I): likelihood, training, samples, devices and dtypes, files."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import distributions as d

import snf_lite as snf

#: Each distribution of two numbers.
BASES: dict[str, Callable[[], d.Distribution]] = {
    "Normal": lambda: d.Normal(torch.zeros(2), torch.tensor([1.0, 2.0])),
    "Independent": lambda: d.Independent(d.Normal(torch.ones(2), torch.tensor([1.0, 2.0])), 1),
    "StudentT": lambda: d.StudentT(torch.tensor([3.0, 5.0])),
    "Laplace": lambda: d.Laplace(torch.zeros(2), torch.ones(2)),
    "Cauchy": lambda: d.Independent(d.Cauchy(torch.zeros(2), torch.ones(2)), 1),
    "Uniform": lambda: d.Uniform(torch.full((2,), -50.0), torch.full((2,), 50.0)),
    "MultivariateNormal": lambda: d.MultivariateNormal(torch.ones(2), root() @ root().T),
    "MultivariateNormal-tril": lambda: d.MultivariateNormal(torch.ones(2), scale_tril=root()),
    "LowRank": lambda: d.LowRankMultivariateNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2)),
    "MixtureSameFamily": lambda: d.MixtureSameFamily(
        d.Categorical(torch.tensor([0.3, 0.7])), d.Independent(d.Normal(2 * torch.eye(2), torch.ones(2, 2)), 1)
    ),
}


def root() -> torch.Tensor:
    return torch.tensor([[1.0, 0.0], [0.5, 2.0]])


ALL = pytest.mark.parametrize("name", BASES)


def double(name: str) -> d.Distribution:
    """The distribution made in float64, batch dimensions part of a latent."""
    torch.set_default_dtype(torch.float64)
    try:
        made = BASES[name]()
    finally:
        torch.set_default_dtype(torch.float32)
    return d.Independent(made, len(made.batch_shape))


def flow_of(base: d.Distribution | None, linear: type = snf.SelfNormLinear) -> snf.Flow:
    torch.manual_seed(0)
    flow = snf.Flow([linear(2), snf.SmoothLeakyReLU(), linear(2)], (2,), base=base).double()
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            if not name.startswith("base"):
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return flow


@ALL
def test_log_prob_is_that_of_the_distribution(name: str) -> None:
    flow, x = flow_of(BASES[name]()), torch.randn(5, 2, dtype=torch.float64)
    z, log_det = flow(x)
    assert torch.allclose(flow.log_prob(x), double(name).log_prob(z) + log_det, atol=1e-6)  # made in float32
    assert flow.log_prob(x).dtype == torch.float64


@ALL
def test_samples_follow_the_density(name: str) -> None:
    flow = flow_of(BASES[name]())
    state = torch.get_rng_state()
    with torch.no_grad():
        x, log_prob = flow.sample_and_log_prob(20_000, seed=0)
        assert torch.equal(x, flow.sample(20_000, exact=True, generator=torch.Generator().manual_seed(0)))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.allclose(log_prob, flow.log_prob(x), atol=1e-6)
        middle = x.median(0).values
        q = d.MultivariateNormal(middle, 0.3 * torch.eye(2, dtype=torch.float64))
        weights = (q.log_prob(x) - log_prob).exp()
    error = float(weights.std() / len(x) ** 0.5)
    assert abs(float(weights.mean()) - 1) < 4 * error
    torch.manual_seed(5)
    first = flow.sample(3)
    torch.manual_seed(5)
    assert torch.equal(first, flow.sample(3))


def test_a_standard_normal_is_the_default() -> None:
    x = torch.randn(6, 2, dtype=torch.float64)
    given, default = flow_of(d.Normal(torch.zeros(2), torch.ones(2))), flow_of(None)
    assert torch.allclose(given.log_prob(x), default.log_prob(x), atol=1e-12)
    assert torch.allclose(given.loss(x), default.loss(x), atol=1e-12)


@pytest.mark.equation("eq-objective")
@pytest.mark.parametrize("name", ["StudentT", "MixtureSameFamily", "MultivariateNormal"])
def test_with_true_inverses_the_loss_gradients_are_exact_or_half(name: str) -> None:
    """The training pass sees the base through the gradient of log p(z) alone."""
    flow, x = flow_of(BASES[name]()), torch.randn(6, 2, dtype=torch.float64)
    learned = [layer for layer in flow.layers if layer.learned_inverse]
    with torch.no_grad():
        for layer in learned:
            layer.inverse_weight.copy_(torch.linalg.inv(layer.weight))
    flow.loss(x).backward()
    for layer in learned:
        for parameter, share in ((layer.weight, 0.5), (layer.bias, 1.0)):
            (exact,) = torch.autograd.grad(-flow.log_prob(x).mean(), parameter)
            assert torch.allclose(parameter.grad, share * exact, atol=1e-10)
        # a step of R moves x = R (z - b) as the step -W R W moves z: its gradient is that of W, carried over
        W, R = layer.weight.detach(), layer.inverse_weight
        (exact_W,) = torch.autograd.grad(-flow.log_prob(x).mean(), layer.weight)
        assert torch.allclose(R.grad, -0.5 * W.T @ exact_W @ W.T, atol=1e-10)


def test_parameters_of_the_base_are_trained() -> None:
    scale = torch.full((2,), 0.5, requires_grad=True)
    flow = snf.Flow([snf.ActNorm(2)], (2,), base=d.Laplace(torch.zeros(2), scale))
    x = 4 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    assert [name for name, _ in flow.named_parameters() if "base" in name] == ["base.base_distribution.scale"]
    adam = torch.optim.Adam(flow.base.parameters(), 0.1)
    for _ in range(300):
        adam.zero_grad()
        flow.loss(x).backward()
        adam.step()
    assert torch.allclose(flow.base.base_distribution.scale, x.abs().mean(0), rtol=0.05)
    assert torch.equal(scale.detach(), torch.full((2,), 0.5))  # the flow has a copy
    drawn = flow.rsample(4)
    assert torch.autograd.grad(drawn.sum(), flow.base.base_distribution.scale)[0].abs().sum() > 0
    mixture = d.MixtureSameFamily(
        d.Categorical(torch.ones(2)), d.Independent(d.Normal(torch.zeros(2, 2, requires_grad=True), 1.0), 1)
    )
    with pytest.raises(NotImplementedError, match=r"a base with rsample.*got MixtureSameFamily"):
        snf.Flow([snf.ActNorm(2)], (2,), base=mixture).rsample(3)


@ALL
def test_moves_and_is_copied_with_the_flow(name: str) -> None:
    flow, x = flow_of(BASES[name]()), torch.randn(3, 2, dtype=torch.float64)
    single = copy.deepcopy(flow).float()
    assert single.log_prob(x.float()).dtype == single.sample(2).dtype == torch.float32
    assert {tensor.dtype for tensor in single.base.state_dict().values()} == {torch.float32}
    assert {tensor.device.type for tensor in copy.deepcopy(flow).to("meta").base.state_dict().values()} == {"meta"}
    twin = flow_of(BASES[name]())
    twin.load_state_dict(flow.state_dict())
    assert torch.equal(twin.log_prob(x), flow.log_prob(x))


@ALL
def test_is_saved_with_the_flow(name: str, tmp_path: Path) -> None:
    flow, x = flow_of(BASES[name]()), torch.randn(3, 2, dtype=torch.float64)
    with torch.no_grad():
        for buffer in flow.base.buffers():
            buffer.mul_(1.1)
    snf.save(flow, tmp_path / "flow.pt")
    back = snf.restore(tmp_path / "flow.pt")
    assert torch.equal(back.log_prob(x), flow.log_prob(x))
    assert torch.equal(back.sample(3, True, seed=0), flow.sample(3, True, seed=0))


def test_a_trained_base_is_saved_as_trained(tmp_path: Path) -> None:
    base = d.Normal(torch.zeros(2, requires_grad=True), torch.ones(2), validate_args=False)
    snf.save(snf.Flow([snf.ActNorm(2)], (2,), base=base), tmp_path / "flow.pt")
    back = snf.restore(tmp_path / "flow.pt")
    assert "base.base_distribution.loc" in dict(back.named_parameters())
    assert "base.base_distribution.scale" in dict(back.named_buffers())
    assert not back.base.distribution()._validate_args


def test_a_flow_without_a_base_is_described_as_before() -> None:
    from snf_lite.training.checkpoints import architecture

    flow = snf.build("dense-selfnorm", (2,))
    assert list(architecture(flow)) == ["layers", "event_shape", "dtype"]
    assert not [key for key in flow.state_dict() if "base" in key]


class Own(d.Independent):
    """A distribution of a user."""


def test_another_class_is_used_as_it_is_and_not_saved(tmp_path: Path) -> None:
    flow = snf.Flow([snf.ActNorm(2)], (2,), base=Own(d.Normal(torch.zeros(2), torch.ones(2)), 1))
    x = torch.randn(3, 2)
    assert torch.allclose(flow.log_prob(x), snf.Flow([snf.ActNorm(2)], (2,)).log_prob(x))
    assert flow.double().log_prob(x.double()).dtype == flow.sample(2, seed=0).dtype == torch.float64
    with pytest.raises(TypeError, match=r"a base among Normal, Laplace.*got .*Own"):
        snf.save(flow, tmp_path / "flow.pt")


@pytest.mark.parametrize(
    ("base", "error", "message"),
    [
        (torch.zeros(2), TypeError, r"base to be a torch.distributions.Distribution of shape \(2,\), got Tensor"),
        (
            d.Normal(0.0, 1.0),
            ValueError,
            r"such as Independent\(Normal\(torch.zeros\(2,\), .* got batch shape \(\) and",
        ),
        (d.Normal(torch.zeros(3), 1.0), ValueError, r"event shape \(2,\).*got batch shape \(3,\) and event shape \(\)"),
        (
            d.MultivariateNormal(torch.zeros(3), torch.eye(3)),
            ValueError,
            r"got batch shape \(\) and event shape \(3,\)",
        ),
    ],
)
def test_refuses_a_base_of_another_shape(base: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        snf.Flow([snf.ActNorm(2)], (2,), base=base)  # type: ignore[arg-type]


def test_refuses_latents_outside_of_the_support_and_a_temperature() -> None:
    narrow = d.Uniform(torch.zeros(2), torch.ones(2), validate_args=True)  # other libraries change the default
    flow = snf.Flow([snf.ActNorm(2)], (2,), base=narrow)
    with pytest.raises(ValueError, match="within the support"):
        flow.log_prob(torch.full((1, 2), 3.0))
    unchecked = snf.Flow([snf.ActNorm(2)], (2,), base=d.Uniform(torch.zeros(2), torch.ones(2), validate_args=False))
    assert unchecked.log_prob(torch.tensor([[3.0, 0.5], [0.5, 0.5]])).tolist() == [-float("inf"), 0.0]
    with pytest.raises(ValueError, match=r"a temperature of 1, as it scales latents of N\(0, I\) alone.*got 0.5"):
        flow.sample(2, temperature=0.5)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiles_in_one_graph() -> None:
    flow, x = flow_of(BASES["Independent"]()), torch.randn(4, 2, dtype=torch.float64)
    compiled = torch.compile(flow.loss, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(x), flow.loss(x))
    each = torch.func.vmap(lambda point: flow.log_prob(point[None])[0])(x)
    assert torch.allclose(each, flow.log_prob(x))


def test_a_run_is_not_resumed_with_another_base(tmp_path: Path) -> None:
    data, path = torch.randn(40, 2, dtype=torch.float64), tmp_path / "run.pt"
    snf.fit(flow_of(BASES["Laplace"]()), data, 1, checkpoint=path, progress=False)
    with pytest.raises(snf.CheckpointError, match=r"base is .*'Laplace'.* in the checkpoint, .*'Normal'.* here"):
        snf.fit(flow_of(BASES["Normal"]()), data, 2, checkpoint=path, progress=False)
    assert snf.fit(flow_of(BASES["Laplace"]()), data, 2, checkpoint=path, progress=False).resumed_at == [1]
