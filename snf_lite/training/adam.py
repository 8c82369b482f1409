"""Adam in one fused call."""

import torch
from torch import nn


def adam(parameters: list[nn.Parameter], lr: float, capturable: bool = False) -> torch.optim.Adam:
    """Adam (β = 0.9, 0.999) in one fused call for all parameters: half the time of a loop over them at small sizes.

    Args:
        parameters: Parameters to train.
        lr: Learning rate.
        capturable: Whether a CUDA graph may capture the step; the learning rate is then a tensor.
    """
    rate = torch.tensor(lr, device=parameters[0].device) if capturable else lr
    return torch.optim.Adam(parameters, rate, betas=(0.9, 0.999), fused=True, capturable=capturable)
