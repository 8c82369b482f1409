"""Downloads with a bound on their bytes and on their time, whatever the server does."""

import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import pooch

#: A download may take ``PATIENCE`` seconds, and one more for each ``BYTES_PER_SECOND`` bytes.
PATIENCE, BYTES_PER_SECOND = 60.0, 50_000


def fetch(url: str, sha256: str, folder: Path, size: int) -> Path:
    """Path of a file in a folder; downloaded if it is missing there or has another hash.

    Args:
        url: Address of the file.
        sha256: SHA-256 of the file; one with another is not kept.
        folder: Folder of the file.
        size: Largest number of its bytes.

    Raises:
        OSError, ValueError: The file could not be downloaded or written, is larger, or has another hash.
        TimeoutError: It took longer than ``PATIENCE`` and ``BYTES_PER_SECOND`` allow.
    """

    def download(address: str, output: str, _: Any) -> None:
        seconds = PATIENCE + size / BYTES_PER_SECOND
        with open(output, "wb") as file:
            bounded, failures = _Bounded(file, size, time.monotonic() + seconds), list[BaseException]()
            # In a thread, because a server that sends a byte now and then never lets a read return.
            thread = threading.Thread(target=_run, args=(address, bounded, failures), name="download", daemon=True)
            thread.start()
            thread.join(seconds)
        if thread.is_alive():
            raise TimeoutError(f"it was not complete after {seconds:.0f} seconds")
        if failures:
            raise failures.pop()

    return Path(pooch.retrieve(url, f"sha256:{sha256}", fname=url.rpartition("/")[2], path=folder, downloader=download))


def _run(address: str, file: "_Bounded", failures: list[BaseException]) -> None:
    import requests  # of pooch, whose own downloader leaves the connection open where one fails; it takes a second

    try:
        with requests.get(address, stream=True, timeout=30) as response:
            response.raise_for_status()
            for content in response.iter_content(2**16):
                file.write(content)
    except BaseException as error:  # raised again in the main thread
        failures.append(error)


class _Bounded:
    """A file that refuses to be written beyond a number of bytes or a time; the thread that writes to it then ends."""

    def __init__(self, file: BinaryIO, size: int, deadline: float) -> None:
        self._file, self._size, self._left, self._deadline = file, size, size, deadline

    def write(self, content: bytes) -> None:
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(f"the server sent more than the {self._size} bytes of the file")
        if time.monotonic() > self._deadline:
            raise TimeoutError("the time for the download is over")
        self._file.write(content)
