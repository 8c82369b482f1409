"""One step of training: the loss, its gradients and Adam's update, by the means asked for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from snf_lite.flow import Flow
from snf_lite.runtime import checks, distributed
from snf_lite.training.data_parallel import DataParallelStep

#: What float32 numbers become inside matrix products and convolutions; everything else stays float32.
PRECISIONS = ("float32", "tf32", "bf16")
#: Steps taken before a CUDA graph is recorded, so that libraries have set themselves up and compilers are done.
WARM_UP = 3


@dataclass(frozen=True)
class StepOptions:
    """By what means a step is computed: always the same objective, to within the rounding of ``precision``."""

    compile: bool = False
    cuda_graph: bool = False
    precision: str = "float32"

    def require_on(self, device: torch.device) -> None:
        """Refuse what the device cannot do."""
        if self.precision not in PRECISIONS:
            raise ValueError(f"fit: expected precision to be one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        for asked, name in ((self.cuda_graph, "cuda_graph=True"), (self.precision == "tf32", "precision='tf32'")):
            if asked and device.type != "cuda":
                raise ValueError(f"fit: {name} needs a CUDA device, got {device}.")
        if self.cuda_graph and distributed.world_size() > 1:
            raise ValueError(f"fit: cuda_graph=True is for one process, got {distributed.world_size()}; leave it out.")

    @contextmanager
    def products(self, device: torch.device) -> Iterator[None]:
        """Within the block matrix products and convolutions have this precision."""
        if self.precision == "bf16":
            with torch.autocast(device.type, torch.bfloat16):
                yield
        elif self.precision == "tf32":
            with _tf32():
                yield
        else:
            yield


@contextmanager
def _tf32() -> Iterator[None]:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


class TrainingStep:
    """Takes steps on a flow's parameters.

    Compiled code and the CUDA graph are made for whole batches; the shorter one that ends an epoch goes the plain way.

    Args:
        flow: on its device already.
        batch_size: of whole batches; of several processes that of this one's share.
        clip_norm: gradients of a larger norm, over all parameters, are scaled down to it.
    """

    def __init__(self, flow: Flow, lr: float, batch_size: int, clip_norm: float | None, means: StepOptions) -> None:
        means.require_on(flow.device)
        self.parameters = [weight for weight in flow.parameters() if weight.requires_grad]
        if not self.parameters:
            raise ValueError("fit: expected a flow with something to train, got one without trainable parameters.")
        self.flow, self.batch_size, self.clip_norm, self.means = flow, batch_size, clip_norm, means
        self.optimizer = adam(self.parameters, lr, capturable=means.cuda_graph)
        self.loss: Callable[[Tensor], Tensor] = flow.loss
        if means.compile:
            self.loss = torch.compile(flow.loss, fullgraph=True, dynamic=False)
        self.joint: DataParallelStep | None = None
        self.warm = 0
        self.replay: Callable[[], None] | None = None

    def join(self) -> None:
        """Where there are several processes, take steps as one from here on: from the writer's parameters and buffers.

        To be called once the flow is initialised or loaded.
        """
        if distributed.world_size() > 1:
            self.joint = DataParallelStep(self.flow)

    def __call__(self, events: Tensor, rate: float, weight: float = 1.0) -> None:
        """Change the parameters by one step at the learning rate ``rate``.

        Args:
            events: a batch; of several processes this one's share, and ``weight`` its weight (``distributed.share``).

        Raises:
            FloatingPointError: a gradient is not finite; the message names the layer.
        """
        self._set_rate(rate)
        whole = len(events) == self.batch_size
        if whole and self.means.cuda_graph:
            self._by_graph(events)
        else:
            self._plainly(events, self.loss if whole else self.flow.loss, weight)

    def _plainly(self, events: Tensor, loss: Callable[[Tensor], Tensor], weight: float = 1.0) -> None:
        norm = self._gradients(events, loss, weight)
        if not bool(norm.isfinite()):
            if self.joint is not None:
                self.joint.raise_failure()
            name_non_finite_gradient(self.flow)
        self._update(norm)

    def _gradients(self, events: Tensor, loss: Callable[[Tensor], Tensor], weight: float = 1.0) -> Tensor:
        """Leave the gradients of the loss on the parameters; their norm."""
        self.flow.zero_grad()
        with self.means.products(events.device):
            value = loss(events) if self.joint is None else self.joint(loss, events, weight)
        value.backward()
        if self.joint is not None:
            self.joint.require_all_gradients()
        return torch.nn.utils.get_total_norm([weight.grad for weight in self.parameters if weight.grad is not None])

    def _update(self, norm: Tensor) -> None:
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip_norm, norm)
        self.optimizer.step()
        (self.flow if self.joint is None else self.joint).after_step()

    def _set_rate(self, rate: float) -> None:
        group = self.optimizer.param_groups[0]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)  # the graph reads it where it lies
        else:
            group["lr"] = rate

    # ---- the whole step as one CUDA graph ----------------------------------------------------------------------------

    def _by_graph(self, events: Tensor) -> None:
        if self.warm < WARM_UP:
            self.warm += 1
            return self._plainly(events, self.loss)
        if self.replay is None:
            self.inbox = events.clone()
            self.replay = recorded(self._whole)
        self.inbox.copy_(events)
        self.replay()
        if not bool(self.norm.isfinite()):  # read afterwards: a graph cannot stop half-way
            raise FloatingPointError("fit: a gradient is not finite; without cuda_graph the message names its layer.")

    def _whole(self) -> None:
        self.norm = self._gradients(self.inbox, self.loss)
        self._update(self.norm)

    # ---- to and from a checkpoint ------------------------------------------------------------------------------------

    def load(self, state: dict[str, object]) -> None:
        """Take up the optimiser's state from another process, whatever its means were."""
        rate, capturable = (self.optimizer.param_groups[0][name] for name in ("lr", "capturable"))
        self.optimizer.load_state_dict(state)
        self.optimizer.param_groups[0].update(lr=rate, capturable=capturable)


def recorded(work: Callable[[], None]) -> Callable[[], None]:
    """Record the CUDA kernels that ``work`` starts, without running them; what is returned runs them.

    Raises:
        ValueError: something in it has to wait for the device, as factorisations do.
    """
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            work()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"fit: this flow's step cannot be recorded as a CUDA graph ({reason}).") from error
    return graph.replay


def adam(parameters: list[torch.nn.Parameter], lr: float, capturable: bool = False) -> torch.optim.Adam:
    """Adam (β = 0.9, 0.999) in one call for all parameters: at small sizes half the time of its own loop.

    That call copies whatever is not stored row by row, as ``SelfNormLinear.inverse_weight`` is not. So it is given such
    a parameter's transpose, which lies in the same memory, and its gradient's transpose before every step.
    """
    turned = [(weight, weight.detach().T) for weight in parameters if _stored_by_columns(weight)]
    by_rows = {id(weight): transpose for weight, transpose in turned}
    rate = torch.tensor(lr, device=parameters[0].device) if capturable else lr
    optimizer = torch.optim.Adam(
        [by_rows.get(id(weight), weight) for weight in parameters], rate,
        betas=(0.9, 0.999), fused=True, capturable=capturable,
    )  # fmt: skip

    def attach_transposed_grads(*_: object) -> None:
        for weight, transpose in turned:
            transpose.grad = None if weight.grad is None else weight.grad.T

    def detach_transposed_grads(*_: object) -> None:  # else last step's gradients would fill memory through the next
        for pair in turned:
            pair[1].grad = None

    optimizer.register_step_pre_hook(attach_transposed_grads)
    optimizer.register_step_post_hook(detach_transposed_grads)
    return optimizer


def _stored_by_columns(weight: Tensor) -> bool:
    return weight.dim() == 2 and not weight.is_contiguous() and weight.T.is_contiguous()


@torch.no_grad()
def name_non_finite_gradient(flow: Flow) -> None:
    """Raise FloatingPointError that names the first layer with a gradient that is not finite."""
    largest = (0.0, "fit", "")
    for layer, _ in flow.iter_layers(flow.event_shape):
        for name, weight in layer.named_parameters():
            if weight.grad is not None:
                checks.require_finite_output(weight.grad, layer.label, f"the gradient of {name}")
                largest = max(largest, (float(weight.grad.abs().max()), layer.label, name))
    size, label, name = largest
    raise FloatingPointError(f"{label}: the gradient of {name} reaches {size:.1e}, and the norm of all overflows.")
