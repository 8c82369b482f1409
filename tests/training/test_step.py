"""The options of a training step: compiled, captured, in lower precision; and Adam."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import HELD_OUT, MOONS, fresh, stepper, weights
from torch import Tensor

import snf_lite as snf
from snf_lite.training import checkpoints, fit
from snf_lite.training.adam import adam, moments_by_rows
from snf_lite.training.loop import cuda_graph, optimizers
from snf_lite.training.loop.cuda_graph import GraphedStep
from snf_lite.training.settings import TrainingConfig
from snf_lite.training.training_run import TrainingRun

MODELS = ["dense-selfnorm", "dense-exact", "dense-relative", "dense-lu"]


def gradients(flow: snf.Flow, x: Tensor, precision: str = "float32") -> Tensor:
    flow.zero_grad()
    torch.manual_seed(0)
    with TrainingConfig(precision=precision).autocast(x.device):
        loss = flow.loss(x)
    loss.backward()
    return torch.cat([weight.grad.flatten() for weight in flow.parameters()])


# ---- Adam ------------------------------------------------------------------------------------------------------------


def test_adam_steps_as_torchs_own_loop_does() -> None:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(4, 6))
    twin = torch.nn.Parameter(weight.detach().clone())
    ours, plain = adam([weight], 0.1), torch.optim.Adam([twin], 0.1)
    for _ in range(4):
        weight.grad = twin.grad = torch.randn(4, 6)
        ours.step()
        plain.step()
    assert torch.allclose(weight, twin, atol=1e-6)


def test_moments_of_a_weight_stored_by_columns_are_transposed() -> None:
    """Checkpoints of an earlier version hold them so."""
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.arange(9.0).reshape(3, 3), "exp_avg_sq": torch.ones(3, 3)}
    other = {name: value.clone() for name, value in moments.items()}
    weights = {"a": torch.randn(3, 3).T, "b": torch.randn(3, 3)}
    moments_by_rows({"state": {0: moments, 1: other}}, weights, ["a", "b"])
    assert torch.equal(moments["exp_avg"], torch.arange(9.0).reshape(3, 3).T)
    assert torch.equal(other["exp_avg"], torch.arange(9.0).reshape(3, 3))


def test_adam_skips_a_weight_that_has_no_gradient() -> None:
    weight = torch.nn.Parameter(torch.randn(6, 4).T)
    before = weight.detach().clone()
    optimizer = adam([weight], 0.1)
    weight.grad = torch.ones(6, 4).T
    optimizer.step()
    weight.grad = None
    moved = weight.detach().clone()
    optimizer.step()
    assert torch.equal(weight, moved) and not torch.equal(moved, before)


# ---- precision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*MODELS, "conv-selfnorm", "conv-exact", "conv-emerging", "conv-exponential"])
def test_bf16_gradients_are_the_float32_ones_up_to_rounding(name: str) -> None:
    torch.manual_seed(0)
    flow = snf.build(name, (1, 8, 8), levels=17)
    x = torch.randint(0, 17, (50, 1, 8, 8), dtype=torch.uint8)
    flow.initialise(x)
    exact, rounded = gradients(flow, x), gradients(flow, x, "bf16")
    assert rounded.dtype == torch.float32
    difference = float((rounded - exact).norm() / exact.norm())
    assert 1e-5 < difference < 3e-2  # not the same, for bf16 keeps 8 bits; close all the same


def test_bf16_leaves_float64_flows_alone() -> None:
    flow = fresh().double()
    assert torch.equal(gradients(flow, MOONS.double()), gradients(flow, MOONS.double(), "bf16"))


def test_training_in_bf16_is_evaluated_in_float32_and_ends_near_the_float32_run() -> None:
    ends = {}
    for precision in ("float32", "bf16"):
        history = snf.fit(fresh(), MOONS, 10, 50, 1e-2, validation=HELD_OUT, precision=precision)
        ends[precision] = history.validation_nats
        assert history.settings["precision"] == precision
    assert ends["bf16"][0] == ends["float32"][0]
    assert ends["bf16"][-1] != ends["float32"][-1]
    assert ends["bf16"][-1] == pytest.approx(ends["float32"][-1], abs=0.05)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"precision": "half"}, "precision to be one of float32, tf32, bf16, got 'half'"),
        ({"precision": "tf32"}, "precision='tf32' needs a CUDA device, got cpu"),
        ({"cuda_graph": True}, "cuda_graph=True needs a CUDA device, got cpu"),
    ],
)
def test_means_that_the_device_does_not_have_are_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        snf.fit(fresh(), MOONS, 1, device="cpu", **asked)


# ---- compiled and recorded -------------------------------------------------------------------------------------------


def test_a_compiled_run_ends_where_the_plain_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured whole, for whole batches; the shorter last batch of an epoch goes the plain way."""
    compile_, asked, ran = torch.compile, [], []

    def eager_backend(work: Any, **settings: Any) -> Any:
        asked.append(settings)
        compiled = compile_(work, backend="eager", **settings)
        return lambda x: ran.append(len(x)) or compiled(x)

    plain, compiled = fresh(), fresh()
    snf.fit(plain, MOONS, 2, 150, 1e-2, validation=HELD_OUT)
    monkeypatch.setattr(torch, "compile", eager_backend)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*autograd.function.Function.*should not be instantiated")
        history = snf.fit(compiled, MOONS, 2, 150, 1e-2, validation=HELD_OUT, compile=True)
    assert asked == [{"fullgraph": True, "dynamic": False}] and ran == [150] * 4
    assert torch.allclose(weights(compiled), weights(plain), atol=1e-6)
    assert history.settings["compile"] is True


def graphed(monkeypatch: pytest.MonkeyPatch, flow: snf.Flow, **settings: Any) -> tuple[Any, list[str]]:
    """A graphed step on the CPU, as ``stepper``: what is "captured" is called again for each replay.

    Unlike a graph this runs Python again; that the replay reads its inbox and nothing else is seen from the weights.
    """
    said: list[str] = []

    def captured(work: Any) -> Any:
        said.append("captured")
        return lambda: said.append("replayed") or work()

    monkeypatch.setattr(cuda_graph, "captured", captured)
    step, config = GraphedStep(50), TrainingConfig(cuda_graph=True, **settings)
    optimizer = adam(list(flow.parameters()), torch.tensor(0.1))  # type: ignore[arg-type]
    return lambda batch, rate: step(flow, batch, optimizer, rate, config, lambda x: flow.loss(x)), said


@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_a_captured_step_does_what_the_eager_one_does(monkeypatch: pytest.MonkeyPatch, clip_norm: float | None) -> None:
    plain, captured = fresh(), fresh()
    eager = stepper(plain, clip_norm=clip_norm)
    graph, said = graphed(monkeypatch, captured, clip_norm=clip_norm)
    for index, events in enumerate(MOONS.split(50)[:6]):
        for take in (eager, graph):
            take(events, 0.01 * (index + 1))
    eager(MOONS[:7], 0.01)
    graph(MOONS[:7], 0.01)
    assert torch.allclose(weights(captured), weights(plain), atol=1e-6)
    assert said == ["captured", *["replayed"] * 3], "three eager steps, then captured once; small batches stay eager"


def test_a_captured_step_notices_a_gradient_that_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = fresh()
    graph, _ = graphed(monkeypatch, flow)
    for events in MOONS.split(50)[:4]:
        graph(events, 0.01)
    monkeypatch.setattr(flow, "loss", lambda x: weights_of(flow).sum() * float("inf"))
    with pytest.raises(FloatingPointError, match="without cuda_graph the message names its layer"):
        graph(MOONS[:50], 0.01)


def weights_of(flow: snf.Flow) -> Tensor:
    return torch.cat([weight.flatten() for weight in flow.parameters()])


def test_fit_takes_graphed_steps_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Seen(GraphedStep):
        def __call__(self, flow: snf.Flow, batch: Tensor, *rest: Any) -> Tensor:
            sizes.append(self.batch_size)
            return super().__call__(flow, batch, *rest)

    monkeypatch.setattr(cuda_graph, "captured", lambda work: work)
    monkeypatch.setattr(fit, "GraphedStep", Seen)
    monkeypatch.setattr(TrainingConfig, "require_supported", lambda *_: None)
    monkeypatch.setattr(optimizers, "adam", lambda parameters, lr, capturable: adam(parameters, torch.tensor(lr)))
    ends = []
    for asked in (True, False):
        ends.append(fresh())
        snf.fit(ends[-1], MOONS, 2, 150, 1e-2, validation=HELD_OUT, cuda_graph=asked)
    assert sizes == [150] * 6 and torch.allclose(weights(ends[0]), weights(ends[1]), atol=1e-6)


def test_a_run_may_be_taken_up_by_other_means(tmp_path: Any) -> None:
    """How fast a step is computed is no setting of the run; its precision is."""
    path = tmp_path / "run.pt"
    snf.fit(fresh(), MOONS, 2, 50, validation=HELD_OUT, checkpoint=path)
    history = snf.fit(fresh(), MOONS, 3, 50, validation=HELD_OUT, checkpoint=path, compile=False)
    assert history.resumed_at == [2]
    with pytest.raises(snf.CheckpointError, match="precision is float32 in the checkpoint, bf16 here"):
        snf.fit(fresh(), MOONS, 4, 50, validation=HELD_OUT, checkpoint=path, precision="bf16")


def test_a_resumed_optimizer_keeps_its_own_options(tmp_path: Path) -> None:
    """A checkpoint from a run by CUDA graph holds their optimizer's options, which an eager one must not take over."""
    path = tmp_path / "run.pt"
    snf.fit(fresh(), MOONS, 1, 50, validation=HELD_OUT, checkpoint=path)
    stored = checkpoints.read(path)
    stored["training"]["optimizer"]["param_groups"][0].update(lr=torch.tensor(7.0), capturable=True)
    checkpoints.write(path, fresh(), stored["weights"], stored["training"])
    groups: list[dict[str, Any]] = []

    class Seen(TrainingRun):
        def start(self, resume: bool) -> None:
            super().start(resume)
            groups.append(dict(self.optimizer.param_groups[0]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "TrainingRun", Seen)
        snf.fit(fresh(), MOONS, 2, 50, validation=HELD_OUT, checkpoint=path)
    assert (groups[0]["lr"], groups[0]["capturable"]) == (1e-3, False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("means", [{"cuda_graph": True}, {"precision": "tf32"}, {"precision": "bf16"}])
def test_on_a_gpu_a_run_by_any_means_ends_where_the_plain_one_does(means: dict[str, Any]) -> None:
    ends = []
    for asked in ({}, means):
        history = snf.fit(fresh(), MOONS, 5, 50, 1e-2, device="cuda", validation=HELD_OUT, **asked)
        ends.append(history.validation_nats[-1])
    assert ends[1] == pytest.approx(ends[0], abs=0.05)
