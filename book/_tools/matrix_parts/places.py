"""What a row of the matrix runs in: a checkout of a kind, an environment with other versions, a locale, a PATH."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from paths import ROOT

from matrix_parts.rows import COLAB

#: Environments take minutes and gigabytes to make: they are kept, until this folder is deleted.
KEPT = ROOT / ".venv-matrix"
NOBODY = 65534


class NotHere(Exception):
    """What a row needs is not on this machine."""


def quiet(*command: str | Path, **settings: object) -> str:
    """Run a program; its output. CalledProcessError with its output if it fails."""
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
        **settings,  # type: ignore[call-overload]
    )  # fmt: skip
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout)
    return str(done.stdout)


# ---- checkouts -------------------------------------------------------------------------------------------------------


def checkout(kind: str, folder: Path) -> Path:
    """What is committed here, as a checkout of that kind."""
    place = folder / ("Übung mit Abständen Áč 漢字 'q'" if kind == "odd" else "checkout")
    if kind == "zip":
        place.mkdir()
        archive = folder / "archive.tar"
        quiet("git", "-C", ROOT, "archive", "--output", archive, "HEAD")
        shutil.unpack_archive(archive, place, filter="data")
        return place
    line_ends = ["-c", "core.autocrlf=true"] if kind == "crlf" else []
    quiet("git", "clone", "-q", "--no-hardlinks", *line_ends, ROOT, place)
    return place


def given_to_nobody(folder: Path, place: Path, writable: bool) -> None:
    """Let a user without rights read the place, and write into the folder around it; into the place as well, or not."""
    owned = [folder, *folder.rglob("*")]
    for path in owned:
        inside = path == place or place in path.parents
        if os.geteuid() == 0 and (writable or not inside):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod((path.stat().st_mode | 0o555 if path.is_dir() else path.stat().st_mode | 0o444) & ~0o022)
            if inside and not writable:
                path.chmod(path.stat().st_mode & ~0o222)


def as_nobody() -> list[str]:
    """What goes before a command that another user than root runs; nothing where this already is one."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        raise NotHere("no setpriv, with which root becomes another user")
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


# ---- Pythons and environments ----------------------------------------------------------------------------------------


def found_python(wanted: str) -> str:
    """The command of a Python: of a path, of a version, or, for "", of the one that runs this."""
    if not wanted:
        return sys.executable
    if "/" in wanted:
        candidates = [wanted]
    else:
        minor = sys.version_info[:2] == tuple(map(int, wanted.split(".")))
        kept = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{wanted}.*/bin/python"), reverse=True)
        candidates = [sys._base_executable] * minor + [f"python{wanted}", *map(str, kept)]  # type: ignore[attr-defined]
    for command in filter(None, map(shutil.which, candidates)):
        asked = "import sys, venv, ensurepip; print((3, 11) <= sys.version_info[:2] <= (3, 13))"
        done = subprocess.run([command, "-c", asked], capture_output=True, encoding="utf-8")
        if done.stdout.strip() == "True":
            return command
    raise NotHere(f"no Python {wanted}" if "/" not in wanted else f"no Python 3.11 to 3.13 with venv at {wanted}")


def limits(versions: str) -> list[str]:
    """What pip has to keep to, instead of constraints.txt."""
    if versions == "colab":
        return [f"{name}=={version}" for name, version in COLAB.items()]
    if versions == "newest":
        return []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["live"]]
    found = [re.match(r"([\w-]+)>=([\d.]+)", line) for line in wanted]
    return [f"{match[1]}=={match[2]}.*" for match in found if match]


def environment(python: str, versions: str) -> str:
    """The Python of an environment with these versions, made where it is not there yet; "" and "pinned": this one."""
    if not python and versions == "pinned":
        return sys.executable
    command = found_python(python)
    inputs = [(ROOT / name).read_text("utf-8") for name in ("requirements.txt", "constraints.txt", "pyproject.toml")]
    wanted = re.findall(r"^dependencies = .*?^\]|^\w+ = \[.*?$", inputs[2], re.MULTILINE | re.DOTALL)
    key = hashlib.sha256("\n".join([*inputs[:2], *wanted, *limits(versions)]).encode()).hexdigest()[:8]
    number = quiet(command, "-c", "import platform; print(platform.python_version())").strip()
    home = KEPT / f"{number}-{versions}-{key}"
    made = home / ".venv" / "bin" / "python"
    if not (home / ".venv" / ".ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        quiet("git", "clone", "-q", "--no-hardlinks", ROOT, home / "made")
        _set_up(command, versions, home)
    return str(made)


def _set_up(command: str, versions: str, home: Path) -> None:
    """The README's way where the versions are the pinned ones; pip by itself elsewhere."""
    checkout, venv = home / "made", home / ".venv"
    if versions == "pinned":
        quiet("make", "-C", checkout, "../.venv/.ready", "VENV=../.venv", f"PYTHON={command}", env=_plain())
        return
    lines = (checkout / "requirements.txt").read_text("utf-8").splitlines(keepends=True)
    (checkout / "requirements.txt").write_text("".join(line for line in lines if not line.startswith("-c")), "utf-8")
    (checkout / "limits.txt").write_text("\n".join(limits(versions)), "utf-8")
    quiet(command, "-m", "venv", venv)
    install = [venv / "bin" / "python", "-m", "pip", "install", "-q", "--no-compile", "-r", "requirements.txt"]
    quiet(*install, "-c", "limits.txt", cwd=checkout, env=_plain())
    (venv / ".ready").touch()


def _plain() -> dict[str, str]:
    """The variables of this process without those of an outer make."""
    return {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}


def own_environment(python: str, place: Path) -> Path:
    """The checkout's own ``.venv``: its package, and everything else out of an environment that is there."""
    show = "import sys; print(*(path for path in sys.path if path.endswith('site-packages')), sep='\\n')"
    others = quiet(python, "-c", show)
    home = place / ".venv"
    quiet(python, "-m", "venv", "--without-pip", home)
    new = home / "bin" / "python"
    own = quiet(new, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(own, "others.pth").write_text(others, "utf-8")
    quiet(new, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", ".", cwd=place)
    start = "from importlib.metadata import entry_points; "
    start += '[found] = entry_points(group="console_scripts", name="jupyter-book"); raise SystemExit(found.load()())'
    script = home / "bin" / "jupyter-book"
    script.write_text(f'#!/bin/sh\nexec "$(dirname "$0")/python" -c \'{start}\' "$@"\n', "utf-8")
    script.chmod(0o755)
    return new


# ---- locales and programs --------------------------------------------------------------------------------------------


def with_locale(value: str, folder: Path) -> dict[str, str]:
    """Variables that set a locale: one that the system has, or, as language/charset, one made for it."""
    if "/" not in value:
        return {"LC_ALL": value}
    if not shutil.which("localedef"):
        raise NotHere("no localedef, which makes locales")
    language, charset = value.split("/")
    try:
        quiet("localedef", "-i", language, "-f", charset, folder / f"{language}.{charset}")
    except subprocess.CalledProcessError as error:
        raise NotHere(f"localedef cannot make {language} in {charset}") from error
    return {"LC_ALL": f"{language}.{charset}", "LOCPATH": str(folder)}


def path_without(names: tuple[str, ...], folder: Path) -> str:
    """A PATH with all programs of this one but those whose name has one of these words in it."""
    folder.mkdir()
    readable = [Path(name) for name in os.get_exec_path() if os.access(name, os.R_OK | os.X_OK)]
    for directory in filter(Path.is_dir, readable):
        for program in directory.iterdir():
            if not any(name in program.name for name in names) and not (folder / program.name).is_symlink():
                (folder / program.name).symlink_to(program)
    return str(folder)
