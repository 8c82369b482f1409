"""The book, built once in a test run, whichever test asks first."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from project import ROOT


def built_book(temporary: pytest.TempPathFactory) -> Path:
    """The folder of the built pages. The build is the one of ``make book``, into a folder of the tests' own.

    Several test processes share one build: the first that comes builds, the others wait for it.
    """
    base = temporary.getbasetemp()
    shared = (base.parent if "popen-gw" in base.name else base) / "book"
    html, log = shared / "_build" / "html", shared / "log.txt"
    shared.mkdir(exist_ok=True)
    with FileLock(shared / "lock"):
        if not log.exists():
            builder = shutil.which("jupyter-book", path=str(Path(sys.executable).parent))
            assert builder, "jupyter-book is not installed beside this Python: pip install -r requirements.txt"
            command = [builder, "build", str(ROOT), "--path-output", str(shared), "-n", "-W", "--keep-going"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
            log.write_text(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}", "utf-8")
    text = log.read_text("utf-8")
    assert text.startswith("exit 0\n"), f"The book does not build without warnings:\n{text[-6000:]}"
    return html
