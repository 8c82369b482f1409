"""Adam in one fused call, also for weights that are stored by columns."""

import torch
from torch import nn


def adam(parameters: list[nn.Parameter], lr: float, capturable: bool = False) -> torch.optim.Adam:
    """Adam (β = 0.9, 0.999) in one fused call for all parameters: half the time of a loop over them at small sizes.

    The fused call copies a parameter that is not stored row by row, such as ``SelfNormLinear.inverse_weight``. The
    optimizer therefore holds the transpose of such a parameter, which shares its memory, and is given the transpose of
    its gradient before every step.

    Args:
        parameters: Parameters to train.
        lr: Learning rate.
        capturable: Whether a CUDA graph may capture the step; the learning rate is then a tensor.
    """
    transposed = [
        (weight, weight.detach().T)
        for weight in parameters
        if weight.dim() == 2 and not weight.is_contiguous() and weight.T.is_contiguous()
    ]
    by_rows = {id(weight): transpose for weight, transpose in transposed}
    rate = torch.tensor(lr, device=parameters[0].device) if capturable else lr
    optimizer = torch.optim.Adam(
        [by_rows.get(id(weight), weight) for weight in parameters], rate,
        betas=(0.9, 0.999), fused=True, capturable=capturable,
    )  # fmt: skip

    def attach_transposed_grads(*_: object) -> None:
        for weight, transpose in transposed:
            transpose.grad = None if weight.grad is None else weight.grad.T

    def detach_transposed_grads(*_: object) -> None:  # frees the gradients before the next forward pass
        for _weight, transpose in transposed:
            transpose.grad = None

    optimizer.register_step_pre_hook(attach_transposed_grads)
    optimizer.register_step_post_hook(detach_transposed_grads)
    return optimizer
