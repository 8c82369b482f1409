"""What a new user types at first on the command line: what is missing is named, and what to type."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT
from PIL import Image

import snf_lite as snf
from snf_lite.cli import main
from snf_lite.data.own_data import read_data

RUN = ["train", "dense-exact", "--data", "points.npy", "--name", "first", "--decay", "cosine", "--epochs"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    np.save("points.npy", np.random.default_rng(0).normal(size=(60, 2)))


def said(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit status and what was written on stderr."""
    try:
        status = main([*words])
    except SystemExit as end:
        status = int(str(end.code))
    return status, capfd.readouterr().err


@pytest.mark.filterwarnings("default")
def test_a_run_that_is_done_and_one_that_is_extended_say_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert said(capfd, *RUN, "2") == (0, "")
    assert "holds 2 epochs; more epochs extend the run" in said(capfd, *RUN, "1")[1]
    status, words = said(capfd, *RUN, "3")
    assert status == 0 and "going on from epoch 2\n" in words
    assert "snf_lite: fit: the cosine of this run ends at epoch 2" in words and "(--decay-epochs 3)" in words
    assert "UserWarning" not in words, "one line, without the place in the code"
    assert said(capfd, *RUN, "3", "--quiet") == (0, "")


def test_a_saved_flow_does_not_name_its_data(capfd: pytest.CaptureFixture[str]) -> None:
    snf.save(snf.build("dense-exact", (2,)), "flow.pt")
    status, words = said(capfd, "evaluate", "flow.pt")
    assert status == 2 and "does not name its training data; give data to evaluate on, --data NAME or PATH" in words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a;b\n1,5;2\n", "got '1,5'; write a decimal point"),
        ("a,b\n1,\n", "got ''; leave out the column, or the row"),
        ('"","a"\n"1",0.5\n"2",0.7\n', "the first column has no name; if it names the rows, leave it out"),
        (",a,b\n7,0.5,1\n3,0.7,1\n", "the first column has no name"),
        ("0,1\n0.5,1.5\n0.7,0.1\n", "the first line, 0,1, counts up and may name the columns"),
        ("2020;2021\n0.5;1.5\n0.7;0.1\n", "the first line, 2020;2021, counts up"),
        ("name,b\nx,2\n", "column 'name': expected a finite number, got 'x'; leave out the column, or the row"),
    ],
)
def test_a_table_with_other_cells_than_numbers(text: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("table.csv").write_text(text, "utf-8")
    status, message = said(capfd, "train", "--data", "table.csv")
    assert status == 1 and words in message


@pytest.mark.parametrize(
    "text", ["1,2\n0,1\n5,7\n1,1\n", "1,3\n0.5,1.5\n1,2.5\n", "1\n0.5\n0.7\n", "1,2.0\n0.5,1\n2,3\n"]
)
def test_a_first_row_of_numbers_that_may_be_data_is_kept(text: str) -> None:
    Path("table.csv").write_text(text, "utf-8")
    assert len(read_data("table.csv")) == text.count("\n")


def test_other_columns_than_those_of_the_training_are_refused(capfd: pytest.CaptureFixture[str]) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    for name, columns in (("ab", "a,b"), ("ba", "b,a"), ("xy", "x,y"), ("more", "a,b")):
        np.savetxt(f"{name}.csv", rows, delimiter=",", header=columns, comments="")
    Path("bare.csv").write_text("\n".join(f"{a},{b}" for a, b in rows), "utf-8")
    assert said(capfd, "train", "spline-exact", "--data", "ab.csv", "--epochs", "1", "--name", "first")[0] == 0
    for name in ("ba", "xy"):
        status, words = said(capfd, "evaluate", "runs/first", "--data", f"{name}.csv")
        assert status == 2 and f"{name}.csv: expected the columns a, b, in this order, got {', '.join(name)}" in words
    for name in ("ab", "more", "bare"):
        assert said(capfd, "evaluate", "runs/first", "--data", f"{name}.csv") == (0, "")


def test_commands_are_listed_without_docstrings() -> None:
    run = subprocess.run([sys.executable, "-OO", "-m", "snf_lite", "list"], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0 and "dense-selfnorm" in run.stdout, run.stderr


def test_the_beginning_of_a_word_is_completed(capfd: pytest.CaptureFixture[str]) -> None:
    status, words = said(capfd, "evaluate", "flow.pt", "--split", "val")
    assert status == 2 and "Did you mean validation?" in words


def test_a_folder_of_own_runs_has_no_index_at_first(capfd: pytest.CaptureFixture[str]) -> None:
    Path("runs").mkdir()
    status, words = said(capfd, "results", "--check", "--runs", "runs")
    assert status == 1 and re.search(r"there is no such index of runs; see --update-index", words)


def test_images_of_several_endings_are_read_without_a_warning(capfd: pytest.CaptureFixture[str]) -> None:
    Path("images").mkdir()
    for index in range(10):
        Image.new("RGB" if index else "L", (4, 4), index).save(f"images/{index}.{'jpg' if index % 2 else 'png'}")
    status, words = said(capfd, "train", "dense-exact", "--data", "images", "--epochs", "1")
    assert (status, words) == (0, "")
    assert snf.restore("runs/dense-exact-images-seed0/checkpoint.pt").event_shape == (3, 4, 4)
