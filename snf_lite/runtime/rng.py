"""Random numbers that depend on a key and on nothing else: they leave the global generators as they were."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def isolated_rng(device: torch.device | str, *key: int | str) -> Iterator[None]:
    """Within the block torch's global generators, the CPU's and the device's, start from a seed made of the key.

    Epoch 7 of a run is so the same whether or not epochs 1 to 6 were run in this process. Afterwards both generators
    stand where they stood before.
    """
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big", signed=True)
    with torch.random.fork_rng(cuda):
        # Not torch.manual_seed: it would reseed every other device too, which the fork does not guard.
        torch.default_generator.manual_seed(seed)
        for forked in cuda:
            with torch.cuda.device(forked):
                torch.cuda.manual_seed(seed)
        yield


def require_seed(seed: Any, owner: str) -> int:
    """Refuse a seed that is no integer."""
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise ValueError(f"{owner}: expected seed to be an integer, got {seed!r}.")
    return seed
