"""The browser that is installed, and the built pages as it sees them: served here, out of reach of other machines."""

import functools
import http
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from playwright.sync_api import Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
#: Where macOS and Windows keep programs that are not on the path: below these folders.
MACOS = [Path("/Applications"), Path.home() / "Applications"]
WINDOWS = ("PROGRAMFILES", "PROGRAMFILES(X86)", "LOCALAPPDATA")
PROGRAMS = (
    "Google Chrome.app/Contents/MacOS/Google Chrome",
    "Chromium.app/Contents/MacOS/Chromium",
    "Google/Chrome/Application/chrome.exe",
    "Chromium/Application/chrome.exe",
)
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no other machine has a name here
]

MATHS_IS_READY = "() => !window.MathJax || (MathJax.startup && MathJax.startup.promise.then(() => true))"
FONTS_ARE_READY = "() => document.fonts.ready.then(() => true)"


def folders() -> list[Path]:
    """Where programs are beside the path, on the systems that have such places."""
    return [*MACOS, *(Path(os.environ[name]) for name in WINDOWS if os.environ.get(name))]


def installed() -> str | None:
    """Where Chromium or Chrome is, if it is installed."""
    on_path = filter(None, map(shutil.which, BROWSERS))
    elsewhere = (str(path) for folder in folders() for name in PROGRAMS if (path := folder / name).is_file())
    return next(chain(on_path, elsewhere), None)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        """The pages share scripts and fonts: let the browser keep them."""
        self.send_header("Cache-Control", "max-age=3600")
        super().end_headers()

    def do_GET(self) -> None:
        """A browser asks for this one by itself, and at the root of whatever machine serves the book."""
        if self.path == "/favicon.ico":
            self.send_response(http.HTTPStatus.NO_CONTENT)
            return self.end_headers()
        return super().do_GET()

    def log_message(self, *args: object) -> None:
        """Log nothing: failures are reported by the browser."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which this machine serves a folder."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def go(page: Page, address: str) -> None:
    """Open an address and wait until its maths is set, in the fonts it is meant for."""
    page.goto(address, wait_until="load")
    page.wait_for_function(MATHS_IS_READY)
    page.wait_for_function(FONTS_ARE_READY)
