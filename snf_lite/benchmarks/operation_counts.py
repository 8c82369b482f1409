"""What a step does, counted instead of timed: products, multiply-adds, factorisations, bytes kept for backward.

Counts are the same on every machine and at every repetition; times are not.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten

#: Multiply-adds to leading order of what LAPACK does to matrices (…, D, D), n right-hand sides: textbook figures.
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
        products: matrix products and convolutions; each of a convolution's two backward passes is one more.
        multiply_adds: in those products, padding counted as if it were pixels.
        solvers: how often each factorisation or solve ran, by name.
        solver_multiply_adds: in those, to leading order.
        saved_bytes: the most that was kept for the backward pass at one time, without input and parameters.
        peak_bytes: the most memory above what was allocated before the step; CUDA only.
    """

    products: int = 0
    multiply_adds: int = 0
    solvers: dict[str, int] = field(default_factory=dict)
    solver_multiply_adds: int = 0
    saved_bytes: int = 0
    peak_bytes: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def as_nothing(cls) -> dict[str, None]:
        """The same entries where nothing was counted."""
        return dict.fromkeys(entry.name for entry in fields(cls))


def count(run: Callable[[], Any], leaves: Iterable[Tensor] = (), device: torch.device | None = None) -> Counts:
    """Run once and count; ``leaves``: input and parameters, which do not count as kept."""
    ledger = SavedTensorTracker(leaves)
    before = _start_peak(device)
    with WorkCounter() as work, saved_tensors_hooks(ledger.keep, SavedTensor.tensor_of):
        run()
    peak = None if before is None else torch.cuda.max_memory_allocated(device) - before
    return Counts(
        work.products, work.flops // 2, dict(work.solvers), round(work.solver_multiply_adds), ledger.most, peak
    )


def _start_peak(device: torch.device | None) -> int | None:
    if device is None or device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


class WorkCounter(TorchDispatchMode):
    """Counts the products, factorisations and solves that reach the kernels, backward passes included."""

    def __init__(self) -> None:
        super().__init__()
        self.products, self.flops, self.solver_multiply_adds = 0, 0, 0.0
        self.solvers: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operation = func.overloadpacket
        if operation is aten.convolution_backward:
            self._count_convolution_backward(args[0], args[2], args[-1])
        elif operation in flop_registry:
            self.products += 1
            self.flops += flop_registry[operation](*args, **(kwargs or {}), out_val=out)
        elif operation in SOLVERS:
            self._count_solver(operation, args)
        return out

    def _count_convolution_backward(self, grad: Tensor, weight: Tensor, asked: list[bool]) -> None:
        """Each of the two passes asked for takes what the forward pass took; torch's own count forgets groups."""
        self.products += sum(asked[:2])
        self.flops += sum(asked[:2]) * 2 * grad.numel() * weight[0].numel()

    def _count_solver(self, operation: Any, args: Any) -> None:
        matrix, right = args[0], args[2] if operation is aten.linalg_lu_solve else args[-1]
        size, columns = matrix.shape[-1], right.shape[-1] if isinstance(right, Tensor) else 0
        self.solvers[operation.__name__.strip("_")] += 1
        self.solver_multiply_adds += math.prod(matrix.shape[:-2]) * SOLVERS[operation](size, columns)


class SavedTensorTracker:
    """How many bytes are kept for the backward pass, each storage once; ``most``: the largest total so far."""

    def __init__(self, leaves: Iterable[Tensor]) -> None:
        self.free = {leaf.untyped_storage().data_ptr() for leaf in leaves}
        self.holders: Counter[int] = Counter()
        self.total = self.most = 0

    def keep(self, tensor: Tensor) -> "SavedTensor":
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
    """A tensor kept for the backward pass; when autograd lets go of it, the ledger hears of it."""

    def __init__(self, ledger: SavedTensorTracker, tensor: Tensor) -> None:
        self.ledger, self.tensor = ledger, tensor.detach()  # attached, a kept result would keep its own node alive
        ledger.add(self.tensor.untyped_storage())

    def tensor_of(self) -> Tensor:
        return self.tensor

    def __del__(self) -> None:
        self.ledger.remove(self.tensor.untyped_storage())
