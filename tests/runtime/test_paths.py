"""``~`` in a path is the home folder everywhere; pipes, devices and folders are refused where a file is read."""

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpointed_runs import fresh, run
from each_case import check_each
from paths import ROOT

import snf_lite as snf
from snf_lite.cli import main
from snf_lite.data.datasets import DataError
from snf_lite.experiments import ablation, manifest
from snf_lite.experiments.record import read_record
from snf_lite.runtime import files

RECORD = ROOT / "data" / "runs" / "dense-selfnorm-digits-seed0" / "record.json"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another working folder."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def test_a_path_begins_at_home(home: Path) -> None:
    snf.save(fresh(), "~/flow.pt")
    assert (home / "flow.pt").is_file() and snf.restore("~/flow.pt").event_shape == (2,)
    run(Path("~/run.pt"), 1)
    assert run(Path("~/run.pt"), 2) and (home / "run.pt").is_file()
    files.write_json({"a": 1}, "~/a.json")
    assert files.read_json("~/a.json", "file") == {"a": 1}
    shutil.copy(RECORD, home / "record.json")
    assert read_record("~/record.json").seed == 0
    from PIL import Image

    (home / "images").mkdir()
    Image.new("L", (8, 8)).save(home / "images" / "a.png")
    assert snf.read_folder("~/images")[1] == ["a.png"]
    assert main(["train", "dense-exact", "--data", "moons", "--epochs", "1", "--out=~/runs", "--name", "a"]) == 0
    assert sorted(os.listdir(home / "runs" / "a")) == ["checkpoint.pt", "record.json", "samples.png"]
    assert main(["evaluate", "~/runs/a/checkpoint.pt"]) == 0
    assert main(["sample", "~/runs/a/checkpoint.pt", "--out=~/samples.png"]) == 0 and (home / "samples.png").is_file()
    assert main(["results", "--runs=~/runs"]) == 0
    assert os.listdir(".") == [], "no folder is called ~"


#: Each takes a path.
TAKES: dict[str, Callable[[str], Any]] = {
    "save": lambda path: snf.save(fresh(), path),
    "restore": snf.restore,
    "fit": lambda path: run(Path(path), 1),
    "read_record": read_record,
    "read_json": lambda path: files.read_json(path, "file"),
    "atomic_write": lambda path: files.atomic_write(path, b""),
    "read_folder": snf.read_folder,
}


def test_a_user_that_is_not_there_is_named(home: Path) -> None:
    def check(name: str) -> None:
        with pytest.raises((ValueError, DataError), match="expected a user with a home folder, got ~nosuchuser"):
            TAKES[name]("~nosuchuser/x")

    check_each(TAKES, check)
    with pytest.raises(SystemExit, match="2"):
        main(["results", "--runs=~nosuchuser/x"])
    assert os.listdir(".") == []


# ---- special files ---------------------------------------------------------------------------------------------------


def special(folder: Path) -> dict[str, str]:
    """A special file of each kind in a folder, and its name in a message."""
    os.mkfifo(folder / "pipe")
    for name in ("full", "zero"):
        (folder / name).symlink_to(f"/dev/{name}")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket"))
    (folder / "folder").mkdir()
    return {"pipe": "a pipe", "full": "a device", "zero": "a device", "socket": "a socket", "folder": "a folder"}


#: Each reads a file.
READS: dict[str, tuple[Callable[[Path], Any], type[Exception]]] = {
    "restore": (snf.restore, snf.CheckpointError),
    "fit": (lambda path: run(path, 1), snf.CheckpointError),
    "record": (read_record, ValueError),
    "json": (lambda path: files.read_json(path, "file"), ValueError),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_special_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket has to be short
    kinds = special(Path("."))

    def check(case: tuple[str, str]) -> None:
        (read, error), name = READS[case[0]], case[1]
        with pytest.raises(error, match=rf"{name}: expected .*, got {kinds[name]}"):
            read(Path(name))

    check_each([(reader, name) for reader in READS for name in kinds], check)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_special_file_among_the_runs_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "index.json").write_text("{}", "utf-8")
    for name in ("record.json", ablation.FILE.format("own")):
        os.mkfifo(tmp_path / "run" / name)
        with pytest.raises(ValueError, match=rf"{name}: expected a file of a run, got a pipe"):
            manifest.check(tmp_path)
        os.unlink(tmp_path / "run" / name)
    os.mkfifo(tmp_path / "run" / "record.json")
    assert main(["results", "--runs", str(tmp_path)]) != 0


def test_a_checkpoint_may_be_written_to_a_device() -> None:
    if not Path("/dev/null").exists():
        pytest.skip("this system has no /dev/null")
    snf.save(fresh(), "/dev/null")
    assert not Path("/dev/null").is_file()


# ---- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [2**63, 10**400, 1e300, None, "10", float("nan"), True, 1 << 20_000],
    ids=lambda value: type(value).__name__,
)
def test_a_count_is_of_64_bits(value: Any) -> None:
    with pytest.raises(ValueError, match=r"expected batch_size to be a positive integer, got .{1,30}\.$"):
        snf.fit(fresh(), torch.randn(10, 2), 1, batch_size=value)


@pytest.mark.parametrize(
    "value", [10**400, -(10**400), float("inf"), float("nan"), 1 << 20_000], ids=lambda value: type(value).__name__
)
def test_a_number_beyond_float_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"expected recon_weight in \[0, inf\), got .{1,30}\.$"):
        snf.SelfNormLinear(2, recon_weight=value)


@pytest.mark.parametrize(
    "value",
    ["-" * 5000 + "1", "[" * 5000, "-" * 900 + "1", "(" * 900, "1" + "0" * 5000, "{" * 300, "a" * 1001],
    ids=lambda value: f"{value[0]} {len(value)}",
)
def test_a_setting_is_parsed_within_bounds(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "dense-selfnorm", "--set", f"alpha={value}"])
    assert ended.value.code == 2
    assert len(json.dumps(capsys.readouterr().err.splitlines()[-1])) < 1300
