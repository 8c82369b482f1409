"""What the project knows about itself: its pages, its public address, and how its files are named and written."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
RUNTIMES = ROOT / "book" / "_data" / "runtimes.json"
#: A chapter's record at full size, by its name, in the folder of the runs.
FULL_RUN = "full-{}/full.json"

#: The address before anybody has published the project; in parts, or ``make address`` would change this line too.
PLACEHOLDER = "/".join(["https://github.com", "snf-book", "snf-book"])
UNPUBLISHED = (
    "That address is a placeholder: until somebody publishes the project, neither it nor the buttons that open a "
    "chapter on Colab lead anywhere. `make address URL=https://github.com/someone/theirs` puts the real address "
    "everywhere and takes these sentences out."
)

FIRST_CELL = """\
# Does nothing where snf_lite is installed. Elsewhere (on Colab, say) it installs this book's package alone:
# the torch and the numpy that are there stay as they are.
try:
    import snf_lite as snf
except ModuleNotFoundError:
    # git is to fail where there is nothing, not to wait for a password.
    %env GIT_TERMINAL_PROMPT=0
    %pip install --quiet --no-deps pooch platformdirs "snf-lite @ git+{address}"
    try:
        import snf_lite as snf
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"{{error}}: pip was to install this book's package; what it said stands above. The address "
            "{address} "
            "may be a placeholder, where nothing is published yet, or out of reach from here. Ask whoever published "
            "this page for the right one, or get a copy of the project and run, in a cell above this one: "
            "%pip install --no-deps pooch platformdirs FOLDER"
        ) from None"""


def public_address() -> str:
    """The project's public address, from the one place where it stands."""
    return yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["repository"]["url"]


def first_cell() -> str:
    """The code cell that every notebook begins with."""
    return FIRST_CELL.format(address=public_address())


def unpublished(address: str) -> str:
    """Note on the first pages while the address is a placeholder; empty once it is a real one."""
    return f" {UNPUBLISHED}" if address == PLACEHOLDER else ""


def pages() -> list[str]:
    """The pages of ``_toc.yml`` in reading order, as it names them: relative to the root, without suffix."""

    def walk(entry: object) -> Iterator[str]:
        if isinstance(entry, dict):
            for key, value in entry.items():
                yield from [value] if key in ("root", "file") else walk(value)
        elif isinstance(entry, list):
            for item in entry:
                yield from walk(item)

    return list(walk(yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))))


def notebooks() -> list[Path]:
    """The notebooks among the pages."""
    return [path for page in pages() if (path := ROOT / f"{page}.ipynb").exists()]


def git_refuses() -> str:
    """Why git cannot list the files of the project; empty if it can."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        return f"{ROOT} is no git checkout"
    asked = subprocess.run(["git", "rev-parse", "--git-dir"], cwd=ROOT, capture_output=True)
    return os.fsdecode(asked.stderr).strip()  # for another user's checkout git prints only this


def text_files() -> list[Path]:
    """Every text file that is in the repository, or is about to be. FileNotFoundError if git cannot list them."""
    if why := git_refuses():
        raise FileNotFoundError(f"Nothing tells which files belong to the project: {why}")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    paths = [ROOT / os.fsdecode(name) for name in sorted(set(listed.split(b"\0"))) if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


def cell_names(sources: Iterable[str]) -> Iterator[str]:
    """The id of each cell of a notebook: by what it contains, so that storing it again changes nothing."""
    seen: dict[str, int] = {}
    for source in sources:
        name = hashlib.sha256(source.encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name}-{seen[name]}"


def write(path: Path, text: str) -> None:
    """Replace a text file atomically."""
    from snf_lite.runtime.files import atomic_write  # imports torch, which most users of this module do not need

    atomic_write(path, text.encode())
