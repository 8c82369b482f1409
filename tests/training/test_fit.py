"""The training loop: what it leaves behind, what it refuses, and that it computes the same thing every time."""

import dataclasses
import inspect
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import HELD_OUT, MOONS, fresh, trained, weights
from torch import Tensor

import snf_lite as snf
from snf_lite.training import checkpoints
from snf_lite.training.settings import TrainingConfig


def settings(**changes: Any) -> TrainingConfig:
    return TrainingConfig(**{"epochs": 10, "lr": 0.1, "warmup_epochs": 2.0, **changes})


class Steps:
    """Stands in for Adam.step and writes down each step's learning rate and gradient norm."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rates: list[float] = []
        self.norms: list[float] = []
        step = torch.optim.Adam.step

        def recorded(adam: torch.optim.Adam, *args: Any) -> Any:
            group = adam.param_groups[0]
            self.rates.append(group["lr"])
            self.norms.append(float(torch.cat([weight.grad.flatten() for weight in group["params"]]).norm()))
            return step(adam, *args)

        monkeypatch.setattr(torch.optim.Adam, "step", recorded)


# ---- what a run leaves behind ----------------------------------------------------------------------------------------


def test_fit_improves_and_history_has_a_row_for_each_validation() -> None:
    history = snf.fit(fresh(), MOONS, 5, 50, 1e-2, validation=HELD_OUT, evaluate_every=2)
    assert history.epochs == [0, 2, 4, 5]
    assert history.steps == [0, 16, 32, 40]
    assert len(history.seconds) == len(history.ms_per_step) == len(history.validation_nats) == 4
    assert history.seconds == sorted(history.seconds) and history.ms_per_step[0] == 0 < min(history.ms_per_step[1:])
    assert history.best_nats == min(history.validation_nats) < history.validation_nats[0]
    bits = [nats / (2 * math.log(2)) for nats in history.validation_nats]
    assert history.validation_bits_per_dim == pytest.approx(bits)


def test_history_survives_a_dict_and_refuses_another() -> None:
    history = snf.fit(fresh(), MOONS, 1, validation=HELD_OUT)
    assert snf.History.from_dict(history.as_dict()) == history
    with pytest.raises(ValueError, match=r"entries epochs, features.*got epochs\.$"):
        snf.History.from_dict({"epochs": []})


def test_the_flow_holds_the_weights_of_the_best_validation() -> None:
    flow = fresh()
    history = snf.fit(flow, MOONS[:40], 30, 10, 0.3, validation=HELD_OUT)
    assert 0 < history.best_epoch < 30 and history.validation_nats[-1] > history.best_nats
    assert snf.evaluate(flow, HELD_OUT).nats == history.best_nats


def test_training_that_only_harms_leaves_the_first_weights() -> None:
    flow = fresh("dense-exact")
    snf.fit(flow, MOONS, 20, 40, 1e-2, validation=HELD_OUT)
    before = weights(flow)
    history = snf.fit(flow, MOONS, 1, 10, 2.0, validation=HELD_OUT)
    assert history.best_epoch == 0
    assert torch.equal(weights(flow), before)


def test_a_fresh_flow_is_initialised_once_from_the_training_events() -> None:
    flow = fresh("dense-exact", depth=1)
    snf.fit(flow, MOONS, 1, lr=1e-30, whiten=True, validation=HELD_OUT)
    z = flow(MOONS)[0]
    assert torch.allclose(torch.cov(z.T), torch.eye(2), atol=1e-4) and bool(flow.initialised)
    before = weights(flow)
    snf.fit(flow, HELD_OUT, 1, lr=1e-30, whiten=True, validation=MOONS)
    assert torch.equal(weights(flow), before)


@pytest.mark.parametrize("layer", [snf.ExactLinear(2), snf.SelfNormConv2d(2)])
def test_forget_clears_what_a_layer_remembers(layer: snf.FlowLayer) -> None:
    flow = snf.Flow([layer], (2, 3, 3) if isinstance(layer, snf.SelfNormConv2d) else (2,))
    with torch.no_grad():
        flow.log_prob(torch.zeros(1, *flow.event_shape))
    assert layer._factor._result is not None
    flow.clear_cache()
    assert layer._factor._result is None


def test_caches_are_cleared_after_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    step, clear_cache = torch.optim.Adam.step, snf.Flow.clear_cache
    monkeypatch.setattr(torch.optim.Adam, "step", lambda adam: events.append("step") or step(adam))
    monkeypatch.setattr(snf.Flow, "clear_cache", lambda flow: events.append("cleared") or clear_cache(flow))
    snf.fit(fresh(), MOONS, 2, 50, validation=HELD_OUT)
    assert events == ["step", "cleared"] * 16 + ["cleared"]


def test_a_flow_of_layers_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="without trainable parameters"):
        snf.fit(snf.Flow([snf.SmoothLeakyReLU()], (2,)), MOONS, 1)


# ---- the same thing every time ---------------------------------------------------------------------------------------


def test_a_run_depends_on_its_seed_and_not_on_the_global_one() -> None:
    first = trained()
    torch.rand(3)
    assert torch.equal(trained(), first)
    assert not torch.equal(trained(seed=1), first)


def test_validation_does_not_disturb_training(tmp_path: Path) -> None:
    for every in (1, 3):
        path = tmp_path / str(every)
        snf.fit(fresh(), MOONS, 3, 50, 1e-2, validation=HELD_OUT, evaluate_every=every, checkpoint=path)
    often, seldom = (checkpoints.read(tmp_path / name)["training"]["weights"] for name in ("1", "3"))
    assert all(torch.equal(often[name], seldom[name]) for name in often)


def test_the_global_generator_is_left_alone(tmp_path: Path) -> None:
    flow = snf.build("dense-selfnorm", (1, 8, 8), levels=17)
    pixels = torch.randint(0, 17, (60, 1, 8, 8), dtype=torch.uint8)
    before = torch.get_rng_state()
    snf.fit(flow, pixels, 2, checkpoint=tmp_path / "run.pt")
    snf.evaluate(flow, pixels)
    snf.restore(tmp_path / "run.pt")
    assert torch.equal(torch.get_rng_state(), before)


def test_each_epoch_has_its_own_order_and_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    flow, seen = fresh(), []
    loss = snf.Flow.loss
    monkeypatch.setattr(snf.Flow, "loss", lambda flow, x: seen.append(x) or loss(flow, x))
    snf.fit(flow, MOONS, 2, 400, validation=HELD_OUT)
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[0].sort(0).values, MOONS.sort(0).values)


# ---- one declaration of each option ----------------------------------------------------------------------------------


def test_the_keywords_of_fit_are_the_fields_of_the_config() -> None:
    """So an option is declared in ``settings.py`` and in ``fit``; the command line and records follow."""
    others = {"flow", "data", "device", "checkpoint", "resume", "validation", "progress", "loss"}
    others |= {"context", "weights", "callbacks", "optimizer", "scheduler"}
    keywords = {name: given.default for name, given in inspect.signature(snf.fit).parameters.items()}
    config = {field.name: field.default for field in dataclasses.fields(TrainingConfig)}
    assert keywords.keys() - others == config.keys() and others < keywords.keys()
    assert [name for name in config if name != "epochs" and keywords[name] != config[name]] == []


def test_fit_hands_each_keyword_to_the_config_of_its_own_name() -> None:
    asked: dict[str, Any] = {
        "epochs": 1, "batch_size": 51, "lr": 0.5, "seed": 3, "whiten": True, "warmup_epochs": 0.25, "decay": "cosine",
        "clip_norm": 7.0, "evaluate_every": 2, "augment": False, "compile": False, "cuda_graph": False,
        "precision": "bf16", "decay_epochs": 3, "patience": 5,
    }  # fmt: skip
    history = snf.fit(fresh(), MOONS, validation=HELD_OUT, **asked)
    assert asked.keys() == {field.name for field in dataclasses.fields(TrainingConfig)}
    assert {name: history.settings[name] for name in asked} == asked


def test_fit_minimizes_the_loss_it_is_given() -> None:
    """Minus the exact likelihood leaves no gradient on the learned inverses."""
    own, given = fresh(), fresh()
    snf.fit(own, MOONS, 1, validation=HELD_OUT)
    start = fresh().layers[1].inverse_weight.detach().clone()
    snf.fit(given, MOONS, 1, validation=HELD_OUT, loss=lambda flow, x: -flow.log_prob(x).mean())
    assert torch.equal(given.layers[1].inverse_weight, start) and not torch.equal(own.layers[1].inverse_weight, start)
    assert not torch.equal(given.layers[1].weight, start)


# ---- schedule and clipping -------------------------------------------------------------------------------------------


def test_the_learning_rate_rises_linearly_then_stays() -> None:
    rates = [settings().learning_rate(step, steps_per_epoch=5) for step in range(12)]
    assert rates[:10] == pytest.approx([0.01 * step for step in range(1, 11)])
    assert rates[10:] == [0.1, 0.1]
    assert settings(warmup_epochs=0).learning_rate(0, 5) == 0.1


def test_cosine_decay_ends_near_zero() -> None:
    cosine = settings(decay="cosine", warmup_epochs=0)
    assert cosine.learning_rate(0, 5) == pytest.approx(0.1)
    assert cosine.learning_rate(25, 5) == pytest.approx(0.05)
    assert cosine.learning_rate(49, 5) == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 49 / 50)))


@pytest.mark.equation("eq-schedule")
def test_warm_up_and_cosine_multiply() -> None:
    both = settings(decay="cosine", warmup_epochs=3.0)
    total, warm = both.epochs * 5, 15
    for step in (0, 7, 14, 15, 30, 49):
        wanted = 0.1 * min(1, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / total))
        assert both.learning_rate(step, 5) == pytest.approx(wanted, rel=1e-12)


def test_adam_is_given_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch)
    snf.fit(fresh(), MOONS, 2, 100, 1e-3, validation=HELD_OUT, warmup_epochs=1.5)
    assert steps.rates == pytest.approx([1e-3 * min(1, step / 6) for step in range(1, 9)])


def test_gradients_are_clipped_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    free = Steps(monkeypatch)
    snf.fit(fresh(), MOONS, 1, validation=HELD_OUT)
    assert min(free.norms) > 0.05
    clipped = Steps(monkeypatch)
    snf.fit(fresh(), MOONS, 1, validation=HELD_OUT, clip_norm=0.05)
    assert clipped.norms == pytest.approx([0.05] * 4, rel=1e-3)


# ---- the first value that is not finite ------------------------------------------------------------------------------


def test_a_non_finite_loss_stops_the_run_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    flow = fresh()
    loss, count = snf.Flow.loss, iter(range(100))

    def spoilt(flow: snf.Flow, x: Tensor) -> Tensor:
        if next(count) == 5:
            flow.layers[1].weight.data.fill_(math.inf)
        return loss(flow, x)

    flow.loss = spoilt.__get__(flow)  # type: ignore[method-assign]
    expected = r"layers\[1\] SelfNormLinear: z is not finite.* step 6, in epoch 2\. .*run\.pt holds .*epoch 1, intact"
    with pytest.raises(FloatingPointError, match=expected):
        snf.fit(flow, MOONS, 3, 100, checkpoint=path, validation=HELD_OUT)
    assert checkpoints.read(path)["training"]["epoch"] == 1
    assert torch.isfinite(weights(snf.restore(path))).all()


def test_a_non_finite_gradient_names_its_layer() -> None:
    flow = fresh()
    flow.layers[3].inverse_weight.register_hook(lambda gradient: gradient * math.inf)
    expected = r"layers\[3\] SelfNormLinear: the gradient of inverse_weight is not finite.* at step 1, in epoch 1"
    with pytest.raises(FloatingPointError, match=expected + ".* No checkpoint was kept"):
        snf.fit(flow, MOONS, 1)


def test_a_weight_that_loses_its_inverse_is_located() -> None:
    flow = fresh("dense-exact")
    step = torch.optim.Adam.step

    def collapse(adam: Any, *args: Any) -> None:
        step(adam, *args)
        flow.layers[1].weight.data.zero_()

    with pytest.MonkeyPatch.context() as patch, pytest.raises(snf.NotInvertibleError, match=r"layers\[1\].* at step 2"):
        patch.setattr(torch.optim.Adam, "step", collapse)
        snf.fit(flow, MOONS, 1)


# ---- the bar ---------------------------------------------------------------------------------------------------------


def test_the_bar_shows_exact_likelihoods_and_never_the_loss(capfd: pytest.CaptureFixture[str]) -> None:
    history = snf.fit(fresh(), MOONS, 2, validation=HELD_OUT, progress=True)
    shown = capfd.readouterr().err
    assert f"epoch 2: validation {history.validation_nats[-1]:.2f} nats" in shown
    assert "loss" not in shown and "bits/dim" not in shown, "no bits for real numbers"
    pixels = torch.randint(0, 17, (60, 1, 8, 8), dtype=torch.uint8)
    history = snf.fit(snf.build("dense-selfnorm", (1, 8, 8), levels=17), pixels, 1, progress=True)
    nats, bits = history.validation_nats[-1], history.validation_bits_per_dim[-1]
    assert f"validation {nats:.2f} nats, {bits:.3f} bits/dim" in capfd.readouterr().err


def test_no_bar_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    snf.fit(fresh(), MOONS, 1)
    assert capfd.readouterr() == ("", "")


def minus_log_prob(flow: snf.Flow, batch: Tensor) -> Tensor:
    return -flow.log_prob(batch).mean()


def test_a_run_is_not_resumed_with_another_loss(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    snf.fit(fresh(), MOONS, 1, checkpoint=path, loss=minus_log_prob)
    with pytest.raises(snf.CheckpointError, match=r"loss is minus_log_prob in the checkpoint, Flow\.loss here"):
        snf.fit(fresh(), MOONS, 2, checkpoint=path)
    assert snf.fit(fresh(), MOONS, 2, checkpoint=path, loss=minus_log_prob).resumed_at == [1]


def test_a_loss_that_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="loss to be a function of a flow and a batch, got a int"):
        snf.fit(fresh(), MOONS, 1, loss=3)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers() -> None:
    plain = snf.fit(fresh(), MOONS, 1, lr=2.0**-9, seed=3)
    given = snf.fit(fresh(), MOONS, 1, lr=np.float32(2.0**-9), seed=np.int64(3))  # type: ignore[arg-type]
    assert given.validation_nats == plain.validation_nats and given.settings == plain.settings
    assert json.dumps(given.settings) == json.dumps(plain.settings)
