"""Provenance of a result: code version, libraries, machine and time."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snf_lite._version import __version__
from snf_lite.runtime.devices import device_name


def provenance(device: torch.device, **libraries: str) -> dict[str, Any]:
    """The entries of a ``Record`` that describe code, machine and time.

    Args:
        device: Device of the computation.
        libraries: Optional libraries that take part: import name = distribution name. Version None if not installed.
    """
    return {
        "package": package_identity(),
        "libraries": {**library_versions(), **{name: _version(libraries[name]) for name in libraries}},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def library_versions() -> dict[str, str]:
    """Versions of Python, torch and numpy."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def package_identity() -> dict[str, Any]:
    """Version and commit of the running snf_lite, and whether it has changes; None outside its own git checkout."""
    folder = Path(__file__).parents[1]
    top = _git(folder, "rev-parse", "--show-toplevel")
    # A package installed inside another repository is not part of that repository's commit.
    if top is None or Path(top).resolve() != folder.parent.resolve():
        return {"version": __version__, "commit": None, "dirty": None}
    changes = _git(folder, "status", "--porcelain", "--", str(folder))
    return {"version": __version__, "commit": _git(folder, "rev-parse", "HEAD"), "dirty": changes != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command, or None if it fails or git is missing. Paths come in the file system's encoding."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(done.stdout).strip() if done.returncode == 0 else None
