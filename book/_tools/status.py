"""The status page: what each chapter holds, its seconds, what the tests do not compare, its run at full size,
how far its numbers moved under other arithmetic (``spread.py``), and how the tests went on other machines
(``matrix_parts/page.py``).

``make notebooks`` writes the page; so does this file alone, without running a chapter:
``python book/_tools/status.py``. The words of ``status.md`` are written by hand, its table between marks
(``text/placeholders.py``) from the stored notebooks.
"""

import json
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from comparison import spread
from matrix_parts.page import section as matrix
from paths import FULL_RUN, ROOT, RUNTIMES, write
from text.chapters import Chapter, chapters
from text.placeholders import fill

PAGE = ROOT / "book" / "status.md"
VERSIONS = ROOT / "book" / "_data" / "versions.json"
LIBRARIES = ("torch", "numpy", "matplotlib")
HEADINGS = ("code cells", "not compared", "moving figures", "exercises", "equations")


def counts(chapter: Chapter) -> list[int]:
    """The numbers under ``HEADINGS``."""
    own = len(chapter.code), len(chapter.uncompared), chapter.moving_figures, chapter.exercises, len(chapter.labels)
    return list(own)


def stored(path: Path) -> dict[str, Any]:
    """A record of ``make notebooks``; empty where there is none."""
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


def table(book: list[Chapter]) -> str:
    """A row for each chapter, and one for all."""
    seconds = [stored(RUNTIMES).get(chapter.path.relative_to(ROOT).as_posix()) for chapter in book]
    # With line ends of one byte, as the repository has them.
    sizes = [len(chapter.path.read_text("utf-8").encode()) for chapter in book]
    rows = [
        [chapter.link, _total([time]), *map(str, counts(chapter)), f"{size / 1000:.0f}"]
        for chapter, time, size in zip(book, seconds, sizes, strict=True)
    ]
    cells, uncompared, *others = (sum(column) for column in zip(*map(counts, book), strict=True))
    share = f"{uncompared} ({100 * uncompared / cells:.1f}\N{NO-BREAK SPACE}%)"
    rows.append(["**all**", _total(seconds), str(cells), share, *map(str, others), f"{sum(sizes) / 1000:.0f}"])
    heading = ["chapter", "seconds", *HEADINGS, "kB stored"]
    return "\n".join(_lines([heading, ["---", *["---:"] * (len(heading) - 1)], *rows]))


def _lines(rows: Iterable[list[str]]) -> Iterator[str]:
    return (f"| {' | '.join(row)} |" for row in rows)


def _total(seconds: list[float | None]) -> str:
    return "not measured" if None in seconds else f"{sum(seconds):.0f}"


def uncompared(book: list[Chapter]) -> str:
    """Each cell that is not compared, by its chapter and first line."""
    cells = [f"- {chapter.title}: `` {line} ``" for chapter in book for line in chapter.uncompared]
    return "\n".join(cells) or "None: every cell of every chapter is compared."


def full_runs(book: list[Chapter]) -> str:
    """Each chapter that was run at full size: when, how long, by which code, and what its cells printed."""
    kept = [(chapter, stored(ROOT / "data" / "runs" / FULL_RUN.format(chapter.path.stem))) for chapter in book]
    return "\n\n".join(_full_run(chapter, record) for chapter, record in kept if record) or "None yet."


def _full_run(chapter: Chapter, record: dict[str, Any]) -> str:
    same = record["code_sha256"] == chapter.code_sha256
    since = "its code has not changed since" if same else "**its code has been edited since**"
    where = f"commit {record['package']['commit'][:7]}, {record['threads']} thread(s) of {record['device']}"
    told = f"{chapter.link}, {record['date'][:10]}: {record['seconds'] / 60:.0f} minutes, {where}; {since}."
    text = "\n\n".join(cell.strip("\n") for cell in record["printed"])
    return f"{told}\n\n````{{dropdown}} What its cells printed\n```text\n{text}\n```\n````"


def versions() -> str:
    """The versions with which all chapters were last run together."""
    record = stored(VERSIONS)
    return ", ".join(f"{name} {number}" for name, number in record.items()) or "not recorded"


def record_versions() -> None:
    """Note what this environment computes with."""
    found = {"Python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
    write(VERSIONS, json.dumps(found, indent=2) + "\n")


def page() -> str:
    """The page as it should stand."""
    book = chapters()
    values = {
        "chapters": table(book),
        "uncompared": uncompared(book),
        "spread": spread.table(book),
        "full": full_runs(book),
        "matrix": matrix(),
        "versions": versions(),
    }
    blocks = {name: f"\n\n{value}\n\n" if name != "versions" else value for name, value in values.items()}
    return fill(PAGE.read_text("utf-8"), blocks)


def main() -> None:
    write(PAGE, page())
    print(f"Cells that are not compared:\n{uncompared(chapters())}")


if __name__ == "__main__":
    main()
