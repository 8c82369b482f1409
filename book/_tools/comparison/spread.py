"""The record of ``arithmetics.py`` as text: how far the chapters' numbers moved under several arithmetics.

The status page shows it. An entry counts as long as the chapter still has the code and the stored outputs with which it
was made; the first code cell, which all notebooks share and which computes nothing, may change.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import nbformat
from paths import ROOT
from text.chapters import Chapter

from comparison.cell_outputs import Sanitize, printed_texts, project_sanitize
from comparison.printed_numbers import allowed

RECORD = ROOT / "book" / "_data" / "arithmetics.json"
HEADING = ("arithmetic", "chapters", "numbers", "one unit off", "other differences", "processor", "date")


def read() -> dict[str, Any]:
    """The record; one of no arithmetic where there is none."""
    return json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {"arithmetics": {}}


def fingerprint(notebook: nbformat.NotebookNode, sanitize: Sanitize) -> str:
    """Of what is run and what it is compared with."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"][1:]
    parts = [text for cell in cells for text in [cell.source, *map(sanitize, printed_texts(cell.outputs))]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def holds(entry: dict[str, Any]) -> bool:
    """Whether the chapter would pass its test: nothing differs, but for a few numbers by one unit."""
    return not entry["different"] and len(entry["off"]) <= allowed(entry["numbers"])


def table(book: Sequence[Chapter]) -> str:
    """A row for each arithmetic, and below it each number that moved and each chapter that would fail."""
    found = {name: (made, _current(made, book)) for name, made in read()["arithmetics"].items()}
    if not any(entries for _, entries in found.values()):
        return "Not yet run."
    lines = [HEADING, ["---", *["---:"] * 4, "---", "---"], *(_row(*item, len(book)) for item in found.values())]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    bits = {made["bits"] for made, _ in found.values()}
    told = (
        f"{len(bits)} of these {len(found)} arithmetics give bits of their own for the same products, inverses, "
        "singular values, convolutions and exponentials."
    )
    moved = [line for made, entries in found.values() for line in _moved(made["words"], entries)]
    return "\n\n".join([rows, told, "\n".join(moved) or "No printed number moved under any of them."])


def _current(made: dict[str, Any], book: Sequence[Chapter]) -> list[tuple[Chapter, dict[str, Any]]]:
    """Its entries of chapters that are still as they were."""
    sanitize = project_sanitize()
    entries = [(chapter, made["chapters"].get(chapter.path.stem)) for chapter in book]
    return [(c, entry) for c, entry in entries if entry and entry["of"] == fingerprint(c.notebook, sanitize)]


def _row(made: dict[str, Any], entries: list[tuple[Chapter, dict[str, Any]]], chapters: int) -> list[str]:
    numbers = sum(entry["numbers"] for _, entry in entries)
    off, different = (sum(len(entry[kind]) for _, entry in entries) for kind in ("off", "different"))
    of = f"{len(entries)} of {chapters}"
    return [made["words"], of, f"{numbers:,}", str(off), str(different), made["processor"], made["date"]]


def _moved(words: str, entries: list[tuple[Chapter, dict[str, Any]]]) -> Iterator[str]:
    for chapter, entry in entries:
        for kind, listed in (("", entry["off"]), ("**more than rounding:** ", entry["different"])):
            for one in listed:
                place = f"{chapter.link}, cell {one['cell']}, {words}"
                yield f"- {place}: {kind}`` {one['fresh'].strip()} `` instead of `` {one['stored'].strip()} ``"
