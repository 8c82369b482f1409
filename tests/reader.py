"""What a reader of one chapter has: the package, what it depends on, a kernel, and a folder with nothing in it.

A stand-in for Colab, and stricter: what a chapter imports has to be a dependency of the package. The notebooks are
compared in such an environment (``book/conftest.py``); that their first cell makes it is ``test_alone.py``.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement
from paths import ROOT, public_address

#: What is there besides the package: the kernel that runs a notebook's cells, the widgets that Jupyter and Colab bring
#: along (torch's import of tqdm warns without them), and what ``%pip install`` needs.
GIVEN = ("ipykernel", "ipywidgets", "matplotlib-inline", "pip", "setuptools")

#: The name by which nbval asks for the reader's kernel (pyproject.toml).
KERNEL = "reader"

#: Starts that kernel: in a folder of its own, and without the variables of the tests.
LAUNCH = """
import os, sys, tempfile
os.chdir(tempfile.mkdtemp(dir={folder!r}))
for name in [name for name in os.environ if name.startswith("SNF_")] + ["PYTHONPATH"]:
    os.environ.pop(name, None)
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()
"""

#: Imports modules of these names from these folders, after everything on ``sys.path``.
FINDER = """
import sys
from importlib.machinery import PathFinder

class OnlyThese:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is None and name in {modules}:
            return PathFinder.find_spec(name, {places}, target)

sys.meta_path.append(OnlyThese)
"""


def needed(names: tuple[str, ...]) -> set[str]:
    """The distributions that these need, themselves included, as their metadata say it."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            wanted = map(Requirement, requires(name) or [])
        except PackageNotFoundError:
            continue
        found.add(name)
        waiting += [want.name for want in wanted if not want.marker or want.marker.evaluate({"extra": ""})]
    return found


def shown(names: set[str], folder: Path) -> Path:
    """A folder for ``sys.path`` that shows these distributions and no others of those that are installed here.

    Their metadata are copied, for pip reads them off the path; their modules are imported from where they are, by a
    finder that knows no other names. So nothing is linked, which Windows forbids to most users.
    """
    folder.mkdir()
    modules, places = set(), []
    for found in map(distribution, sorted(names)):
        place = Path(str(found.locate_file("")))
        places += [str(place)] if str(place) not in places else []
        for top in {file.parts[0] for file in found.files or []} - {"..", "__pycache__"}:
            if top.endswith(".dist-info"):
                shutil.copytree(place / top, folder / top, dirs_exist_ok=True)
            else:
                modules.add(top.split(".")[0])
    text = FINDER.format(modules=sorted(modules), places=places)
    (folder / "only_these.py").write_text(text, "utf-8")
    return folder


def as_public_repository(folder: Path) -> Path:
    """A git repository with what pip needs to build the package."""
    for package in ("snf_lite", "book/snf_book"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    records = shutil.ignore_patterns("*.pt")
    shutil.copytree(ROOT / "data" / "runs", folder / "data" / "runs", ignore=records)
    for name in ["pyproject.toml", "README.md", "LICENSE"]:
        shutil.copy(ROOT / name, folder)
    identity = ["-c", "user.name=a reader", "-c", "user.email=reader@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "the package"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder


def bare(variables: Mapping[str, str]) -> dict[str, str]:
    """These variables of a shell without this project's and without another environment's."""
    return {name: value for name, value in variables.items() if not re.match(r"PYTHONPATH|VIRTUAL_ENV|SNF_", name)}


def environment(home: Path) -> dict[str, str]:
    """The variables of a reader's shell: nothing of this project's, its public address led to a copy of it."""
    return {
        **bare(os.environ),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{as_public_repository(home / 'public').as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": public_address(),
        "PIP_NO_BUILD_ISOLATION": "0",  # read as the answer to "isolate?": build with the setuptools at hand
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "IPYTHONDIR": str(home / "ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # what a notebook has
    }


def made(home: Path) -> Path:
    """A new environment at ``home / "env"``, the package not yet in it: its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "env"], check=True)
    others = shown(needed(("snf-lite", *GIVEN)) - {"snf-lite"}, home / "others")
    (packages(home) / "others.pth").write_text(f"{others}\nimport only_these\n", "utf-8")
    (home / "empty").mkdir()
    return interpreter(home)


def interpreter(home: Path) -> Path:
    """The Python of that environment."""
    return place(home, "scripts") / f"python{sysconfig.get_config_var('EXE') or ''}"


def packages(home: Path) -> Path:
    """Where that environment keeps what is installed into it."""
    return place(home, "purelib")


def place(home: Path, kind: str) -> Path:
    """One of the folders of that environment, by its name in ``sysconfig``."""
    base = str(home / "env")
    return Path(sysconfig.get_path(kind, "venv", {"base": base, "platbase": base}))


def pip(python: Path, folder: Path, command: str, *words: str) -> None:
    """Let pip build or install something in that environment, with what is there and nothing from elsewhere."""
    alone = ["-qq", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([python, "-m", "pip", command, *alone, *words], check=True, cwd=folder, env=bare(os.environ))


def kernel(home: Path) -> Path:
    """A folder for ``JUPYTER_PATH`` with the kernel of a new environment that has the package, as pip installs it."""
    python = made(home)
    pip(python, home, "install", str(as_public_repository(home / "public")))
    spec = home / "jupyter" / "kernels" / KERNEL
    spec.mkdir(parents=True)
    argv = [str(python), "-c", LAUNCH.format(folder=str(home / "empty")), "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": KERNEL, "language": "python"}), "utf-8")
    return home / "jupyter"


def left_behind(home: Path) -> list[str]:
    """The files that chapters wrote into the folders where they ran."""
    return [str(path.relative_to(home / "empty")) for path in (home / "empty").rglob("*") if path.is_file()]
