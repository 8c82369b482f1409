"""The step of several processes as one: the mean of their gradients, and layers that stay the same in all of them."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from snf_lite.flow import Flow
from snf_lite.runtime import checks, distributed

#: What training may come to that the other processes have to hear of.
_FAILURES = (FloatingPointError, checks.NotInvertibleError)


class _LossModule(nn.Module):
    """Parameters, and a loss on its way to ``backward``.

    The loss is computed outside, where ``torch.compile`` captures it whole; within the forward of
    DistributedDataParallel it refuses layers with gradients of their own.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(parameters)

    def forward(self, loss: Tensor) -> Tensor:
        return loss


class DataParallelStep:
    """Makes the step of each process the step that one process would take on the joint batch.

    Every gradient that a loss leaves, exact, self-normalised or relative, is linear in the loss's terms; so the mean of
    the processes' gradients, each weighted by its share, is the joint batch's. All begin with the writer's parameters
    and buffers. Floating buffers that a training pass has changed (a batch's reconstruction error) become their mean,
    weighted likewise, before the layers adapt; those that ``adapt`` has changed become the writer's.

    Args:
        flow: on its device, initialised or loaded.
    """

    def __init__(self, flow: Flow) -> None:
        distributed.broadcast_from_main([*flow.parameters(), *flow.buffers()])
        self.flow, self.weight = flow, 1.0
        self.parameters = [weight for weight in flow.parameters() if weight.requires_grad]
        # torch says so of kernels with axes of size 1, whose strides mean nothing; it costs a copy of the kernel
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        self.passage = DistributedDataParallel(_LossModule(self.parameters))
        self.failure: Exception | None = None
        self.marks = self._marks()

    def __call__(self, loss: Callable[[Tensor], Tensor], events: Tensor, weight: float) -> Tensor:
        """The loss of this process's events; its ``backward`` waits for the others and leaves the joint gradients.

        Where it fails in this process its gradients are NaN, and so is the mean: all stop at the same step.
        """
        self.weight, self.marks = weight, self._marks()
        try:
            value = loss(events) * weight
        except _FAILURES as error:
            self.failure = error
            value = torch.stack([w.sum() for w in self.parameters]).sum() * float("nan")
        return self.passage(value)

    def require_all_gradients(self) -> None:
        """Refuse a flow of which a parameter took no part in the loss: the others would wait for its gradient."""
        for name, weight in self.flow.named_parameters():
            if weight.requires_grad and weight.grad is None:
                raise ValueError(f"fit: several processes need a gradient of every parameter, got none of {name}.")

    def raise_failure(self) -> None:
        """Raise in every process what the loss raised in the first in which it did; nothing if it did in none."""
        failure = distributed.first_not_none(self.failure)
        if failure is not None:
            raise failure

    def after_step(self) -> None:
        """Let the layers adapt, in every process alike."""
        distributed.average(self._changed(), self.weight)
        self.marks = self._marks()
        self.flow.after_step()
        distributed.broadcast_from_main(self._changed())

    def _marks(self) -> dict[str, tuple[int, int]]:
        return {name: (id(b), b._version) for name, b in self.flow.named_buffers() if b.is_floating_point()}

    def _changed(self) -> list[Tensor]:
        marks = self._marks()
        return [b for name, b in self.flow.named_buffers() if name in marks and marks[name] != self.marks.get(name)]
