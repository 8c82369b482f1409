"""Files that are there whole or not at all, whatever happens while they are written."""

import errno
import json
import os
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar


def atomic_write(path: str | Path, content: bytes) -> None:
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


Kind = TypeVar("Kind")


def write_json(value: Any, path: str | Path, depth: int = 2) -> None:
    """Write a value as ``as_json`` has it, whole or not at all; OSError as ``atomic_write``."""
    atomic_write(path, (as_json(value, depth) + "\n").encode())


def as_json(value: Any, depth: int = 2, margin: str = "") -> str:
    """JSON with one entry a line down to ``depth``: a diff shows what changed, and a history takes no 600 lines."""
    if depth == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    inner = margin + "  "
    lines = [f"{inner}{json.dumps(key)}: {as_json(entry, depth - 1, inner)}" for key, entry in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{margin}}}"


def read_json(path: str | Path, what: str) -> Any:
    """What a JSON file holds; FileNotFoundError or ValueError, which name the file, if it is not there or no JSON."""
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such {what}.") from None
    except ValueError as error:
        raise ValueError(f"{path}: expected a record in JSON, got a file that is not: {error}.") from error


def read_entries(path: str | Path, kind: type[Kind], what: str, version: int) -> Kind:
    """The dataclass in a JSON file that has its fields as entries, beside the ``format`` ``version``.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it holds something else; the message names it.
    """
    stored = read_json(path, what)
    wanted = {"format", *(field.name for field in fields(kind))}  # type: ignore[arg-type]
    if not isinstance(stored, dict) or set(stored) != wanted or stored.pop("format") != version:
        raise ValueError(f"{path}: expected the {what}, format {version}, got something else.")
    return kind(**stored)
