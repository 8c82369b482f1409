"""``reproduce``: the plan fits the time, twins get equal budgets, what is done is not done again."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_images import imagenet32

from snf_lite.cli import main
from snf_lite.experiments import manifest, reproduce
from snf_lite.experiments import record as runs
from snf_lite.experiments.paper_tables import PRESETS, ROWS, rows_for

PAIR = ["reproduce", "--rows", "dense-selfnorm", "dense-exact"]


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def records(folder: Path) -> dict[str, runs.TrainingRecord]:
    return {path.parent.name: runs.read_record(path) for path in sorted(folder.glob("*/record.json"))}


# ---- the plan --------------------------------------------------------------------------------------------------------


def entry(family: str, seconds: float) -> dict[str, Any]:
    return {"family": family, "seconds_per_epoch": seconds}


def test_families_share_the_time_and_twins_the_epochs() -> None:
    rows = {"a": entry("dense", 1.0), "b": entry("dense", 3.0), "c": entry("conv", 10.0)}
    assert reproduce.epochs_that_fit(rows, {"dense": 999, "conv": 999}, 200.0) == {"dense": 25, "conv": 10}


def test_what_a_family_does_not_need_goes_to_the_others() -> None:
    rows = {"a": entry("dense", 1.0), "c": entry("conv", 10.0), "g": entry("glow", 5.0)}
    most = {"dense": 20, "conv": float("inf"), "glow": float("inf")}
    found = reproduce.epochs_that_fit(rows, most, 320.0)
    assert found == {"dense": 20, "conv": 15, "glow": 30}


def test_each_row_gets_an_epoch_even_where_there_is_no_time() -> None:
    assert reproduce.epochs_that_fit({"a": entry("dense", 50.0)}, {"dense": 9}, 10.0) == {"dense": 1}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("row", ROWS)
def test_twins_are_run_alike(preset: str, row: str) -> None:
    """The recipes of one family differ in nothing but the model, λ and, in the paper's own settings, clipping."""
    recipes = [other.run_config(preset, "digits", 3, 7) for other in ROWS.values() if other.family == ROWS[row].family]
    for recipe in recipes:
        mine = ROWS[row].run_config(preset, "digits", 3, 7)
        assert recipe.data == mine.data
        free = {"clip_norm": None} if preset == "paper" else {}
        assert replace(recipe.training, **free) == replace(mine.training, **free)
        without = [{k: v for k, v in r.settings.items() if k != "recon_weight"} for r in (recipe, mine)]
        assert without[0] == without[1]


def test_the_papers_preset_has_the_papers_settings() -> None:
    recipe = ROWS["dense-selfnorm"].run_config("paper", "mnist", 0, 6000)
    assert recipe.command == (
        "python -m snf_lite train dense-selfnorm --data mnist --epochs 6000 --batch-size 100 --lr 0.0001 --seed 0 "
        "--warmup-epochs 10.0 --decay constant --evaluate-every 1 --precision float32"
    )
    assert ROWS["glow-selfnorm"].run_config("paper", "mnist", 0, 250).settings["recon_weight"] == 100.0


def test_each_data_set_has_its_rows() -> None:
    assert len(rows_for("digits")) == len(rows_for("mnist")) == 9
    assert rows_for("cifar10") == ["cifar10-glow-exact", "cifar10-glow-selfnorm"]


# ---- runs ------------------------------------------------------------------------------------------------------------


def test_a_pair_is_run_to_records_by_the_recorded_commands(somewhere_else: Path, capsys: Any) -> None:
    assert main([*PAIR, "--epochs", "2", "--repeats", "2", "--seed", "4"]) == 0
    found = records(somewhere_else)
    assert list(found) == [f"fast-dense-{kind}-digits-seed{seed}" for kind in ("exact", "selfnorm") for seed in (4, 5)]
    one = found["fast-dense-selfnorm-digits-seed4"]
    assert one.history["epochs"] == [0, 1, 2] and one.model["settings"] == {"front": True}
    assert main([*one.command.split()[3:], "--out", "again"]) == 0
    again = runs.read_record("again/dense-selfnorm-digits-seed4/record.json")
    assert (again.results, again.history["validation_nats"]) == (one.results, one.history["validation_nats"])
    assert one.data == found["fast-dense-exact-digits-seed4"].data


def test_every_row_of_table_1_runs_on_the_digits(somewhere_else: Path, capsys: Any) -> None:
    assert main(["reproduce", "--epochs", "1", "--set", "steps=1", "--set", "width=4", "--set", "bins=2"]) == 0
    found = records(somewhere_else)
    assert {record.model["name"] for record in found.values()} == set(rows_for("digits")) and len(found) == 9
    for name, record in found.items():
        assert record.history["validation_nats"][1] < record.history["validation_nats"][0], name
        apart = record.sampling["relative_distance"]
        assert (0 < apart < 1) if "selfnorm" in name else apart < 1e-3, name
    capsys.readouterr()
    assert main(["results", "--runs", str(somewhere_else)]) == 0
    shown = capsys.readouterr().out
    titles = [ROWS[row].title.partition(",")[0] for row in rows_for("digits")]  # behind it the size, here a smaller one
    assert all(title in shown.partition("on digits")[2] for title in titles)
    assert shown.count("on digits, 1 epochs") == 3  # the parities
    manifest.write_index(somewhere_else)
    assert manifest.check(somewhere_else) == []  # other settings than the preset's, as the plan says
    (somewhere_else / "reproduce-fast-digits" / "plan.json").unlink()
    manifest.write_index(somewhere_else)
    assert len(manifest.check(somewhere_else)) == 6  # all but the dense rows, which have none of these settings


def test_imagenet32_runs_from_files_of_its_format(somewhere_else: Path, capsys: Any, monkeypatch: Any) -> None:
    imagenet32(Path("sets") / "imagenet32", [3] * 10, "npz")
    monkeypatch.setenv("SNF_DATA", "sets")
    words = ["reproduce", "--data", "imagenet32", "--preset", "paper", "--epochs", "1"]
    assert main([*words, "--set", "steps=1", "--set", "width=4"]) == 0
    found = records(somewhere_else)
    assert list(found) == [f"paper-glow-{kind}-imagenet32-seed0" for kind in ("exact", "selfnorm")]
    assert [record.model["settings"].get("recon_weight") for record in found.values()] == [None, 1000.0]
    for record in found.values():
        assert record.history["settings"]["batch_size"] == 64 and record.data["train"]["count"] == 27
    capsys.readouterr()
    assert main(["results", "--runs", str(somewhere_else)]) == 0
    assert "steps 1, not 48; width 4, not 512" in capsys.readouterr().out


def test_minutes_decide_the_epochs_of_both_twins(somewhere_else: Path, capsys: Any) -> None:
    assert main([*PAIR, "--minutes", "0.02"]) == 0
    epochs = {record.history["epochs"][-1] for record in records(somewhere_else).values()}
    plan = json.loads(next(somewhere_else.glob("reproduce-*/plan.json")).read_text("utf-8"))
    assert epochs == {row["epochs"] for row in plan["rows"].values()} and len(epochs) == 1


def test_a_stopped_plan_goes_on_where_it_stopped(somewhere_else: Path, capsys: Any, monkeypatch: Any) -> None:
    real, calls = reproduce.run, []

    def stopped(*args: Any) -> Any:
        calls.append(args[0].model)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(reproduce, "run", stopped)
    assert main([*PAIR, "--minutes", "0.02"]) == 130
    first = records(somewhere_else)
    assert list(first) == ["fast-dense-selfnorm-digits-seed0"]
    monkeypatch.setattr(reproduce, "seconds_per_epoch", lambda *_: pytest.fail("planned a second time"))
    assert main([*PAIR, "--minutes", "0.02"]) == 0
    found = records(somewhere_else)
    assert len(found) == 2 and found["fast-dense-selfnorm-digits-seed0"] == first["fast-dense-selfnorm-digits-seed0"]


def test_a_stopped_restart_goes_on_without_it(somewhere_else: Path, capsys: Any, monkeypatch: Any) -> None:
    assert main([*PAIR, "--epochs", "1"]) == 0
    real, done = reproduce.run, []

    def stopped(*args: Any) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(real(*args))
        return done[0]

    monkeypatch.setattr(reproduce, "run", stopped)
    assert main([*PAIR, "--epochs", "2", "--overwrite"]) == 130
    assert "Run the same command without --overwrite again to resume" in capsys.readouterr().err
    first = records(somewhere_else)
    assert list(first) == ["fast-dense-selfnorm-digits-seed0"]  # the other's old record would pass for a new one
    monkeypatch.setattr(reproduce, "run", real)
    assert main([*PAIR, "--epochs", "2"]) == 0
    found = records(somewhere_else)
    assert {record.history["epochs"][-1] for record in found.values()} == {2}
    assert found["fast-dense-selfnorm-digits-seed0"] == first["fast-dense-selfnorm-digits-seed0"]


def test_another_wish_under_the_same_name_is_refused(somewhere_else: Path, capsys: Any) -> None:
    assert main([*PAIR, "--epochs", "1"]) == 0
    assert main([*PAIR, "--epochs", "2"]) == 1
    error = capsys.readouterr().err
    assert "was made for epochs 1, not 2" in error and "--overwrite" in error
    assert main([*PAIR, "--epochs", "2", "--overwrite"]) == 0
    assert {record.history["epochs"][-1] for record in records(somewhere_else).values()} == {2}


def test_other_minutes_are_refused_with_the_reason(somewhere_else: Path, capsys: Any) -> None:
    assert main([*PAIR, "--minutes", "0.02"]) == 0
    assert main([*PAIR, "--minutes", "0.01"]) == 1
    error = capsys.readouterr().err
    assert "was made for minutes 0.02, not 0.01; a plan keeps its minutes, which decided its epochs" in error
    assert "Give the same again to resume it, another --out, or --overwrite" in error


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (4.04, "4 s"), (89, "89 s"), (90, "1.5 minutes"), (3000, "50 minutes"), (9000, "2.5 hours")],
)
def test_a_duration_has_the_unit_of_its_size(seconds: float, words: str) -> None:
    assert reproduce.duration(seconds) == words


def test_a_run_that_fails_does_not_stop_the_others(somewhere_else: Path, capsys: Any, monkeypatch: Any) -> None:
    real = reproduce.run

    def fails_once(recipe: Any, *args: Any) -> Any:
        if recipe.model == "dense-selfnorm":
            raise FloatingPointError("layers[3] SelfNormLinear: z is not finite")
        return real(recipe, *args)

    monkeypatch.setattr(reproduce, "run", fails_once)
    assert main([*PAIR, "--epochs", "1"]) == 1
    out, error = capsys.readouterr()
    assert "failed: layers[3]" in out and "1 of 2 runs failed: dense-selfnorm with seed 0" in error
    assert list(records(somewhere_else)) == ["fast-dense-exact-digits-seed0"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--rows", "dense"], 2, "got 'dense'. Did you mean dense-"),
        (["--data", "moons"], 2, "got 'moons'"),
        (["--minutes", "0"], 2, "expected minutes in (0, inf), got 0.0"),
        (["--preset", "slow"], 2, "expected one of paper, fast, best; got 'slow'"),
        (["--set", "colour=red"], 2, "has a setting 'colour'"),
        (["--rows", "glow-exact", "cifar10-glow-exact"], 2, "glow-exact and cifar10-glow-exact would share a folder"),
        (["--data", "imagenet32", "--epochs", "1"], 1, "imagenet32"),
    ],
)
def test_a_wish_that_cannot_be_met(
    words: list[str], code: int, message: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SNF_DATA", raising=False)
    try:
        found = main(["reproduce", *words])
    except SystemExit as ended:
        found = ended.code
    assert found == code and message in capsys.readouterr().err
