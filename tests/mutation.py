"""One wrong line in the package, and a test that has to see it: run in a child of a process that has all else loaded.

Importing torch takes longer than most tests. So one process imports everything that the tests import, forgets the
package and the tests again, and forks a child for each mutant: the child loads the package with the wrong line in it,
runs one test, and ends. Nothing is copied or written.

``python tests/mutation.py NAME …`` looks for tests that find a mutant, to name one of them as its killer.
"""

import importlib.abc
import io
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
#: The packages a mutant may be in.
PACKAGES = ("snf_lite", "snf_book")

#: Seconds after which a child is ended: a wrong line may loop for ever.
LIMIT = 120
SEARCH_LIMIT = 600
OPTIONS = ["-q", "-x", "-c", os.devnull, "--rootdir", str(ROOT), "--noconftest", "-p", "no:cacheprovider"]

FORKS = os.name == "posix"
PROCESSES = multiprocessing.get_context("forkserver" if FORKS else "spawn")


class Mutant(NamedTuple):
    """A wrong line in a module, a path below the root, and the test that finds it (its killer), as pytest names it."""

    module: str
    right: str
    wrong: str
    killer: str

    def source(self) -> str:
        """The module's text with the wrong line. ValueError where the right one is no longer there."""
        text = (ROOT / self.module).read_text("utf-8")
        if self.right not in text:
            raise ValueError(f"{self.module} no longer holds {self.right!r}: bring this mutant up to date")
        return text.replace(self.right, self.wrong)


class Outcome(NamedTuple):
    """How a child's tests ended: pytest's exit status (None: stopped after ``LIMIT`` seconds), and what it printed."""

    status: int | None
    text: str


class WrongLine(importlib.abc.MetaPathFinder, SourceFileLoader):
    """Loads one module of the package from a text in the place of its file."""

    def __init__(self, module: str, source: str) -> None:
        parts = Path(module.removeprefix("book/")).with_suffix("").parts
        super().__init__(".".join(part for part in parts if part != "__init__"), str(ROOT / module))
        self.text = source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_file_location(fullname, self.path, loader=self) if fullname == self.name else None

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.path, "exec")


def forget_project() -> None:
    """Drop the package and the tests from what is imported, so that the next import reads them again."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        ours = Path(file).is_relative_to(TESTS) and not name.startswith("mutation")
        if ours or name.partition(".")[0] in PACKAGES:
            del sys.modules[name]


def run(killers: Iterable[str], mutant: Mutant | None = None, limit: int = LIMIT) -> Outcome:
    """The outcome of tests, named as pytest names them, with the package as it is or with one wrong line."""
    wrong = None if mutant is None else (mutant.module, mutant.source())
    return Outcome(*answer_of(in_child, (list(killers), wrong), limit))


def start_server() -> None:
    """Start the process to fork from, where it does not run yet.

    It imports what it is told to without a word when it cannot, and does not inherit ``sys.path``.
    """
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), before]))
    try:
        PROCESSES.set_forkserver_preload(["mutation_warm_up"])
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def answer_of(work: Callable[..., None], arguments: tuple[Any, ...], limit: int) -> Any:
    """What a child sends that does this work, ended after ``limit`` seconds: a pair (None or -1, why) if nothing."""
    if FORKS:
        start_server()
    receiver, sender = PROCESSES.Pipe(duplex=False)
    child = PROCESSES.Process(target=work, args=(sender, *arguments))
    child.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(limit) else (None, f"stopped after {limit} seconds")
    except EOFError:
        return -1, "the process ended without a word"
    finally:
        child.kill()
        child.join()


def in_child(answer: Connection, killers: list[str], wrong: tuple[str, str] | None) -> None:
    """Run the tests and send (exit status, output)."""
    load(wrong)
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        status = pytest.main([*OPTIONS, *(str(TESTS / killer) for killer in killers)])
    answer.send((int(status), printed.getvalue()))


def find_project() -> None:
    """Let this process import the package and the tests of this checkout, and pytest start without plugins."""
    folders = (ROOT, ROOT / "book", ROOT / "book" / "_tools", TESTS, TESTS / "fixtures", TESTS / "pages")
    sys.path[:0] = map(str, folders)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the tests need none, and loading them takes a second


def load(wrong: tuple[str, str] | None) -> None:
    """Make ready a fresh process: paths, one thread, properties without a search for smaller examples."""
    import hypothesis
    import torch

    if not FORKS:  # else the process that this one was forked from has done it
        find_project()
    torch.set_num_threads(1)
    phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
    hypothesis.settings.register_profile("mutant", phases=phases, derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("mutant")
    if wrong is not None:
        sys.meta_path.insert(0, WrongLine(*wrong))


# ---- to name a killer ------------------------------------------------------------------------------------------------


class Failures:
    """A plugin that notes the tests that fail, with their seconds."""

    def __init__(self) -> None:
        self.found: list[tuple[float, str]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.found.append((report.duration, report.nodeid.removeprefix("tests/")))


def candidates(mutant: Mutant, files: Iterable[str], most: int = 5) -> list[tuple[float, str]]:
    """(seconds, name) of the first tests in some files that fail under a mutant, the fastest first."""
    _, found = answer_of(search_in_child, (mutant, list(files), most), SEARCH_LIMIT)
    if not isinstance(found, list):
        raise RuntimeError(f"{mutant.module}, {mutant.wrong!r}: {found}")
    return sorted(found)


def search_in_child(answer: Connection, mutant: Mutant, files: list[str], most: int) -> None:
    load((mutant.module, mutant.source()))
    failures = Failures()
    options = [option for option in OPTIONS if option != "-x"]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        status = pytest.main([*options, f"--maxfail={most}", *(str(TESTS / file) for file in files)], [failures])
    answer.send((int(status), failures.found))


def main(arguments: list[str]) -> None:
    """Print the tests that find mutants: ``NAME … [FILE …]``, by default in theory/test_layers.py."""
    from mutants import MUTANTS

    files = [word.removeprefix("tests/") for word in arguments if word.endswith(".py")] or ["theory/test_layers.py"]
    names = [word for word in arguments if not word.endswith(".py")]
    if unknown := [name for name in names if name not in MUTANTS]:
        raise SystemExit(f"Expected names of mutants, got {', '.join(map(repr, unknown))}.")
    for name in names:
        found = [f"  {seconds:6.2f} s  {test}" for seconds, test in candidates(MUTANTS[name], files)]
        print(name, *(found or [f"  not found by {', '.join(files)}"]), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
