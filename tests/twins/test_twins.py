"""The study of the twins in the plane: what differs in a pair, what is stored, and that a wrong record is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from snf_book.twins import __main__ as command
from snf_book.twins import study
from snf_book.unfinished import UNFINISHED

from snf_lite.runtime.records import RecordError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a training of two steps."""
    out = tmp_path_factory.mktemp("twins")
    command.main(["--steps", "2", "--out", str(out)])
    return out / study.FILE


def test_twins_start_alike() -> None:
    exact, learned = (study.model(kind, "moons", seed=3) for kind in ("exact", "learned"))
    x = torch.randn(20, 2)
    assert torch.equal(exact.log_prob(x), learned.log_prob(x))
    assert {"R" in name or "inverse" in name for name in learned.state_dict()} == {True, False}
    assert not any("inverse" in name for name in exact.state_dict())


def test_the_command_repeats_itself_and_leaves_nothing_unfinished(made: Path) -> None:
    record = study.read(made)
    assert record.command == "python -m snf_book.twins --seed 0 --steps 2 --lr 0.01"
    assert not (made.parent / UNFINISHED).exists()
    again = study.train("learned", "spirals", seed=0, steps=2, lr=0.01)
    assert again == record.pairs["spirals"]["learned"]


def test_a_stored_density_is_the_flow_s_own(made: Path) -> None:
    flow = study.model("exact", "moons", seed=0).double()
    entry = study.measured(flow, torch.randn(50, 2, dtype=torch.float64))
    stored = study.shades(entry)
    with torch.no_grad():
        there = flow.log_prob(study.plane().points.double()).exp()
    assert (stored - there).abs().max() < 0.02 * entry["brightest"]
    assert float(stored.sum()) * study.plane().step ** 2 == pytest.approx(entry["integral"], abs=0.01)
    assert study.read(made).pairs["moons"]["exact"]["inverse_error"] == 0
    assert study.read(made).pairs["moons"]["learned"]["inverse_error"] > 0


def test_an_unfinished_study_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def train(kind: str, name: str, **settings: Any) -> Any:
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(f"{name}, {kind}")
        return {"nats": 0.0}

    monkeypatch.setattr(study, "train", train)
    with pytest.raises(KeyboardInterrupt):
        command.main(["--steps", "2", "--out", str(tmp_path)])
    stored = json.loads((tmp_path / UNFINISHED).read_text("utf-8"))
    assert list(stored["runs"]) == trained == ["moons, exact", "moons, learned", "checkerboard, exact"]
    trained.clear()
    with pytest.raises(KeyboardInterrupt):
        command.main(["--steps", "2", "--out", str(tmp_path)])
    assert trained[0] == "checkerboard, learned"


def test_a_record_that_contradicts_its_images_is_refused(made: Path, tmp_path: Path) -> None:
    stored = json.loads(made.read_text("utf-8"))
    stored["pairs"]["moons"]["exact"]["integral"] = 1.5
    path = tmp_path / study.FILE
    path.write_text(json.dumps(stored), "utf-8")
    with pytest.raises(RecordError, match="moons, exact: the sum of its image"):
        study.read(path)
    stored["pairs"].pop("moons")
    path.write_text(json.dumps(stored), "utf-8")
    with pytest.raises(RecordError, match="expected the densities moons"):
        study.read(path)
