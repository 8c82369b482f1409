"""What keeps the project the same on other machines: versions, encodings, line ends, and the rows of the matrix."""

import ast
import json
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

import matrix
import pytest
import yaml
from matrix_parts import page, places
from matrix_parts.rows import ROWS, SELECTIONS, MatrixRow
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from paths import ROOT, git_refuses

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))


# ---- versions --------------------------------------------------------------------------------------------------------


def test_every_pinned_version_takes_every_python_that_the_readme_allows() -> None:
    """As far as the pins are what is installed; their own metadata say which Pythons they take."""
    known = {name: installed[0] for name, pin in PINS.items() if (installed := taken(name)) and installed[1] == pin}
    pythons = ["3.11.0", "3.12.0", "3.13.0"]
    refused = {name: str(wanted) for name, wanted in known.items() if list(wanted.filter(pythons)) != pythons}
    assert known and not refused


def taken(name: str) -> tuple[SpecifierSet, str] | None:
    """The Pythons that the installed version of a distribution takes, and that version."""
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return None
    return SpecifierSet(found.get("Requires-Python") or ""), found["Version"].split("+")[0]


def test_pins_lie_within_the_ranges_of_the_package() -> None:
    for line in PROJECT["dependencies"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(PINS[wanted.name]), line


def test_the_floors_are_what_the_row_of_floors_installs() -> None:
    limits = places.limits("floors")
    assert {"torch==2.6.*", "numpy==2.0.*", "matplotlib==3.10.*", "scikit-learn==1.6.*"} <= set(limits)


# ---- files -----------------------------------------------------------------------------------------------------------


def unnamed(source: str) -> list[int]:
    """The lines that open a text file in whatever encoding the machine has."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and _unnamed(node)]


def _unnamed(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    if name == "open" and isinstance(call.func, ast.Name):
        return not any(isinstance(word, ast.Constant) and "b" in str(word.value) for word in call.args[1:2])
    return (name == "read_text" and not call.args) or (name == "write_text" and len(call.args) < 2)


def test_every_text_file_is_opened_with_its_encoding_named() -> None:
    sources = [path for folder in ("snf_lite", "book", "tests") for path in (ROOT / folder).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix(): unnamed(path.read_text("utf-8")) for path in sources}
    assert len(found) > 150 and not {name: lines for name, lines in found.items() if lines}


@pytest.mark.parametrize("line", ["(a / b).read_text()", "p.write_text(s)", "open(p)", "open(p, 'w')"])
def test_an_encoding_left_out_is_seen(line: str) -> None:
    assert unnamed(line) == [1]
    assert not unnamed("(a / b).read_text('utf-8'); p.write_text(s, 'utf-8'); open(p, 'rb'); open(p, encoding='ascii')")


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_a_checkout_on_windows_has_the_same_bytes(tmp_path: Path) -> None:
    """With git's own default there, which makes every line end two bytes where the project does not say otherwise."""
    for name in (".gitattributes", "data/runs/index.json"):
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "one" / name)
    (tmp_path / "one" / "plain.json").write_bytes(b"{}\n")
    who = ["-c", "user.name=a reader", "-c", "user.email=reader@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path / "one", check=True)
    subprocess.run(["git", "-c", "core.autocrlf=true", "clone", "-q", "one", "two"], cwd=tmp_path, check=True)
    assert b"\r" not in (tmp_path / "two" / "data" / "runs" / "index.json").read_bytes()
    assert (tmp_path / "two" / "plain.json").read_bytes() == b"{}\n"


# ---- the matrix ------------------------------------------------------------------------------------------------------


def test_every_row_runs_what_is_there() -> None:
    for name, row in ROWS.items():
        assert row.runs in SELECTIONS or row.runs.endswith(".py"), name
    for path, _, name in (path.partition("::") for paths in SELECTIONS.values() for path in paths):
        assert (ROOT / path).exists(), path
        assert not name or f"def {name}(" in (ROOT / path).read_text("utf-8"), name


def test_the_workflow_asks_for_rows_that_there_are() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8"))
    asked = " ".join(workflow["jobs"]["rows"]["strategy"]["matrix"]["rows"]).split()
    assert len(asked) > 10 and not set(asked) - set(ROWS)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A record and a status page apart from the project's."""
    for module in (matrix, page):
        monkeypatch.setattr(module, "RECORD", tmp_path / "matrix.json")
    monkeypatch.setattr(matrix.status, "PAGE", Path(shutil.copy(matrix.status.PAGE, tmp_path)))
    monkeypatch.setattr(matrix.places, "KEPT", tmp_path)
    return tmp_path / "matrix.json"


def result(kind: str) -> dict[str, Any]:
    return {"result": kind, "told": f"{kind}, it says", "versions": {}, "seconds": 1, "runs": "files"}


def test_one_failed_row_fails_the_command_and_leaves_other_results(
    record: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = {"zip": "passed", "cp1252": "failed", "turkish": "not here"}
    monkeypatch.setattr(matrix, "run", lambda name, *_: result(results[name]))
    monkeypatch.setattr(matrix, "provenance", lambda: {"commit": "0123456789", "date": "2026-01-02", "processor": "A"})
    assert matrix.main(["zip", "turkish"]) == 0 and matrix.main(["cp1252"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 not here"
    found = json.loads(record.read_text("utf-8"))
    assert list(found) == [name for name in ROWS if name in results]
    table = page.section()
    assert table in matrix.status.PAGE.read_text("utf-8")
    assert "**failed**: failed, it says" in table and "**not here**" in table and table.count("not run") >= 10
    with pytest.raises(SystemExit):
        matrix.main(["nobody-knows"])


def test_what_cannot_be_made_is_not_here(tmp_path: Path) -> None:
    for row in (MatrixRow("a Python of tomorrow", "files", python="3.99"), MatrixRow("a script", "tests/gone.py")):
        assert matrix.run("row", row, False, tmp_path / "log")["result"] == "not here"


@pytest.mark.skipif(bool(git_refuses()), reason="a checkout is made from this one by git")
@pytest.mark.parametrize(("holds", "told"), [("False", "not here"), ("True", "failed")])
def test_a_row_whose_difference_is_not_there_has_not_passed(
    holds: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one whose tests fail has failed: the script that it runs is not in the checkout."""
    (tmp_path / "gone.py").touch()
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    monkeypatch.setattr(matrix.places, "own_environment", lambda python, place: Path(python))
    assert matrix.run("row", MatrixRow("a row", "gone.py", holds), False, tmp_path / "log")["result"] == told


def test_variables_of_this_project_stay_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNF_DATA", "somewhere")
    monkeypatch.setenv("LC_ALL", "C")
    found = matrix.variables(MatrixRow("", "files"), tmp_path)
    assert "SNF_DATA" not in found and "LC_ALL" not in found and found["OMP_NUM_THREADS"] == "1"
    bare = matrix.variables(MatrixRow("", "files", other_user=True), tmp_path)
    assert set(bare) == {"PATH", "TMPDIR", "OMP_NUM_THREADS", "MKL_NUM_THREADS"}
    without = matrix.variables(MatrixRow("", "files", without=("git",)), tmp_path)["PATH"]
    assert not shutil.which("git", path=without) and shutil.which("env", path=without)


# ---- setting up ------------------------------------------------------------------------------------------------------

#: Stands in for Python: makes an environment of one file, and installs, or fails where there is a file "offline".
STAND_IN = """#!/bin/sh
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *"pip install"*) test ! -e offline ;;
esac
"""


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_an_interrupted_set_up_begins_again_and_ones_own_environment_is_left_alone(tmp_path: Path) -> None:
    def make() -> int:
        return subprocess.run(["make", ".venv/.ready", "PYTHON=./python"], cwd=tmp_path, capture_output=True).returncode

    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "constraints.txt", "pyproject.toml", "offline"):
        (tmp_path / name).touch()
    (tmp_path / "python").write_text(STAND_IN, "utf-8")
    (tmp_path / "python").chmod(0o755)
    leftover, ready = tmp_path / ".venv" / "leftover", tmp_path / ".venv" / ".ready"
    assert make() != 0 and not ready.exists()
    leftover.touch()
    (tmp_path / "offline").unlink()
    assert make() == 0 and ready.exists() and not leftover.exists()
    ready.unlink()  # now it is an environment that was there before
    leftover.touch()
    (tmp_path / "offline").touch()
    assert make() != 0 and make() != 0 and leftover.exists()
