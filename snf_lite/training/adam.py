"""Adam in one fused call, and its state from a file."""

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

import torch
from torch import Tensor, nn

from snf_lite.runtime.schema import AtLeast, mismatches


def adam(parameters: list[nn.Parameter], lr: float, capturable: bool = False) -> torch.optim.Adam:
    """Adam (β = 0.9, 0.999) in one fused call for all parameters: half the time of a loop over them at small sizes.

    Args:
        parameters: Parameters to train.
        lr: Learning rate.
        capturable: Whether a CUDA graph may capture the step; the learning rate is then a tensor.
    """
    rate = torch.tensor(lr, device=parameters[0].device) if capturable else lr
    return torch.optim.Adam(parameters, rate, betas=(0.9, 0.999), fused=True, capturable=capturable)


class _Group(TypedDict):
    params: list[int]


class _OptimizerState(TypedDict):
    state: dict[int, dict[str, Any]]
    param_groups: list[Annotated[dict[str, Any], AtLeast(_Group)]]


def require_moments(optimizer: torch.optim.Adam, stored: Any, trained: bool) -> None:
    """Refuse a stored ``state_dict`` of Adam that is not one of the same parameters, with ValueError.

    Args:
        optimizer: Adam of the parameters.
        stored: What a file holds that anybody may have written.
        trained: Whether it had taken a step.
    """
    if wrong := list(mismatches(stored, _OptimizerState, "the optimizer")):
        raise ValueError("; ".join(wrong[:4]))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    count = sum(len(group["params"]) for group in stored["param_groups"])
    if count != len(parameters):
        raise ValueError(f"its optimizer had {count} parameters, this one has {len(parameters)}")
    if trained and not stored["state"]:
        raise ValueError("its optimizer has no state, although it was trained")
    for index, moments in stored["state"].items():
        shapes = {name: tuple(value.shape) for name, value in moments.items() if isinstance(value, Tensor)}
        wanted = tuple(parameters[index].shape) if 0 <= index < len(parameters) else None
        if shapes != {"step": (), "exp_avg": wanted, "exp_avg_sq": wanted}:
            raise ValueError(f"its optimizer's state of parameter {index} has the shapes {shapes}, expected {wanted}")


def moments_by_rows(stored: dict[str, Any], weights: Mapping[str, Tensor], trained: list[str]) -> None:
    """Transpose, in place, the moments of weights that an earlier version stored by columns.

    Its Adam held the transpose of ``SelfNormLinear.inverse_weight``; such a weight is recognized by its strides.

    Args:
        stored: Checked ``state_dict`` of Adam.
        weights: Weights of the same file by name.
        trained: Names of Adam's parameters in its order.
    """
    for index, moments in stored["state"].items():
        weight = weights[trained[index]]
        if weight.dim() == 2 and not weight.is_contiguous() and weight.T.is_contiguous():
            for name in ("exp_avg", "exp_avg_sq"):
                moments[name] = moments[name].T.contiguous()
