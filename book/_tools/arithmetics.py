"""Run the chapters under several arithmetics, and record how far their printed numbers move.

``python book/_tools/arithmetics.py [CHAPTER.ipynb ...] [--only NAME ...]``. Libraries order their sums by what the
processor offers: its widest instructions, its maker, the number of threads. Environment variables hold them to another
order, so that one machine computes as several do. Each chapter runs in a fresh kernel with the variables of the
arithmetic, in an empty folder, and what its cells print is compared with what is stored as its test does
(``comparison/printed_numbers.py``). The notebooks stay as they are.

What was found goes into ``arithmetics.json``, chapter by chapter, and the status page shows it. Started again, the
command goes on where it was stopped; what was run on another processor, with other versions, or of a chapter that has
changed since, is run again. It ends with 1 if a chapter would fail its test under one of them.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import status
import torch
from comparison import spread
from comparison.cell_outputs import Numbers, compare_cell, differences, project_sanitize
from nbclient.exceptions import CellExecutionError
from nbval.plugin import coalesce_streams
from paths import notebooks, write
from run_notebooks import execute
from text.chapters import is_compared

from snf_lite.runtime.devices import device_name
from snf_lite.runtime.provenance import library_versions

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
#: MKL asks this function whether it may go its fastest way; loaded before it, ours answers in place of its own.
INTEL_SOURCE = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"
#: Some operations of the chapters, down to their bits: an arithmetic that leaves them as they are would show nothing.
PROBE = """
import hashlib, torch
torch.manual_seed(0)
bits = hashlib.sha256()
for dtype in (torch.float32, torch.float64):
    x, images, kernel = (torch.randn(*shape, dtype=dtype) for shape in ((257, 257), (4, 3, 31, 31), (5, 3, 3, 3)))
    parts = x @ x, torch.linalg.inv(x), torch.linalg.svdvals(x), torch.conv2d(images, kernel), x.exp(), x.sum()
    for part in parts:
        bits.update(part.numpy().tobytes())
print(bits.hexdigest()[:16])
"""


@dataclass(frozen=True)
class Arithmetic:
    """A choice of sums: its words for the status page, and the variables that bring it about."""

    words: str
    variables: Mapping[str, str]
    x86: bool = True
    """Whether the variables mean something to x86 processors alone."""
    as_intel: bool = False
    """Whether MKL can be made to detect an Intel processor, which takes Linux and a C compiler."""

    @property
    def missing(self) -> str:
        """What this machine lacks for it; empty where it can run."""
        if self.x86 and platform.machine() not in ("x86_64", "AMD64"):
            return f"it is for x86 processors, this one is {platform.machine()}"
        if self.as_intel and not (sys.platform == "linux" and shutil.which("gcc")):
            return "it takes Linux and gcc"
        return ""


ARITHMETICS = {
    "one-thread": Arithmetic("as the machine is, one thread", {}, x86=False),
    # Waiting threads sleep: where other work keeps the cores busy, they would hold up the one that computes.
    "two-threads": Arithmetic(
        "as the machine is, two threads",
        {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
        x86=False,
    ),
    "avx2": Arithmetic("AVX2 alone", {**AVX2, "MKL_CBWR": "AVX2"}),
    "lowest": Arithmetic(
        "the lowest: SSE, and MKL's compatible mode",
        {
            "ATEN_CPU_CAPABILITY": "default",
            "MKL_CBWR": "COMPATIBLE",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "OPENBLAS_CORETYPE": "Nehalem",
        },
    ),
    "as-intel": Arithmetic("MKL told it is an Intel", {}, as_intel=True),
    "as-intel-avx2": Arithmetic(
        "MKL told it is an Intel, AVX2", {**AVX2, "MKL_ENABLE_INSTRUCTIONS": "AVX2"}, as_intel=True
    ),
}
COMMAND = "python book/_tools/arithmetics.py"
SET_BY_US = {name for arithmetic in ARITHMETICS.values() for name in arithmetic.variables} | {"LD_PRELOAD"}


@contextmanager
def variables_of(arithmetic: Arithmetic) -> Iterator[dict[str, str]]:
    """The kernel's environment: this shell's, without what chooses an arithmetic or concerns the project, then ours."""
    kept = {name: value for name, value in os.environ.items() if name not in SET_BY_US and not name.startswith("SNF_")}
    with tempfile.TemporaryDirectory() as folder:
        answer = {"LD_PRELOAD": str(_compiled(Path(folder)))} if arithmetic.as_intel else {}
        yield {**kept, **ONE_THREAD, **arithmetic.variables, **answer}


def _compiled(folder: Path) -> Path:
    source, library = folder / "intel.c", folder / "intel.so"
    source.write_text(INTEL_SOURCE, "utf-8")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def bits(variables: Mapping[str, str]) -> str:
    """What the same operations give under these variables, as a hash."""
    probe = [sys.executable, "-c", PROBE]
    done = subprocess.run(probe, env=variables, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return done.stdout.strip()


def run(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """Run one chapter with these variables: its entry in the record. CellExecutionError if a cell fails."""
    stored = nbformat.read(path, as_version=4)
    fresh = deepcopy(stored)
    with tempfile.TemporaryDirectory() as folder:
        seconds = execute(fresh, Path(folder), None, variables)
    return {"of": spread.fingerprint(stored, project_sanitize()), **found(stored, fresh), "seconds": seconds}


def found(stored: nbformat.NotebookNode, fresh: nbformat.NotebookNode) -> dict[str, Any]:
    """What a notebook's cells print, beside what they printed when it was stored."""
    sanitize, numbers, off, different = project_sanitize(), Numbers(), [], []
    pairs = [(old, new) for old, new in zip(stored.cells, fresh.cells, strict=True) if old.cell_type == "code"]
    for cell, (old, new) in enumerate(pairs):
        if not is_compared(old):
            continue
        outputs = coalesce_streams(deepcopy(old.outputs))
        comparison = compare_cell(outputs, coalesce_streams(new.outputs), sanitize)
        numbers += comparison.numbers
        moved, unlike = comparison.numbers.off.all.elements(), differences(outputs, comparison.outputs, sanitize)
        for listed, pairs_of_cell in ((off, moved), (different, unlike)):
            listed += [{"cell": cell, "stored": before, "fresh": after} for before, after in sorted(pairs_of_cell)]
    return {"numbers": numbers.all.total(), "off": off, "different": different}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("chapters", nargs="*", type=Path, metavar="CHAPTER.ipynb", help="without any: the whole book")
    parser.add_argument("--only", nargs="+", choices=ARITHMETICS, metavar="NAME", help=", ".join(ARITHMETICS))
    given = parser.parse_args(arguments)
    chapters = [path.resolve() for path in given.chapters] or notebooks()
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    return int(not all([run_all(name, chapters) for name in given.only or ARITHMETICS]))


def run_all(name: str, chapters: Sequence[Path]) -> bool:
    """Run the chapters that the record lacks under one arithmetic; whether all of them would pass their tests."""
    arithmetic, good, of_probe = ARITHMETICS[name], True, ""
    if arithmetic.missing:
        print(f"{name}: left out, {arithmetic.missing}")
        return True
    with variables_of(arithmetic) as variables:
        for path in chapters:
            entry = _stored(name, path)
            try:
                if not entry:
                    of_probe = of_probe or bits(variables)
                    entry = _store(name, path, run(path, variables), of_probe)
                    show()
            except CellExecutionError as error:
                print(f"{name}, {path.stem}: a cell fails.\n{error}")
                good = False
                continue
            print(
                f"{name}, {path.stem}: {entry['numbers']} numbers, off {entry['off']}, different {entry['different']}"
            )
            good &= spread.holds(entry)
    return good


def show() -> None:
    """Bring the status page up to date, so that a run that is stopped leaves it in step with the record."""
    write(status.PAGE, status.page())


def _here(arithmetic: Arithmetic) -> dict[str, Any]:
    """With what an arithmetic is run on this machine: entries made with something else count no more."""
    return {
        "variables": {**ONE_THREAD, **arithmetic.variables},
        "processor": device_name(torch.device("cpu")).removeprefix("CPU, "),
        "versions": library_versions(),
    }


def _stored(name: str, path: Path) -> dict[str, Any] | None:
    """The entry of a chapter that has not changed since, made with what is here."""
    made = spread.read()["arithmetics"].get(name, {})
    entry = made.get("chapters", {}).get(path.stem)
    of_now = spread.fingerprint(nbformat.read(path, as_version=4), project_sanitize())
    same = entry and entry["of"] == of_now and _here(ARITHMETICS[name]).items() <= made.items()
    return entry if same else None


def _store(name: str, path: Path, entry: dict[str, Any], of_probe: str) -> dict[str, Any]:
    """Put a chapter's entry into the record, which is replaced in one step."""
    record, here = spread.read(), _here(ARITHMETICS[name])
    before = record["arithmetics"].get(name, {})
    kept = before["chapters"] if here.items() <= before.items() else {}
    date = datetime.now(UTC).date().isoformat()
    made = {
        "words": ARITHMETICS[name].words,
        **here,
        "bits": of_probe,
        "date": date,
        "chapters": {**kept, path.stem: entry},
    }
    known = {**record["arithmetics"], name: made}
    ordered = {one: known[one] for one in ARITHMETICS if one in known}
    write(spread.RECORD, json.dumps({"command": COMMAND, "arithmetics": ordered}, indent=1, ensure_ascii=False) + "\n")
    return entry


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
