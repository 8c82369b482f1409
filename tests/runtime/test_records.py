"""The format of all records: what is written, what comes back, and what is refused."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from snf_lite.runtime import provenance, records


@dataclass(frozen=True, kw_only=True)
class Weighing(records.Record):
    kind: ClassVar[str] = "weighing"

    grams: list[float]

    def problems(self) -> list[str]:
        return ["its grams are negative"] if min(self.grams) < 0 else []

    @classmethod
    def from_format_1(cls, entries: dict[str, Any]) -> dict[str, Any]:
        return {"grams": [1000 * kilos for kilos in entries.pop("kilograms")], **entries}


def weighing(*grams: float) -> Weighing:
    return Weighing(command="weigh", **provenance.provenance(torch.device("cpu")), seconds=1.0, grams=list(grams))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    records.write_record(weighing(1.0, 2.0), tmp_path / "w.json")
    return tmp_path / "w.json"


def test_a_record_comes_back(path: Path) -> None:
    stored = json.loads(path.read_text("utf-8"))
    assert (stored["format"], stored["kind"], stored["grams"]) == (2, "weighing", [1.0, 2.0])
    found = records.read_record(path, Weighing)
    assert vars(found) == {key: value for key, value in stored.items() if key not in ("format", "kind")}


def test_a_file_of_format_1_is_converted(path: Path) -> None:
    stored = {**json.loads(path.read_text("utf-8")), "kilograms": [0.5]}
    for key in ("format", "kind", "grams"):
        del stored[key]
    for old in (stored, {**stored, "format": 1}):
        path.write_text(json.dumps(old), "utf-8")
        assert records.read_record(path, Weighing).grams == [500.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected the weighing record as JSON"),
        ('{"format": 2, ', "expected the weighing record as JSON"),
        ("[1]", "expected a weighing record of format 2 or 1, got list"),
        ('{"format": 9}', r"expected a weighing record of format 2 or 1, got \(9, None\)"),
        ('{"format": 2, "kind": "race"}', r"expected a weighing record of format 2 or 1, got \(2, 'race'\)"),
        ('{"format": 2, "kind": "weighing"}', "the record: missing or unknown are command, date, device, grams"),
        ('{"format": 1}', r"an entry is missing or has another type: KeyError\('kilograms'\)"),
    ],
)
def test_something_else_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(content, "utf-8")
    with pytest.raises(ValueError, match=rf"w\.json: {message}"):
        records.read_record(tmp_path / "w.json", Weighing)


@pytest.mark.parametrize(
    ("grams", "message"),
    [([-1.0], r"its grams are negative\.$"), (None, "grams: expected a list, got nothing"), ([], "ValueError")],
)
def test_a_contradiction_or_a_wrong_type_is_named(grams: Any, message: str, path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "grams": grams}), "utf-8")
    with pytest.raises(ValueError, match=rf"w\.json: .*{message}"):
        records.read_record(path, Weighing)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.json: there is no such weighing record"):
        records.read_record(tmp_path / "gone.json", Weighing)
