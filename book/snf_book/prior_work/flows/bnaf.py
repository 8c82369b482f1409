"""Block neural autoregressive flow: a network with block-triangular weights and a triangular Jacobian."""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, logsigmoid, softplus

from snf_book.prior_work.flows.root_finding import bisect, with_gradient
from snf_lite.layer import FlowLayer
from snf_lite.runtime import checks

#: Without a gate, the inverse searches x in [-FAR, FAR].
FAR = 1e4


class BlockLinear(nn.Module):
    """h ↦ W h + b for D groups of units: W is block lower triangular, with positive blocks on its diagonal.

    V has the blocks exp(v_ii) on its diagonal, v_ij below and 0 above; row r of W is exp(s_r) · V_r / ‖V_r‖. So a
    group's outputs depend freely on earlier groups and increase in the inputs of their own group.

    Args:
        dim: D.
        inputs: units in an input group.
        outputs: units in an output group.

    Attributes:
        weight: v (D·outputs, D·inputs); entries above the diagonal's blocks have no effect.
        log_scale: s (D·outputs,).
        bias: b (D·outputs,).
    """

    below: Tensor
    diagonal: Tensor

    def __init__(self, dim: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dim, self.inputs, self.outputs = dim, inputs, outputs
        # random scales and biases, because equal rows would stay equal
        self.weight = nn.Parameter(torch.randn(dim * outputs, dim * inputs) / math.sqrt(dim * inputs))
        self.log_scale = nn.Parameter(torch.empty(dim * outputs).uniform_(-1, 1))
        self.bias = nn.Parameter(torch.empty(dim * outputs).uniform_(-1, 1))
        blocks = torch.ones(outputs, inputs)
        self.register_buffer("below", torch.kron(torch.ones(dim, dim).tril(-1), blocks).bool(), persistent=False)
        self.register_buffer("diagonal", torch.kron(torch.eye(dim), blocks).bool(), persistent=False)

    def weights(self) -> tuple[Tensor, Tensor]:
        """W (D·outputs, D·inputs), and the logarithms of its diagonal blocks (D, outputs, inputs)."""
        lower = torch.where(self.below, self.weight, 0.0)
        unscaled = torch.where(self.diagonal, torch.where(self.diagonal, self.weight, 0.0).exp(), lower)
        log_factor = self.log_scale - unscaled.norm(dim=1).log()
        logarithms = (self.weight + log_factor[:, None]).reshape(self.dim, self.outputs, self.dim, self.inputs)
        return log_factor.exp()[:, None] * unscaled, logarithms.diagonal(dim1=0, dim2=2).permute(2, 0, 1)

    def forward(self, h: Tensor, log_slope: Tensor) -> tuple[Tensor, Tensor]:
        """W h + b, and log Σ_m W_ii[k, m] · slope[m], (B, D, outputs), for slopes ∂h/∂x_i of each group i."""
        weight, logarithms = self.weights()
        return linear(h, weight, self.bias), (logarithms + log_slope[:, :, None, :]).logsumexp(-1)


class BlockAutoregressive(FlowLayer):
    """Block neural autoregressive flow: z = a·f(x) + (1-a)·x, f = a tanh network of ``BlockLinear`` maps, a = σ(gate).

    z_i depends on x_1 … x_i and increases in x_i, so ∂z/∂x is lower triangular and log|det| = Σ_i log ∂z_i/∂x_i nats;
    ∂f_i/∂x_i is the product of the diagonal blocks with tanh' between them, computed by log-sum-exp.
    Density O(B·(D·hidden)²) for each map.

    The paper has no inverse. Here x_1, x_2, … are found one after the other by bisection: |f_i| is bounded, which
    brackets x_i, and the bracket is halved to eps/4096 of its width (35 times in float32, 64 in float64), then two
    Newton steps carry the gradient. The cost is D·66 evaluations of the network.

    ``gated=False`` is f alone, which maps onto a bounded set: p(f(x))·|det| integrates to the base density's mass in
    that set, less than 1, and a latent outside of it has no inverse.

    Args:
        dim: D, for the event shape (D,).
        hidden: units in each of the D groups of a hidden layer.
        layers: number of hidden layers.
        gated: whether to mix in x itself, with a learned weight.

    Raises:
        ValueError: without a gate, a latent that no x in [-10⁴, 10⁴] reaches.

    Source: De Cao, Titov and Aziz, Block Neural Autoregressive Flow, UAI 2019 (https://arxiv.org/abs/1904.04676).
    """

    def __init__(self, dim: int, hidden: int = 8, layers: int = 1, gated: bool = True) -> None:
        super().__init__()
        self.dim = checks.positive_integer(dim, "dim", self.label)
        self.hidden = checks.positive_integer(hidden, "hidden", self.label)
        self.layers = checks.positive_integer(layers, "layers", self.label)
        widths = [1, *[hidden] * layers, 1]
        self.maps = nn.ModuleList(BlockLinear(dim, *pair) for pair in pairwise(widths))
        self.gate = nn.Parameter(torch.zeros(())) if gated else None

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if event_shape != (self.dim,):
            raise self.shape_error((self.dim,), event_shape)
        return event_shape

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slopes = self.value_and_log_slopes(x)
        return z, log_slopes.sum(1)

    def value_and_log_slopes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and log ∂z_i/∂x_i, (B, D) each."""
        f, log_slopes = self.network(x)
        if self.gate is None:
            return f, log_slopes
        share, rest = logsigmoid(self.gate), logsigmoid(-self.gate)
        return share.exp() * f + rest.exp() * x, torch.logaddexp(share + log_slopes, rest)

    def network(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(x) and log ∂f_i/∂x_i, (B, D) each."""
        first, *others = self.maps
        h, log_slope = first(x, torch.zeros_like(x)[..., None])
        for following in others:
            log_slope = log_slope + log_tanh_slope(h).reshape(log_slope.shape)
            h, log_slope = following(h.tanh(), log_slope)
        return h, log_slope[..., 0]

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        lefts, rights = self._brackets(z)
        found = z[:, :0]
        for i in range(self.dim):
            left, right = lefts[:, i : i + 1], rights[:, i : i + 1]
            found = torch.cat([found, self._next(found, z[:, i : i + 1], left, right)], 1)
        return found

    def _brackets(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds of each x_i, (B, D) each, from the last map's bound on |f_i|."""
        if self.gate is None:
            return torch.full_like(z, -FAR), torch.full_like(z, FAR)
        last = self.maps[-1]
        assert isinstance(last, BlockLinear)
        reach = self.gate.sigmoid() * (last.weights()[0].abs().sum(1) + last.bias.abs())
        rest = (-self.gate).sigmoid()
        return (z - reach) / rest, (z + reach) / rest

    def _next(self, found: Tensor, z: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """x_i (B, 1) from x_1 … x_{i-1} and z_i."""
        place = found.shape[1]
        rest = torch.zeros_like(z).expand(-1, self.dim - place - 1)  # z_i does not depend on later coordinates

        def value_and_slope(x: Tensor) -> tuple[Tensor, Tensor]:
            value, log_slopes = self.value_and_log_slopes(torch.cat([found, x, rest], 1))
            return value[:, place, None], log_slopes[:, place, None].exp()

        if self.gate is None:
            reached = (value_and_slope(left)[0] < z) & (z < value_and_slope(right)[0])
            if checks.is_eager(z) and not bool(reached.all()):
                raise ValueError(
                    f"{self.label}: expected latents that some x in [-{FAR:.0f}, {FAR:.0f}] reaches, got "
                    f"{int((~reached).sum())} of {len(z)} whose number {place} is beyond: without a gate (gated=True) "
                    "latents are bounded."
                )
        root = bisect(lambda x: value_and_slope(x)[0], z, left, right)
        return with_gradient(root, z, value_and_slope)

    def settings(self) -> dict[str, Any]:
        own = {"dim": self.dim, "hidden": self.hidden, "layers": self.layers}
        return {**own, "gated": self.gate is not None}


def log_tanh_slope(h: Tensor) -> Tensor:
    """log tanh'(h) = 2 (log 2 - h - log(1 + e^{-2h})), also where tanh saturates."""
    return 2 * (math.log(2) - h - softplus(-2 * h))
