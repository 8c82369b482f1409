"""The optimizer of a run, torch's own or the user's, with the scheduler of its learning rates."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from snf_lite.training.adam import adam, moments_by_rows, require_moments
from snf_lite.training.settings import TrainingConfig
from snf_lite.training.step import set_learning_rate

#: ``fit``'s argument: a function of the parameters (such as a class of ``torch.optim``), or an optimizer of them.
OptimizerLike = Callable[[list[nn.Parameter]], Optimizer] | Optimizer
#: ``fit``'s argument: a function of the optimizer, or a scheduler of it.
SchedulerLike = Callable[[Optimizer], Any] | LRScheduler

#: Schedulers that torch means to be stepped after each batch; all others are stepped after each epoch.
PER_STEP = (OneCycleLR, CyclicLR)


class Optimization:
    """An optimizer, and the learning rate of each step.

    Without ``optimizer`` it is fused Adam with the rate of the configuration. The rates of a given optimizer are its
    own, times the warm-up and the decay of the configuration; with ``scheduler`` they are the scheduler's alone.

    Args:
        trained: Parameters to train, by name.
        config: Settings of the run.
        optimizer: Optimizer, or function that makes it; None: Adam.
        scheduler: Scheduler, or function that makes it; None: warm-up and decay of the configuration.

    Attributes:
        names: Names of the parameters in the order of the optimizer.
        description: Name and settings of optimizer and scheduler for a record, those of them that were given.

    Raises:
        TypeError, ValueError: no optimizer or scheduler, or one of other parameters; or a setting that it replaces.
    """

    def __init__(
        self, trained: dict[str, nn.Parameter], config: TrainingConfig, optimizer: Any = None, scheduler: Any = None
    ) -> None:
        self.names, self.own, self.description = list(trained), optimizer is not None, {}
        if optimizer is None:
            self.optimizer: Optimizer = adam(list(trained.values()), config.lr, capturable=config.cuda_graph)
        else:
            self.optimizer = _made(optimizer, list(trained.values()), Optimizer, "optimizer", "the parameters")
            self.names = parameter_names(self.optimizer, trained)
            self.description["optimizer"] = _described(self.optimizer)
            if config.lr != TrainingConfig.lr:
                raise ValueError(f"fit: lr={config.lr} is Adam's; an optimizer of your own has its rate in itself.")
        if config.cuda_graph and (self.own or scheduler is not None):
            raise ValueError("fit: cuda_graph=True is for fit's own Adam and schedule; leave one of them out.")
        self.rates = [float(group.get("lr", 0.0)) for group in self.optimizer.param_groups]
        self.scheduler: Any = None
        if scheduler is not None:
            if config.decay != "constant":
                raise ValueError(f"fit: decay={config.decay!r} and scheduler= both set the rate; leave one out.")
            kinds = (LRScheduler, ReduceLROnPlateau)
            self.scheduler = _made(scheduler, self.optimizer, kinds, "scheduler", "the optimizer")
            self.description["scheduler"] = _described_scheduler(self.scheduler)

    @property
    def needs_closure(self) -> bool:
        """Whether a step evaluates the loss several times, as LBFGS does."""
        closure = inspect.signature(self.optimizer.step).parameters.get("closure")
        return closure is not None and closure.default is inspect.Parameter.empty

    def before_step(self, config: TrainingConfig, step: int, steps_per_epoch: int) -> float:
        """Set the learning rate of each group, and return the first group's."""
        if self.scheduler is None:
            rate = config.learning_rate(step, steps_per_epoch)
            if not self.own:
                return rate
            for index, own in enumerate(self.rates):
                set_learning_rate(self.optimizer, own * rate / config.lr, index)
        return float(self.optimizer.param_groups[0].get("lr", 0.0))

    def after_step(self) -> None:
        """Step a scheduler that counts batches."""
        if isinstance(self.scheduler, PER_STEP):
            self.scheduler.step()

    def after_epoch(self, validation_nats: float | None) -> None:
        """Step a scheduler that counts epochs; one that waits for a plateau, with the value of a validation."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            if validation_nats is not None:
                self.scheduler.step(validation_nats)
        elif self.scheduler is not None and not isinstance(self.scheduler, PER_STEP):
            self.scheduler.step()

    def state(self) -> dict[str, Any]:
        """State of optimizer and scheduler for a checkpoint."""
        scheduler = {} if self.scheduler is None else {"scheduler": _plain(self.scheduler.state_dict())}
        return {"optimizer": _plain(self.optimizer.state_dict()), "trained": self.names, **scheduler}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over the state of a checkpoint, whose parameters have been compared; fit's own settings stay its own."""
        stored = state["optimizer"]
        if isinstance(self.optimizer, torch.optim.Adam) and not self.own:
            require_moments(self.optimizer, stored, trained=state["epoch"] > 0)
            moments_by_rows(stored, state["weights"], self.names)
            if self.scheduler is None:  # else the rate is part of the state
                stored = {**stored, "param_groups": self.optimizer.state_dict()["param_groups"]}
        self.optimizer.load_state_dict(stored)
        for weight, moments in self.optimizer.state.items():  # fused steps read the memory of all of them in one order
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                    moments[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])


def _made(given: Any, argument: Any, kind: Any, name: str, of: str) -> Any:
    """An optimizer or a scheduler, as given or as the function given makes it."""
    made = given if isinstance(given, kind) else given(argument) if callable(given) else given
    if not isinstance(made, kind):
        raise TypeError(f"fit: expected {name} to be a torch {name} or a function of {of} that returns one, got "
                        f"{'a function that returns ' if made is not given else ''}{type(made).__name__}.")  # fmt: skip
    if isinstance(made, torch.optim.SparseAdam):
        raise ValueError("fit: SparseAdam takes sparse gradients alone, and those of a flow are dense: take Adam.")
    if name == "scheduler" and made.optimizer is not argument:
        raise ValueError("fit: expected a scheduler of the optimizer that fit is given, got one of another.")
    return made


def parameter_names(optimizer: Optimizer, trained: dict[str, nn.Parameter]) -> list[str]:
    """The names of an optimizer's parameters, in its order."""
    by_id = {id(weight): name for name, weight in trained.items()}
    held = [weight for group in optimizer.param_groups for weight in group["params"]]
    other = [weight for weight in held if id(weight) not in by_id]
    if other:
        got = f"{len(other)} of {len(held)} that are not, the first of shape {tuple(other[0].shape)}"
        raise ValueError(f"fit: expected an optimizer of parameters that the flow trains, got {got}.")
    return [by_id[id(weight)] for weight in held]


def _described(optimizer: Optimizer) -> str:
    """The class of an optimizer with the settings of its groups."""
    groups = [
        ", ".join(
            f"{key}={float(value) if isinstance(value, Tensor) else value!r}" for key, value in group.items()
            if key not in ("params", "initial_lr") and value is not None and value is not False
        )
        for group in optimizer.param_groups
    ]  # fmt: skip
    return f"{type(optimizer).__name__}({'; '.join(groups)})"


def _described_scheduler(scheduler: Any) -> str:
    """The class of a scheduler with its settings, which a fresh one holds beside its counters."""
    kept = {key: value for key, value in _plain(scheduler.state_dict()).items() if key[0] != "_"}
    return f"{type(scheduler).__name__}({', '.join(f'{key}={value!r}' for key, value in kept.items())})"


def _plain(value: Any) -> Any:
    """Dicts, lists, tensors and numbers, which a checkpoint can hold; functions, which the constructor gives, are left
    out."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items() if not callable(entry) or isinstance(entry, Tensor)}
    if isinstance(value, list | tuple):
        return type(value)([_plain(entry) for entry in value])
    return value.item() if type(value).__module__ == "numpy" else value
