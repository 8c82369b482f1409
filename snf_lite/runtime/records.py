"""Records: results with the command, code and machine behind them, in one JSON format for every kind of study."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, NotRequired, TypedDict, TypeVar

from snf_lite.runtime import files
from snf_lite.runtime.schema import mismatches

#: Version of the format. Files of version 1 do not name their kind, and each kind converts its own.
FORMAT = 2


class PackageEntry(TypedDict):
    """Version and commit of the package, and whether it had uncommitted changes; None outside git."""

    version: str
    commit: str | None
    dirty: bool | None


class DataEntry(TypedDict):
    """Identity of the examples of one split, of the context and weights that came with them, and of own files."""

    name: str
    split: str
    count: int
    sha256: str
    context_sha256: NotRequired[str]
    weights_sha256: NotRequired[str]
    file_sha256: NotRequired[str]
    split_seed: NotRequired[int]
    channels: NotRequired[int]
    columns: NotRequired[list[str]]


class RunData(TypedDict):
    """Identity of the examples of a training run."""

    data: DataEntry
    validation: DataEntry


class SplitEntries(TypedDict):
    """The splits of a data set."""

    train: DataEntry
    validation: DataEntry
    test: DataEntry


@dataclass(frozen=True, kw_only=True)
class Record:
    """Provenance of a result; each kind of study adds its result in further fields.

    A file is checked against the types of the fields; ``Annotated[dict[str, Any], Entry]`` names the entries of a
    mapping.

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
    package: Annotated[dict[str, Any], PackageEntry]
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
        RecordError: The file holds something else, entries are missing, unknown or of another type, or the record
            contradicts itself. The message names the file and the problems.
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
        if not (wrong := list(mismatches(entries, kind, "the record"))):
            record = kind(**entries)
            wrong = record.problems()
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError, RuntimeError) as error:
        wrong = [f"an entry is missing or has another type: {error!r}"]
    if wrong:
        raise RecordError(f"{path}: {'; '.join(wrong[:5])}{'; …' * (len(wrong) > 5)}.")
    return record
