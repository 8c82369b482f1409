"""Gradient averaging over several processes: the step of all of them equals that of one on the joint batch."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from snf_lite.flow import Flow
from snf_lite.runtime import checks
from snf_lite.runtime.distributed import Process

#: Exceptions in one process that must stop all of them.
_FAILURES = (FloatingPointError, checks.NotInvertibleError)


class _LossModule(nn.Module):
    """Parameters, and a forward pass that returns the loss it is given.

    The loss is computed outside, where ``torch.compile`` captures it in one graph: within the forward pass of
    DistributedDataParallel it refuses layers with gradients of their own.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(parameters)

    def forward(self, loss: Tensor) -> Tensor:
        return loss


class DataParallelStep:
    """Makes the step of each process the step that one process would take on the joint batch.

    Every gradient that a loss leaves, exact, self-normalized or relative, is linear in the loss's terms; so the mean of
    the processes' gradients, each weighted by its share, is the joint batch's. All begin with the main process's
    parameters and buffers. Floating-point buffers that a forward pass changes (a batch's reconstruction error) become
    their weighted mean before ``Flow.after_step``; those that ``after_step`` changes become the main process's.

    Args:
        flow: Flow on its device, initialized or loaded.
        process: This process.

    Attributes:
        weight: Weight of this process's mean loss in the joint batch, as ``Process.shard`` gives it.
    """

    def __init__(self, flow: Flow, process: Process) -> None:
        process.broadcast_from_main([*flow.parameters(), *flow.buffers()])
        self.flow, self.process, self.weight = flow, process, 1.0
        self.parameters = [weight for weight in flow.parameters() if weight.requires_grad]
        # torch warns of kernels with axes of size 1, whose strides are arbitrary; the cost is a copy of the kernel
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        self.averaged = DistributedDataParallel(_LossModule(self.parameters))
        self.failure: Exception | None = None
        self.versions = self._versions()

    def __call__(self, loss: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """The loss of this process's examples; its ``backward`` waits for the others and leaves the joint gradients.

        If the loss fails in this process, its gradients are NaN, and so is the mean: all stop at the same step.
        """
        self.versions = self._versions()
        try:
            value = loss(batch) * self.weight
        except _FAILURES as error:
            self.failure = error
            value = torch.stack([w.sum() for w in self.parameters]).sum() * float("nan")
        result: Tensor = self.averaged(value)
        return result

    def require_all_gradients(self) -> None:
        """Refuse a flow with a parameter that the loss does not use: the others would wait for its gradient."""
        for name, weight in self.flow.named_parameters():
            if weight.requires_grad and weight.grad is None:
                raise ValueError(f"fit: several processes need a gradient of every parameter, got none of {name}.")

    def raise_failure(self) -> None:
        """Raise in every process the exception of the first process whose loss failed; nothing if none failed."""
        failure = self.process.first_not_none(self.failure)
        if failure is not None:
            raise failure

    def after_step(self) -> None:
        """``Flow.after_step`` with the same buffers in every process."""
        self.process.average(self._changed(), self.weight)
        self.versions = self._versions()
        self.flow.after_step()
        self.process.broadcast_from_main(self._changed())

    def _versions(self) -> dict[str, tuple[int, int]]:
        return {name: (id(b), b._version) for name, b in self.flow.named_buffers() if b.is_floating_point()}

    def _changed(self) -> list[Tensor]:
        now = self._versions()
        return [b for name, b in self.flow.named_buffers() if name in now and now[name] != self.versions.get(name)]
