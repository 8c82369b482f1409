"""The first cell, which all notebooks share, installs the package: from the very address in it, and nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest
from project import first_cell
from reader import environment, left_behind, made, packages


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_first_cell_installs_the_package_and_nothing_else(tmp_path: Path) -> None:
    """As on Colab, where torch and numpy are there already; git leads the public address to this checkout."""
    python, own = made(tmp_path), packages(tmp_path)
    (tmp_path / "session.ipy").write_text(f"{first_cell()}\nprint('snf_lite from', snf.__file__)\n", "utf-8")
    done = subprocess.run(
        [python, "-m", "IPython", "--no-banner", "--colors=nocolor", tmp_path / "session.ipy"],
        cwd=tmp_path / "empty",
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert f"snf_lite from {own}" in done.stdout, done.stdout[-2000:]
    installed = {entry.name.split("-")[0] for entry in own.glob("*.dist-info")}
    assert installed == {"snf_lite"}, f"the first cell installed more than the package: {installed}"
    assert not left_behind(tmp_path)
