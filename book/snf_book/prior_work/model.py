"""Common interface of the compared systems: steps from x to z, the density, samples."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from snf_book.prior_work.flows.root_finding import newton_inverse
from snf_lite.flow import Flow, standard_normal_log_prob


class Model(nn.Module):
    """A sequence of steps to N(0, I): log p(x) = log N(z; 0, I) + Σ_k log|det J_k|, for steps of any library.

    A step is a module that maps (B, D) to z and the log|det| (B,) that it reports, in nats; its ``inverse`` maps z to
    x. A step without one is inverted by Newton's method (``newton_inverse``). Every ``FlowLayer`` is a step.
    """

    def __init__(self, steps: Iterable[nn.Module]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and the reported log|det J|, (B, D) and (B,) in nats."""
        total = x.new_zeros(len(x))
        for step in self.steps:
            x, log_det = step(x)
            total = total + log_det
        return x, total

    def code(self, x: Tensor) -> Tensor:
        """z alone, (B, D)."""
        return self(x)[0]

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density of x, (B,) in nats."""
        z, log_det = self(x)
        return standard_normal_log_prob(z) + log_det

    def loss(self, x: Tensor) -> Tensor:
        """Training objective: mean −log p."""
        return -self.log_prob(x).mean()

    def after_step(self) -> None:
        """Update of the steps after each training step, where they define one."""
        for step in self.steps:
            getattr(step, "after_step", lambda: None)()

    def back(self, z: Tensor) -> Tensor:
        """x with code(x) = z, by the inverse of each step."""
        for step in reversed(self.steps):
            back: Callable[[Tensor], Tensor] | None = getattr(step, "inverse", None)
            z = newton_inverse(step, z) if back is None else back(z)
        return z

    def sample(self, n: int) -> Tensor:
        """n samples, (n, 2), from torch's global generator."""
        return self.back(torch.randn(n, 2, dtype=self.dtype)).detach()

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of x and z: that of the weights; some libraries hold scalars in another."""
        return next(weight.dtype for weight in self.parameters() if weight.dim() > 0)


class FlowModel(Model):
    """A ``Flow`` as a model of points, which are reshaped to the flow's event shape, such as (2, 1, 1)."""

    def __init__(self, flow: Flow) -> None:
        super().__init__([])
        self.flow = flow
        self.steps = flow.layers

    def _shaped(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.flow.event_shape)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.flow(self._shaped(x))
        return z.flatten(1), log_det

    def loss(self, x: Tensor) -> Tensor:
        """The flow's own objective: self-normalized if a layer learns its inverse."""
        return self.flow.loss(self._shaped(x))

    def back(self, z: Tensor) -> Tensor:
        return self.flow.inverse(z.reshape(len(z), *self.flow.z_shape)).flatten(1)


class Reverse(nn.Module):
    """Reversal of the coordinates, so that the next triangular step has the opposite order; log|det| = 0."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flip(1), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Reversal is its own inverse."""
        return z.flip(1)


def between(steps: Sequence[nn.Module]) -> list[nn.Module]:
    """The steps with a ``Reverse`` between any two."""
    return [part for step in steps for part in (step, Reverse())][:-1]
