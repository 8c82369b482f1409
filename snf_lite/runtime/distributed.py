"""Several processes that train one flow: ``current`` gives the rank of this process and their number.

Where ``torchrun`` did not start several processes, nothing here touches ``torch.distributed``.
"""

import atexit
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

#: Time limit of a wait for another process: as long as the main process may validate, sample and draw. torchrun ends
#: all processes when one fails, whatever they wait for.
TIMEOUT = timedelta(days=1)
_VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def local_rank() -> int:
    """Index of this process among those of its machine, and so of its CUDA device; 0 for a single process."""
    return int(os.environ.get("LOCAL_RANK", "0")) if launched() else 0


def shutdown() -> None:
    """Shut down the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


@dataclass(frozen=True)
class Process:
    """One of the processes that train a flow together, or the only one. All of them must make the same calls.

    Attributes:
        rank: Index of the process, from 0.
        world_size: Number of processes.
        device: Device on which the process computes.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process writes files, prints and shows the progress bar."""
        return self.rank == 0

    def on_main(self, work: Callable[[], T]) -> T:
        """Run ``work`` in the main process alone; every process returns its result or raises its exception.

        Results are pickled, so return CPU tensors. All other processes block until the result is there.
        """
        if self.world_size == 1:
            return work()
        shared: list[tuple[Any, Exception | None] | None] = [None]
        if self.is_main:
            try:
                shared = [(work(), None)]
            except Exception as error:
                shared = [(None, error)]
        dist.broadcast_object_list(shared)
        assert shared[0] is not None
        value, failure = shared[0]
        if failure is not None:
            raise failure
        result: T = value
        return result

    def local_main_first(self, work: Callable[[], T]) -> T:
        """Run ``work`` in one process of each machine and then in the others, which find what the first downloaded."""
        if self.world_size > 1 and local_rank() > 0:
            dist.barrier()
        result = work()
        if self.world_size > 1 and local_rank() == 0:
            dist.barrier()
        return result

    def first_not_none(self, value: T | None) -> T | None:
        """The first value of any process that is not None, the same in all; None if there is none."""
        if self.world_size == 1:
            return value
        values: list[T | None] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return next((one for one in values if one is not None), None)

    def shard(self, indices: Tensor) -> tuple[Tensor, float]:
        """This process's part of a joint batch, and the weight of its mean loss: its count times N over that of all.

        The mean over N processes of weight times mean loss is then the joint batch's mean, whatever the parts' sizes.
        A process without an example takes the first, at weight 0: the others wait for its gradients.
        """
        if self.world_size == 1:
            return indices, 1.0
        begin, stop = (part * len(indices) // self.world_size for part in (self.rank, self.rank + 1))
        if begin == stop:
            return indices[:1], 0.0
        return indices[begin:stop], (stop - begin) * self.world_size / len(indices)

    @torch.no_grad()
    def broadcast_from_main(self, tensors: Iterable[Tensor]) -> None:
        """Copy the main process's values into the tensors of every process."""
        for tensor in tensors:
            value = tensor.contiguous()
            dist.broadcast(value, 0)
            tensor.copy_(value)

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor], weight: float) -> None:
        """Replace each tensor by its mean over the processes, with the weights that ``shard`` gives."""
        for tensor in tensors:
            total = (tensor * (weight / self.world_size)).contiguous()
            dist.all_reduce(total)
            tensor.copy_(total)


def current(device: torch.device) -> Process:
    """This process; the first call initializes the process group, over gloo, and NCCL between CUDA devices.

    Args:
        device: Device on which this process computes.

    Raises:
        ValueError: ``WORLD_SIZE`` is set without the other variables that ``torchrun`` sets.
    """
    grouped = dist.is_available() and dist.is_initialized()
    if launched() and not grouped:
        missing = [name for name in _VARIABLES if name not in os.environ]
        if missing:
            count = os.environ["WORLD_SIZE"]
            raise ValueError(f"WORLD_SIZE is {count}: expected {', '.join(missing)} as torchrun sets them, got none.")
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        atexit.register(shutdown)
        grouped = True
    return Process(dist.get_rank(), dist.get_world_size(), device) if grouped else Process(0, 1, device)
