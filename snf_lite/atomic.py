"""Files that are there whole or not at all, whatever happens while they are written."""

import errno
import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: str | Path, content: bytes) -> None:
    """Put ``content`` at ``path``, making its folder where there is none; a kill leaves the old file or the new one.

    Raises:
        OSError: the disk is full, say; the message names the path and what stands there now. Nothing half-written is
            left.
    """
    path = Path(os.path.realpath(path))  # a link stays a link; what it leads to is replaced
    if path.exists() and not path.is_file():
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "could not write to a folder as to a file", str(path))
        path.write_bytes(content)  # a device or a pipe, which no file must replace
        return
    # In the same folder, because a rename is atomic only within one file system; by process, so that two do not mix.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_through(partial, content)
        os.replace(partial, path)
    except OSError as error:
        left = "the file that was there is intact" if path.is_file() else "nothing was left there"
        reason = error.strerror or type(error).__name__
        raise OSError(error.errno, f"could not write {len(content)} bytes ({reason}); {left}", str(path)) from error
    finally:
        with suppress(OSError):  # after the rename it is no longer there
            partial.unlink()


def _write_through(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # else a power cut after the rename could leave an empty file under the good name
