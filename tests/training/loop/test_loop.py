"""What the loop of fit lets a user bring: optimizer, scheduler, callbacks, a loss; and how it ends early."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import HELD_OUT, MOONS, Items, fresh, trained, weights
from torch.optim import lr_scheduler

import snf_lite as snf

POINTS = MOONS[:200]


def run(epochs: int, path: Path | None = None, batch_size: int = 100, **changes: Any) -> tuple[Any, snf.History]:
    flow = fresh("dense-exact")
    history = snf.fit(flow, POINTS, epochs, batch_size, validation=HELD_OUT, checkpoint=path, **changes)
    return weights(flow), history


def assert_resumes(path: Path, **changes: Any) -> None:
    """A run that is resumed in the middle ends with the same bits as one that was not."""
    run(2, path, **changes)
    (resumed, rest), (whole, all_) = run(4, path, **changes), run(4, **changes)
    assert torch.equal(resumed, whole) and rest.validation_nats == all_.validation_nats
    assert rest.training_loss == all_.training_loss and rest.resumed_at == [2]
    assert all_.validation_nats[-1] < all_.validation_nats[0]


# ---- optimizers ------------------------------------------------------------------------------------------------------

OPTIMIZERS = ["ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop",
              "Rprop", "SGD"]  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_of_torch_trains_and_resumes(name: str, tmp_path: Path) -> None:
    assert_resumes(tmp_path / "run.pt", optimizer=getattr(torch.optim, name), warmup_epochs=0)


def test_lbfgs_gets_its_closure(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    assert_resumes(path, optimizer=lambda p: torch.optim.LBFGS(p, line_search_fn="strong_wolfe"), batch_size=200)
    assert snf.restore_history(path).best_nats < run(4, batch_size=200)[1].best_nats - 0.5, "Adam takes four steps"


def test_the_rates_of_all_groups_follow_the_schedule() -> None:
    """The second group's rate is its own, and no group's is overwritten by the first's."""
    made: list[torch.optim.Optimizer] = []
    rates: list[list[float]] = []

    def two_groups(parameters: Any) -> torch.optim.Optimizer:
        groups = [{"params": parameters[:2], "lr": 1e-2}, {"params": parameters[2:], "lr": 1e-4}]
        made.append(torch.optim.AdamW(groups))
        made[0].register_step_pre_hook(lambda adam, *_: rates.append([group["lr"] for group in adam.param_groups]))
        return made[0]

    history = run(2, optimizer=two_groups, decay="cosine")[1]
    cosine = [0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert rates == [pytest.approx([1e-2 * f * w, 1e-4 * f * w]) for f, w in zip(cosine, (0.5, 1, 1, 1), strict=True)]
    assert "AdamW(lr=0.01" in history.settings["optimizer"] and "; lr=0.0001" in history.settings["optimizer"]


def test_an_optimizer_of_the_flows_parameters_is_taken_as_it_is() -> None:
    flow = fresh("dense-exact")
    optimizer = torch.optim.SGD(flow.parameters(), 0.01, momentum=0.9)
    snf.fit(flow, POINTS, 1, validation=HELD_OUT, optimizer=optimizer)
    assert all("momentum_buffer" in optimizer.state[weight] for weight in flow.parameters())


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "step": lambda o: lr_scheduler.StepLR(o, 2),
    "several steps": lambda o: lr_scheduler.MultiStepLR(o, [1, 3]),
    "function": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 4),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.1),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 1e-2, total_steps=8),
    "in turn": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_any_scheduler_of_torch_sets_the_rate_and_resumes(name: str, tmp_path: Path) -> None:
    assert_resumes(tmp_path / "run.pt", scheduler=SCHEDULERS[name])
    assert_resumes(tmp_path / "sgd.pt", scheduler=SCHEDULERS[name], optimizer=lambda p: torch.optim.SGD(p, 1e-2))


def rates_of(scheduler: Any, epochs: int = 3) -> list[float]:
    rates: list[float] = []

    def watched(parameters: Any) -> torch.optim.Optimizer:
        adam = torch.optim.Adam(parameters, 1e-3)
        adam.register_step_pre_hook(lambda adam, *_: rates.append(adam.param_groups[0]["lr"]))
        return adam

    run(epochs, optimizer=watched, scheduler=scheduler)
    return rates


def test_a_scheduler_is_stepped_after_each_epoch_or_each_step() -> None:
    assert rates_of(lambda o: lr_scheduler.StepLR(o, 1)) == pytest.approx([1e-3] * 2 + [1e-4] * 2 + [1e-5] * 2)
    assert len(set(rates_of(lambda o: lr_scheduler.OneCycleLR(o, 1e-2, total_steps=6)))) == 6
    plateau = rates_of(lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=10, threshold_mode="abs"))
    assert plateau == pytest.approx([1e-3] * 4 + [1e-4] * 2), "the first validation after training is the best so far"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": 3}, "expected optimizer to be a torch optimizer or a function of the parameters.*got int"),
        ({"optimizer": len}, "got a function that returns int"),
        ({"optimizer": lambda p: torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))])}, "parameters that the flow"),
        ({"optimizer": torch.optim.SparseAdam}, "SparseAdam takes sparse gradients alone"),
        ({"optimizer": torch.optim.AdamW, "lr": 0.1}, r"lr=0\.1 is Adam's"),
        ({"scheduler": 3}, "expected scheduler to be a torch scheduler"),
        ({"scheduler": SCHEDULERS["step"], "decay": "cosine"}, "both set the rate"),
        ({"callbacks": [3]}, "callbacks to be functions of history and flow, got a int"),
        ({"callbacks": 3}, "callbacks to be functions of history and flow, got a int"),
        ({"patience": 0}, "patience to be a positive integer, got 0"),
        ({"decay_epochs": 0.5}, r"decay_epochs to be a positive integer, got 0\.5"),
        ({"loss": lambda flow, x: 1.0}, "loss to return a scalar tensor, got a float"),
        ({"loss": lambda flow, x: flow.log_prob(x)}, r"scalar, got shape \(100,\): \.mean\(\)"),
        ({"loss": lambda flow, x: flow.loss(x).detach()}, "a gradient, got one that is detached"),
        ({"loss": lambda flow, x: flow.loss(x) * math.nan}, "the loss that it was given returns nan.* at step 1"),
    ],
)
def test_what_the_loop_cannot_use_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError, FloatingPointError), match=message):
        run(1, **changes)


def test_another_optimizer_is_another_run(tmp_path: Path) -> None:
    run(1, tmp_path / "run.pt", optimizer=torch.optim.AdamW)
    for changes, message in (
        ({}, r"optimizer is AdamW\(.* in the checkpoint, Adam here"),
        ({"optimizer": lambda p: torch.optim.AdamW(p, 1e-4)}, r"lr=0\.001.* in the checkpoint, AdamW\(lr=0\.0001"),
    ):
        with pytest.raises(snf.CheckpointError, match=message):
            run(2, tmp_path / "run.pt", **changes)


# ---- callbacks and early ends ----------------------------------------------------------------------------------------


def test_a_callback_sees_each_validation_and_disturbs_nothing() -> None:
    seen: list[tuple[int, float]] = []

    def meddling(history: snf.History, flow: snf.Flow) -> None:
        seen.append((history.epochs[-1], history.validation_nats[-1]))
        torch.manual_seed(7)
        flow.loss(POINTS).backward()
        torch.set_grad_enabled(False)

    state = torch.get_rng_state()
    moved, history = run(4, callbacks=[meddling], evaluate_every=2)
    assert torch.equal(torch.get_rng_state(), state) and torch.is_grad_enabled()
    assert seen == [(2, history.validation_nats[1]), (4, history.validation_nats[2])]
    assert torch.equal(moved, run(4, evaluate_every=2)[0])


def raises(history: snf.History, flow: snf.Flow) -> None:
    raise StopIteration


@pytest.mark.parametrize(
    ("callback", "epochs"),
    [
        (lambda h, flow: h.epochs[-1] >= 3, 3),
        (lambda h, flow: np.less(2, h.epochs[-1]), 3),
        (lambda h, flow: "no", 5),
        (raises, 1),
    ],
)
def test_a_callback_ends_the_training(callback: Any, epochs: int) -> None:
    assert run(5, callbacks=callback)[1].epochs == [*range(epochs + 1)]


def test_patience_ends_a_training_that_does_not_improve_and_is_not_gone_on_with(tmp_path: Path) -> None:
    asked = {"optimizer": lambda p: torch.optim.Adam(p, 0.3), "patience": 2}
    moved, history = run(200, tmp_path / "run.pt", **asked)
    assert history.epochs[-1] == history.best_epoch + 2 < 200
    again, same = run(200, tmp_path / "run.pt", **asked)
    assert same == history and torch.equal(again, moved)


def interrupting(flow: snf.Flow, at: int) -> None:
    loss, count = flow.loss, iter(range(100))

    def interrupted(x: torch.Tensor) -> torch.Tensor:
        if next(count) == at:
            raise KeyboardInterrupt
        return loss(x)

    flow.loss = interrupted  # type: ignore[method-assign]


def test_an_interrupt_gives_back_history_and_best_weights_without_a_checkpoint() -> None:
    flow, plain = fresh(), fresh()
    interrupting(flow, 9)
    with pytest.warns(UserWarning, match="interrupted in epoch 3; the flow holds the weights of epoch 2, .* nats"):
        history = snf.fit(flow, MOONS, 10, 100, 1e-2, validation=HELD_OUT)
    assert history.interrupted and history.epochs == [0, 1, 2] and "interrupted" in repr(history)
    snf.fit(plain, MOONS, 2, 100, 1e-2, validation=HELD_OUT)
    assert torch.equal(weights(flow), weights(plain))
    assert all(weight.grad is None for weight in flow.parameters())


def test_an_interrupt_before_the_first_validation_goes_through() -> None:
    flow = fresh()
    flow.log_prob = lambda x: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        snf.fit(flow, MOONS, 1, validation=HELD_OUT)


# ---- where fit is called ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [torch.nn.DataParallel, lambda flow: torch.compile(flow, backend="eager")])
def test_a_wrapped_flow_is_trained_itself(wrap: Any) -> None:
    flow = fresh()
    snf.fit(wrap(flow), MOONS, 3, 50, 1e-2, validation=HELD_OUT)
    assert torch.equal(weights(flow), trained())


@pytest.mark.parametrize("given", [torch.nn.Linear(2, 2), "dense-exact", None])
def test_what_is_no_flow_is_refused(given: Any) -> None:
    for use in (snf.evaluate, lambda flow, data: snf.fit(flow, data, 1)):
        with pytest.raises(TypeError, match=r"expected a Flow, got (Linear|str: snf.build|NoneType)"):
            use(given, MOONS)


@pytest.mark.parametrize("mode", [torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)])
def test_modes_of_torch_around_fit_do_not_act_on_it(mode: Any) -> None:
    with mode:
        data = MOONS * 1
        inside = fresh() if not isinstance(mode, torch.inference_mode) else None
    flow = inside or fresh()
    with mode:
        snf.fit(flow, data, 3, 50, 1e-2, validation=HELD_OUT)
        assert math.isfinite(snf.evaluate(flow, data).nats)
    assert torch.equal(weights(flow), trained())


def test_defaults_of_torch_do_not_act_on_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    flows = [fresh(), fresh(), fresh()]
    torch.set_default_device("meta")
    try:
        snf.fit(flows[0], MOONS, 3, 50, 1e-2, device="cpu", validation=Items(list(HELD_OUT)))
    finally:
        torch.set_default_device(None)
    torch.set_default_dtype(torch.float64)
    try:
        snf.fit(flows[1], MOONS, 3, 50, 1e-2, validation=HELD_OUT)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(True)
    try:
        snf.fit(flows[2], MOONS, 3, 50, 1e-2, validation=HELD_OUT)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(weights(flow), trained()) for flow in flows)
