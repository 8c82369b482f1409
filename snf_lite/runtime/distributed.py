"""Several processes that train as one: what their launcher, torchrun, says, and what they tell each other.

Where no launcher asked for several processes, nothing here touches ``torch.distributed``: there is one, and it writes.
"""

import atexit
import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

#: How long a process waits for the others: as long as the one that writes may validate, sample and draw. torchrun ends
#: all processes when one fails, whatever they wait for.
TIMEOUT = timedelta(days=1)
_WORDS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def local_rank() -> int:
    """Which of this machine's processes this is, and so which of its CUDA devices it takes; 0 of a single one."""
    return int(os.environ.get("LOCAL_RANK", "0")) if launched() else 0


def init(device: torch.device) -> None:
    """Meet the other processes, if a launcher started several: over gloo, and NCCL between CUDA devices.

    Raises:
        ValueError: ``WORLD_SIZE`` is set but not the rest of what torchrun says.
    """
    if not launched() or dist.is_initialized():
        return
    missing = [word for word in _WORDS if word not in os.environ]
    if missing:
        count = os.environ["WORLD_SIZE"]
        raise ValueError(f"WORLD_SIZE is {count}: expected {', '.join(missing)} as torchrun sets them, got none.")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    atexit.register(shutdown)


def shutdown() -> None:
    """Part from the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _met() -> bool:
    return dist.is_available() and dist.is_initialized()


def world_size() -> int:
    """How many processes train as one."""
    return dist.get_world_size() if _met() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if _met() else 0


def is_main_process() -> bool:
    """Whether this is the process that writes files, prints and shows the bar."""
    return rank() == 0


def on_main_process(work: Callable[[], T]) -> T:
    """What ``work`` returns or raises in the process that writes, in every process; it is run in that one alone.

    Results travel pickled: tensors on the CPU, please. The others wait.
    """
    if world_size() == 1:
        return work()
    told = [_attempt(work) if is_main_process() else None]
    dist.broadcast_object_list(told)
    assert told[0] is not None
    value, error = told[0]
    if error is not None:
        raise error
    return value


def _attempt(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return work(), None
    except Exception as error:
        return None, error


def local_main_process_first(work: Callable[[], T]) -> T:
    """Run ``work`` in every process, in one of each machine before the others, which then find what it downloaded."""
    if world_size() > 1 and local_rank() > 0:
        dist.barrier()
    result = work()
    if world_size() > 1 and local_rank() == 0:
        dist.barrier()
    return result


def first_not_none(value: T | None) -> T | None:
    """Of the processes' values the first that is not None, the same for all."""
    if world_size() == 1:
        return value
    given: list[T | None] = [None] * world_size()
    dist.all_gather_object(given, value)
    return next((one for one in given if one is not None), None)


def shard(indices: Tensor) -> tuple[Tensor, float]:
    """This process's part of a joint batch, and the weight of its mean loss: its count times N over that of all.

    The mean over N processes of weight times mean loss is then the joint batch's mean, whatever the parts' sizes. A
    process for which no event is left takes the first, at weight 0: the others wait for its gradients.
    """
    begin, stop = (part * len(indices) // world_size() for part in (rank(), rank() + 1))
    if begin == stop:
        return indices[:1], 0.0
    return indices[begin:stop], (stop - begin) * world_size() / len(indices)


@torch.no_grad()
def broadcast_from_main(tensors: Iterable[Tensor]) -> None:
    """Give every process the writer's values, in place."""
    for tensor in tensors:
        value = tensor.contiguous()
        dist.broadcast(value, 0)
        tensor.copy_(value)


@torch.no_grad()
def average(tensors: Iterable[Tensor], weight: float) -> None:
    """Make of each tensor its mean over the processes, weighted as ``share`` says, in place."""
    for tensor in tensors:
        total = (tensor * (weight / world_size())).contiguous()
        dist.all_reduce(total)
        tensor.copy_(total)
