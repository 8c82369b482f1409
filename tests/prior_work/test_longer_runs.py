"""The longer runs of prior work: the command resumes, and its record is refused once it contradicts itself."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from snf_book.prior_work import measures
from snf_book.prior_work.longer import __main__ as command
from snf_book.prior_work.longer import budgets
from snf_book.prior_work.longer import record as long_record
from snf_book.prior_work.systems import SYSTEMS, system_named
from snf_book.prior_work.training import Budget
from torch import nn

NAMES = ["radial", "self-normalizing flow"]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "MOST", Budget(3, 32, 1e-3))
    monkeypatch.setattr(measures, "CELLS", 40)
    pytest.importorskip("normflows", reason="normflows is not installed: pip install snf-lite[prior]")


def run(folder: Path, *names: str) -> dict[str, Any]:
    command.main(["--seed", "1", "--out", str(folder), "--partial", str(folder / "partial"), "--only", *names])
    return long_record.read(folder / "prior-work-long-seed1" / long_record.FILE)


def test_the_command_writes_what_its_reader_takes(short: None, tmp_path: Path) -> None:
    found = run(tmp_path, *reversed(NAMES))
    assert list(found["systems"]) == NAMES
    assert found["command"].endswith('longer --seed 1 --only radial "self-normalizing flow"')
    assert set(found["systems"]["radial"]) == set(long_record.LongEntry.__annotations__)
    assert long_record.density_of(found["systems"]["radial"]).shape == (budgets.CELLS, budgets.CELLS)


def test_an_interrupted_command_resumes_with_the_runs_that_finished(
    short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, trained = run(tmp_path, "radial"), []
    train = budgets.train_and_measure
    monkeypatch.setattr(command, "train_and_measure", lambda name, seed: trained.append(name) or train(name, seed))
    second = run(tmp_path, *NAMES)
    assert trained == NAMES[1:] and second["systems"]["radial"] == first["systems"]["radial"]
    monkeypatch.setattr(budgets, "MOST", Budget(4, 32, 1e-3))
    assert run(tmp_path, "radial")["systems"]["radial"]["steps"] == 4, "a run with another budget is no result"


def test_the_larger_models_are_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in budgets.LARGER:
        pytest.importorskip(system_named(name).library)
        sizes = [sum(weight.numel() for weight in model.parameters()) for model in models_of(name)]
        assert sizes[1] > 1.9 * sizes[0], name
    assert {*budgets.LARGER, *budgets.BUDGETS} <= {system.name for system in SYSTEMS}
    assert all(torch.equal(*pair) for pair in zip(*(budgets.build("B-NAF", 3).parameters() for _ in "ab"), strict=True))


def models_of(name: str) -> tuple[nn.Module, nn.Module]:
    return system_named(name).plane(0), budgets.build(name, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda stored: stored["systems"]["radial"].update(integral=0.5),
            "radial: the sum of its image does",
        ),
        (lambda stored: stored.update(systems=dict(reversed(stored["systems"].items()))), "not in their order"),
        (lambda stored: stored["systems"].update(nobody=stored["systems"]["radial"]), "not in their order"),
        (lambda stored: stored["systems"]["radial"].pop("lr"), "lr"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(short: None, tmp_path: Path, change: Any, words: str) -> None:
    run(tmp_path, *NAMES)
    path = tmp_path / "prior-work-long-seed1" / long_record.FILE
    stored = json.loads(path.read_text("utf-8"))
    change(stored)
    path.write_text(json.dumps(stored), "utf-8")
    with pytest.raises(ValueError, match=words):
        long_record.read(path)
