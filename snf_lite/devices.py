"""The machine's part in a run: which device computes, what it is called, when it is done."""

import platform
from pathlib import Path

import torch


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device asked for; None: the CUDA device if there is one, else the CPU. ValueError if it is not here."""
    here = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    asked = str(device or ("cuda" if len(here) > 1 else "cpu"))
    chosen = "cuda:0" if asked == "cuda" else asked
    if chosen not in here:
        raise ValueError(f"Expected a device out of {', '.join(here)}; got {asked!r}.")
    return torch.device(chosen)


def device_name(device: torch.device) -> str:
    """What the device is sold as, without anything that tells one such machine from another."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {_processor()}"


def _processor() -> str:
    """The processor's name where Linux tells it, else its architecture."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def wait_for(device: torch.device) -> None:
    """Let the device finish what it was given, so that a clock read next tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
