"""One step of training: the loss, its gradients and the update of the parameters."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from snf_lite.flow import Flow
from snf_lite.runtime import checks
from snf_lite.training.data_parallel import DataParallelStep
from snf_lite.training.settings import TrainingConfig


def take_step(
    flow: Flow, batch: Tensor, optimizer: torch.optim.Optimizer, learning_rate: float | None,
    config: TrainingConfig, loss: Callable[[Tensor], Tensor], parallel: DataParallelStep | None = None,
) -> Tensor:  # fmt: skip
    """Change the parameters by one step.

    Args:
        flow: Flow to train, on its device.
        batch: Examples (B, *event_shape); with several processes this one's share.
        optimizer: Optimizer of the flow's parameters.
        learning_rate: Learning rate of this step. None while a CUDA graph is captured: the graph's owner then sets the
            rate before each replay and checks the norm after it.
        config: Settings of the run, of which ``precision`` and ``clip_norm`` act here.
        loss: Scalar loss of a batch.
        parallel: Gradient average of several processes; None in a single process.

    Returns:
        Norm of all gradients before clipping, a scalar.

    Raises:
        FloatingPointError: the loss or a gradient is not finite; the message names the layer.
    """
    if learning_rate is not None:
        set_learning_rate(optimizer, learning_rate)
    flow.zero_grad()
    with config.autocast(batch.device):
        value = loss(batch) if parallel is None else parallel(loss, batch)  # nats per example
    value.backward()
    if parallel is not None:
        parallel.require_all_gradients()
    trained, norm = trained_and_norm(flow)
    if learning_rate is not None and not bool(norm.isfinite()):
        if parallel is not None:
            parallel.raise_failure()
        raise_non_finite_gradient(flow)
    if config.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(trained, config.clip_norm, norm)
    optimizer.step()
    (flow if parallel is None else parallel).after_step()
    flow.clear_cache()
    return norm


def take_closure_step(
    flow: Flow, batch: Tensor, optimizer: torch.optim.Optimizer, learning_rate: float | None,
    config: TrainingConfig, loss: Callable[[Tensor], Tensor], parallel: DataParallelStep | None = None,
) -> None:  # fmt: skip
    """As ``take_step``, for an optimizer that evaluates the loss several times in a step, such as LBFGS.

    Raises:
        ValueError: there are several processes, whose evaluations would differ in number.
        FloatingPointError: the loss or a gradient is not finite; the message names the layer.
    """
    if parallel is not None:
        raise ValueError(f"fit: {type(optimizer).__name__} is for one process; take another optimizer.")
    if learning_rate is not None:
        set_learning_rate(optimizer, learning_rate)

    def evaluated() -> float:
        flow.clear_cache()  # the optimizer has moved the weights since
        flow.zero_grad()
        with torch.enable_grad(), config.autocast(batch.device):
            value = loss(batch)
        value.backward()
        trained, norm = trained_and_norm(flow)
        if not bool(norm.isfinite()):
            raise_non_finite_gradient(flow)
        if config.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(trained, config.clip_norm, norm)
        return float(value.detach())

    optimizer.step(evaluated)
    flow.after_step()
    flow.clear_cache()


def trained_and_norm(flow: Flow) -> tuple[list[nn.Parameter], Tensor]:
    """The parameters that have a gradient, and the norm of all gradients together, a scalar."""
    trained = [weight for weight in flow.parameters() if weight.grad is not None]
    return trained, torch.nn.utils.get_total_norm([weight.grad for weight in trained if weight.grad is not None])


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float, group: int = 0) -> None:
    """Set the learning rate of one group of parameters; ``adam`` keeps all of them in the first."""
    settings = optimizer.param_groups[group]
    if isinstance(settings.get("lr"), Tensor):
        settings["lr"].fill_(learning_rate)  # in place: the captured graph reads this tensor
    elif "lr" in settings:
        settings["lr"] = learning_rate


def compiled(loss: Callable[..., Tensor], batch_size: int) -> Callable[..., Tensor]:
    """``loss`` through ``torch.compile`` for batches of this size, and in eager mode for any other."""
    fast = torch.compile(loss, fullgraph=True, dynamic=False)
    return lambda batch, **extras: (fast if len(batch) == batch_size else loss)(batch, **extras)


@torch.no_grad()
def raise_non_finite_gradient(flow: Flow) -> None:
    """Raise FloatingPointError that names the first layer with a gradient that is not finite."""
    largest = (0.0, "fit", "")
    for layer, _ in flow.iter_layers(flow.event_shape):
        for name, weight in layer.named_parameters():
            if weight.grad is not None:
                checks.require_finite_output(weight.grad, layer.label, f"the gradient of {name}")
                largest = max(largest, (float(weight.grad.abs().max()), layer.label, name))
    size, label, name = largest
    raise FloatingPointError(f"{label}: the gradient of {name} reaches {size:.1e}, and the norm of all overflows.")
