"""Hooks and parametrizations of ``torch.nn.Module`` around every pass of a module, not only around its ``forward``.

Pruning, ``weight_norm`` and ``spectral_norm`` of ``torch.nn.utils`` compute a weight in a hook before ``forward``;
parametrizations compute it at each access. A pass that reads a weight must therefore run such hooks first, and must
read one and the same weight throughout.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


def runs_hooks(module: nn.Module) -> bool:
    """Whether ``torch.nn.Module.__call__`` does more than ``forward``."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def computes_weights(module: nn.Module) -> bool:
    """Whether a hook before ``forward`` may compute a weight, or a parametrization does."""
    return bool(module._forward_pre_hooks) or "parametrizations" in module._modules


def call(module: nn.Module, run: Callable[..., Any], *inputs: Any) -> Any:
    """``run(*inputs)`` with all hooks of the module around it, in place of the module's ``forward``."""
    own = module.__dict__
    before = own.get("forward")
    own["forward"] = run
    try:
        return with_one_weight(module, module, *inputs)
    finally:
        if before is None:
            del own["forward"]
        else:
            own["forward"] = before


def call_with_weights(module: nn.Module, label: str, run: Callable[..., Any], *inputs: Any) -> Any:
    """``run(*inputs)`` with the weights that the last ``forward`` had, computed from the parameters.

    For passes other than ``forward``: hooks after ``forward`` do not run. A power iteration (``spectral_norm``) makes
    no step, so that an inverse inverts the map that was applied.

    Raises:
        TypeError: a hook before ``forward`` changes the inputs, which no other pass could undo.
    """
    found = module._modules.get("parametrizations")
    training = [(each, each.training) for each in (module, *(found.modules() if found is not None else ()))]
    try:
        for each, _ in training:
            each.training = False
        for key, hook in module._forward_pre_hooks.items():
            if not inputs and computed_by(hook) is None:
                continue  # there is no input to show it
            arguments: tuple[dict[str, Any], ...] = ({},) if key in module._forward_pre_hooks_with_kwargs else ()
            if hook(module, inputs, *arguments) is not None:
                raise TypeError(f"{label}: expected forward_pre_hooks that leave the input as it is, got {hook!r}.")
        return with_one_weight(module, run, *inputs)
    finally:
        for each, was in training:
            each.training = was


def with_one_weight(module: nn.Module, run: Callable[..., Any], *inputs: Any) -> Any:
    """``run(*inputs)``, in which each parametrized weight is computed once."""
    if "parametrizations" in module._modules and not torch.compiler.is_compiling():
        with parametrize.cached():
            return run(*inputs)
    return run(*inputs)


def computed_weights(module: nn.Module) -> dict[str, Tensor]:
    """The tensors of a module that hooks of torch or parametrizations compute, by name."""
    hooked = [computed_by(hook) for hook in module._forward_pre_hooks.values()]
    names = [name for name in hooked if name is not None]
    parametrized = module._modules.get("parametrizations")
    names += [] if parametrized is None else list(parametrized._modules)
    return {name: getattr(module, name) for name in names}


def computed_by(hook: Any) -> str | None:
    """The name of the weight that a hook of torch's pruning, weight_norm or spectral_norm computes."""
    name = getattr(hook, "_tensor_name", None) or getattr(hook, "name", None)
    return name if isinstance(name, str) else None
