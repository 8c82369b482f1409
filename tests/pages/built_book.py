"""The built book: the pages of ``make book`` where they are up to date, else built once in a test run."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from _ext.build_stamp import stale
from filelock import FileLock
from paths import ROOT

MADE = ROOT / "_build" / "html"


def built_book(temporary: pytest.TempPathFactory) -> Path:
    """The folder of the built pages.

    ``_build/html`` if its stamp says that a whole build without a warning made it from the files that are here now and
    that it is as it was made. Otherwise the book is built as ``make book`` does, into a folder of the tests' own.
    Several test processes share one build: the first that comes looks or builds, the others wait for it.
    """
    base = temporary.getbasetemp()
    shared = (base.parent if "popen-gw" in base.name else base) / "book"
    shared.mkdir(exist_ok=True)
    with FileLock(shared / "lock"):
        answer = shared / "html.txt"
        if not answer.exists():
            answer.write_text(str(shared / "_build" / "html" if stale(MADE, ROOT) else MADE), "utf-8")
        html = Path(answer.read_text("utf-8"))
        if html != MADE:
            build(shared)
    return html


def build(folder: Path) -> None:
    """Build into a folder, unless that was done, and fail on any warning."""
    log = folder / "log.txt"
    if not log.exists():
        builder = shutil.which("jupyter-book", path=str(Path(sys.executable).parent))
        assert builder, "jupyter-book is not installed beside this Python: pip install -r requirements.txt"
        command = [builder, "build", str(ROOT), "--path-output", str(folder), "-n", "-W", "--keep-going"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
        log.write_text(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}", "utf-8")
    text = log.read_text("utf-8")
    assert text.startswith("exit 0\n"), f"The book does not build without warnings:\n{text[-6000:]}"
