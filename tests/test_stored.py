"""Runs of record are found in the repository, and in an installed package, where no repository is."""

from pathlib import Path

import pytest

from snf_lite import stored
from snf_lite.stored import stored_run


def test_a_run_is_found_in_the_repository() -> None:
    folder = stored_run("dense-selfnorm-digits-seed0")
    assert (folder / "record.json").is_file() and folder.parent.parts[-2:] == ("data", "runs")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match=r"dense-exact-digits-seed0.*got 'nobody'"):
        stored_run("nobody")


def test_the_copy_inside_an_installed_package_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = tmp_path / "snf_lite" / "stored_runs" / "mine"
    run.mkdir(parents=True)
    (run / "record.json").write_text("{}")
    monkeypatch.setattr(stored, "__file__", str(tmp_path / "snf_lite" / "stored.py"))
    assert stored_run("mine") == run
