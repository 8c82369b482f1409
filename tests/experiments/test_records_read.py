"""Every stored record is read by its reader, and is refused once an entry is missing, altered or unknown."""

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from each_case import check_each
from run_full_size import ChapterRecord
from snf_book.beyond import study as gap
from snf_book.prior_work import record as prior
from snf_book.prior_work.longer import record as long_record
from snf_book.schedules import study as schedules
from snf_book.twins import study as twins

from snf_lite.benchmarks import own_data
from snf_lite.benchmarks.record import BenchmarkRecord, read_bench
from snf_lite.experiments import ablation, preprocessing
from snf_lite.experiments.archive import records_root
from snf_lite.experiments.record import TrainingRecord, read_record
from snf_lite.runtime.records import FORMAT, Record, write_record
from snf_lite.runtime.records import read_record as read_kind

#: Kind of a record by its file name; ``plan.json`` is no record.
KINDS: dict[str, type[Record]] = {
    "record.json": TrainingRecord,
    "bench.json": BenchmarkRecord,
    "preprocessing.json": preprocessing.PixelRecord,
    "prior.json": prior.PriorRecord,
    long_record.FILE: long_record.LongRecord,
    gap.FILE: gap.GapRecord,
    schedules.FILE: schedules.SearchRecord,
    twins.FILE: twins.TwinsRecord,
    own_data.FILE: own_data.OwnDataRecord,
    "full.json": ChapterRecord,
    **{ablation.FILE.format(name): ablation.AblationRecord for name in ablation.VARIANTS},
}
STORED = sorted(path for path in records_root().glob("*/*.json") if path.name != "plan.json")
EACH_FILE = pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.name}")
READERS: dict[str, Callable[[Path], Any]] = {
    "record.json": read_record,
    "bench.json": read_bench,
    "preprocessing.json": preprocessing.read,
    "prior.json": prior.read,
    long_record.FILE: long_record.read,
    gap.FILE: gap.read,
    schedules.FILE: schedules.read,
    twins.FILE: twins.read,
    own_data.FILE: own_data.read,
}


#: An alteration that the reader of each kind must notice.
ALTERED: dict[str, Callable[[dict[str, Any]], object]] = {
    "record.json": lambda stored: stored["results"]["test"].update(nats=1.0),
    "bench.json": lambda stored: [
        result.update(median=1.0)
        for case in stored["cases"].values()
        for result in list(case["contenders"].values())[1:]
    ],
    "preprocessing.json": lambda stored: stored["results"]["test"].update(logit=1.0),
    "prior.json": lambda stored: stored["systems"]["NICE"]["plane"].update(integral=0.5),
    long_record.FILE: lambda stored: next(iter(stored["systems"].values())).update(integral=0.5),
    gap.FILE: lambda stored: stored["variants"]["paper"]["nats"].pop(),
    twins.FILE: lambda stored: stored["pairs"]["spirals"]["learned"].update(integral=1.5),
    own_data.FILE: lambda stored: [
        result.update(mean=1.0)
        for entry in (*stored["densities"].values(), *stored["tables"].values())
        for result in entry["methods"].values()
    ],
    **{ablation.FILE.format(name): lambda stored: stored["steps"].pop() for name in ablation.VARIANTS},
}


@EACH_FILE
def test_a_stored_record_is_read(path: Path, tmp_path: Path) -> None:
    record, stored = read_kind(path, KINDS[path.name]), json.loads(path.read_text("utf-8"))
    for key in stored.keys() & {field.name for field in fields(record)} - {"cases", "systems"}:
        assert getattr(record, key) == stored[key], key
    write_record(record, tmp_path / path.name)
    assert read_kind(tmp_path / path.name, type(record)) == record
    assert json.loads((tmp_path / path.name).read_text("utf-8"))["format"] == FORMAT
    if path.name in READERS:
        found = READERS[path.name](path)
        assert (found if isinstance(found, dict) else vars(found)) == vars(record)


@EACH_FILE
def test_a_record_with_a_missing_or_altered_entry_is_refused(path: Path, tmp_path: Path) -> None:
    kind, text = KINDS[path.name], path.read_text("utf-8")

    def refused(change: Callable[[dict[str, Any]], object], words: str) -> None:
        stored = json.loads(text)
        change(stored)
        (tmp_path / path.name).write_text(json.dumps(stored), "utf-8")
        with pytest.raises(ValueError, match=words) as error:
            read_kind(tmp_path / path.name, kind)
        assert str(error.value).startswith(str(tmp_path / path.name))

    def without(key: str) -> None:
        refused(lambda stored: stored.pop(key), key)

    free = {"format", "kind", "sha256", *(entry.name for entry in fields(kind) if entry.default is not MISSING)}
    check_each([key for key in json.loads(text) if key not in free], without, str)
    refused(lambda stored: stored.update(colour="red"), "the record: missing or unknown are colour")
    refused(
        lambda stored: stored.update(format=FORMAT, kind=None),
        f"expected a {kind.kind} record of format 2 or 1, got .2, None",
    )
    refused(
        lambda stored: stored.update(kind="diary"), f"expected a {kind.kind} record of format 2 or 1, got .*'diary'"
    )
    if path.name in ALTERED:
        refused(ALTERED[path.name], "agree|is not that of|do not add up|does not match|differ in number")


def test_there_are_records_of_every_kind() -> None:
    assert {path.name for path in STORED} == set(KINDS)
