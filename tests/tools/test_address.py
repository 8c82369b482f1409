"""One command moves the project to another public address, and back without a trace."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from address import moved, moved_page, parts
from paths import (
    FIRST_CELL,
    PLACEHOLDER,
    ROOT,
    UNPUBLISHED,
    cell_names,
    git_refuses,
    notebooks,
    public_address,
    text_files,
)

OLD = "https://github.com/alice/flows"
NEW = "https://github.com/" + "Bob-2/nets.v2"  # in two parts, or the way back would change this line
NAMED_IN = ("pyproject.toml", "CITATION.cff", "README.md", "_config.yml")
GIT = shutil.which("git")
needs_git = pytest.mark.skipif(bool(git_refuses()), reason="only git tells the project's files")


@pytest.mark.parametrize(
    "mention",
    [
        "at <https://github.com/{}/{}>.",
        "It lives at https://github.com/{}/{}.",
        "pip install git+https://github.com/{}/{}",
        "https://github.com/{}/{}.git",
        "git@github.com:{}/{}.git",
        "https://github.com/{}/{}/issues",
        "https://api.github.com/repos/{}/{}",
        "https://raw.githubusercontent.com/{}/{}/main/README.md",
        "https://colab.research.google.com/github/{}/{}/blob/main/a.ipynb",
        "https://{}.github.io/{}/index.html",
    ],
)
def test_every_way_to_write_it_follows(mention: str) -> None:
    there = moved(mention.format("alice", "flows"), OLD, NEW)
    assert there == mention.format("Bob-2", "nets.v2")
    assert moved(there, NEW, OLD) == mention.format("alice", "flows")


@pytest.mark.parametrize(
    "other",
    [
        "https://github.com/alice/flows-data",
        "https://github.com/alice/flows.jl",
        "https://github.com/alice/flowsheet",
        "https://github.com/malice/flows",
        "https://malice.github.io/flows",
        "https://alice.github.io/flowsheet",
        "https://gitlab.com/alice/flows",
        "alice/flows",
    ],
)
def test_what_only_looks_like_it_stays(other: str) -> None:
    assert moved(other, OLD, NEW) == other


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "alice/flows",
        "http://github.com/alice/flows",
        "https://gitlab.com/alice/flows",
        "https://github.com/alice",
        "https://github.com/alice/flows/",
        "https://github.com/alice/flows.git",
        "https://github.com/alice/..",
        "https://github.com/-alice/flows",
        "https://github.com/al ice/flows",
        "https://github.com/alice/flows\n",
    ],
)
def test_another_form_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ValueError, match=re.escape("https://github.com/OWNER/NAME")) as refusal:
        parts(wrong)
    assert repr(wrong) in str(refusal.value)


def test_a_placeholder_is_called_one_as_long_as_it_is_one() -> None:
    page = f"<!-- chapters -->14<!-- / --> at {PLACEHOLDER}.<!-- placeholder --><!-- / -->"
    before = moved_page(page, PLACEHOLDER, PLACEHOLDER)
    assert before == page.replace("placeholder -->", f"placeholder --> {UNPUBLISHED}")
    assert moved_page(before, PLACEHOLDER, NEW) == page.replace(PLACEHOLDER, NEW)
    assert moved_page(moved_page(before, PLACEHOLDER, NEW), NEW, PLACEHOLDER) == before


def test_cells_are_named_by_what_they_contain() -> None:
    first, other, again = cell_names(["a", "b", "a"])
    assert first != other and again == f"{first}-2"
    assert [first, other] == list(cell_names(["a", "b"]))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's text files once more, as a git checkout, with two further mentions of its address."""
    folder = tmp_path_factory.mktemp("copy")
    for path in text_files():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    subprocess.run([GIT, "init", "-q"], cwd=folder, check=True)
    owner, name = parts(public_address())
    mentions = f"https://{owner}.github.io/{name}/ and\r\ngit@github.com:{owner}/{name}.git\r\n"
    (folder / "mentions.txt").write_bytes(mentions.encode())
    done(folder, "book/_tools/status.py")  # the table may be behind the notebooks, and follows them
    return folder


def done(folder: Path, *command: str, fails: bool = False) -> str:
    """What a Python command in a folder says."""
    command = (sys.executable, *command)
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert bool(ran.returncode) is fails, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder but for git's own and Python's."""
    found = (path for path in folder.rglob("*") if path.is_file())
    inside = {path.relative_to(folder): path.read_bytes() for path in found}
    return {path.as_posix(): text for path, text in inside.items() if not {".git", "__pycache__"} & set(path.parts)}


@needs_git
def test_there_and_back(copy: Path) -> None:
    before = contents(copy)
    there = f"{NEW}-{'x' * 1000}"  # so long that the sizes on the status page change
    owner, name = parts(public_address())
    said = done(copy, "book/_tools/address.py", there)
    after = contents(copy)
    assert not [path for path, text in after.items() if f"{owner}/{name}".encode() in text]
    assert not [path for path, text in after.items() if f"{owner}.github.io/{name}".encode() in text]
    assert {path for path in before if before[path] != after[path]} >= set(re.findall(r"^  (.+)$", said, re.MULTILINE))
    assert not [path for path, text in after.items() if path.endswith(".md") and UNPUBLISHED.encode() in text]
    assert said.splitlines()[-1] == "  _config.yml", "it gives the old address, and has to be the last to lose it"
    assert b"\r\ngit@github.com:%b.git\r\n" % "/".join(parts(there)).encode() in after["mentions.txt"]
    assert_in_order(copy, there)
    done(copy, "book/_tools/address.py", public_address())
    assert contents(copy) == before


def assert_in_order(folder: Path, address: str) -> None:
    """What the tests of the book ask of a checkout, asked of another one."""
    assert not [name for name in NAMED_IN if address not in (folder / name).read_text("utf-8")]
    first = FIRST_CELL.format(address=address)
    for path in notebooks():
        notebook = nbformat.read(folder / path.relative_to(ROOT), as_version=4)
        nbformat.validate(notebook)
        assert [cell.id for cell in notebook.cells] == list(cell_names(cell.source for cell in notebook.cells)), path
        assert next(cell.source for cell in notebook.cells if cell.cell_type == "code") == first, path
    stored = (folder / "book" / "status.md").read_bytes()
    done(folder, "book/_tools/status.py")
    assert (folder / "book" / "status.md").read_bytes() == stored, "the page has the notebooks' former sizes"


@needs_git
def test_a_refused_address_changes_nothing(copy: Path) -> None:
    before = contents(copy)
    said = done(copy, "book/_tools/address.py", "http://example.org/theirs", fails=True)
    assert "http://example.org/theirs" in said and "https://github.com/OWNER/NAME" in said
    assert "Traceback" not in said
    assert contents(copy) == before


@needs_git
def test_a_checkout_of_somebody_else_that_git_refuses_to_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own variable for such tests
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # where the folder may have been called safe
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    with pytest.raises(FileNotFoundError, match=r"which files belong to the project: .*dubious ownership"):
        text_files()


@needs_git
@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize(
    "url", ['"; touch sprung; "', "$(touch sprung)", "`touch sprung`", "$(shell touch sprung)", "'; touch sprung; '"]
)
def test_an_address_is_no_command(url: str, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text("utf-8"), "utf-8")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', "utf-8")
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    for name in (".venv/.ready", "requirements.txt", "constraints.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / ".venv" / ".ready").touch()
    words = ["make", "--no-print-directory", "-o", ".venv/.ready", "address", f"URL={url}"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60)
    assert ran.stdout.splitlines() == ["book/_tools/address.py", url], ran.stderr
    assert not (tmp_path / "sprung").exists()
