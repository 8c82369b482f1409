"""The import contract of ``pyproject.toml``: ``make lint`` holds it, and an import against it turns that red."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

#: Which contract each planted import breaks: module, line, words of the report.
PLANTED = {
    "upward": ("snf_lite/runtime/checks.py", "from snf_lite.flow import Flow", "parts below it BROKEN"),
    "sideways": ("snf_lite/dense.py", "from snf_lite.conv import ExactConv2d", "parts below it BROKEN"),
    "of the book": ("snf_lite/analysis/sampling.py", "from snf_book import plane", "never imports the book BROKEN"),
    "of the command line": (
        "book/snf_book/plane.py",
        "from snf_lite import cli",
        "never imports the command line BROKEN",
    ),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and the contract, in a folder of their own."""
    for folder in ("snf_lite", "book/snf_book"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    places = os.pathsep.join(map(str, (folder, folder / "book")))
    environment = {**os.environ, "PYTHONPATH": places, "PYTHONUTF8": "1"}
    words = ["--no-cache", "--no-logo"]
    return subprocess.run(
        [*command, *words], cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8"
    )


def test_the_contract_holds(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0 and "0 broken" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_import_is_red(copy: Path, name: str) -> None:
    file, line, words = PLANTED[name]
    path = copy / file
    path.write_text(f"{path.read_text('utf-8')}\n\ndef planted() -> None:\n    {line}\n", "utf-8")
    done = lint(copy)
    assert done.returncode == 1 and words in done.stdout, done.stdout + done.stderr


def test_a_new_part_has_to_take_its_place(copy: Path) -> None:
    (copy / "snf_lite" / "somewhere.py").write_text('"""A module that the contract does not name."""\n', "utf-8")
    done = lint(copy)
    assert done.returncode == 1 and "somewhere" in done.stdout, done.stdout + done.stderr
