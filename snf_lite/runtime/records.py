"""Records: results with the command, code and machine behind them, in one JSON format for every kind of study."""

from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from snf_lite.runtime import files

#: Version of the format. Files of version 1 do not name their kind, and each kind converts its own.
FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Record:
    """Provenance of a result; each kind of study adds its result in further fields.

    Attributes:
        kind: Name of the study, in files and messages.
        json_depth: Number of levels of the file with one entry per line.
        command: Command line that repeats the study, without paths, because records are published.
        package: Version and commit of snf_lite, and whether it had uncommitted changes; None outside git.
        libraries: Version by library; None if not installed.
        device: Model name of the device.
        threads: Number of threads of torch.
        date: UTC time of the record.
        seconds: Wall time of the study.
    """

    kind: ClassVar[str]
    json_depth: ClassVar[int] = 2

    command: str
    package: dict[str, Any]
    libraries: dict[str, str | None]
    device: str
    threads: int
    date: str
    seconds: float

    def problems(self) -> list[str]:
        """Contradictions between the entries; empty if there are none."""
        return []

    @classmethod
    def from_format_1(cls, entries: dict[str, Any]) -> dict[str, Any]:
        """Entries of this format, from those of a file of format 1."""
        return entries


class RecordError(ValueError):
    """A record is damaged, incomplete or contradicts itself; the message names the file and each problem."""


AnyRecord = TypeVar("AnyRecord", bound=Record)


def write_record(record: Record, path: str | Path) -> None:
    """Write a record as JSON, atomically; raises as ``files.atomic_write``."""
    files.write_json({"format": FORMAT, "kind": record.kind, **asdict(record)}, path, record.json_depth)


def read_record(path: str | Path, kind: type[AnyRecord]) -> AnyRecord:
    """Read a record of one kind.

    Raises:
        FileNotFoundError: There is no such file.
        RecordError: The file holds something else, entries are missing or unknown, or the record contradicts itself.
    """
    try:
        stored = files.read_json(path, f"{kind.kind} record")
    except ValueError as error:
        raise RecordError(str(error)) from error
    found = (stored.pop("format", 1), stored.pop("kind", None)) if isinstance(stored, dict) else type(stored).__name__
    if found not in ((FORMAT, kind.kind), (1, None)):
        raise RecordError(f"{path}: expected a {kind.kind} record of format {FORMAT} or 1, got {found}.")
    try:
        entries = kind.from_format_1(stored) if found == (1, None) else stored
        if not (wrong := mismatch(entries, [field.name for field in fields(kind)], "the record")):
            record = kind(**entries)
            wrong = record.problems()
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError) as error:
        wrong = [f"an entry is missing or has another type: {error!r}"]
    if wrong:
        raise RecordError(f"{path}: {'; '.join(wrong)}.")
    return record


def mismatch(found: Collection[str], expected: Collection[str], where: str) -> list[str]:
    """A message that names the missing and unknown entries, in a list; empty if there are none."""
    wrong = sorted(set(found) ^ set(expected))
    return [f"{where}: missing or unknown are {', '.join(wrong)}"] if wrong else []
