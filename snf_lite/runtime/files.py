"""Atomic writes, JSON, and SHA-256 checksums."""

import errno
import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def atomic_write(path: str | Path, content: bytes) -> None:
    """Write a file atomically, and its folder if there is none: an interruption leaves the old file or the new one.

    Raises:
        OSError: The write failed, for example because the disk is full. The message names the path and the file that
            remains there; no partial file is left.
    """
    path = Path(os.path.realpath(path))  # a link stays a link; its target is replaced
    if path.exists() and not path.is_file():
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "could not write a file: the path is a folder", str(path))
        path.write_bytes(content)  # a device or a pipe, which a file must not replace
        return
    # In the same folder: a rename is atomic only within one file system. One name for each process.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # otherwise a power cut after the rename could leave an empty file
        if path.is_file():
            partial.chmod(path.stat().st_mode & 0o777)
        os.replace(partial, path)
    except OSError as error:
        left = "the file that was there is intact" if path.is_file() else "nothing was left there"
        reason = error.strerror or type(error).__name__
        raise OSError(error.errno, f"could not write {len(content)} bytes ({reason}); {left}", str(path)) from error
    finally:
        with suppress(OSError):  # after the rename it does not exist
            partial.unlink()


def sha256(content: bytes | memoryview) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_json(value: Any, path: str | Path, depth: int = 2) -> None:
    """Write a value as ``as_json`` formats it, atomically; raises as ``atomic_write``."""
    atomic_write(path, (as_json(value, depth) + "\n").encode())


def as_json(value: Any, depth: int = 2, margin: str = "") -> str:
    """JSON with one entry per line for ``depth`` levels: diffs stay readable, and a history stays on one line."""
    if depth == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = margin + "  "
    lines = [f"{inner}{json.dumps(key)}: {as_json(entry, depth - 1, inner)}" for key, entry in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"


def read_json(path: str | Path, what: str) -> Any:
    """Content of a JSON file; FileNotFoundError or ValueError, which name the file, if it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such {what}.") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected the {what} as JSON, got something else: {error}.") from error
