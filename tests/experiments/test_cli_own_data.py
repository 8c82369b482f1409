"""Own data on the command line: trained on, evaluated on the part that was held out, sampled into files of numbers."""

import contextlib
import io
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import snf_lite as snf
from snf_lite import models
from snf_lite.cli import main
from snf_lite.experiments.record import read_record
from snf_lite.layer import FlowLayer
from snf_lite.runtime.files import sha256

QUICK = ["--epochs", "1", "--quiet"]


def table(rows: int = 200) -> np.ndarray:
    """A curve in the plane, far from zero."""
    x = np.random.RandomState(0).randn(rows)
    return np.stack([10 + x, 5 + x**2 / 2 + 0.1 * np.random.RandomState(1).randn(rows)], axis=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data.csv``, which has names of columns, and a run on it."""
    folder = tmp_path_factory.mktemp("own")
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        np.savetxt("data.csv", table(), delimiter=",", header="width,height", comments="")
        assert main(["train", "dense-exact", "--data", "data.csv", "--whiten", *QUICK]) == 0
    return folder


@pytest.fixture
def here(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(run)
    return run


RUN = "runs/dense-exact-data-seed0"


def test_the_record_names_the_file_and_its_command_repeats_the_run(here: Path) -> None:
    record = read_record(f"{RUN}/record.json")
    digest = sha256(Path("data.csv").read_bytes())
    for split, count in (("train", 160), ("validation", 20), ("test", 20)):
        part = record.data[split]
        assert (part["name"], part["split"], part["count"]) == ("data.csv", split, count)
        assert (part["file_sha256"], part["split_seed"]) == (digest, 0)
    assert str(here) not in (here / RUN / "record.json").read_text("utf-8")
    assert main([*shlex.split(record.command)[3:], "--name", "again", "--quiet"]) == 0
    again = read_record("runs/again/record.json")
    assert (again.results, again.data, again.command) == (record.results, record.data, record.command)


def test_the_parts_are_drawn_by_the_seed_and_stated(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "dense-exact", "--data", "data.csv", "--split-seed", "1", "--name", "other", *QUICK]) == 0
    shown = capsys.readouterr().out
    assert "data.csv: rows of numbers, shape (2,); 160 to train on, 20 for validation, 20 for test" in shown
    one, other = (read_record(f"{run}/record.json").data["test"] for run in (RUN, "runs/other"))
    assert one["sha256"] != other["sha256"] and other["split_seed"] == 1
    assert "--split-seed 1" in read_record("runs/other/record.json").command


def test_evaluate_takes_the_held_out_part_of_the_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = read_record(f"{RUN}/record.json").results["test"]
    for options in ([], ["--data", "data.csv"], ["--data", str(here / "data.csv")], ["--split", "test"]):
        assert main(["evaluate", RUN, *options]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"{test['nats']:.2f} ±") and re.search(r"20 examples of \S*data.csv test", shown)
    assert main(["evaluate", RUN, "--split", "all"]) == 0
    assert "200 examples of data.csv)" in capsys.readouterr().out
    np.save("others.npy", table(30))
    assert main(["evaluate", RUN, "--data", "others.npy"]) == 0
    assert "30 examples of others.npy)" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["auto"]])
def test_a_model_is_chosen_for_the_data(words: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *QUICK, *words, "--data", "data.csv", "--set", "bins=4", "--name", "chosen"]) == 0
    shown = capsys.readouterr().out
    assert "model: coupling-spline; such data are learned faster by --lr 5e-3 --decay cosine" in shown
    record = read_record("runs/chosen/record.json")
    assert record.model["name"] == "coupling-spline" and " train coupling-spline --data data.csv" in record.command


def test_a_warning_is_one_line_without_a_place_in_the_code(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "dense-exact", "--data", "data.csv", "--decay", "cosine", "--name", "stretched", "--quiet"]
    assert main([*command, "--epochs", "1"]) == 0
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main([*command, "--epochs", "2"]) == 0
    error = capsys.readouterr().err
    assert re.fullmatch(r"snf_lite: fit: the cosine of this run ends at epoch 1.*\n", error), error


def test_a_file_that_was_changed_is_not_taken_unasked(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = str(here / RUN)
    assert main(["evaluate", checkpoint]) == 1
    assert "was trained on data.csv, which is not there; give its path by --data" in capsys.readouterr().err
    np.savetxt("data.csv", table(50), delimiter=",")
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", checkpoint])
    assert "is not the file that the flow was trained on" in capsys.readouterr().err
    assert main(["evaluate", checkpoint, "--data", "data.csv"]) == 0
    assert "50 examples of data.csv)" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_samples_as_numbers_are_those_of_the_library(
    suffix: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(f"s{suffix}")
    assert main(["sample", RUN, "--out", str(path), "--count", "50", "--seed", "3", "--exact"]) == 0
    assert capsys.readouterr().out == f"s{suffix}: 50 samples of the exact inverse, torch.float32 (50, 2)\n"
    read = {".npy": np.load, ".npz": lambda file: np.load(file)["samples"]}.get(suffix)
    values = read(path) if read else np.loadtxt(path, delimiter=",", skiprows=1)
    wanted = snf.restore(f"{RUN}/checkpoint.pt").sample(50, exact=True, seed=3)
    assert np.array_equal(values.astype(np.float32), wanted.numpy())
    if suffix == ".csv":
        assert path.read_text("utf-8").startswith("width,height\n")


@pytest.mark.parametrize(
    ("suffix", "start"),
    [
        (".png", b"\x89PNG"), (".jpg", b"\xff\xd8"), (".pdf", b"%PDF"), (".svg", b"<?xml"), (".webp", b"RIFF"),
        (".PNG", b"\x89PNG"),
    ],
)  # fmt: skip
def test_a_figure_has_the_format_of_its_suffix(
    suffix: str, start: bytes, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snf.save(snf.build("dense-selfnorm", (2,)), "flow.pt")
    assert main(["sample", "flow.pt", "--out", f"f{suffix}", "--count", "9"]) == 0
    assert Path(f"f{suffix}").read_bytes().startswith(start)
    assert "learned inverse left, exact inverse right; relative distance 0." in capsys.readouterr().out


def test_learned_or_exact_and_the_temperature(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    snf.save(snf.build("dense-selfnorm", (1, 8, 8), levels=17), "images.pt")
    drawn = {}
    for name, options in {"learned": [], "exact": ["--exact"], "cold": ["--temperature", "0"]}.items():
        assert main(["sample", "images.pt", "--out", "i.npy", *options]) == 0
        drawn[name] = np.load("i.npy")
    assert "1000 samples of the learned inverse, torch.uint8 (1000, 1, 8, 8)" in capsys.readouterr().out
    assert not np.array_equal(drawn["learned"], drawn["exact"])
    assert (drawn["cold"] == drawn["cold"][0]).all() and not (drawn["exact"] == drawn["exact"][0]).all()
    assert main(["sample", "images.pt", "--out", "i.csv", "--count", "2"]) == 0
    assert np.array_equal(np.loadtxt("i.csv", delimiter=",").reshape(2, 1, 8, 8), drawn["learned"][:2])
    assert main(["sample", "images.pt", "--out", "i.png"]) == 0
    assert "learned inverse above exact inverse" in capsys.readouterr().out


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder ``photos`` of color images that are not square."""
    monkeypatch.chdir(tmp_path)
    Path("photos/more").mkdir(parents=True)
    pixels = np.random.RandomState(0).randint(0, 256, (40, 4, 8, 3), np.uint8)
    for index, image in enumerate(pixels):
        ending = "png" if index % 2 else "jpg"
        Image.fromarray(image).save(f"photos/{'more/' if index % 3 else ''}{index:02}.{ending}")
    yield


def test_a_folder_of_images_trains_a_convolutional_flow(images: None, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "conv-selfnorm", "--data", "photos", "--set", "blocks=2", "--set", "depth=1", *QUICK]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "photos: images of 256 levels, shape (3, 4, 8); 32 to train on, 4 for validation, 4 for test" in shown
    record = read_record("runs/conv-selfnorm-photos-seed0/record.json")
    assert record.data["train"]["channels"] == 3
    assert main(["evaluate", "runs/conv-selfnorm-photos-seed0"]) == 0
    assert "4 examples of photos test" in capsys.readouterr().out
    assert main([*command, "--channels", "1", "--name", "gray"]) == 0
    assert (
        "shape (1, 4, 8)" in capsys.readouterr().out and "--channels 1" in read_record("runs/gray/record.json").command
    )
    assert main(["evaluate", "runs/gray"]) == 0


def test_images_that_cannot_be_halved_twice_name_the_setting(images: None, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("odd.npy", np.zeros((9, 1, 10, 14), np.uint8))
    with pytest.raises(SystemExit, match="2"):
        main(["train", "conv-exact", "--data", "odd.npy"])
    error = capsys.readouterr().err
    assert (
        "conv-exact for odd.npy, of shape (1, 10, 14): Squeeze: " in error and "It fits with --set blocks=2." in error
    )


OWN = """
import torch
import snf_lite as snf
from snf_lite.models import MODELS, Model

class Double(snf.FlowLayer):
    def __init__(self, features):
        super().__init__()
        self.features = features
    def settings(self):
        return {"features": self.features}
    def transform(self, x):
        return 2 * x, x.new_full((len(x),), self.features * 0.6931471805599453)
    def invert(self, z, exact=True):
        return z / 2

def doubled(layer, event_shape, levels):
    return snf.Flow([layer(*event_shape), snf.ExactLinear(*event_shape)], event_shape)

MODELS["doubled"] = Model("Own.", doubled, Double, {}, "points")
"""


@pytest.fixture
def own_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("mine_for_the_tests.py").write_text(OWN, "utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("mine_for_the_tests", None)
    models.MODELS.pop("doubled", None)
    _forget()


def _forget() -> None:
    for name in [name for name in FlowLayer.registry if name.endswith(".Double")]:
        del FlowLayer.registry[name]


@pytest.mark.parametrize("module", ["mine_for_the_tests.py", "mine_for_the_tests"])
def test_own_layers_and_models_are_imported(module: str, own_layer: None, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "doubled", "--data", "moons", "--epochs", "1", "--batch-size", "5000", "--quiet"]
    with pytest.raises(SystemExit, match="2"):
        main(command)
    assert "got 'doubled'" in capsys.readouterr().err
    assert main([*command, "--import", module]) == 0
    record = read_record("runs/doubled-moons-seed0/record.json")
    assert f"--import {module}" in record.command
    run = "runs/doubled-moons-seed0"
    sys.modules.pop("mine_for_the_tests")
    models.MODELS.pop("doubled")
    _forget()
    assert main(["evaluate", run]) == 1
    assert "Double, which is not defined here: import its module by --import MODULE" in capsys.readouterr().err
    for words in (
        ["evaluate", run],
        ["sample", run, "--out", "s.npy"],
        [*command[:3], "moons", *command[4:5], "2", *command[6:]],
    ):
        assert main([*words, "--import", module]) == 0


def test_a_layer_of_a_script_is_found_in_its_file(own_layer: None, capsys: pytest.CaptureFixture[str]) -> None:
    script = {"__name__": "__main__"}
    exec(compile(OWN, "mine_for_the_tests.py", "exec"), script)
    snf.save(snf.Flow([script["Double"](2), snf.ExactLinear(2)], (2,)), "script.pt")  # type: ignore[operator]
    _forget()
    assert main(["evaluate", "script.pt", "--data", "moons"]) == 1
    error = capsys.readouterr().err
    assert "__main__.Double, which is not defined here: import its module by --import SCRIPT.py, the script" in error
    assert main(["evaluate", "script.pt", "--data", "moons", "--import", "mine_for_the_tests.py"]) == 0


def test_a_path_in_the_home_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("USERPROFILE", str(here))
    assert main(["evaluate", f"~/{RUN}", "--data", "~/data.csv"]) == 0
    assert "20 examples of ~/data.csv test" in capsys.readouterr().out
    assert not os.path.exists("~")
