"""The search among schedules: what it trains, what is stored, and that a wrong record is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from snf_book.schedules import __main__ as command
from snf_book.schedules import study
from snf_book.schedules.optimizers import ADAM_LR, AVERAGE_DECAY, Averaged, MuonAndAdam
from snf_book.schedules.study import Schedule
from snf_book.unfinished import UNFINISHED

import snf_lite as snf
from snf_lite.experiments.archive import records_root
from snf_lite.experiments.paper_tables import ALL_ROWS, BEST
from snf_lite.runtime.records import RecordError

HAS_MUON = hasattr(torch.optim, "Muon")
#: Where torch has no Muon, Adam stands in its place.
FEW = (Schedule(100, 1e-3), Schedule(500, 5e-3, "average"), Schedule(500, 1e-2, "Muon" if HAS_MUON else "Adam"))
LONG = "schedules-dense-long-mnist"
DIGITS = ["--data", "digits", "--epochs", "1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of short trainings on digits."""
    out = tmp_path_factory.mktemp("schedules")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(study.CANDIDATES, "dense", FEW)
        command.main([*DIGITS, "--out", str(out)])
    return out / "schedules-dense-digits" / study.FILE


def tracked(record: study.SearchRecord, schedule: Schedule) -> float:
    """Validation value of the tracked model in nats."""
    return float(record.candidates[str(schedule)]["dense-tracked"]["nats"])


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(study.CANDIDATES, "dense", FEW)


def test_the_first_candidate_is_the_fast_preset() -> None:
    for family, (first, *_) in study.CANDIDATES.items():
        preset = ALL_ROWS[study.MODELS[family][0]].run_config("fast", "mnist", 0, 5).training
        assert (first.batch_size, first.lr, first.optimizer) == (preset.batch_size, preset.lr, "Adam")


def test_the_preset_best_is_a_candidate_that_beat_the_preset_fast() -> None:
    for family, (training, settings) in BEST.items():
        record = study.read(records_root() / study.FOLDER.format(family, "mnist") / study.FILE)
        chosen = Schedule(training["batch_size"], training["lr"], settings=settings)
        assert record.mean(chosen) < record.mean(study.CANDIDATES[family][0]) - 50


def test_the_short_search_chooses_steps_that_are_too_large() -> None:
    """What is best over a few epochs is the worst over many."""
    short, long = (study.read(records_root() / name / study.FILE) for name in ("schedules-dense-mnist", LONG))
    with_adam = (one for one in study.CANDIDATES["dense"] if one.optimizer == "Adam")
    lowest = min(with_adam, key=lambda one: tracked(short, one))
    assert tracked(long, lowest) > max(tracked(long, one) for one in study.CANDIDATES["dense-long"] if one != lowest)


@pytest.mark.usefixtures("few")
def test_the_command_repeats_itself_and_leaves_nothing_unfinished(made: Path) -> None:
    record = study.read(made)
    assert record.command == "python -m snf_book.schedules --family dense --data digits --epochs 1 --seed 0"
    assert not (made.parent / UNFINISHED).exists()
    for name, entries in record.candidates.items():
        again = study.train("dense-selfnorm", "digits", FEW[list(record.candidates).index(name)], 1, 0)
        assert again["nats"] == entries["dense-selfnorm"]["nats"], name
        assert entries["dense-exact"]["cpu_seconds"] > 0


@pytest.mark.usefixtures("few")
def test_the_best_is_the_lowest_mean_of_those_that_did_not_diverge(made: Path) -> None:
    record = study.read(made)
    for nats, name in zip((5.0, 1.0, 3.0), record.candidates, strict=True):
        record.candidates[name] = {model: {"nats": nats, "cpu_seconds": 1.0} for model in record.models}
    assert record.best() == FEW[1]
    record.candidates[str(FEW[1])]["dense-selfnorm"]["nats"] = None
    assert record.best() == FEW[2]


@pytest.mark.usefixtures("few")
def test_a_row_has_values_and_times_in_units_of_the_first(made: Path) -> None:
    record = study.read(made)
    first, second, _ = record.rows()
    entry = record.candidates[str(FEW[1])]["dense-selfnorm"]
    unit = record.candidates[str(FEW[0])]["dense-exact"]["cpu_seconds"]
    assert (first[0], first[4]) == (str(FEW[0]), 1.0)
    assert (second[2], second[5]) == (entry["nats"], entry["cpu_seconds"] / unit)


def test_a_candidate_that_diverges_is_stored_as_such() -> None:
    entry = study.train("dense-exact", "digits", Schedule(100, 1e12), 1, 0)
    assert entry["nats"] is None


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stored: stored["candidates"].pop(str(FEW[0])), "expected the candidates"),
        (lambda stored: stored["candidates"][str(FEW[0])].pop("dense-exact"), "expected the models"),
        (lambda stored: stored["candidates"][str(FEW[0])]["dense-exact"].pop("nats"), "nats"),
        (lambda stored: stored.update(family="wide"), "of 'wide'"),
    ],
)
def test_a_wrong_record_is_refused(made: Path, tmp_path: Path, change: Any, message: str) -> None:
    stored = json.loads(made.read_text("utf-8"))
    change(stored)
    (tmp_path / study.FILE).write_text(json.dumps(stored), "utf-8")
    with pytest.raises(RecordError, match=message):
        study.read(tmp_path / study.FILE)


def test_a_candidate_can_have_its_own_settings_of_the_model() -> None:
    deeper = Schedule(50, 1e-2, settings={"steps": 8, "width": 64})
    assert str(deeper) == "Adam, batch 50, lr 0.01, steps 8, width 64"
    with pytest.raises(ValueError, match="stages"):
        study.train("glow-exact", "digits", Schedule(50, 1e-2, settings={"stages": 8}), 1, 0)


def test_an_older_torch_is_told_what_muon_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(ImportError, match=r"expected torch 2.9 or later, which has Muon; got \d"):
        MuonAndAdam([torch.nn.Parameter(torch.ones(2, 2))], lr=0.1)


@pytest.mark.skipif(not HAS_MUON, reason=f"torch {torch.__version__} has no Muon; 2.9 and later have")
def test_muon_takes_the_matrices_and_adam_the_rest() -> None:
    """Of a matrix a step of Muon changes every direction about equally; of a vector one of Adam, every entry."""
    torch.manual_seed(0)
    matrix, vector = (torch.nn.Parameter(torch.randn(*shape)) for shape in ((6, 6), (6,)))
    before = matrix.detach().clone(), vector.detach().clone()
    optimizer = MuonAndAdam([matrix, vector], lr=0.1)
    matrix.grad = torch.diag(torch.tensor([1.0, 2, 4, 8, 16, 32]))
    vector.grad = torch.tensor([1.0, -2, 4, -8, 16, -32])
    optimizer.step()
    sizes = torch.linalg.svdvals(before[0] - matrix.detach()) / 0.1
    assert ((sizes > 0.6) & (sizes < 1.4)).all()
    torch.testing.assert_close(before[1] - vector.detach(), ADAM_LR * vector.grad.sign())


def test_the_average_is_that_of_the_weights_passed_through() -> None:
    flow = snf.build("dense-exact", (2,), depth=1)
    averaged = Averaged(flow)
    optimizer = averaged.optimizer(list(flow.parameters()), lr=0.1)
    weight = flow.layers[-1].get_parameter("weight")
    wanted = None
    for _ in range(3):
        flow.loss(torch.randn(20, 2)).backward()
        optimizer.step()
        passed = weight.detach().clone()
        wanted = passed if wanted is None else AVERAGE_DECAY * wanted + (1 - AVERAGE_DECAY) * passed
    assert not torch.equal(weight, wanted)
    averaged.take()
    torch.testing.assert_close(weight.detach(), wanted)
