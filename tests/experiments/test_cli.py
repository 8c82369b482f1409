"""The command line from end to end: train, be killed or finished, evaluate, sample; and one clear line for an error."""

import contextlib
import importlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

import snf_lite as snf
from snf_lite import models
from snf_lite.cli import _parser, main
from snf_lite.experiments import record as runs
from snf_lite.experiments.archive import records_root
from snf_lite.experiments.arguments import values_of
from snf_lite.experiments.run import RunConfig
from snf_lite.training.settings import TrainingConfig

TRAIN = ["train", "dense-selfnorm", "--whiten", "--epochs", "2"]
RUN = Path("runs", "dense-selfnorm-digits-seed0")


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on the digits, made once and only copied."""
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        assert main(TRAIN) == 0
    return folder / RUN


@pytest.fixture
def trained(finished_run: Path, tmp_path: Path) -> Path:
    """Such a folder in the current one, for a test to change."""
    return Path(shutil.copytree(finished_run, tmp_path / RUN))


def test_train_writes_record_picture_and_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--recon-weight", "2", "--set", "depth=3", "--seed", "5", "--precision", "bf16"]
    assert main([*TRAIN, *chosen, "--out", "there", "--name", "mine"]) == 0
    out = capsys.readouterr().out
    assert sorted(os.listdir("there/mine")) == ["checkpoint.pt", "record.json", "samples.png"]
    assert Path("there/mine/samples.png").read_bytes().startswith(b"\x89PNG")
    record = runs.read_record("there/mine/record.json")
    assert record.model["settings"] == {"depth": 3, "recon_weight": 2.0} and record.seed == 5
    assert record.history["settings"]["precision"] == "bf16" and "--precision bf16 " in record.command
    assert record.history["settings"]["whiten"] and record.history["epochs"] == [0, 1, 2]
    assert f"{record.results['test']['nats']:.2f} ±" in out and "exact, 300 examples of digits test" in out
    flow = snf.restore("there/mine/checkpoint.pt")
    assert flow.layers[3].recon_weight == 2.0
    assert snf.evaluate(flow, "digits", seed=5).nats == record.results["test"]["nats"]


def test_the_recorded_command_makes_the_same_run(trained: Path, tmp_path: Path) -> None:
    record = runs.read_record(trained / "record.json")
    assert record.command.startswith("python -m snf_lite train dense-selfnorm --data digits --epochs 2")
    assert str(tmp_path) not in json.dumps(record.history) + record.command
    assert main([*record.command.split()[3:], "--out", "again"]) == 0
    again = runs.read_record("again/dense-selfnorm-digits-seed0/record.json")
    assert (again.command, again.results) == (record.command, record.results)
    assert again.history["validation_nats"] == record.history["validation_nats"]


def test_the_same_command_again_keeps_the_record(trained: Path) -> None:
    before = (trained / "record.json").read_text("utf-8")
    assert main(TRAIN) == 0
    assert (trained / "record.json").read_text("utf-8") == before


def test_more_epochs_go_on(trained: Path) -> None:
    assert main([*TRAIN[:-1], "3"]) == 0
    record = runs.read_record(trained / "record.json")
    assert (record.history["epochs"], record.history["resumed_at"]) == ([0, 1, 2, 3], [2])


def test_another_command_under_the_same_name_is_refused(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--lr", "0.01"]) == 1
    error = capsys.readouterr().err
    assert "lr is 0.001 in the checkpoint, 0.01 here" in error and "--overwrite" in error and error.count("\n") == 1
    assert main([*TRAIN, "--lr", "0.01", "--overwrite"]) == 0
    assert runs.read_record(trained / "record.json").history["settings"]["lr"] == 0.01


def test_a_record_without_its_checkpoint_is_not_lost(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (trained / "checkpoint.pt").unlink()
    assert main([*TRAIN, "--lr", "0.01"]) == 1
    assert "--lr 0.001" in capsys.readouterr().err
    assert main(TRAIN) == 0


def test_evaluate_knows_its_data_and_takes_others(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(trained / "checkpoint.pt")
    assert main(["evaluate", checkpoint]) == 0
    shown, nats = capsys.readouterr().out, runs.read_record(trained / "record.json").results["test"]["nats"]
    values, events = rf"{nats:.2f} ± \d\.\d\d nats, \d\.\d\d\d bits/dim", r"\(exact, 300 examples of digits test\)\n"
    assert re.fullmatch(f"{values} {events}", shown)
    assert main(["evaluate", checkpoint, "--split", "validation", "--data", "digits"]) == 0
    assert "digits validation" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", checkpoint, "--data", "moons"])
    assert "examples of shape (1, 8, 8), got (2,)" in capsys.readouterr().err


def test_sample_draws_and_prints_the_distance(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(trained / "checkpoint.pt")
    assert main(["sample", checkpoint, "--out", "a.png", "--count", "3", "--seed", "1"]) == 0
    first = capsys.readouterr().out
    assert re.search(r"relative distance 0\.\d{4}\n$", first) and Path("a.png").read_bytes().startswith(b"\x89PNG")
    assert main(["sample", checkpoint, "--out", "a.png", "--count", "3", "--seed", "1"]) == 0
    assert capsys.readouterr().out == first


def test_a_saved_flow_needs_its_data_named(capsys: pytest.CaptureFixture[str]) -> None:
    snf.save(snf.build("dense-exact", (2,)), "flow.pt")
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "flow.pt"])
    assert "does not name its training data; give data to evaluate on, --data NAME or PATH" in capsys.readouterr().err
    assert main(["evaluate", "flow.pt", "--data", "moons"]) == 0
    assert "2000 examples of moons test" in capsys.readouterr().out


def test_points_of_the_plane_train_too() -> None:
    assert main(["train", "dense-exact", "--data", "moons", "--epochs", "1", "--batch-size", "2000"]) == 0
    assert Path("runs/dense-exact-moons-seed0/samples.png").exists()


def test_the_command_of_an_old_record_still_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """Records name options as they were called; help shows the names of today."""
    record = json.loads((records_root() / "fast-dense-selfnorm-mnist-seed0" / "record.json").read_text("utf-8"))
    words = shlex.split(record["command"])[3:]
    assert "--warmup" in words
    args = _parser().parse_args([*words, "--clip", "50", "--restart"])
    assert (args.warmup_epochs, args.clip_norm, args.overwrite) == (1.0, 50.0, True)
    assert _parser().parse_args(["results", "--seal"]).update_index
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    assert not re.search(r"--(warmup|clip|restart)\b(?!-)", shown)
    assert all(name in shown for name in ("--warmup-epochs", "--clip-norm", "--overwrite"))


def test_each_field_of_the_config_is_an_option_with_its_default() -> None:
    args = _parser().parse_args(["train", "dense-selfnorm"])
    assert TrainingConfig(**values_of(args, TrainingConfig)) == TrainingConfig()
    config = RunConfig("dense-exact", training=TrainingConfig(
        epochs=7, batch_size=3, lr=0.5, seed=2, whiten=True, warmup_epochs=2.5, decay="cosine", clip_norm=9.0,
        evaluate_every=4, decay_epochs=8, patience=6, augment=True, compile=True, cuda_graph=True, precision="bf16",
    ))  # fmt: skip
    args = _parser().parse_args(shlex.split(config.command)[3:])
    assert TrainingConfig(**values_of(args, TrainingConfig)) == config.training
    assert not set(asdict(TrainingConfig()).items()) & set(asdict(config.training).items()), "an option was not tried"


def test_a_record_of_another_command_line_is_the_same_run(trained: Path) -> None:
    """The record of a run says what decided it; the words of its command may be older."""
    path = trained / "record.json"
    stored = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**stored, "command": "python -m snf_lite train dense-selfnorm --warmup 1.0"}), "utf-8")
    (trained / "checkpoint.pt").unlink()
    assert main(TRAIN) == 0


def test_a_run_loads_samples_and_describes_itself_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for place, name in (
        ("snf_lite.data.source", "load"), ("snf_lite.experiments.run", "load"),
        ("snf_lite.experiments.run", "sample_pair"), ("snf_lite.analysis.figures", "sample_pair"),
        ("snf_lite.experiments.record", "provenance"),
    ):  # fmt: skip
        work = getattr(importlib.import_module(place), name)

        def counted(*args: object, name: str = name, work: Any = work, **kwargs: object) -> object:
            calls.append(" ".join([name, *(str(arg) for arg in args[:2] if isinstance(arg, str))]))
            return work(*args, **kwargs)

        monkeypatch.setattr(f"{place}.{name}", counted)
    assert main(TRAIN) == 0
    loads = [f"load digits {split}" for split in ("train", "validation", "test")]
    assert calls == [*loads, "sample_pair", "provenance"]


def test_list_names_models_and_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*snf.model_names(), *snf.dataset_names()])
    assert "Models for images" in out and "own data: a folder of images" in out and "images (1, 8, 8), 17 levels" in out
    for name in snf.model_names():
        assert all(f"{key}={value}" in out for key, value in models.known_settings(name).items()), name
    assert max(map(len, out.splitlines())) <= 80


def test_a_run_folder_is_taken_for_its_checkpoint(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command, options in (("evaluate", []), ("sample", ["--out", "a.npy", "--count", "3"])):
        shown = []
        for path in (trained, trained / "checkpoint.pt"):
            assert main([command, str(path), *options]) == 0
            shown.append(capsys.readouterr().out)
        assert shown[0] == shown[1]
    assert main(["evaluate", "runs"]) == 1
    assert f"expected a run's folder with checkpoint.pt, got {RUN}" in capsys.readouterr().err


def test_progress_is_shown_or_not_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TRAIN, "--progress", "--name", "a"]) == 0
    assert "nats" in capsys.readouterr().err
    assert main([*TRAIN, "--quiet", "--name", "b"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "nats" in out


# ---- around the commands ---------------------------------------------------------------------------------------------


def test_an_interrupt_says_how_to_go_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("snf_lite.experiments.run.fit", interrupted)
    assert main(TRAIN) == 130
    assert "Run the same command again to resume" in capsys.readouterr().err
    assert main([*TRAIN, "--overwrite"]) == 130
    assert "Run the same command without --overwrite again to resume" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["false", "False"])
def test_a_setting_is_switched_off_by_either_spelling(word: str) -> None:
    assert dict(_parser().parse_args([*TRAIN, "--set", f"front={word}"]).set)["front"] is False


COMMANDS = [
    "list",
    "train",
    "evaluate",
    "sample",
    "results",
    "reproduce",
    "bench",
    "ablate",
    "preprocessing",
    "own-data",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_80_columns_and_shows_what_the_command_uses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and max(map(len, shown.splitlines())) <= 80
    assert "None" not in shown and "==SUPPRESS==" not in shown and " .\n" not in shown
    assert ("--seed" in shown) == (command not in ("list", "results"))
    assert ("--device" in shown) == (command not in ("list", "results", "own-data"))
    assert len(shown.split("\n\n")[0].splitlines()) <= 2, "the first line is a wall of options"


@pytest.mark.parametrize("command", ["list", "results"])
def test_options_that_a_command_does_not_use_are_still_accepted(command: str) -> None:
    """Stored commands may have them."""
    assert _parser().parse_args([command, "--seed", "0", "--device", "cpu"]).run


def test_the_version_names_what_a_result_depends_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert re.fullmatch(r"snf_lite \d\S+, torch \d\S+, Python 3\S+\n", capsys.readouterr().out)


def test_the_console_script_is_the_command_line() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    place, _, name = scripts["snf-lite"].partition(":")
    assert getattr(importlib.import_module(place), name) is main


def test_the_module_runs_as_a_program_and_loads_no_matplotlib_in_vain() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "snf_lite", "evaluate", "gone.pt"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    *imports, said = done.stderr.splitlines()
    assert said == "snf_lite: gone.pt: there is no such checkpoint."
    assert any("torch" in line for line in imports) and not any("matplotlib" in line for line in imports)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the system has another word for it")
@pytest.mark.parametrize("command", ["list", "results"])
def test_a_reader_that_leaves_ends_it_without_a_word(command: str) -> None:
    """As ``| head`` does, here before the first line."""
    there, here = os.pipe()
    os.close(there)
    done = subprocess.run([sys.executable, "-m", "snf_lite", command], stdout=here, stderr=subprocess.PIPE)
    os.close(here)
    assert (done.returncode, done.stderr) == (141, b"")
