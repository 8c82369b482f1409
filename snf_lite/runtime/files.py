"""Paths, atomic writes, bounded reads, JSON, and SHA-256 checksums."""

import errno
import hashlib
import json
import math
import os
import platform
import re
import stat
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from snf_lite.runtime.schema import require_shallow

#: Largest JSON file that is read, in bytes; the largest record has a hundredth of it.
JSON_BYTES = 2**26
#: Folders that this process has looked through for what killed processes left.
_cleared = set[Path]()


def expanded(path: str | Path) -> Path:
    """A path with ``~`` and ``~user`` replaced by the home folder; ValueError if there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise ValueError(
            f"{path}: expected a user with a home folder, got {user}; ./{user} is a folder here."
        ) from None


def atomic_write(path: str | Path, content: bytes) -> None:
    """Write a file atomically, and its folder if there is none: an interruption leaves the old file or the new one.

    Raises:
        OSError: The write failed, for example because the disk is full. The message names the path and the file that
            remains there; no partial file is left.
    """
    path = Path(os.path.realpath(expanded(path)))  # a link stays a link; its target is replaced
    if path.exists() and not path.is_file():
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "could not write a file: the path is a folder", str(path))
        path.write_bytes(content)  # a device or a pipe, which a file must not replace
        return
    # In the same folder: a rename is atomic only within one file system. One name for each process of each machine.
    partial = path.with_name(f".{path.name[:100]}.{_machine()}-{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_partials(path.parent)
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


def _machine() -> str:
    """Name of this machine, as a part of a file's name."""
    return re.sub(r"\W", "", platform.node())[:30]


def _clear_partials(folder: Path) -> None:
    """Remove the partial files of processes of this machine that were killed; looks once for each folder."""
    if folder in _cleared:
        return
    _cleared.add(folder)
    for path in folder.glob(".*.partial"):
        found = re.fullmatch(rf"\..*\.(?:{_machine()}-)?(\d+)\.partial", path.name)
        if found and not _is_running(int(found[1])):
            with suppress(OSError):
                path.unlink()


def _is_running(process: int) -> bool:
    """Whether a process of this machine runs; on Windows False: a file that a process holds open cannot be removed."""
    if process == os.getpid() or os.name != "posix":
        return process == os.getpid()
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it runs, as another user
        return True
    return True


def read_regular(path: str | Path, what: str, most: float = math.inf) -> bytes:
    """Content of a file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is a folder, or a pipe, device or socket, which may have no end; or it has more than ``most``
            bytes. The message names it, and ``what`` was expected.
    """
    path = expanded(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such {what}.") from None
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
        raise ValueError(f"{path}: expected a {what}, got a {kinds.get(stat.S_IFMT(status.st_mode), 'device')}.")
    if status.st_size > most:
        raise ValueError(f"{path}: expected a {what} of at most {most} bytes, got {status.st_size}.")
    return path.read_bytes()


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
    """Content of a JSON file, nested no deeper than ``schema.DEPTH``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not JSON, names an entry twice, or holds a number that is not finite. The message names it.
    """
    content = read_regular(path, what, JSON_BYTES)
    try:
        hooks: dict[str, Any] = {"parse_constant": _finite, "parse_float": _finite, "parse_int": _integer}
        value = json.loads(content.decode(), object_pairs_hook=_each_once, **hooks)
        require_shallow(value)
    except RecursionError:
        raise ValueError(f"{path}: expected the {what}, got JSON that is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected the {what} as JSON, got something else: {error}.") from error
    return value


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice!r} stands in it twice")
    return entries


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not a finite number")
    return number


def _integer(text: str) -> int:
    if len(text) > 19:
        raise ValueError(f"{text[:30]} is not an integer of 64 bits")
    return int(text)
