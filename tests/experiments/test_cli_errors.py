"""Wrong command lines: one clear line, the nearest right word, and an exit status that follows one rule."""

import contextlib
import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import snf_lite as snf
from snf_lite.cli import main

TRAIN = ["train", "dense-selfnorm", "--epochs", "1"]
POINTS = ["train", "dense-exact", "--data"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the command lines name: a run, flows, and files that are damaged or no data."""
    folder = tmp_path_factory.mktemp("made")
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        assert main(["train", "dense-selfnorm", "--data", "moons", "--epochs", "1", "--batch-size", "5000"]) == 0
        Path("run").symlink_to("runs/dense-selfnorm-moons-seed0")
        snf.save(snf.build("dense-exact", (2,)), "flow.pt")
        Path("bad.pt").write_bytes(b"junk")
        Path("bad.npy").write_bytes(b"\x93NUMPY junk")
        Path("bad.npz").write_bytes(b"PK junk")
        Path("words.csv").write_text("a,b\n1,2\n3,four\n5,6\n", "utf-8")
        Path("ragged.csv").write_text("1,2\n3\n5,6\n", "utf-8")
        Path("gap.csv").write_text("a,b\n1,2\n3,\n5,6\n", "utf-8")
        Path("empty.csv").write_text("", "utf-8")
        Path("pandas.csv").write_text(",a\n0,2.5\n1,3.5\n2,1.5\n", "utf-8")
        Path("points.csv").write_text("".join(f"{x},{x * x}\n" for x in range(40)), "utf-8")
        Path("data.parquet").write_bytes(b"PAR1")
        Path("nofolder").mkdir()
        np.save("nan.npy", np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]]))
        np.save("times.npy", np.stack([np.arange(9.0), 1.6e9 + np.arange(9)], axis=1))
        np.save("two.npy", np.zeros((2, 2)))
        np.save("text.npy", np.array(["a", "b", "c"]))
        np.save("scaled.npy", np.full((9, 1, 4, 4), 0.5))
        np.save("deep.npy", np.full((9, 1, 4, 4), 900))
        np.savez("several.npz", first=np.zeros(3), second=np.zeros(3))
        Path("broken.py").write_text("import no_such_module_at_all\n", "utf-8")
    return folder


@pytest.fixture(autouse=True)
def beside_them(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("SNF_DATA", raising=False)


#: Command line and what its message names; exit status 2.
WRONG = [
    ("", "arguments are required: COMMAND"),
    ("dance", "expected one of list, train, .*got 'dance'"),
    ("trian", "Did you mean train?"),
    ("results --runs=--", "--runs: expected a value, got '--'"),
    ("train dense-exact --import=~nosuchuser/x", "expected a user with a home folder, got ~nosuchuser"),
    ("train --data=~nosuchuser/x", "expected a user with a home folder, got ~nosuchuser"),
    ("train", "expected a MODEL, or --data for which one is chosen, got neither"),
    ("train --set bnis=3 --data moons", "coupling-spline has no setting 'bnis'; it has .*Did you mean bins?"),
    ("train dense", "expected a model out of dense-selfnorm.*got 'dense'. Did you mean dense-"),
    ("train conv-selfnrom", "Did you mean conv-selfnorm?"),
    ("train dense-exact extra", "unknown argument 'extra'"),
    ("train dense-exact --epoch-count 3", "unknown argument '--epoch-count'. Did you mean --epochs"),
    ("train dense-exact --lrate 3", "unknown argument '--lrate'. Did you mean --lr"),
    ("train dense-exact --dta moons", "Did you mean --data"),
    ("train dense-exact --data moon", "expected a path, or a name out of digits.*got 'moon'. Did you mean moons?"),
    ("train dense-exact --data letters", "got 'letters'"),
    ("train dense-exact --epochs 0", "expected epochs to be a positive integer, got 0"),
    ("train dense-exact --epochs", "--epochs: expected one argument"),
    ("train dense-exact --epochs 1.5", "--epochs: invalid int value: '1.5'"),
    ("train dense-exact --epochs ten", "--epochs: .*'ten'"),
    ("train dense-exact --lr -1", r"expected lr in \(0, inf\), got -1\.0"),
    ("train dense-exact --lr nan", "lr in .* got nan"),
    ("train dense-exact --clip-norm nan", "clip_norm in .* got nan"),
    ("train dense-exact --warmup-epochs -1", "warmup_epochs in .*got -1.0"),
    ("train dense-exact --batch-size ten", "--batch-size: .*'ten'"),
    ("train dense-exact --batch-size 9999999999999999999", ""),
    ("train dense-exact --evaluate-every 0", "evaluate_every to be a positive integer, got 0"),
    ("train dense-exact --decay cosin", "--decay: expected one of constant, cosine; got 'cosin'. Did you mean cosine?"),
    ("train dense-exact --precision bf61", "Did you mean bf16?"),
    ("train dense-exact --precision tf32 --device cpu", "precision='tf32' needs a CUDA device"),
    ("train dense-exact --seed one", "--seed: .*'one'"),
    ("train dense-exact --device cuda:99", "cuda:99"),
    ("train dense-exact --device gpu", "'gpu'"),
    ("train dense-exact --set depth", "--set: expected KEY=VALUE, got 'depth'"),
    ("train dense-exact --set dept=3", "no setting 'dept'; it has depth, alpha, front. Did you mean depth?"),
    ("train dense-exact --set depth=0", "depth to be a positive integer, got 0"),
    ("train dense-exact --set depth=two", "depth to be a positive integer, got 'two'"),
    ("train dense-selfnorm --set recon_weight=1" + "0" * 400, ""),
    ("train dense-exact --set alpha=" + "-" * 20_000 + "1", ""),
    ("train dense-exact --recon-weight 1", "dense-exact has no setting 'recon_weight'"),
    ("train dense-selfnorm --recon-weight -1", "recon_weight"),
    ("train conv-selfnorm --data moons", r"conv-selfnorm for moons, of shape \(2,\): .*Models for points: "),
    ("train glow-exact --data points.csv", r"glow-exact for points\.csv, of shape \(2,\): .*Models for points: "),
    ("train dense-exact --data moons --augment", "augment"),
    ("train dense-exact --data moons --channels 3", "--channels is for own images, not for moons"),
    ("train dense-exact --data points.csv --channels 3", "channels are for folders of images"),
    ("train dense-exact --data nofolder --channels 2", "--channels: expected one of 1, 3; got '2'"),
    ("train dense-exact --data data.parquet", r"expected a folder of images, or a file \.npy, .* got '\.parquet'"),
    ("train dense-exact --progress --quiet", "not allowed with"),
    ("train dense-exact --import no_such_module_at_all", "--import no_such_module_at_all: ModuleNotFoundError"),
    ("train dense-exact --import broken.py", "--import broken.py: ModuleNotFoundError: .*no_such_module_at_all"),
    ("train dense-exact --import gone.py", "--import gone.py: FileNotFoundError: there is no such file"),
    ("evaluate", "arguments are required: RUN"),
    ("evaluate run --split tset", "Did you mean test?"),
    ("evaluate run --split all", "--split all and --channels are for own data, not for moons"),
    ("evaluate run --data digits", r"expected examples of shape \(2,\), got \(1, 8, 8\)"),
    ("evaluate run --data points.csv --split test", "is not what the flow was trained on"),
    ("evaluate run --batch-size 0", "batch_size to be a positive integer, got 0"),
    ("evaluate flow.pt", "does not name its training data; give data to evaluate on, --data NAME or PATH"),
    ("sample", "arguments are required: RUN"),
    ("sample run --out s.xlsx", r"expected a figure \.png, .* or numbers \.npy, .*got the suffix '\.xlsx'"),
    ("sample run --out samples", "got no suffix"),
    ("sample run --count 0", "--count to be a positive integer, got 0"),
    ("sample run --count -3", "--count to be a positive integer, got -3"),
    ("sample run --temperature -1", "--temperature in .*got -1.0"),
    ("sample run --temperature warm", "--temperature: .*'warm'"),
    ("results --chekc", "Did you mean --check?"),
    ("reproduce --rows dense", "Did you mean dense-"),
    ("reproduce --data moons", "expected one of digits.*got 'moons'"),
    ("reproduce --minutes 0", r"minutes in \(0, inf\), got 0\.0"),
    ("reproduce --repeats 0", "repeats to be a positive integer, got 0"),
    ("reproduce --set dpth=3", "none of .* has a setting 'dpth'"),
    ("bench --suite dens", "Did you mean dense?"),
    ("bench --features 0", "--features: expected a positive integer, got '0'"),
    ("bench --shapes 12x16", "--shapes: expected CxHxW such as 12x16x16, got '12x16'"),
    ("bench --seconds -1", "--seconds: expected a positive number, got '-1'"),
    ("ablate run --variant onw", "Did you mean own?"),
    ("preprocessing --data moons", "got 'moons'"),
    ("preprocessing --alpha 2", "alpha"),
]
#: Command line and what its message names; exit status 1: what is named is missing, damaged or in the way.
FAILED = [
    ("evaluate gone.pt", r"gone\.pt: there is no such checkpoint"),
    ("evaluate nofolder", r"nofolder: expected a run's folder with checkpoint\.pt, got none in it"),
    ("sample bad.pt", r"bad\.pt: expected a checkpoint, got 4 bytes"),
    ("sample run --out points.csv/s.png", r"points\.csv/s\.png: could not write \d+ bytes \("),
    ("train dense-exact --out bad.pt", r"bad\.pt/dense-exact-digits-seed0/\S+: could not write .*\(Not a directory\)"),
    ("train dense-exact --data imagenet32", "imagenet32: is read from a local folder only"),
    ("train dense-exact --data gone.csv", r"gone\.csv: there is no such file or folder"),
    ("train dense-exact --data ./gone", "./gone: there is no such file or folder"),
    ("train dense-exact --data nofolder", r"nofolder: expected images \(\.png, .*\), got none"),
    ("train dense-exact --data bad.npy", r"bad\.npy: expected arrays as numpy\.save"),
    ("train dense-exact --data bad.npz", r"bad\.npz: expected arrays as numpy.savez writes them"),
    ("train dense-exact --data several.npz", "expected one array, got first, second"),
    ("train dense-exact --data words.csv", r"words\.csv, line 3, column 'b': expected a finite number, got 'four'"),
    ("train dense-exact --data gap.csv", r"gap\.csv, line 3, column 'b': expected a finite number, got ''"),
    ("train dense-exact --data ragged.csv", r"ragged\.csv, line 2: expected 2 cells as in the first line, got 1"),
    ("train dense-exact --data empty.csv", "got an empty file"),
    ("train dense-exact --data pandas.csv", r"the first column has no name; .*index=False"),
    ("train dense-exact --data nan.npy", r"nan\.npy: expected finite float32 numbers, got nan at \[1, 1\]"),
    (
        "train dense-exact --data times.npy",
        r"number 2 of each row spreads over 8 around 1\.6e\+09.*subtract a constant",
    ),
    ("train dense-exact --data two.npy", "expected at least 3 examples, one for each part, got 2"),
    ("train dense-exact --data text.npy", r"text\.npy: expected an array \(N, …\) of numbers, got <U1"),
    ("train dense-exact --data scaled.npy", "expected pixels as integers from 0 to 255, got float64 from 0 to 1"),
    ("train dense-exact --data deep.npy", "expected pixels from 0 to 255, got 900 to 900"),
    ("train dense-selfnorm --data moons --epochs 1 --batch-size 5000 --lr 0.5", "lr is 0.001 .*--overwrite"),
    ("results --runs nowhere", "nowhere: expected a folder of runs, got nothing"),
    ("results --runs bad.pt", r"bad\.pt: expected a folder of runs, got a file"),
    ("results --runs nofolder", r"nofolder: expected runs with a record\.json, got none"),
    ("results --runs runs --check", "index"),
    ("ablate gone", "gone"),
]


def ended(words: str, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Exit status and message of a command."""
    try:
        status: object = main(words.split())
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr().err


@pytest.mark.parametrize(("words", "message"), WRONG, ids=[words[:60] for words, _ in WRONG])
def test_wrong_usage_is_one_line_with_status_2(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, error = ended(words, capsys)
    assert status == 2, error
    first, second = error.splitlines()
    assert first.startswith("snf_lite") and re.search(message.replace("?", r"\?"), first), first
    assert second.startswith("Help: ") and second.endswith("--help") and len(first) < 1000


@pytest.mark.parametrize(("words", "message"), FAILED, ids=[words[:60] for words, _ in FAILED])
def test_a_failure_is_one_line_with_status_1(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, error = ended(words, capsys)
    assert status == 1, error
    assert error.startswith("snf_lite: ") and error.count("\n") == 1 and "[Errno" not in error
    assert re.search(message, error), error


def test_sixty_command_lines_were_tried() -> None:
    assert len(WRONG) + len(FAILED) >= 100


@pytest.mark.skipif(os.name != "posix", reason="a limit of memory is asked of the system")
def test_too_little_memory_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    status, error = ended("sample run --out s.npy --count 99999999999999", capsys)
    assert status == 1 and "memory" in error and error.count("\n") == 1


def test_a_damaged_checkpoint_names_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = "train dense-selfnorm --data moons --epochs 1 --batch-size 5000"
    path = Path("run/checkpoint.pt")
    path.write_bytes(path.read_bytes()[:5000])
    status, error = ended(words, capsys)
    assert status == 1 and "damaged" in error and "--overwrite starts from scratch" in error
    assert ended(f"{words} --overwrite", capsys)[0] == 0
