"""A download has an end: servers that send too much, too slowly or nothing; caches and folders that cannot be."""

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from snf_lite.data import download
from snf_lite.data.datasets import DataError, load
from snf_lite.data.registry import IMAGE_SETS, ImageSet, Part

pytestmark = pytest.mark.usefixtures("bare_environment")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n"

Send = Callable[[Callable[[bytes], object]], object]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Send], None]]:
    """A server in the place of that of the test images of MNIST, which says what a function sends."""
    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def start(send: Send) -> None:
        def answer() -> None:
            connection, _ = listening.accept()
            with connection, suppress(OSError):  # its client has left
                connection.recv(4096)
                send(lambda content: (over.is_set() and connection.close(), connection.sendall(content)))

        threading.Thread(target=answer, daemon=True).start()
        part = Part((), 3, "0" * 64, f"http://127.0.0.1:{listening.getsockname()[1]}/made", "0" * 64, size=10_000)
        monkeypatch.setitem(IMAGE_SETS, "mnist", ImageSet((1, 28, 28), {"test": ((part,), slice(None))}))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(download, "PATIENCE", 1.0)

    yield start
    over.set()
    listening.close()
    for thread in threading.enumerate():  # downloads that were given up
        if thread.name == "download":
            thread.join(10)
    gc.collect()  # closes their sockets here, not in another test


def forever(send: Callable[[bytes], object], content: bytes, pause: float) -> None:
    while True:
        send(content)
        time.sleep(pause)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # sockets
@pytest.mark.parametrize(
    ("send", "message"),
    [
        (lambda send: (send(HEAD), forever(send, bytes(10_000), 0)), "sent more than the 10000 bytes"),
        (lambda send: (send(HEAD), forever(send, b"a", 0.1)), "not complete after 1 seconds"),
        (lambda send: (send(b"HTTP/1.1 200 OK\r\nX: "), forever(send, b"a", 0.1)), "not complete after 1 seconds"),
        (lambda send: time.sleep(3), "not complete after 1 seconds"),
        (lambda send: send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nabc"), "Connection broken|hash"),
    ],
)
def test_a_download_ends(send: Send, message: str, serve: Callable[[Send], None], tmp_path: Path) -> None:
    serve(send)
    started = time.monotonic()
    with pytest.raises(DataError, match=f"could not download.*{message}"):
        load("mnist", "test")
    assert time.monotonic() - started < 3
    assert not list((tmp_path / "cache" / "mnist").glob("*")), "nothing is kept"


@pytest.mark.parametrize("place", ["~nosuchuser/x", "a" * 5000, "/dev/null/x", "/proc/x"])
def test_a_cache_or_folder_that_cannot_be_is_named(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNF_CACHE", place)
    monkeypatch.setitem(
        IMAGE_SETS, "mnist", ImageSet((1, 28, 28), {"test": ((Part((), 1, "", "http://127.0.0.1:9/a", ""),), slice(1))})
    )
    with pytest.raises(DataError, match=r"mnist: could not download"):
        load("mnist", "test")
    with pytest.raises(DataError, match=r"mnist: (expected SNF_DATA|looked for)"):
        load("mnist", "test", root=place)
