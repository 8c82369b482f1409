"""Runs that end early or go on longer, other trained parameters, checkpoints of earlier versions, and their history."""

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpointed_runs import MOONS, assert_same, fresh, run

import snf_lite as snf
from snf_lite.training import checkpoints


def test_fewer_epochs_give_back_the_run_as_it_is(tmp_path: Path) -> None:
    """Also one that was killed on its way to more, under any schedule."""
    for decay in ("constant", "cosine"):
        path = tmp_path / f"{decay}.pt"
        run(path, 4, decay=decay, decay_epochs=10)
        stored, flow = path.read_bytes(), fresh()
        history = snf.fit(flow, MOONS, 2, 50, 1e-2, checkpoint=path, decay=decay)
        assert history.epochs[-1] == 4 and path.read_bytes() == stored
        assert_same(flow, snf.restore(path))


def killed(path: Path, epochs: int, at: int, **changes: Any) -> None:
    flow = fresh()

    def stop(history: snf.History, flow: snf.Flow) -> bool:
        return history.epochs[-1] == at

    snf.fit(flow, MOONS, epochs, 50, 1e-2, checkpoint=path, callbacks=stop, **changes)


def test_a_cosine_run_that_ends_early_keeps_its_schedule(tmp_path: Path) -> None:
    """Ended by fewer epochs, then gone on with: the same bits as the whole run, for the horizon is kept."""
    path = tmp_path / "run.pt"
    killed(path, 6, 3, decay="cosine")
    early = snf.fit(fresh(), MOONS, 2, 50, 1e-2, checkpoint=path, decay="cosine")
    assert (early.settings["epochs"], early.settings["decay_epochs"]) == (3, 6)
    assert_same(run(path, 6, decay="cosine"), run(None, 6, decay="cosine"))


def test_a_cosine_run_is_stretched_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    ended = run(path, 2, decay="cosine")
    stretched = run(path, 4, decay="cosine", decay_epochs=4)
    assert not torch.equal(ended.layers[1].weight, stretched.layers[1].weight)
    assert snf.restore_history(path).settings["decay_epochs"] == 4


# ---- which parameters are trained ------------------------------------------------------------------------------------


def frozen(*layers: int) -> snf.Flow:
    flow = fresh("dense-exact")
    for index in layers:
        flow.layers[index].requires_grad_(False)
    return flow


@pytest.mark.parametrize("earlier", [False, True])
@pytest.mark.parametrize("here", [(), (1,), (3,)])
def test_a_run_with_other_frozen_layers_is_refused_by_name(
    here: tuple[int, ...], earlier: bool, tmp_path: Path
) -> None:
    path, there = tmp_path / "run.pt", (1,) if here != (1,) else ()
    snf.fit(frozen(*there), MOONS, 1, checkpoint=path)
    if earlier:
        as_earlier(path, snf.restore(path))
        if here == (3,):
            return  # as many of the same sizes: a checkpoint of an earlier version does not tell them apart
    names = (
        "other parameters are trained: .*frozen layers" if earlier else r"trained: layers\.\d\.\w+|trained: none only"
    )
    with pytest.raises(snf.CheckpointError, match=names):
        snf.fit(frozen(*here), MOONS, 2, checkpoint=path)
    assert snf.fit(frozen(*there), MOONS, 2, checkpoint=path).resumed_at == [1]


# ---- checkpoints of earlier versions ---------------------------------------------------------------------------------


def as_earlier(path: Path, flow: snf.Flow, **split: str) -> None:
    """Rewrite a checkpoint as earlier versions wrote it: without the names of parameters, settings and columns."""
    stored = checkpoints.read(path)
    state = stored["training"]
    del state["trained"], state["clock"]["objective"], state["history"]["training_loss"]
    settings = state["history"]["settings"]
    del settings["decay_epochs"], settings["patience"]
    settings["validation"] |= split
    checkpoints.write(path, flow, stored["weights"], state)


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    run(path, 2)
    as_earlier(path, fresh())
    history = snf.restore_history(path)
    assert history.training_loss == [] and "training_loss" not in history.as_dict()
    assert_same(run(path, 4), run(None, 4))
    later = snf.restore_history(path)
    assert later.training_loss[:3] == [None] * 3 and None not in later.training_loss[3:]
    assert len(later.training_loss) == len(later.epochs)


def test_moments_stored_in_another_order_of_memory_are_those_of_the_same_weights(tmp_path: Path) -> None:
    """As earlier versions stored those of 1x1 convolutions; Adam's fused step reads memory, not strides."""
    path, images = tmp_path / "run.pt", torch.randn(40, 4, 2, 2, generator=torch.Generator().manual_seed(0))

    def trained(epochs: int, checkpoint: Path | None) -> snf.Flow:
        torch.manual_seed(0)
        flow = snf.Flow([snf.SelfNormConv2d(4, 1), snf.SmoothLeakyReLU(), snf.SelfNormConv2d(4, 3)], (4, 2, 2))
        snf.fit(flow, images, epochs, 10, 1e-2, checkpoint=checkpoint, progress=False)
        return flow

    trained(2, path)
    stored = checkpoints.read(path)
    for moments in stored["training"]["optimizer"]["state"].values():
        for name in ("exp_avg", "exp_avg_sq"):
            if moments[name].dim() == 4:
                moments[name] = moments[name].transpose(0, 1).contiguous().transpose(0, 1)
    checkpoints.write(path, trained(1, None), stored["weights"], stored["training"])
    assert_same(trained(4, path), trained(4, None))


def test_a_run_that_held_out_the_end_is_told_how_to_go_on(tmp_path: Path) -> None:
    path, cut = tmp_path / "run.pt", 270
    run(path, 2, data=MOONS[:cut], validation=MOONS[cut:])
    as_earlier(path, fresh(), split="train[270:300]")
    with pytest.raises(snf.CheckpointError, match=r"resumes with data\[:270\] and validation=data\[270:\]"):
        run(path, 4)
    assert_same(run(path, 4, data=MOONS[:cut], validation=MOONS[cut:]),
                run(None, 4, data=MOONS[:cut], validation=MOONS[cut:]))  # fmt: skip


# ---- the history -----------------------------------------------------------------------------------------------------


def test_the_history_of_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    history = snf.fit(fresh(), MOONS, 2, checkpoint=path)
    assert snf.restore_history(path) == history
    snf.save(fresh(), tmp_path / "flow.pt")
    with pytest.raises(snf.CheckpointError, match="holds a flow, not a run"):
        snf.restore_history(tmp_path / "flow.pt")


def test_the_training_loss_is_the_mean_of_the_objective() -> None:
    values: list[float] = []

    def watched(flow: snf.Flow, batch: torch.Tensor) -> torch.Tensor:
        loss = flow.loss(batch)
        values.append(float(loss.detach()))
        return loss

    history = snf.fit(fresh(), MOONS, 4, 100, validation=MOONS, evaluate_every=2, loss=watched)
    assert history.training_loss[0] is None
    assert history.training_loss[1:] == pytest.approx([sum(values[:6]) / 6, sum(values[6:]) / 6], rel=1e-5)
    assert snf.fit(fresh(), MOONS, 4, 100, validation=MOONS, evaluate_every=2).training_loss == history.training_loss


def test_a_history_is_drawn_and_shown() -> None:
    history = snf.History({}, 2, epochs=[0, 1, 2], validation_nats=[3.0, 2.0, 2.5])
    axes = history.plot()
    assert list(axes.lines[0].get_ydata()) == [3.0, 2.0, 2.5] and "nats" in axes.get_ylabel()
    assert history.plot(axes) is axes
    from matplotlib import pyplot as plt

    plt.close("all")
    assert repr(history) == "History(2 epochs: best validation 2.00 nats at epoch 1)"
    assert "<td>2.5</td>" in history._repr_html_()
    shown = snf.Evaluation(100.0, 2.254, 0.5, 180, {"name": "<a>", "split": "test"}, 0)._repr_html_()
    assert shown == "<code>100.00 ± 0.50 nats, 2.254 bits/dim (exact, 180 examples of &lt;a&gt; test)</code>"
