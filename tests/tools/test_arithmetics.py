"""The chapters under several arithmetics: run with its variables, compared as in their tests, recorded, resumed."""

import ctypes
import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import arithmetics
import nbformat
import pytest
import torch
from arithmetics import ARITHMETICS, Arithmetic
from comparison import spread
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from text.chapters import Chapter, chapters

FIRST = "# what all chapters begin with"
#: Prints a number that depends on the arithmetic, and what else of the environment matters.
CELL = """import os
print(os.environ["NUMBER"], os.environ["OMP_NUM_THREADS"], os.environ.get("MKL_CBWR"), os.environ.get("SNF_FULL"))"""
MADE_UP = {
    "same": Arithmetic("the same", {"NUMBER": "1.00"}, x86=False),
    "near": Arithmetic("near", {"NUMBER": "1.01"}, x86=False),
    "far": Arithmetic("far", {"NUMBER": "1.02"}, x86=False),
}


def chapter(*cells: tuple[str, str], first: str = FIRST) -> nbformat.NotebookNode:
    """A notebook of such cells (source, what is stored that it prints), behind the one that all chapters share."""
    stored = [
        new_code_cell(source, outputs=[new_output("stream", text=text)] if text else [], execution_count=number)
        for number, (source, text) in enumerate([(first, ""), *cells], start=1)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=[new_markdown_cell("# Made up"), *stored], metadata={"kernelspec": kernel})


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the record goes: nothing of the book is written."""
    monkeypatch.setattr(spread, "RECORD", tmp_path / "arithmetics.json")
    monkeypatch.setattr(arithmetics, "ARITHMETICS", MADE_UP)
    monkeypatch.setattr(arithmetics, "show", lambda: None)
    monkeypatch.setattr(arithmetics, "bits", lambda variables: variables["NUMBER"])
    monkeypatch.setenv("SNF_FULL", "1")
    monkeypatch.setenv("MKL_CBWR", "AVX")
    return tmp_path / "arithmetics.json"


@pytest.mark.parametrize(("only", "code"), [(["same", "near"], 0), (["near", "far"], 1)])
def test_what_moved_is_recorded_and_too_much_is_red(
    tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch, only: list[str], code: int
) -> None:
    path = tmp_path / "made.ipynb"
    nbformat.write(chapter((CELL, "1.00 1 None None\n")), path)
    before = path.read_bytes()
    assert arithmetics.main([str(path), "--only", *only]) == code
    assert path.read_bytes() == before
    made = json.loads(record.read_text("utf-8"))
    assert made["command"] == "python book/_tools/arithmetics.py" and list(made["arithmetics"]) == only
    entries = {name: one["chapters"]["made"] for name, one in made["arithmetics"].items()}
    assert made["arithmetics"]["near"]["bits"] == "1.01"
    assert entries["near"]["off"] == [{"cell": 1, "stored": "1.00", "fresh": "1.01"}]
    assert entries["near"]["different"] == [] and entries["near"]["numbers"] == 2
    if "same" in only:
        assert not entries["same"]["off"] + entries["same"]["different"]
    else:
        assert entries["far"]["different"] == [
            {"cell": 1, "stored": "1.00 1 None None\n", "fresh": "1.02 1 None None\n"}
        ]
    monkeypatch.setattr(arithmetics, "execute", refuse)
    assert arithmetics.main([str(path), "--only", *only]) == code
    nbformat.write(chapter((CELL, "1.00 1 None None\n"), first="# edited"), path)
    assert arithmetics.main([str(path), "--only", *only]) == code
    assert json.loads(record.read_text("utf-8")) == made
    for edited in ((CELL, "1.01 1 None None\n"), (f"{CELL}  # edited", "1.00 1 None None\n")):
        nbformat.write(chapter(edited), path)
        with pytest.raises(RuntimeError, match="run again"):
            arithmetics.main([str(path), "--only", *only])


def refuse(*_: object) -> float:
    raise RuntimeError("run again")


def test_the_page_is_kept_in_step(tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "made.ipynb", []
    nbformat.write(chapter(("1", "")), path)
    monkeypatch.setattr(arithmetics, "execute", lambda *_: 1.0)
    monkeypatch.setattr(arithmetics, "show", lambda: seen.append(json.loads(record.read_text("utf-8"))))
    arithmetics.main([str(path), "--only", "same", "near"])
    assert [len(one["arithmetics"]) for one in seen] == [1, 2]


def test_other_versions_are_run_again(tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "made.ipynb"
    nbformat.write(chapter(("1", "")), path)
    monkeypatch.setattr(arithmetics, "execute", lambda *_: 1.0)
    arithmetics.main([str(path), "--only", "same"])
    monkeypatch.setattr(arithmetics, "execute", refuse)
    arithmetics.main([str(path), "--only", "same"])
    monkeypatch.setattr(arithmetics, "library_versions", lambda: {"torch": "another"})
    with pytest.raises(RuntimeError, match="run again"):
        arithmetics.main([str(path), "--only", "same"])


def test_a_cell_that_fails_is_told_and_leaves_no_entry(
    tmp_path: Path, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "made.ipynb"
    nbformat.write(chapter(("1 / 0", "")), path)
    assert arithmetics.main([str(path), "--only", "same"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert not record.exists()


def test_cells_are_compared_one_by_one() -> None:
    ignored = new_code_cell("# NBVAL_IGNORE_OUTPUT", outputs=[new_output("stream", text="5")])
    stored = chapter(("a", "0.5 and 3\n"), ("b", "words\n"), ("c", "7\n"))
    stored.cells.append(ignored)
    fresh = deepcopy(stored)
    texts = {2: "0.6 and 3\n", 3: "other words\n", 4: "8\n", 5: "6"}
    for place, text in texts.items():
        fresh.cells[place].outputs[0].text = text
    fresh.cells[4].outputs.append(new_output("stream", name="stderr", text="a warning"))
    told = arithmetics.found(stored, fresh)
    assert told == {
        "numbers": 2,
        "off": [{"cell": 1, "stored": "0.5", "fresh": "0.6"}],
        "different": [
            {"cell": 2, "stored": "words\n", "fresh": "other words\n"},
            {"cell": 3, "stored": "", "fresh": "a warning"},
            {"cell": 3, "stored": "7\n", "fresh": "8\n"},
        ],
    }
    assert not spread.holds(told) and spread.holds({**told, "different": []})
    assert not spread.holds({**told, "off": 2 * told["off"], "different": []})


def test_what_cannot_run_here_is_left_out(
    tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not any(ARITHMETICS[name].missing for name in ("one-thread", "two-threads"))
    monkeypatch.setattr(arithmetics.platform, "machine", lambda: "arm64")
    assert {name for name, one in ARITHMETICS.items() if not one.missing} == {"one-thread", "two-threads"}
    monkeypatch.setattr(arithmetics.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(arithmetics.shutil, "which", lambda _: None)
    assert {name for name, one in ARITHMETICS.items() if one.missing} == {"as-intel", "as-intel-avx2"}
    monkeypatch.setattr(arithmetics, "ARITHMETICS", ARITHMETICS)
    assert arithmetics.main([str(tmp_path / "none.ipynb"), "--only", "as-intel"]) == 0
    assert capsys.readouterr().out == "as-intel: left out, it takes Linux and gcc\n"


@pytest.mark.skipif(bool(ARITHMETICS["as-intel"].missing), reason=ARITHMETICS["as-intel"].missing)
def test_mkl_is_told_that_it_runs_on_an_intel() -> None:
    with arithmetics.variables_of(ARITHMETICS["as-intel-avx2"]) as variables:
        library = ctypes.CDLL(variables["LD_PRELOAD"])
        assert library.mkl_serv_intel_cpu_true() == 1
        assert variables["MKL_ENABLE_INSTRUCTIONS"] == "AVX2"
    assert not os.path.exists(variables["LD_PRELOAD"])


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"), reason="no wider instructions here"
)
@pytest.mark.skipif(bool(ARITHMETICS["lowest"].missing), reason=ARITHMETICS["lowest"].missing)
def test_an_arithmetic_computes_other_bits() -> None:
    names = ("one-thread", "lowest", "one-thread")
    found = []
    for name in names:
        with arithmetics.variables_of(ARITHMETICS[name]) as variables:
            found.append(arithmetics.bits(variables))
    assert found[0] == found[2] != found[1]


def test_the_page_counts_what_is_still_true(record: Path) -> None:
    book = [Chapter(Path("a.ipynb"), chapter(("a", "1.0\n"))), Chapter(Path("b.ipynb"), chapter(("b", "2.0\n")))]
    assert spread.table(book) == "Not yet run."

    def entry(of: Chapter, **told: Any) -> dict[str, Any]:
        return {"of": spread.fingerprint(of.notebook, str), "numbers": 1200, "off": [], "different": [], **told}

    off = [{"cell": 1, "stored": "1.0", "fresh": "1.1"}]
    different = [{"cell": 2, "stored": "x\n", "fresh": "y\n"}]
    made = {"words": "narrow", "processor": "P", "date": "2026-01-02", "bits": "00"}
    entries = {"a": entry(book[0], off=off), "b": entry(book[1], different=different)}
    record.write_text(json.dumps({"arithmetics": {"n": {**made, "chapters": entries}}}), "utf-8")
    lines = spread.table(book).splitlines()
    assert lines[2] == "| narrow | 2 of 2 | 2,400 | 1 | 1 | P | 2026-01-02 |"
    assert lines[4].startswith("1 of these 1 arithmetics give bits of their own for the same products")
    assert lines[6:] == [
        "- [Made up](a.ipynb), cell 1, narrow: `` 1.1 `` instead of `` 1.0 ``",
        "- [Made up](b.ipynb), cell 2, narrow: **more than rounding:** `` y `` instead of `` x ``",
    ]
    book[1].notebook.cells[2].outputs[0].text = "2.1\n"
    assert spread.table(book).splitlines()[2].startswith("| narrow | 1 of 2 | 1,200 | 1 | 0 |")


def test_no_chapter_would_fail_under_an_arithmetic_of_the_record() -> None:
    names = {chapter.path.stem for chapter in chapters()}
    for name, made in spread.read()["arithmetics"].items():
        assert name in ARITHMETICS and set(made["chapters"]) <= names
        assert not [stem for stem, entry in made["chapters"].items() if not spread.holds(entry)], name
