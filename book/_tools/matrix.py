"""The tests where another machine would differ, row by row: the command behind ``make matrix``.

    make matrix                         all rows
    make matrix ROWS="cp1252 zip"       these
    make matrix ROWS=list               which there are, and what each runs
    make matrix ROWS="zip --whole"      this row, with all of ``make test`` in place of what it runs

What is committed is tested, in checkouts made for it. Environments with other versions are made once and kept in
``.venv-matrix``, some gigabytes each; the logs lie there too. What each row came to is kept in
``book/_data/matrix.json``, which the status page shows.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matrix_parts.places as places
import status
from matrix_parts.page import RECORD, RESULTS, recorded, words
from matrix_parts.places import NotHere
from matrix_parts.rows import ROWS, SELECTIONS, MatrixRow
from paths import ROOT, write

WHOLE = [["-m", "ruff", "check", "."], ["-m", "mypy"], ["-m", "pytest", "-n", "2", "--dist", "loadscope"]]
LIMIT = 2 * 3600  # seconds for one command of a row
SHOW = """
import json, platform, sys
from importlib.metadata import version
sys.path.insert(0, "book")
found = {name: version(name) for name in ("torch", "numpy", "matplotlib")}
print(json.dumps([bool(%s), {"python": platform.python_version(), **found}]))
"""


def variables(row: MatrixRow, scratch: Path) -> dict[str, str]:
    """The environment variables of a row: none of this project's, one thread, and what makes the row."""
    kept = {} if row.other_user else {
        name: value for name, value in os.environ.items()
        if not re.match(r"SNF_|PYTHON|VIRTUAL_ENV|LC_|LANG|CI$|MAKE|MFLAGS", name)
    }  # fmt: skip
    path = places.path_without(row.without, scratch / "programs") if row.without else os.environ["PATH"]
    found = {**kept, "PATH": path, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if row.place == "read-only":
        found |= {"HOME": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    for name, value in row.variables.items():
        found |= places.with_locale(value, scratch) if name == "LC_ALL" else {name: value}
    return found


def commands(row: MatrixRow, whole: bool, scratch: Path) -> list[list[str]]:
    """What the row runs, each a list of arguments for its Python."""
    apart = ["-p", "no:cacheprovider", f"--basetemp={scratch / 'tests'}"]
    if whole:
        return [command + (apart if "pytest" in command else []) for command in WHOLE]
    if row.runs in SELECTIONS:
        chosen = [name for name in SELECTIONS[row.runs] if (ROOT / name.partition("::")[0]).exists()]
        return [["-m", "pytest", "-q", *apart, *chosen]]
    return [[row.runs]]


def startable(row: MatrixRow, before: list[str]) -> str:
    """The Python whose packages the row takes: another user has to be able to start it too."""
    if not (row.other_user and before):
        return places.environment(row.python, row.versions)
    for wanted in ("", "/usr/bin/python3"):
        real = os.path.realpath(places.found_python(wanted))
        again = [*before, "sh", "-c", '"$0" -c ""; exit $?', real]  # by a shell: the first program keeps root's rights
        if subprocess.run(again, capture_output=True).returncode == 0:
            return places.environment(wanted, row.versions)
    raise NotHere("no Python that another user than root may start")


def run(name: str, row: MatrixRow, whole: bool, log: Path) -> dict[str, Any]:
    """Run one row; what it came to."""
    start = time.monotonic()
    try:
        result = in_its_place(row, whole, log)
    except NotHere as why:
        result = {"result": "not here", "told": str(why), "versions": {}}
    except subprocess.CalledProcessError as error:
        log.write_text(f"{error}\n{error.output}", "utf-8")
        result = {"result": "failed", "told": f"its set-up failed: {last(error.output)}", "versions": {}}
    return {**result, "seconds": round(time.monotonic() - start), "runs": "make test" if whole else row.runs}


def in_its_place(row: MatrixRow, whole: bool, log: Path) -> dict[str, Any]:
    """The row's tests in the row's checkout, by the row's user."""
    if row.runs not in SELECTIONS and not (ROOT / row.runs).exists():
        raise NotHere(f"no {row.runs} in this checkout")
    before = places.as_nobody() if row.other_user else []
    python = startable(row, before)
    with tempfile.TemporaryDirectory(prefix="matrix-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        scratch = folder / "scratch"
        scratch.mkdir()
        place = places.checkout(row.place, folder)
        own = [*before, str(places.own_environment(python, place))]
        where = {"cwd": place, "env": variables(row, scratch)}
        if row.other_user:
            places.given_to_nobody(folder, place, writable=row.place != "read-only")
        shown = subprocess.run([*own, "-c", SHOW % row.holds], **where, capture_output=True, encoding="utf-8")
        if shown.returncode:
            raise subprocess.CalledProcessError(shown.returncode, own, shown.stdout + shown.stderr)
        holds, versions = json.loads(shown.stdout)
        if not holds:
            raise NotHere(f"it cannot be made here: {row.what}")
        told = [one(own + command, where, log) for command in commands(row, whole, scratch)]
    good = all(code == 0 for code, _ in told)
    return {"result": "passed" if good else "failed", "told": told[-1][1], "versions": versions}


def one(command: list[str], where: dict[str, Any], log: Path) -> tuple[int, str]:
    """Run one command into the log; its exit status, and its last line that is not empty."""
    with log.open("a", encoding="utf-8") as file:
        try:
            code = subprocess.run(command, **where, stdout=file, stderr=subprocess.STDOUT, timeout=LIMIT).returncode
        except subprocess.TimeoutExpired:
            return 1, f"stopped after {LIMIT / 3600:.0f} hours"
    return code, last(log.read_text("utf-8", errors="replace"))


def last(text: str) -> str:
    """The counts at the end of pytest's output, else the last line that is not empty."""
    lines = [line.strip(" =") for line in text.splitlines() if line.strip(" =")] or ["nothing was said"]
    return re.sub(r" in \d[\d.]*s.*$", "", lines[-1])[:200]


def provenance() -> dict[str, Any]:
    """What a row's result is of: the commit, the day and the machine."""
    import torch

    from snf_lite.runtime.devices import device_name

    commit = places.quiet("git", "-C", ROOT, "rev-parse", "HEAD").strip()
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"commit": commit, "date": date, "processor": device_name(torch.device("cpu"))}


def keep(name: str, result: dict[str, Any]) -> None:
    """Put one row's result into the record, in the order of the rows, and on the page; a row that is no more goes."""
    found = {**recorded(), name: result}
    write(RECORD, json.dumps({row: found[row] for row in ROWS if row in found}, indent=2, ensure_ascii=False) + "\n")
    write(status.PAGE, status.page())


def listed() -> Iterator[str]:
    """The rows, and what each of their selections is."""
    yield from (f"{name:<12} {row.runs:<20} {row.what}" for name, row in ROWS.items())
    yield from (f"\n{name}: {' '.join(paths)}" for name, paths in SELECTIONS.items())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make matrix", description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="default: all; list: print the names")
    parser.add_argument("--whole", action="store_true", help="run all of make test in each row")
    args = parser.parse_args(arguments)
    if args.rows == ["list"]:
        print("\n".join(listed()))
        return 0
    unknown = set(args.rows) - set(ROWS)
    if unknown:
        parser.error(f"no row is called {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    chosen = args.rows or list(ROWS)
    logs = places.KEPT / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for name in chosen:
        print(f"{name} ({ROWS[name].what}) ...", end=" ", flush=True)
        log = logs / f"{name}.txt"
        log.unlink(missing_ok=True)
        origin = provenance()  # before the row runs: somebody may commit meanwhile
        result = {**run(name, ROWS[name], args.whole, log), **origin}
        keep(name, result)
        print(words(result), "" if result["result"] != "failed" else f"\n  see {log}", flush=True)
    found = recorded()
    counts = [sum(found[name]["result"] == kind for name in chosen) for kind in RESULTS]
    print(", ".join(f"{count} {kind}" for count, kind in zip(counts, RESULTS, strict=True)))
    return int(any(found[name]["result"] == "failed" for name in chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
