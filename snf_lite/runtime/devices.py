"""Devices: selection, model name, synchronization, and the memory allocator of the CPU."""

import ctypes
import platform
from pathlib import Path

import torch

from snf_lite.runtime import distributed


def choose_device(device: torch.device | str | None) -> torch.device:
    """Device to compute on.

    Args:
        device: name, of Apple's (mps) and Intel's (xpu) too; None: the CUDA device if there is one, else the CPU. With
            several processes, each has one CUDA device, and ``cuda`` means that one.

    Raises:
        ValueError: the device does not exist or belongs to another process.
    """
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    present = ["cpu", *cuda, *_other_devices()]
    asked = str(device or ("cuda" if cuda else "cpu"))
    own = f"cuda:{distributed.local_rank()}"
    chosen = own if asked == "cuda" else asked
    if distributed.launched() and chosen not in ("cpu", own):
        raise ValueError(f"Expected cpu, cuda or no device for each of several processes ({own} here); got {asked!r}.")
    if chosen not in present:
        meant = f", which is {chosen} for this process" if asked != chosen and distributed.launched() else ""
        kind = asked.partition(":")[0]
        none = kind in ("cuda", "mps", "xpu") and not any(name.startswith(kind) for name in present)
        why = f": no {kind.upper()} device here (torch {torch.__version__})" if none else ""
        raise ValueError(f"Expected a device out of {', '.join(present)}; got {asked!r}{meant}{why}.")
    return torch.device(chosen)


def _other_devices() -> list[str]:
    """Names of the devices of Apple and Intel that are present."""
    mps = ["mps", "mps:0"] if torch.backends.mps.is_available() else []
    count = torch.xpu.device_count() if torch.xpu.is_available() else 0
    return [*mps, *(["xpu"] if count else []), *(f"xpu:{index}" for index in range(count))]


def device_name(device: torch.device) -> str:
    """Model name of the device; for a CPU its architecture where /proc/cpuinfo has no name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type in ("mps", "xpu"):
        return torch.xpu.get_device_name(device) if device.type == "xpu" else "Apple GPU (mps)"
    table = Path("/proc/cpuinfo")
    lines = table.read_text("utf-8").splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"CPU, {names[0] if names else platform.machine()}"


def synchronize(device: torch.device) -> None:
    """Wait for all queued kernels, so that timings are valid."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type in ("mps", "xpu"):
        getattr(torch, device.type).synchronize()


def tune_malloc() -> bool:
    """Keep freed memory in the process for the next step; False if the C library is not glibc.

    Every step allocates the buffers that the previous one freed. By default glibc returns large buffers to the system,
    and mapping new pages can take as long as the matrix product that fills them. The command line calls this at its
    start; a library should not change its caller's process.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # from malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, TypeError, OSError):
        return False
    wanted = {trim_threshold: 2**31 - 1, top_pad: 2**26, mmap_max: 0}
    return all([mallopt(option, value) for option, value in wanted.items()])
