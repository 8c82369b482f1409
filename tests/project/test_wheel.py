"""The package as a wheel, installed where nothing else of this project is: whole, checkable, and usable."""

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest
from paths import ROOT
from reader import as_public_repository, bare, interpreter, left_behind, made, pip
from text.package_map import PACKAGES

TRAIN = "train dense-selfnorm --epochs 1 --out mine"
CODE = """
import json, snf_lite as snf
from snf_lite.experiments import archive
from snf_lite.runtime import files
index = files.read_json(archive.records_root() / "index.json", "index of runs")
folders = {path.parent.name for kind in archive.RECORDS for path in archive.records_root().glob(f"*/{kind}")}
pictures = [(name, file) for name, sums in index.items() for file in sums if file.endswith(".png")]
for name in folders:
    assert archive.record_dir(name).is_relative_to(archive.records_root())
for name, file in pictures:
    if name in folders:
        assert archive.record_image(name, file)
print(json.dumps([snf.__file__, str(archive.records_root()), len(folders), len(pictures)]))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder, with the wheel in it and installed."""
    home = tmp_path_factory.mktemp("reader")
    python = made(home)
    pip(python, home, "wheel", str(as_public_repository(home / "public")), "--wheel-dir", str(home / "wheel"))
    pip(python, home, "install", *map(str, (home / "wheel").glob("*.whl")))
    return home


def said(home: Path, *words: str) -> str:
    """What Python prints there, in the empty folder; it has to end well and to say nothing on stderr."""
    plain = {**bare(os.environ), "PYTHONWARNINGS": "error::DeprecationWarning:snf_lite", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [interpreter(home), *words], cwd=home / "empty", env=plain, capture_output=True, encoding="utf-8", timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_folder_of_the_packages_is_in_the_wheel() -> None:
    """Setuptools takes the folders that are listed, and leaves out one that is not without a word."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(path.parent.relative_to(package.parent).parts)
        for package in PACKAGES.values()
        for path in package.rglob("__init__.py")
    }
    assert sorted(listed) == sorted([*folders, "snf_lite.stored_runs"])


def test_is_small(home: Path) -> None:
    (wheel,) = (home / "wheel").glob("*.whl")
    # Two thirds of it are the stored runs, with their samples, those in color among them, and densities:
    assert wheel.stat().st_size < 3_300_000


def test_the_records_are_there_and_as_they_were(home: Path) -> None:
    package, runs, folders, pictures = json.loads(said(home, "-c", CODE))
    assert Path(package).is_relative_to(home / "env") and Path(runs).is_relative_to(home / "env")
    assert folders > 30 and pictures > 30
    assert said(home, "-m", "snf_lite", "results", "--check").endswith("nothing missing, nothing altered\n")
    assert "dense-selfnorm" in said(home, "-m", "snf_lite", "results")
    assert not left_behind(home)


def test_a_record_that_was_lost_on_the_way_is_missed(home: Path) -> None:
    """Of the check above: it reads the installed records."""
    lost = Path(json.loads(said(home, "-c", CODE))[1]) / "bench-dense" / "dense.png"
    kept = lost.read_bytes()
    lost.unlink()
    try:
        with pytest.raises(AssertionError, match=r"bench-dense/dense\.png: is missing"):
            said(home, "-m", "snf_lite", "results", "--check")
    finally:
        lost.write_bytes(kept)


def test_both_commands_work(home: Path) -> None:
    assert "  dense-selfnorm     Table 1" in said(home, "-m", "snf_lite", "list")
    assert "--help" in said(home, "-m", "snf_book.prior_work", "--help")
    assert "record.json" in said(home, "-m", "snf_lite", *TRAIN.split())
    run = home / "empty" / "mine" / "dense-selfnorm-digits-seed0"
    assert sorted(os.listdir(run)) == ["checkpoint.pt", "record.json", "samples.png"]
    assert json.loads((run / "record.json").read_text("utf-8"))["package"]["commit"] is None
