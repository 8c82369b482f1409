"""Stamp of the sources of built pages, which shows whether the pages have to be built again.

A build with ``-n`` that reads every page and has nothing to warn of leaves ``stamp.json`` beside the folder of its
pages: the checksum of each file that went in and of each that came out, and the versions of all packages. A build that
reads only what has changed leaves none, since it does not repeat the warnings of other pages and does not renumber
what they refer to; if nothing has changed, the stamp that is there stays. ``stale`` compares a stamp with the files.
"""

import hashlib
import json
import platform
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

NAME = "stamp.json"
#: Read by the build or by what it imports, but for the tools beside the pages. What else they include the stamp names.
SOURCES, TOOLS = ("_config.yml", "_toc.yml", "book/**/*", "snf_lite/**/*.py"), ("book/*.py", "book/_tools/**/*")
#: Jupyter Book writes this page after Sphinx has finished; it leads to the first one.
ENTRANCE = "index.html"

Sums = dict[str, str]  # the path of a file below some folder → the checksum of its content


def sums(folder: Path, files: Iterator[Path]) -> Sums:
    """The checksums of those that exist and belong to a checkout: no caches, no hidden files."""
    found = {}
    for path in sorted(files):
        inside = path.relative_to(folder)
        hidden = any(part.startswith((".", "__pycache__")) for part in inside.parts)
        if path.is_file() and not hidden:
            found[inside.as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def sources(root: Path, included: list[str]) -> Sums:
    """What a build in ``root`` would read today; ``included`` are files beyond those of ``SOURCES``."""
    listed, tools = ({path for pattern in patterns for path in root.glob(pattern)} for patterns in (SOURCES, TOOLS))
    return sums(root, iter((listed - tools) | {root / name for name in included}))


def versions() -> dict[str, str]:
    """Every package that is installed, and Python itself."""
    return {"python": platform.python_version()} | {one.name.lower(): one.version for one in distributions()}


def differing(before: dict[str, str], now: dict[str, str]) -> list[str]:
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def stale(html: Path, root: Path) -> str:
    """Why the pages in ``html`` cannot stand for a build of ``root`` as it is now; empty if they can."""
    try:
        stamp = json.loads((html.parent / NAME).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return "no whole build without a warning is there"
    if changed := differing(stamp["sources"], sources(root, stamp["included"])):
        return f"sources have changed: {', '.join(changed)}"
    if changed := differing(stamp["versions"], versions()):
        return f"other versions are installed: {', '.join(changed)}"
    if changed := differing(stamp["built"], built(html, stamp["built"])):
        return f"built files have changed: {', '.join(changed)}"
    return "" if (html / ENTRANCE).exists() else f"{ENTRANCE} is missing"


def built(html: Path, listed: Sums | None = None) -> Sums:
    """What a build has written: all files, or those of a list and every page that is there besides."""
    files = html.rglob("*") if listed is None else {*(html / name for name in listed), *html.rglob("*.html")}
    return sums(html, (path for path in files if path != html / ENTRANCE))


class Stamp:
    """Writes the stamp of one build, if it earns one."""

    def __init__(self) -> None:
        self.whole = False
        self.before = ""

    def begin(self, app: Sphinx) -> None:
        """Take away the stamp of the build before: this one may be interrupted."""
        path = Path(app.outdir).parent / NAME
        usable = path.exists() and not stale(Path(app.outdir), Path(app.srcdir))
        self.before = path.read_text("utf-8") if usable else ""
        path.unlink(missing_ok=True)

    def read(self, app: Sphinx, env: BuildEnvironment, names: list[str]) -> None:
        self.whole = set(names) >= set(env.found_docs)

    def finish(self, app: Sphinx, error: Exception | None) -> None:
        if error or app._warncount or not app.config.nitpicky or app.builder.name != "html":
            return
        text = json.dumps(self.made(app), indent=1) if self.whole else self.before
        if text:
            (Path(app.outdir).parent / NAME).write_text(text, "utf-8")

    def made(self, app: Sphinx) -> dict[str, Any]:
        root = Path(app.srcdir)
        included = beyond(app.env, root)
        found = built(Path(app.outdir))
        return {"sources": sources(root, included), "included": included, "versions": versions(), "built": found}


def beyond(env: BuildEnvironment, root: Path) -> list[str]:
    """The files of ``root`` that pages include: images, downloads, modules whose docstrings are shown."""
    named = {Path(root, name).resolve() for name in (*env.images, *env.dlfiles)}
    named |= {Path(root, str(name)).resolve() for names in env.dependencies.values() for name in names}
    inside = (path.relative_to(root.resolve()) for path in named if path.is_relative_to(root.resolve()))
    return sorted(path.as_posix() for path in inside if not path.parts[0].startswith((".", "_build")))


def extensions() -> int:
    """A number for the source of the extensions here: with another one Sphinx reads all pages again."""
    content = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return int(hashlib.sha256(content).hexdigest()[:8], 16)


def setup(app: Sphinx) -> dict[str, Any]:
    stamp = Stamp()
    app.connect("builder-inited", stamp.begin)
    app.connect("env-before-read-docs", stamp.read)
    app.connect("build-finished", stamp.finish, priority=1000)  # behind those that copy their files there
    return {"parallel_read_safe": True, "env_version": extensions()}
