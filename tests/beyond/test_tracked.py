"""The tracked inverse: its iteration, the gradient it gives, and that it follows the weight wherever that is moved."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from layer_table import CASES
from round_trips import close
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

import snf_lite as snf
from snf_lite.beyond import tracked
from snf_lite.linalg import newton_schulz as ns


def lag(layer: Any) -> float:
    """‖I − W R‖₂."""
    return float(torch.linalg.matrix_norm(ns.inverse_residual(layer.weight.detach(), layer.inverse_weight), ord=2))


def pair(features: int, error: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """W, and R with ‖I − W R‖₂ = error, in float64."""
    torch.manual_seed(seed)
    W, E = torch.randn(2, features, features, dtype=torch.float64)
    return W, torch.linalg.inv(W) @ (torch.eye(features) - error * E / torch.linalg.matrix_norm(E, ord=2))


def digits_flow(**settings: Any) -> snf.Flow:
    torch.manual_seed(0)
    flow = snf.build(settings.pop("name", "dense-tracked"), (1, 8, 8), 17, **settings)
    return flow.initialise(examples(), whiten=True)


def examples() -> Tensor:
    return torch.as_tensor(snf.load("digits", "train")).as_subclass(Tensor)


def layers_of(flow: snf.Flow) -> list[Any]:
    return [layer for layer in flow.layers if isinstance(layer, snf.TrackedLinear)]


def train(flow: snf.Flow, steps: int, lr: float = 1e-3, tell: bool = True, **settings: Any) -> snf.Flow:
    """A loop of one's own; ``tell``: whether it calls ``after_step``."""
    optimizer = torch.optim.Adam(flow.parameters(), lr, **settings)
    x = examples()
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        flow.loss(x[torch.randint(len(x), (100,))]).backward()
        optimizer.step()
        if tell:
            flow.after_step()
    return flow


def exact_gradient_differs_by(layer: Any) -> float:
    """Relative distance of the term's gradient for W from W⁻ᵀ, of a training pass now."""
    weight = layer.weight
    (got,) = torch.autograd.grad(layer.surrogate(torch.zeros(1, layer.features, dtype=layer.dtype))[1].sum(), weight)
    wanted = torch.linalg.inv(weight.detach()).T
    return float((got - wanted).norm() / wanted.norm())


# ---- the iteration ---------------------------------------------------------------------------------------------------


@pytest.mark.equation("eq-newton-schulz", "eq-error-squares")
@pytest.mark.parametrize("error", [0.3, 0.9])
def test_an_iteration_squares_the_residual(error: float) -> None:
    W, R = pair(7, error)
    E = ns.inverse_residual(W, R)
    close(ns.inverse_residual(W, ns.newton_schulz(R, E)), E @ E, 1e-12)


def test_the_iteration_ends_at_the_inverse_inside_the_basin_alone() -> None:
    for error, ends_at_it in ((0.99, True), (1.01, False)):
        W, R = torch.eye(3, dtype=torch.float64), (1 - error) * torch.eye(3, dtype=torch.float64)
        for _ in range(30):
            R = ns.newton_schulz(R, ns.inverse_residual(W, R))
        assert bool(((R - W).abs() < 1e-12).all()) == ends_at_it


def test_the_norms_are_estimated_from_below() -> None:
    W, R = pair(20, 0.4)
    E = ns.inverse_residual(W, R)
    assert 0.36 < float(ns.spectral_norm(E)) <= 0.4 + 1e-12
    size, v = ns.residual_norm(W, R, ns.start_vector(W))
    close(size, (E @ ns.start_vector(W)).norm(), 1e-10)
    for _ in range(60):
        assert float(size) <= 0.4 + 1e-9 and abs(float(v.norm()) - 1) < 1e-12
        size, v = ns.residual_norm(W, R, v)
    assert float(size) > 0.39
    assert torch.equal(ns.residual_norm(torch.eye(2), torch.eye(2), torch.ones(2))[1], torch.ones(2))


# ---- the gradient ----------------------------------------------------------------------------------------------------


@pytest.mark.equation("eq-tracked-gradient")
@pytest.mark.parametrize("name", ["TrackedLinear", "TrackedLinear-tolerance"])
def test_all_gradients_are_the_exact_ones_where_R_is_the_inverse(name: str) -> None:
    layer, x = CASES[name].layer(), CASES[name].events().requires_grad_()
    sources = [x, *layer.parameters()]
    found = []
    for path in (layer.surrogate, layer.transform):
        z, log_det = path(x)[:2]
        found.append(
            torch.autograd.grad((z.sin() * torch.arange(1, 1 + z.shape[1])).sum() + 0.7 * log_det.sum(), sources)
        )
    for step, exact in zip(*found, strict=True):
        close(step, exact, 1e-10)


def test_R_has_no_gradient_and_no_penalty() -> None:
    layer = snf.TrackedLinear(4)
    assert layer.surrogate(torch.randn(2, 4))[2] is None
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias"}
    assert set(layer.state_dict()) == {"weight", "bias", "inverse_weight", "steps", "factorizations"}


# ---- R follows a training --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"every": 1}, {"every": 5}, {"tolerance": 0.05}])
def test_a_training_ends_where_the_exact_one_does(settings: dict[str, Any]) -> None:
    exact, flow = train(digits_flow(name="dense-exact"), 200), train(digits_flow(**settings), 200)
    learned = train(digits_flow(name="dense-selfnorm"), 200)
    x, ends = examples(), []
    for each in (exact, flow, learned):
        torch.manual_seed(2)
        ends.append(float(each.log_prob(x).mean().detach()))
    assert abs(ends[1] - ends[0]) < 0.05 < abs(ends[2] - ends[0])
    for layer in layers_of(flow):
        assert int(layer.steps) == 200 and int(layer.factorizations) == 0
        assert lag(layer) < (0.03 if settings == {"every": 1} else 0.2)


def test_updates_come_at_every_mth_step_or_where_the_tolerance_is_passed() -> None:
    for settings, wanted in (({"every": 3}, [3, 6]), ({"tolerance": 0.5}, [])):
        layer = snf.TrackedLinear(6, **settings)
        updated = []
        for step in range(1, 8):
            with torch.no_grad():
                layer.weight.add_(torch.eye(6), alpha=0.01)
            before = layer.inverse_weight.clone()
            layer.after_step()
            updated += [step] if not torch.equal(before, layer.inverse_weight) else []
        assert updated == wanted
    with torch.no_grad():
        layer.weight.add_(torch.eye(6), alpha=0.6)
    layer.after_step()
    assert lag(layer) < 0.5 * 0.5


@pytest.mark.parametrize("fused", [False, True])
def test_a_loop_that_never_calls_after_step_trains_alike(fused: bool) -> None:
    told, untold = train(digits_flow(every=1), 60), train(digits_flow(every=1), 60, tell=False, fused=fused)
    for ours, theirs in zip(told.parameters(), untold.parameters(), strict=True):
        close(ours, theirs, 1e-4)
    untold.loss(examples()[:5])
    assert all(int(layer.steps) == 60 and lag(layer) < 0.03 for layer in layers_of(untold))


def test_two_passes_before_one_backward() -> None:
    flow = digits_flow(every=1)
    optimizer = torch.optim.SGD(flow.parameters(), 1e-4)
    for _ in range(3):
        optimizer.zero_grad()
        (flow.loss(examples()[:50]) + flow.loss(examples()[50:100])).backward()
        optimizer.step()
    assert all(lag(layer) < 0.1 for layer in layers_of(flow))


def test_the_closures_of_lbfgs_find_R_in_track() -> None:
    ends = []
    for settings in ({"name": "dense-exact"}, {"every": 1}):
        flow = digits_flow(**settings)
        history = snf.fit(flow, "digits", 2, 600, progress=False, optimizer=lambda p: torch.optim.LBFGS(p, 0.3))
        ends.append(history.validation_nats[-1])
        start = history.validation_nats[0]
    assert abs(ends[1] - ends[0]) < 0.1 * (start - ends[0])


@pytest.mark.parametrize("settings", [{"every": 7}, {"tolerance": 0.02}])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path, settings: dict[str, Any]) -> None:
    whole, resumed = digits_flow(**settings), digits_flow(**settings)
    wanted = snf.fit(whole, "digits", 4, progress=False)
    for epochs in (2, 4):
        found = snf.fit(resumed, "digits", epochs, progress=False, checkpoint=tmp_path / "run.pt")
    assert found.validation_nats == wanted.validation_nats
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_compiled_loop_that_never_calls_after_step() -> None:
    flow = snf.Flow([snf.TrackedLinear(4, every=50)], (4,))
    loss = torch.compile(flow.loss, fullgraph=True, backend="aot_eager")
    optimizer, x = torch.optim.SGD(flow.parameters(), 0.05), torch.randn(200, 4) @ torch.randn(4, 4)
    for _ in range(25):
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()
    (layer,) = layers_of(flow)
    assert int(layer.steps) == 24 and 1e-6 < lag(layer) < 0.1


def test_a_recorded_step_follows_each_time_and_stops_outside_of_the_basin(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = snf.TrackedLinear(4, every=100)
    address = layer.inverse_weight.data_ptr()
    monkeypatch.setattr(tracked.checks, "is_eager", lambda x: False)
    with torch.no_grad():
        for _ in range(3):
            layer.weight.mul_(1.1)
            layer.after_step()
            assert 1e-4 < lag(layer) < 0.02 and layer.inverse_weight.data_ptr() == address
        layer.weight.mul_(-1)
        layer.after_step()
    assert bool(layer.inverse_weight.isnan().all())


# ---- weights that are moved from outside -----------------------------------------------------------------------------


def loaded(layer: Any) -> None:
    layer.load_state_dict({**layer.state_dict(), "weight": nn.init.orthogonal_(torch.empty(8, 8))})


WRITERS: dict[str, Callable[[Any], Any]] = {
    "orthogonal": lambda layer: nn.init.orthogonal_(layer.weight),
    "loaded": loaded,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", amount=0.5),
    "normalized": lambda layer: nn.utils.weight_norm(layer),
    "parametrized": lambda layer: parametrize.register_parametrization(layer, "weight", nn.Softplus(), unsafe=True),
    "scaled": lambda layer: layer.weight.mul_(1.05),
    "replaced": lambda layer: setattr(layer, "weight", nn.Parameter(torch.eye(8) * 3)),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_weight_that_was_written_has_its_inverse_at_the_next_use(writer: str) -> None:
    torch.manual_seed(3)
    for use in ("pass", "samples"):
        layer = snf.TrackedLinear(8)
        flow = snf.Flow([layer], (8,))
        x = torch.randn(3, 8)
        flow.loss(x).backward()
        flow.after_step()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore", FutureWarning)
            WRITERS[writer](layer)
        if use == "pass":
            flow.loss(x)
            assert lag(layer) < (1e-3 if writer in ("orthogonal", "scaled") else 0.2)
        with torch.inference_mode():
            z, _ = flow(x)
            assert (flow.inverse(z, exact=False) - flow.inverse(z)).norm() < 1e-3 * x.norm()
        flow.loss(x).backward()
        assert int(layer.factorizations) == 0, "only steps are counted"


def test_whitening_sets_both_and_gradients_of_the_likelihood_leave_no_stale_samples() -> None:
    flow = digits_flow()
    assert all(exact_gradient_differs_by(layer) < 1e-3 for layer in layers_of(flow))
    optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        (-flow.log_prob(examples()[:100]).mean()).backward()
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.sample(3, seed=0)
    z = torch.randn(5, 64)
    close(flow.inverse(z, exact=False).float(), flow.inverse(z).float(), 1.0)
    assert all(lag(layer) < 1e-2 for layer in layers_of(flow))


def test_a_copy_of_a_layer_in_training_is_the_same() -> None:
    flow = train(digits_flow(), 13)
    twin = copy.deepcopy(flow)
    for each in (flow, twin):
        train(each, 4)
    assert all(torch.equal(*both) for both in zip(flow.state_dict().values(), twin.state_dict().values(), strict=True))


# ---- outside of the basin --------------------------------------------------------------------------------------------


def test_a_step_out_of_the_basin_is_counted_told_once_and_set_right() -> None:
    layer = snf.TrackedLinear(5, every=1)
    layer.label = "layers[2] TrackedLinear"
    layer.after_step()
    left = pytest.warns(UserWarning, match=r"layers\[2\] TrackedLinear: at step 2 .* factorization.* lower")
    with torch.no_grad(), left as told:
        for _ in range(3):
            layer.weight.mul_(-2)
            layer.after_step()
    assert len(told) == 1 and int(layer.factorizations) == 3 and lag(layer) < 1e-5


def test_a_singular_weight_is_refused_by_name() -> None:
    layer = snf.TrackedLinear(3, every=1)
    with torch.no_grad():
        layer.weight.zero_()
    for use in (layer.after_step, lambda: layer.inverse(torch.zeros(1, 3), exact=False)):
        with pytest.raises(snf.NotInvertibleError, match="TrackedLinear: the weight is singular"):
            use()


@pytest.mark.parametrize("settings", [{"every": 0}, {"tolerance": 0.95}, {"tolerance": 0}, {"every": 1.5}])
def test_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"TrackedLinear: expected {next(iter(settings))}"):
        snf.TrackedLinear(3, **settings)


def test_under_autocast_R_is_improved_in_full_precision() -> None:
    flow = snf.Flow([snf.TrackedLinear(16, every=1)], (16,))
    (layer,) = layers_of(flow)
    for _ in range(3):
        with torch.no_grad():
            layer.weight.add_(torch.randn(16, 16), alpha=0.005)
        with torch.autocast("cpu", torch.bfloat16):
            flow.loss(torch.randn(4, 16)).backward()
    assert layer.inverse_weight.dtype == torch.float32 and lag(layer) < 1e-3
