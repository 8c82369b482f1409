"""The machine's part in a run: which device computes, what it is called, when it is done, what it does with memory."""

import ctypes
import platform
from pathlib import Path

import torch

from snf_lite.runtime import distributed


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device asked for; None: the CUDA device if there is one, else the CPU. ValueError if it is not here.

    Each of several processes has one CUDA device of its machine for itself and refuses another's.
    """
    here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    asked = str(device or ("cuda" if len(here) > 1 else "cpu"))
    own = f"cuda:{distributed.local_rank()}"
    chosen = own if asked == "cuda" else asked
    if distributed.launched() and chosen not in ("cpu", own):
        raise ValueError(f"Expected cpu, cuda or no device for each of several processes ({own} here); got {asked!r}.")
    if chosen not in here:
        raise ValueError(f"Expected a device out of {', '.join(here)}; got {asked!r}{_meant(asked, chosen)}.")
    return torch.device(chosen)


def _meant(asked: str, chosen: str) -> str:
    return "" if asked == chosen or not distributed.launched() else f", which is {chosen} for this process"


def device_name(device: torch.device) -> str:
    """What the device is sold as, without anything that tells one such machine from another."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {_processor()}"


def _processor() -> str:
    """The processor's name where Linux tells it, else its architecture."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text("utf-8").splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def synchronize(device: torch.device) -> None:
    """Let the device finish what it was given, so that a clock read next tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def tune_malloc() -> bool:
    """Let this process keep the memory that it frees, for the next step to use; False where the C library is not glibc.

    Every step asks for the buffers that the last one freed. glibc hands large ones back to the system in between, and
    fetching fresh pages takes up to as long as the matrix product that fills them. The command line does this at its
    start; a library should not do it unasked.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # from malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError, OSError):
        return False
    wanted = {trim_threshold: 2**31 - 1, top_pad: 2**26, mmap_max: 0}
    return all([mallopt(option, value) for option, value in wanted.items()])
