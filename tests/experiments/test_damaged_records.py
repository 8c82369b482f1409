"""Records, manifests and plans that somebody altered are refused in words that name file and entry."""

import itertools
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from each_case import check_each
from paths import ROOT
from snf_book.beyond import study as gap
from snf_book.prior_work import record as prior
from snf_book.prior_work.longer import record as long_record

from snf_lite.benchmarks.record import misplaced, read_bench
from snf_lite.benchmarks.suites import SUITES
from snf_lite.experiments import ablation, archive, manifest, preprocessing
from snf_lite.experiments.record import read_record
from snf_lite.experiments.reproduce import ReproduceConfig, read_plan
from snf_lite.runtime import files

RUNS = ROOT / "data" / "runs"
PLAN = ReproduceConfig((), "digits", "fast", 5.0, None, 0, 1, {})
#: Reader by the path of a stored file.
READERS: dict[str, Callable[[Path], Any]] = {
    "dense-selfnorm-digits-seed0/record.json": read_record,
    "bench-dense/bench.json": read_bench,
    "preprocessing-mnist/preprocessing.json": preprocessing.read,
    "prior-work/prior.json": prior.read,
    "prior-work-long-seed0/long.json": long_record.read,
    "gap-digits/gap.json": gap.read,
    "forks-fast-conv-selfnorm-mnist-seed0/fork-own.json": lambda path: ablation.read(path.parent),
    "reproduce-fast-digits/plan.json": lambda path: read_plan(path, PLAN),
    "index.json": lambda path: archive.read_index(path.parent),
}
#: What a value is replaced by.
VALUES: list[Any] = [None, True, -1, 10**400, 1e308, "", "a", [], [None], {}, {"a": {}}, [[[[0]]]]]


def places(value: Any) -> list[tuple[Any, Any]]:
    """The container and key of each entry, at most three of a list."""
    entries = list(value.items()) if isinstance(value, dict) else list(enumerate(value))[:3]
    inner = [place for _, entry in entries if isinstance(entry, dict | list) for place in places(entry)]
    return [(value, key) for key, _ in entries] + inner


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_record_is_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    """Any entry of another type or value, removed, or doubled by another."""
    path, rng = tmp_path / Path(name).name, random.Random(name)
    text = (RUNS / name).read_text("utf-8")
    refused = 0
    for _ in range(150):
        stored = json.loads(text)
        container, key = rng.choice(places(stored))
        if rng.random() < 0.15:
            container.pop(key)
        else:
            container[key] = rng.choice([*VALUES, 0.5])
        path.write_text(json.dumps(stored), "utf-8")
        try:
            READERS[name](path)
        except (ValueError, FileExistsError) as error:  # any other error is a bug
            assert str(error).startswith(str(tmp_path)), error
            refused += 1
    assert refused > 75


DOCUMENTS = {
    "deep lists": ("[" * 100_000 + "]" * 100_000, "nested too deeply|nested deeper"),
    "deep mappings": ('{"a":' * 60 + "1" + "}" * 60, "nested deeper than 50"),
    "a name twice": ('{"format": 2, "format": 1}', "'format' stands in it twice"),
    "a number that is none": ('{"seconds": NaN}', "NaN is not a finite number"),
    "a number beyond float": ('{"seconds": 1e999}', "1e999 is not a finite number"),
    "an integer beyond float": ('{"seed": 1' + 400 * "0" + "}", "not an integer of 64 bits"),
    "a list": ("[]", "expected|got list"),
    "a string": ('"all"', "expected|got str"),
    "another encoding": ('{"a": "é"}', "expected the"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_document_that_no_record_is_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / Path(name).name

    def check(what: str) -> None:
        document, message = DOCUMENTS[what]
        path.write_text(document, "latin-1")
        with pytest.raises(ValueError, match=message) as error:
            READERS[name](path)
        assert str(error.value).startswith(str(path))

    check_each(DOCUMENTS, check)


@pytest.mark.parametrize("index", [[], "all", {"a": []}, {"a": {"record.json": 1}}, {"a": None}])
def test_a_manifest_of_another_type_is_refused(index: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.json").write_text(json.dumps(index), "utf-8")
    with pytest.raises(ValueError, match=r"index\.json: the index.*expected"):
        manifest.check(tmp_path)


def test_any_two_stored_records_that_changed_places_are_noticed(tmp_path: Path) -> None:
    """With a manifest of the files as they are then: it holds names and checksums, not what belongs where."""
    folder = tmp_path / "runs"
    shutil.copytree(RUNS, folder)
    assert manifest.check(folder) == misplaced(folder) == []
    kinds = ("dense*/record.json", "fast-*/record.json", "paper*/record.json", "tie*/record.json")
    records = sorted(path for kind in kinds for path in folder.glob(kind))
    pairs = [*itertools.pairwise(records), *itertools.pairwise(folder.glob("bench-[!b]*/bench.json"))]
    alike = ("fast-dense-selfnorm-fashion_mnist-seed0", "tie10-dense-selfnorm-fashion_mnist-seed0")
    for kind in ("exact", "selfnorm"):
        pairs.append(
            (
                folder / f"fast-glow-{kind}-digits-seed0/record.json",
                folder / f"fast-glow-{kind}-3x3-digits-seed0/record.json",
            )
        )
    pairs.append((folder / alike[0] / "record.json", folder / alike[1] / "record.json"))

    def check(pair: tuple[Path, Path]) -> None:
        contents = [path.read_bytes() for path in pair]
        for path, content in zip(pair, reversed(contents), strict=True):
            path.write_bytes(content)
        found = [*manifest._unreadable(pair[0].parent), *manifest._unreadable(pair[1].parent), *misplaced(folder)]
        for path, content in zip(pair, contents, strict=True):
            path.write_bytes(content)
        assert any("holds" in problem for problem in found)

    check_each(pairs, check)


def test_the_names_of_the_suites_are_those_of_the_records() -> None:
    from snf_lite.benchmarks.record import SUITE_NAMES

    assert tuple(SUITES) == SUITE_NAMES


def test_a_record_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a benchmark record, got a folder"):
        read_bench(tmp_path)
    with pytest.raises(ValueError, match="of at most 10 bytes"):
        (tmp_path / "a").write_bytes(bytes(11))
        files.read_regular(tmp_path / "a", "file", most=10)
