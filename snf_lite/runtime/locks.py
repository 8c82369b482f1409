"""Locks between processes: one at a time trains into a file."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from snf_lite.runtime.distributed import Process
from snf_lite.runtime.files import expanded

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        """Lock an open file, or raise OSError: PermissionError if it is locked."""
        file.seek(1000)  # the first bytes stay readable
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        """Lock an open file, or raise OSError: BlockingIOError if it is locked."""
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


#: Locks that this process holds, with the thread that took each.
_held: dict[Path, int] = {}


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Within the block no other process or thread has the lock of a file; the same thread may take it again.

    The lock is the operating system's, on the file ``.NAME.lock`` in the same folder: it ends with its process, however
    that ends. Where none can be made, as in a folder that cannot be written, the block runs without.

    Raises:
        BlockingIOError: Another process or thread holds it; the message names the file and the process.
    """
    path = Path(os.path.realpath(expanded(path)))
    if path.exists() and not path.is_file():
        yield  # a device or a pipe
        return
    if path in _held:
        if _held[path] != threading.get_ident():
            raise BlockingIOError(f"{path}: another thread of this process writes this run; wait for it to end.")
        yield
        return
    file = _acquired(path)
    _held[path] = threading.get_ident()
    try:
        yield
    finally:
        del _held[path]
        if file is not None:
            if sys.platform == "win32":
                file.close()  # an open file cannot be removed there
            with suppress(OSError):
                os.unlink(file.name)  # while it is locked: who opens it now gets another file
            file.close()
            with suppress(OSError):
                path.parent.rmdir()  # if nothing was written into it


def _acquired(path: Path) -> IO[bytes] | None:
    """The locked file of a path; None where there are no locks."""
    place = path.with_name(f".{path.name[:100]}.lock")
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = place.open("a+b")
        except OSError:
            return None
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            process = file.read(20).decode(errors="replace") or "?"
            file.close()
            raise BlockingIOError(
                f"{path}: process {process} trains into it at this moment; wait for it to end, or choose another file "
                "(--out or --name)."
            ) from None
        except OSError:  # a file system without locks
            file.close()
            return None
        # Its last owner may have removed it between the two calls: then another process can lock a new one.
        if place.exists() and os.path.samestat(os.fstat(file.fileno()), place.stat()):
            with suppress(OSError):  # a full disk
                file.truncate(0)
                file.write(str(os.getpid()).encode())
                file.flush()
            return file
        file.close()


@contextmanager
def locked_by_main(process: Process, path: str | Path | None) -> Iterator[None]:
    """``locked`` in the main one of several processes, for all of them; None: no lock."""
    with ExitStack() as stack:
        if path is not None:
            process.on_main(lambda: stack.enter_context(locked(path)))
        yield
