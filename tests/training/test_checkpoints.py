"""Checkpoints: flows come back as they were, and a run that is killed or extended resumes where it stopped."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpointed_runs import MOONS, assert_same, fresh, run
from small_models import small

import snf_lite as snf
from snf_lite.training import checkpoints

# ---- there and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", snf.model_names())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_model_comes_back_as_it_was(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    flow = small(name, (1, 8, 8), levels=17).to(dtype)
    pixels = snf.load("digits", "test")
    flow.initialise(pixels, whiten=True)
    snf.save(flow, tmp_path / "flow.pt")
    back = snf.restore(tmp_path / "flow.pt")
    assert_same(flow, back)
    assert checkpoints.architecture(flow) == checkpoints.architecture(back)
    noisy = pixels[:5].to(dtype) + 0.5
    assert torch.equal(flow.log_prob(noisy), back.log_prob(noisy))


def test_settings_of_layers_come_back(tmp_path: Path) -> None:
    flow = fresh(recon_weight=3.0, depth=3, alpha=0.7)
    snf.save(flow, tmp_path / "a" / "new" / "folder.pt")
    back = snf.restore(str(tmp_path / "a" / "new" / "folder.pt"))
    assert [layer.settings() for layer in back.layers] == [layer.settings() for layer in flow.layers]


def test_a_layer_of_ones_own_comes_back_where_it_is_defined(tmp_path: Path) -> None:
    class Shift(snf.FlowLayer):
        def __init__(self, by: tuple[float, ...]) -> None:
            super().__init__()
            self.by = by

        def settings(self) -> dict[str, Any]:
            return {"by": self.by}

    path = tmp_path / "flow.pt"
    snf.save(snf.Flow([Shift((1.0, 2.0))], (2,)), path)
    assert snf.restore(path).layers[0].by == (1.0, 2.0)
    del snf.FlowLayer.registry[Shift.registered_name]
    with pytest.raises(snf.CheckpointError, match=r"needs the layer class .*Shift, which is not defined here"):
        snf.restore(path)


def test_settings_that_cannot_be_stored_are_refused(tmp_path: Path) -> None:
    flow = fresh()
    flow.layers[1].settings = lambda: {"features": print}
    with pytest.raises(TypeError, match=r"got a builtin_function_or_method at content\['architecture'\].*'features'"):
        snf.save(flow, tmp_path / "flow.pt")
    assert os.listdir(tmp_path) == []


# ---- a run that is taken up again ------------------------------------------------------------------------------------

CHILD = """
import sys, torch, snf_lite as snf
torch.manual_seed(0)
flow = snf.build("dense-selfnorm", (1, 8, 8), levels=17)
snf.fit(flow, "digits", 12, whiten=True, clip_norm=50.0, evaluate_every=2, checkpoint=sys.argv[1])
"""


def kill_after(epoch: int, path: Path) -> int:
    """Run CHILD in a process of its own, kill it outright once its checkpoint holds the epoch; how far it came."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], env=environment)
    came, seen = -1, 0
    while child.poll() is None and came < epoch:
        time.sleep(0.002)
        if path.exists() and (written := path.stat().st_mtime_ns) != seen:
            came, seen = checkpoints.read(path)["training"]["epoch"], written
    child.kill()
    assert child.wait() != 0
    return int(checkpoints.read(path)["training"]["epoch"])


def test_a_run_killed_with_sigkill_ends_with_the_same_bits(tmp_path: Path) -> None:
    came = kill_after(3, tmp_path / "killed.pt")
    assert 3 <= came < 12
    flows, histories = [], []
    for name in ("killed.pt", "whole.pt"):
        torch.manual_seed(0)
        flows.append(snf.build("dense-selfnorm", (1, 8, 8), levels=17))
        histories.append(
            snf.fit(flows[-1], "digits", 12, whiten=True, clip_norm=50.0, evaluate_every=2, checkpoint=tmp_path / name)
        )
    assert_same(*flows)
    states = [checkpoints.read(tmp_path / name)["training"] for name in ("killed.pt", "whole.pt")]
    killed, whole = (checkpoints.digest([state["weights"], state["optimizer"]]) for state in states)
    assert killed == whole
    assert histories[0].validation_nats == histories[1].validation_nats and histories[0].epochs == histories[1].epochs
    assert (histories[0].resumed_at, histories[1].resumed_at) == ([came], [])


def test_an_interrupt_of_a_write_gives_back_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, path = checkpoints.write, tmp_path / "run.pt"

    def interrupted(*given: Any) -> None:
        if given[-1]["epoch"] == 2:
            raise KeyboardInterrupt
        write(*given)

    monkeypatch.setattr(checkpoints, "write", interrupted)
    flow = snf.build("dense-exact", (2,))
    with pytest.warns(UserWarning, match=r"run\.pt resumes after epoch 1"):
        history = snf.fit(flow, "moons", 3, checkpoint=path, progress=False)
    assert history.interrupted and history.epochs == [0, 1, 2]
    assert snf.evaluate(flow, "moons", "validation").nats == pytest.approx(history.best_nats)


def test_an_interrupt_in_mid_epoch_loses_that_epoch_alone(tmp_path: Path) -> None:
    path, flow = tmp_path / "run.pt", fresh()
    loss, count = flow.loss, iter(range(100))

    def interrupted(x: torch.Tensor) -> torch.Tensor:
        if next(count) == 14:
            raise KeyboardInterrupt
        return loss(x)

    flow.loss = interrupted  # type: ignore[method-assign]
    with pytest.warns(UserWarning, match=r"interrupted in epoch 3; .* epoch 2, .*run\.pt resumes after epoch 2"):
        history = snf.fit(flow, MOONS, 4, 50, 1e-2, checkpoint=path)
    assert history.interrupted and history.epochs == [0, 1, 2]
    assert_same(flow, snf.restore(path))
    assert checkpoints.read(path)["training"]["epoch"] == 2
    assert_same(run(path), run(None))


def test_a_finished_run_gives_its_history_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    first = snf.fit(fresh(), MOONS, 3, checkpoint=path)
    before, flow = path.read_bytes(), fresh()
    assert snf.fit(flow, MOONS, 3, checkpoint=path) == first
    assert path.read_bytes() == before
    assert_same(flow, snf.restore(path))


def test_more_epochs_extend_a_run(tmp_path: Path) -> None:
    run(tmp_path / "run.pt", 2)
    assert_same(run(tmp_path / "run.pt", 5), run(None, 5))
    assert checkpoints.read(tmp_path / "run.pt")["training"]["history"]["resumed_at"] == [2]


def test_the_best_weights_survive_a_resumption_after_them(tmp_path: Path) -> None:
    asked: dict[str, Any] = dict(data=MOONS[:40], validation=MOONS[100:], batch_size=10, lr=1.0)
    run(tmp_path / "run.pt", 15, **asked)
    resumed, whole = fresh(), fresh()
    history = snf.fit(resumed, epochs=20, checkpoint=tmp_path / "run.pt", **asked)
    assert history.best_epoch < 15
    snf.fit(whole, epochs=20, **asked)
    assert_same(resumed, whole)


def test_resume_false_starts_anew(tmp_path: Path) -> None:
    run(tmp_path / "run.pt", lr=0.5)
    assert_same(run(tmp_path / "run.pt", resume=False), run(None))


def test_a_tensor_and_the_name_of_the_same_data_are_the_same_run(tmp_path: Path) -> None:
    run(tmp_path / "run.pt", 1, data="moons", validation="moons")
    data = torch.Tensor(snf.load("moons")), torch.Tensor(snf.load("moons", "validation"))
    run(tmp_path / "run.pt", 2, data=data[0], validation=data[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.02}, r"another run: lr is 0\.01 in the checkpoint, 0\.02 here\. resume=False"),
        ({"seed": 3}, "seed is 0 in the checkpoint, 3 here"),
        ({"batch_size": 60}, "batch_size is 50 in the checkpoint, 60 here"),
        ({"whiten": True}, "whiten is False in the checkpoint, True here"),
        ({"warmup_epochs": 2}, r"warmup_epochs is 1\.0 in the checkpoint, 2\.0 here"),
        ({"clip_norm": 1.0}, r"clip_norm is None in the checkpoint, 1\.0 here"),
        ({"decay": "cosine"}, "decay is constant in the checkpoint, cosine here"),
        ({"evaluate_every": 2}, "evaluate_every is 1 in the checkpoint, 2 here"),
        ({"data": MOONS + 1}, "data is 270 examples, SHA-256 .* in the checkpoint, 270 examples, SHA-256"),
        ({"lr": 0.02, "seed": 3}, r"lr is .*; seed is"),
        ({"name": "dense-exact"}, r"layers\[1\] is SelfNormLinear\(features=2, recon_weight=1\.0\) in the checkpoint, "
                                  r"ExactLinear\(features=2\) here"),
    ],
)  # fmt: skip
def test_another_run_or_model_is_refused_with_what_differs(changes: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    run(path)
    with pytest.raises(snf.CheckpointError, match=message):
        run(path, **changes)


def test_a_model_with_other_layers_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "run.pt")
    with pytest.raises(snf.CheckpointError, match=r"layers\[4\] is missing in the checkpoint, SmoothLeakyReLU"):
        snf.fit(fresh(depth=3), MOONS, 4, 50, 1e-2, checkpoint=tmp_path / "run.pt")


def test_a_cosine_run_is_extended_at_the_rate_where_it_ended(tmp_path: Path) -> None:
    ended = run(tmp_path / "run.pt", 2, decay="cosine")
    with pytest.warns(UserWarning, match="cosine of this run ends at epoch 2, .* rate is 0: decay_epochs=3 stretches"):
        extended = run(tmp_path / "run.pt", 3, decay="cosine")
    assert_same(ended, extended)
    assert snf.restore_history(tmp_path / "run.pt").settings["decay_epochs"] == 2


def test_a_cosine_run_that_was_planned_longer_ends_with_the_same_bits(tmp_path: Path) -> None:
    """The schedule's horizon is kept apart from the epochs."""
    run(tmp_path / "run.pt", 2, decay="cosine", decay_epochs=5)
    assert_same(run(tmp_path / "run.pt", 5, decay="cosine"), run(None, 5, decay="cosine"))


def test_a_saved_flow_is_no_run(tmp_path: Path) -> None:
    snf.save(fresh(), tmp_path / "flow.pt")
    with pytest.raises(snf.CheckpointError, match=r"flow\.pt: holds a flow, not a run"):
        run(tmp_path / "flow.pt")


def test_a_class_from_elsewhere_does_not_stand_in_for_one_of_the_package(tmp_path: Path) -> None:
    flow = snf.build("dense-exact", (2,))
    snf.save(flow, tmp_path / "flow.pt")
    impostor = type("ExactLinear", (snf.FlowLayer,), {"__module__": __name__})
    assert type(snf.restore(tmp_path / "flow.pt").layers[1]) is snf.ExactLinear
    del snf.FlowLayer.registry[impostor.registered_name]


def test_only_flows_of_different_layers_are_saved(tmp_path: Path) -> None:
    layer = snf.ExactLinear(2)
    with pytest.raises(TypeError, match="one that uses a layer twice"):
        snf.save(snf.Flow([layer, layer], (2,)), tmp_path / "flow.pt")
    with pytest.raises(TypeError, match="expected a Flow, got a Linear"):
        snf.save(torch.nn.Linear(2, 2), tmp_path / "flow.pt")  # type: ignore[arg-type]
