"""Operation counts of a step: products, multiply-adds, factorizations, and bytes saved for the backward pass.

Counts, unlike times, are the same on every machine and in every repetition.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten

#: Products in place, which torch's registry does not have, by the product that costs the same.
IN_PLACE = {aten.addmm_: aten.addmm}

#: Multiply-adds of LAPACK routines for matrices (…, D, D) and n right-hand sides, to leading order, from textbooks.
SOLVERS: dict[Any, Callable[[int, int], float]] = {
    aten.linalg_lu_factor_ex: lambda D, n: D**3 / 3,
    aten._linalg_slogdet: lambda D, n: D**3 / 3,
    aten.linalg_lu_solve: lambda D, n: D**2 * n,
    aten.linalg_solve_triangular: lambda D, n: D**2 * n / 2,
    aten._linalg_solve_ex: lambda D, n: D**3 / 3 + D**2 * n,
    aten.linalg_inv_ex: lambda D, n: D**3,
}


@dataclass
class Counts:
    """The work of one step.

    Attributes:
        products: Number of matrix products and convolutions; the backward pass of a convolution has up to two. A mean
            over several steps need not be whole.
        multiply_adds: Multiply-adds of those products, with padding counted as pixels.
        solvers: Number of calls of each factorization or solve, by name.
        solver_multiply_adds: Multiply-adds of those, to leading order.
        saved_bytes: Largest number of bytes saved for the backward pass at one time, without input and parameters.
        peak_bytes: Peak memory above the memory allocated before the step; CUDA only.
    """

    products: float = 0
    multiply_adds: int = 0
    solvers: dict[str, int] = field(default_factory=dict)
    solver_multiply_adds: float = 0.0
    saved_bytes: int = 0
    peak_bytes: int | None = None

    def divided(self, steps: int) -> "Counts":
        """The mean work of a step, where several were counted; memory and calls of solvers stay those of all."""
        if steps == 1:
            return self
        solvers = self.solver_multiply_adds / steps
        adds = round(self.multiply_adds / steps)
        return replace(self, products=self.products / steps, multiply_adds=adds, solver_multiply_adds=solvers)


#: Names of the counts.
COUNTED = [entry.name for entry in fields(Counts)]


def count(run: Callable[[], Any], leaves: Iterable[Tensor] = (), device: torch.device | None = None) -> Counts:
    """Run once and count.

    Args:
        run: Forward and backward pass.
        leaves: Input and parameters, which do not count as saved.
        device: Device of the tensors; the peak memory is measured if it is a GPU.
    """
    tracker, counts = SavedTensorTracker(leaves), Counts()
    on_gpu = device is not None and device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    with WorkCounter(counts), saved_tensors_hooks(tracker.save, SavedTensor.unpack):
        run()
    counts.solver_multiply_adds = round(counts.solver_multiply_adds)
    counts.saved_bytes = tracker.most
    counts.peak_bytes = torch.cuda.max_memory_allocated(device) - before if on_gpu else None
    return counts


class WorkCounter(TorchDispatchMode):
    """Adds the products, factorizations and solves that reach the kernels to ``counts``, backward passes included.

    FLOPs of products come from torch's registry. ``FlopCounterMode`` itself hooks every module, and its hooks refuse
    ``torch.autograd.grad`` with respect to the input of a module.
    """

    def __init__(self, counts: Counts) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operation, counts = IN_PLACE.get(func.overloadpacket, func.overloadpacket), self.counts
        if operation is aten.convolution_backward:
            # Each requested pass costs as much as the forward pass; torch's formula ignores groups.
            passes = sum(args[-1][:2])
            counts.products += passes
            counts.multiply_adds += passes * args[0].numel() * args[2][0].numel()
        elif operation in flop_registry:
            counts.products += 1
            counts.multiply_adds += flop_registry[operation](*args, **(kwargs or {}), out_val=out) // 2
        elif operation in SOLVERS:
            matrix, right = args[0], args[2] if operation is aten.linalg_lu_solve else args[-1]
            size, columns = matrix.shape[-1], right.shape[-1] if isinstance(right, Tensor) else 0
            name = operation.__name__.strip("_")
            counts.solvers[name] = counts.solvers.get(name, 0) + 1
            counts.solver_multiply_adds += math.prod(matrix.shape[:-2]) * SOLVERS[operation](size, columns)
        return out


class SavedTensorTracker:
    """Number of bytes saved for the backward pass, each storage counted once; ``most`` is the largest total so far."""

    def __init__(self, leaves: Iterable[Tensor]) -> None:
        self.free = {leaf.untyped_storage().data_ptr() for leaf in leaves}
        self.holders: Counter[int] = Counter()
        self.total = self.most = 0

    def save(self, tensor: Tensor) -> "SavedTensor":
        return SavedTensor(self, tensor)

    def add(self, storage: torch.UntypedStorage) -> None:
        if self.holders[storage.data_ptr()] == 0 and storage.data_ptr() not in self.free:
            self.total += storage.nbytes()
        self.holders[storage.data_ptr()] += 1
        self.most = max(self.most, self.total)

    def remove(self, storage: torch.UntypedStorage) -> None:
        self.holders[storage.data_ptr()] -= 1
        if self.holders[storage.data_ptr()] == 0 and storage.data_ptr() not in self.free:
            self.total -= storage.nbytes()


class SavedTensor:
    """A tensor saved for the backward pass; it notifies the tracker when autograd frees it."""

    def __init__(self, tracker: SavedTensorTracker, tensor: Tensor) -> None:
        # Detached, because a saved result would otherwise keep its own node alive.
        self.tracker, self.tensor = tracker, tensor.detach()
        tracker.add(self.tensor.untyped_storage())

    def unpack(self) -> Tensor:
        return self.tensor

    def __del__(self) -> None:
        self.tracker.remove(self.tensor.untyped_storage())
