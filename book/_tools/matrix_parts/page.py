"""The status page's table of ``make matrix``: what each row came to, when, on what."""

import json
from collections.abc import Iterator
from typing import Any

from paths import ROOT

from matrix_parts.rows import ROWS, SELECTIONS

RECORD = ROOT / "book" / "_data" / "matrix.json"
RESULTS = ("passed", "failed", "not here")
HEADINGS = ("row", "what is different", "ran", "result", "seconds", "Python, torch, numpy", "day, commit")


def recorded() -> dict[str, dict[str, Any]]:
    """What each row came to when it was last run, by name."""
    return json.loads(RECORD.read_text("utf-8")) if RECORD.exists() else {}


def words(result: dict[str, Any]) -> str:
    """A result in a line of words."""
    return f"{result['result']}: {result['told']} ({result['seconds']} s)"


def section() -> str:
    """The table, the machines it was made on, and what the words in the column "ran" stand for."""
    found = recorded()
    if not found:
        return "Not run yet."
    machines = sorted({result["processor"].removeprefix("CPU, ") for result in found.values()})
    ran = [f"- *{name}*: {', '.join(dict.fromkeys(map(_named, paths)))}" for name, paths in SELECTIONS.items()]
    lines = [f"| {' | '.join(line)} |" for line in (HEADINGS, ["---"] * len(HEADINGS), *_rows(found))]
    return "\n".join([*lines, "", f"Processor: {'; '.join(machines)}.", "What the rows ran:", "", *ran])


def _named(path: str) -> str:
    """A test file without its folder, and whether only some of its tests are meant."""
    file, _, test = path.partition("::")
    return f"`{file.removeprefix('tests/')}`{' in part' if test else ''}"


def _rows(found: dict[str, dict[str, Any]]) -> Iterator[list[str]]:
    for name, row in ROWS.items():
        if name not in found:
            yield [name, row.what, row.runs, "not run", "", "", ""]
            continue
        result = found[name]
        versions = ", ".join(result["versions"].get(key, "") for key in ("python", "torch", "numpy")).strip(", ")
        told = f"**{result['result']}**: {result['told']}".replace("|", "\\|")
        yield [name, row.what, result["runs"], told, str(result["seconds"]), versions,
               f"{result['date'][:10]}, {result['commit'][:7]}"]  # fmt: skip
