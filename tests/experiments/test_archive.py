"""Stored runs are found in the repository, and in an installed package without a repository."""

import shutil
import tomllib
from pathlib import Path

import pytest
from paths import ROOT

from snf_lite.experiments import archive
from snf_lite.experiments.archive import record_dir, record_image
from snf_lite.runtime import files

IMAGE = "fast-dense-selfnorm-mnist-seed0/samples.png"


def test_a_run_is_found_in_the_repository() -> None:
    folder = record_dir("dense-selfnorm-digits-seed0")
    assert (folder / "record.json").is_file() and folder.parent.parts[-2:] == ("data", "runs")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match=r"dense-exact-digits-seed0.*got 'nobody'"):
        record_dir("nobody")


def test_the_copy_inside_an_installed_package_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = tmp_path / "snf_lite" / "stored_runs" / "mine"
    run.mkdir(parents=True)
    (run / "record.json").write_text("{}", "utf-8")
    monkeypatch.setattr(archive, "__file__", str(tmp_path / "snf_lite" / "experiments" / "archive.py"))
    assert record_dir("mine") == run


def test_an_image_is_the_one_of_its_run() -> None:
    image = record_image("fast-dense-selfnorm-mnist-seed0")
    assert image.startswith(b"\x89PNG") and image == (archive.records_root() / IMAGE).read_bytes()


def test_each_training_run_of_record_has_its_image() -> None:
    for record in archive.records_root().glob("*/record.json"):
        assert record_image(record.parent.name)


def copied(folder: Path) -> Path:
    """A place with one run's image and an index of it."""
    (folder / IMAGE).parent.mkdir(parents=True)
    (folder / IMAGE).write_bytes((archive.records_root() / IMAGE).read_bytes())
    (folder / IMAGE).with_name("record.json").write_text("{}", "utf-8")
    shutil.copy(archive.records_root() / "index.json", folder)
    return folder


def test_an_altered_or_missing_image_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = copied(tmp_path / "snf_lite" / "stored_runs")
    monkeypatch.setattr(archive, "__file__", str(tmp_path / "snf_lite" / "experiments" / "archive.py"))
    name = Path(IMAGE).parent.name
    assert record_image(name)
    (folder / IMAGE).write_bytes(b"another")
    with pytest.raises(ValueError, match=f"{name}/samples.png: expected the image with SHA-256"):
        record_image(name)
    with pytest.raises(FileNotFoundError, match=r"expected an image loss\.png, got none"):
        record_image(name, "loss.png")


def test_all_that_the_index_names_travels_with_the_package() -> None:
    """What the installed copy gets, by the patterns of pyproject.toml: whole, and small."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    travelling = {file for pattern in patterns["snf_lite.stored_runs"] for file in archive.records_root().glob(pattern)}
    index = files.read_json(archive.records_root() / "index.json", "index of runs")
    named = {archive.records_root() / name / file for name, files in index.items() for file in files}
    assert {archive.records_root() / IMAGE, archive.records_root() / "index.json", *named} <= travelling
    assert sum(file.stat().st_size for file in travelling) < 4e6
