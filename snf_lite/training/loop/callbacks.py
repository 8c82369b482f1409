"""Functions that ``fit`` calls after each validation, and reasons to end a run early."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch

from snf_lite.flow import Flow
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training.history import History

#: Function of the history so far and the flow; True, or StopIteration, ends the training.
Callback = Callable[[History, Flow], Any]


def require_callbacks(callbacks: Any) -> Sequence[Callback]:
    """The callbacks as a sequence, also of a single one; TypeError if one is no function."""
    given = list(callbacks) if isinstance(callbacks, Iterable) and not callable(callbacks) else [callbacks]
    for one in given:
        if not callable(one):
            raise TypeError(f"fit: expected callbacks to be functions of history and flow, got a {type(one).__name__}.")
    return given


def any_stops(callbacks: Sequence[Callback], history: History, flow: Flow, seed: int) -> bool:
    """Call each; whether one of them ends the training.

    Whatever they draw, the run's random numbers stay the same; the gradients that they leave are cleared before the
    next step, and a mode of autograd that they set ends with them.
    """
    stop = False
    with isolated_rng(flow.device, seed, "callback", history.epochs[-1]), torch.enable_grad():
        for callback in callbacks:
            try:
                answer = callback(history, flow)
                stop = stop or (isinstance(answer, bool | np.bool_) and bool(answer))
            except StopIteration:
                stop = True
    return stop


def out_of_patience(history: History, patience: int | None) -> bool:
    """Whether the best validation value is at least ``patience`` epochs old."""
    return patience is not None and history.epochs[-1] - history.best_epoch >= patience
