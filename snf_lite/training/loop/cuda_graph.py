"""The whole training step as one CUDA graph, which spares the processor the launch of each kernel."""

from collections.abc import Callable

import torch
from torch import Tensor

from snf_lite.flow import Flow
from snf_lite.training.data_parallel import DataParallelStep
from snf_lite.training.settings import TrainingConfig
from snf_lite.training.step import set_learning_rate, take_step

#: Eager steps before the capture, so that libraries are initialized and compilers are done.
WARM_UP = 3


class GraphedStep:
    """``take_step`` for batches of one size: eager for ``WARM_UP`` steps, then captured once and replayed.

    Batches of another size, such as the last of an epoch, always run in eager mode. One object serves one flow.

    Args:
        batch_size: Size of a full batch.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.warm = 0
        self.replay: Callable[[], None] | None = None

    def __call__(
        self, flow: Flow, batch: Tensor, optimizer: torch.optim.Optimizer, learning_rate: float,
        config: TrainingConfig, loss: Callable[[Tensor], Tensor], parallel: DataParallelStep | None = None,
    ) -> Tensor:  # fmt: skip
        """As ``take_step``, whose arguments and errors these are; the error of a replayed step names no layer."""
        full = len(batch) == self.batch_size
        if not full or self.warm < WARM_UP:
            self.warm += full
            return take_step(flow, batch, optimizer, learning_rate, config, loss, parallel)
        if self.replay is None:
            self.inbox = batch.clone()

            def step() -> None:
                self.norm = take_step(flow, self.inbox, optimizer, None, config, loss)

            self.replay = captured(step)
        self.inbox.copy_(batch)
        set_learning_rate(optimizer, learning_rate)
        self.replay()
        flow.clear_cache()
        if not bool(self.norm.isfinite()):  # only now: a graph cannot stop half-way
            raise FloatingPointError("fit: a gradient is not finite; without cuda_graph the message names its layer.")
        return self.norm


def captured(work: Callable[[], None]) -> Callable[[], None]:
    """Capture the CUDA kernels that ``work`` launches, without running them; the function returned runs them.

    Raises:
        ValueError: ``work`` waits for the device, as factorizations do.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            work()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"fit: this flow's step cannot be recorded as a CUDA graph ({reason}).") from error
    return graph.replay
