"""Random numbers that depend on a key alone and leave the global generators unchanged."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from threading import RLock
from typing import Any

import torch

_ONE_THREAD = RLock()


@contextmanager
def isolated_rng(device: torch.device | str, *key: int | str) -> Iterator[None]:
    """Seed torch's global generators of the CPU and of the device from the key; restore them at the end of the block.

    So epoch 7 of a run is the same whether or not epochs 1 to 6 were run in this process. The generators belong to the
    whole process, so other threads wait for the block to end.
    """
    device = torch.device(device)
    cuda = [device] if device.type == "cuda" else []
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "big", signed=True)
    with _ONE_THREAD, torch.random.fork_rng(cuda):
        # Not torch.manual_seed: it would also reseed other devices, which fork_rng does not restore.
        torch.default_generator.manual_seed(seed)
        for own in cuda:
            with torch.cuda.device(own):
                torch.cuda.manual_seed(seed)
        yield


def require_seed(seed: Any, owner: str) -> int:
    """The seed; ValueError if it is not an integer, also one of numpy."""
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise ValueError(f"{owner}: expected seed to be an integer, got {seed!r}.")
    return int(seed)
