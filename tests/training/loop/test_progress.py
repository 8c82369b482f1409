"""What fit says: a bar, lines where there is no terminal, and warnings about runs that cannot have gone as meant."""

import sys
import types
from pathlib import Path

import pytest
import torch
from small_runs import HELD_OUT, MOONS, fresh

import snf_lite as snf
from snf_lite.training.loop import progress


@pytest.fixture(autouse=True)
def no_setting_of_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def test_a_long_run_shows_lines_where_there_is_no_terminal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    history = snf.fit(fresh(), MOONS, 8, validation=HELD_OUT)
    lines = capfd.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 4, "not one for each validation"
    epoch = int(lines[0].split()[1].rstrip(":"))
    assert lines[0] == f"epoch {epoch}: validation {history.validation_nats[epoch]:.2f} nats"
    snf.fit(fresh(), MOONS, 8, validation=HELD_OUT, progress=False)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    snf.fit(fresh(), MOONS, 8, validation=HELD_OUT)
    assert capfd.readouterr() == ("", "")


def test_a_resumed_run_says_from_where(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for epochs in (2, 4):
        snf.fit(fresh(), MOONS, epochs, validation=HELD_OUT, checkpoint=tmp_path / "run.pt", progress=True)
    assert "going on from epoch 2" in capfd.readouterr().err


def test_a_notebook_shows_a_bar(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))  # type: ignore[arg-type]
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: object())
    assert progress.in_notebook()
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    assert not progress.in_notebook(), "tqdm's bar in a notebook needs ipywidgets"
    shell.config = {}
    assert not progress.in_notebook(), "IPython in a terminal"


# ---- warnings --------------------------------------------------------------------------------------------------------


def test_a_training_that_diverges_says_so() -> None:
    with pytest.warns(UserWarning, match="no validation of 5 epochs was better than that before training.* smaller lr"):
        history = snf.fit(fresh(), MOONS, 5, lr=50.0, validation=HELD_OUT)
    assert history.best_epoch == 0


def test_a_training_that_ends_far_above_its_best_says_so() -> None:
    flow = fresh()
    snf.fit(flow, MOONS, 3, 50, 1e-2, validation=HELD_OUT)

    def rising(history: snf.History, flow: snf.Flow) -> None:
        flow.layers[1].weight.data.mul_(1 if history.epochs[-1] < 2 else 30)

    with pytest.warns(UserWarning, match=r"last validation, .* nats, is far above the best, .* at epoch [12] of 4"):
        snf.fit(flow, MOONS, 4, 50, 1e-3, validation=HELD_OUT, callbacks=rising)


def test_columns_far_from_unit_scale_are_named() -> None:
    table = MOONS * torch.tensor([0.1, 300.0]) + torch.tensor([0.0, 700.0])
    with pytest.warns(UserWarning, match=r"deviations from 0\.1\d+ to 3\d\d and means up to 7\d\d, .*snf\.Standardize"):
        snf.fit(fresh(), table, 1)
    snf.fit(fresh(), table, 1, whiten=True)
    snf.fit(fresh(), MOONS + torch.tensor([10.0, 5.0]), 1)  # as in report 1: no reason to warn
