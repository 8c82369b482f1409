"""The first cell, which all notebooks share, installs the package: from the very address in it, and nothing else."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from paths import first_cell, public_address
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


class NothingHere(BaseHTTPRequestHandler):
    """Answers as GitHub does for a repository that does not exist: it asks for a password."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="nothing here"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing in the test's output."""


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The address of a server on this machine that has no repository."""
    with ThreadingHTTPServer(("127.0.0.1", 0), NothingHere) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/nowhere"
        server.shutdown()


@pytest.mark.skipif(os.name == "nt" or not shutil.which("git"), reason="needs git and symbolic links")
def test_the_first_cell_says_what_is_wrong_where_nothing_is_published(tmp_path: Path, nowhere: str) -> None:
    """In words, with the address that was tried; and git does not wait for a password that nobody can give."""
    python = made(tmp_path)
    (tmp_path / "session.ipy").write_text(first_cell(), "utf-8")
    lost = {"GIT_CONFIG_KEY_0": f"url.{nowhere}.insteadOf", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_ASKPASS": ""}
    done = subprocess.run(
        [python, "-m", "IPython", "--no-banner", "--colors=nocolor", tmp_path / "session.ipy"],
        cwd=tmp_path / "empty",
        env={**environment(tmp_path), **lost, "GIT_CONFIG_NOSYSTEM": "1", "NO_PROXY": "127.0.0.1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "terminal prompts disabled" in said, said
    last = said.rsplit("RuntimeError: ", 1)[1]
    assert last.startswith("No module named 'snf_lite': pip"), said
    for words in (f"The address {public_address()} may be a placeholder", "out of reach", "%pip install", "FOLDER"):
        assert words in last, said
