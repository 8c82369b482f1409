"""Where and when something was computed, by which code, on what machine."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from snf_lite._version import __version__
from snf_lite.runtime.devices import device_name


def provenance(device: torch.device) -> dict[str, Any]:
    """What every kind of record says of where and when it was made; ``Record`` explains the entries."""
    return {
        "package": package_identity(),
        "libraries": library_versions(),
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def library_versions() -> dict[str, str]:
    """Versions of what computes."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def package_identity() -> dict[str, Any]:
    """Version, commit and dirtiness of the snf_lite that is running; commit and dirty are None outside its own git."""
    folder = Path(__file__).parents[1]
    top = _git(folder, "rev-parse", "--show-toplevel")
    # Installed into an environment inside some other repository, the package is not that repository's commit.
    if top is None or Path(top).resolve() != folder.parent.resolve():
        return {"version": __version__, "commit": None, "dirty": None}
    changes = _git(folder, "status", "--porcelain", "--", str(folder))
    return {"version": __version__, "commit": _git(folder, "rev-parse", "HEAD"), "dirty": changes != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None where it refuses or is not there. Git prints a path as the bytes the system has for it."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return os.fsdecode(done.stdout).strip() if done.returncode == 0 else None
