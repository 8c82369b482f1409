"""Each notebook in an empty folder, in a fresh environment that has this package's own dependencies and nothing else.

It begins with the notebook's first cell, which has to install the package: from the very address in the cell, led by
git to this checkout. A stand-in for Colab, and stricter: what a chapter imports has to be a dependency of the package.
"""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from project import ROOT, notebooks, public_address

#: What is there besides the package: the shell that runs a notebook's cells, and what ``%pip install`` needs.
GIVEN = ("ipython", "matplotlib-inline", "pip", "setuptools")


def needed(names: tuple[str, ...]) -> set[str]:
    """The distributions that these need, themselves included, as their metadata say it."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            wanted = map(Requirement, requires(name) or [])
        except PackageNotFoundError:
            continue
        found.add(name)
        waiting += [want.name for want in wanted if not want.marker or want.marker.evaluate({"extra": ""})]
    return found


def linked(names: set[str], folder: Path) -> Path:
    """A folder for ``sys.path`` with these distributions and no others, as links to where they are installed."""
    folder.mkdir()
    for name in names:
        for top in {file.parts[0] for file in distribution(name).files or [] if file.parts[0] != ".."}:
            target = Path(str(distribution(name).locate_file(top)))
            if target.exists() and not (folder / top).exists() and not top.endswith((".pth", "__pycache__")):
                (folder / top).symlink_to(target, target_is_directory=target.is_dir())
    return folder


def as_public_repository(folder: Path) -> Path:
    """A git repository with what pip needs to build the package."""
    shutil.copytree(ROOT / "snf_lite", folder / "snf_lite", ignore=shutil.ignore_patterns("__pycache__"))
    records = shutil.ignore_patterns("*.pt")
    shutil.copytree(ROOT / "data" / "runs", folder / "data" / "runs", ignore=records)
    for name in ["pyproject.toml", "README.md", "LICENSE"]:
        shutil.copy(ROOT / name, folder)
    identity = ["-c", "user.name=a reader", "-c", "user.email=reader@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "the package"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def environment(home: Path) -> dict[str, str]:
    """The variables of a reader's shell: nothing of this project's, its public address led to a copy of it."""
    theirs = {name: value for name, value in os.environ.items() if not re.match(r"PYTHONPATH|VIRTUAL_ENV|SNF_", name)}
    return {
        **theirs,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{as_public_repository(home / 'public').as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": public_address(),
        "PIP_NO_BUILD_ISOLATION": "0",  # read as the answer to "isolate?": build with the setuptools at hand
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "IPYTHONDIR": str(home / "ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # what a notebook has
    }


def session(path: Path) -> str:
    """All code of a notebook, and a last line that says where the package came from."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return "\n\n".join([*cells, "print('snf_lite from', snf.__file__)"]) + "\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt" or not shutil.which("git"), reason="needs git and symbolic links")
@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_runs_alone(path: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    own = next((tmp_path / "env").glob("lib/python*/site-packages"))
    others = linked(needed(("snf-lite", *GIVEN)) - {"snf-lite"}, tmp_path / "others")
    (own / "others.pth").write_text(f"{others}\n")
    (tmp_path / "session.ipy").write_text(session(path), "utf-8")
    (tmp_path / "empty").mkdir()
    python = [tmp_path / "env" / "bin" / "python", "-m", "IPython", "--no-banner", "--colors=nocolor"]
    done = subprocess.run(
        [*python, tmp_path / "session.ipy"],
        cwd=tmp_path / "empty",
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert f"snf_lite from {own}" in done.stdout, done.stdout[-2000:]
    installed = {entry.name.split("-")[0] for entry in own.glob("*.dist-info")}
    assert installed == {"snf_lite"}, f"the first cell installed more than the package: {installed}"
    assert not list((tmp_path / "empty").iterdir()), "the chapter leaves files behind"
