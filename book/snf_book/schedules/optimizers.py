"""What the search has beside Adam: orthogonalized updates, and an average of the weights in place of a decay."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from snf_lite.flow import Flow
from snf_lite.training.adam import adam

#: Learning rate of Adam for what is no matrix, in ``MuonAndAdam``.
ADAM_LR = 1e-3
#: Decay of the average of the weights, over about a thousand steps.
AVERAGE_DECAY = 0.999


class MuonAndAdam(Optimizer):
    """torch's Muon for matrices, which it alone takes, and Adam for all other parameters.

    A step of Muon goes along a matrix near the orthogonal factor of the running mean of a matrix's gradients (Jordan
    and others, 2024). This optimizer is meant for training without a checkpoint: its state is not stored.

    Args:
        parameters: Parameters to train.
        lr: Learning rate of Muon.

    Raises:
        ImportError: torch is older than 2.9 and has no Muon.
    """

    def __init__(self, parameters: list[nn.Parameter], lr: float) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ImportError(f"MuonAndAdam: expected torch 2.9 or later, which has Muon; got {torch.__version__}.")
        matrices = [weight for weight in parameters if weight.dim() == 2]
        rest = [weight for weight in parameters if weight.dim() != 2]
        self.parts: list[Optimizer] = [torch.optim.Muon(matrices, lr=lr, weight_decay=0.0)] if matrices else []
        self.parts += [adam(rest, ADAM_LR)] if rest else []
        super().__init__(parameters, {"lr": lr})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Step both; without a closure, as ``fit`` calls it."""
        for part in self.parts:
            part.step()


class Averaged:
    """Adam, and beside it the exponential moving average of the weights it passes through.

    Args:
        flow: Flow to train.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.average = AveragedModel(flow, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY))

    def optimizer(self, parameters: list[nn.Parameter], lr: float) -> Optimizer:
        """Adam that updates the average after each step."""
        made = adam(parameters, lr)
        made.register_step_post_hook(self.update)
        return made

    def update(self, *_: Any) -> None:
        """Take the present weights into the average."""
        self.average.update_parameters(self.flow)

    @torch.no_grad()
    def take(self) -> None:
        """Give the flow the averaged weights."""
        self.flow.load_state_dict(self.average.module.state_dict())
        self.flow.clear_cache()
