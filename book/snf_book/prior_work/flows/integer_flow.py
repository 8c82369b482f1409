"""Integer discrete flow: integers shifted by integers, with a probability instead of a density."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from snf_lite.runtime import checks


class IntegerCoupling(nn.Module):
    """x_b ↦ x_b + round(t(x_a)) on integer vectors (B, D): a bijection of ℤ^D, inverted by subtraction.

    t is a network with two hidden layers and a zero-initialized output; its input is x_a scaled to [-1, 1].

    Args:
        order: permutation of 0 … D-1; its first half, rounded up, are the indices a, the others the indices b.
        levels: number of levels 0 … levels-1 of the data.
        width: width of the hidden layers.
    """

    given: Tensor
    changed: Tensor

    def __init__(self, order: Tensor, levels: int, width: int) -> None:
        super().__init__()
        half = len(order) - len(order) // 2
        self.register_buffer("given", order[:half])
        self.register_buffer("changed", order[half:])
        self.reach = (levels - 1) / 2
        last = nn.Linear(width, len(order) - half)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(nn.Linear(half, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)

    def translation(self, x: Tensor) -> Tensor:
        """round(t(x_a)) at the indices b, 0 elsewhere, (B, D); its gradient is that of t (straight-through)."""
        t = self.reach * self.network(x[:, self.given] / self.reach - 1)
        return torch.zeros_like(x).index_copy(1, self.changed, rounded(t))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.translation(x)

    def inverse(self, z: Tensor) -> Tensor:
        return z - self.translation(z)


class IntegerFlow(nn.Module):
    """Integer discrete flow: P(x) = Π_i P_i(z_i), z = f(x), f a chain of couplings x_b ↦ x_b + round(t(x_a)) on ℤ^D.

    A bijection of a lattice only permutes probabilities: no Jacobian, no dequantization. Rounding has a
    straight-through gradient. P_i is a mixture of K discretized logistics,
    P_i(n) = Σ_k π_k (σ((n + ½ - μ_k) / s_k) - σ((n - ½ - μ_k) / s_k)) (eq-lattice).

    Probabilities sum to 1 over all of ℤ^D, and to less over the levels 0 … levels-1: the mass beyond is not added to
    the edge bins, because translations move the edges, but reported by ``mass_outside``; samples can lie there too.
    Density and sampling cost one pass of the networks, O(D·width + width²) per example and coupling.

    The inverse is exact if the networks give the same t both times. Another batch size may change the last digit of t,
    and so, where t is close to a half, an x by 1: rare in float32 and rarer in float64.

    Args:
        event_shape: shape of an example, D ≥ 2 numbers in all.
        levels: number of levels 0 … levels-1 of the data; sets scales, but other integers are accepted.
        couplings: number of couplings; each pair changes the two halves of a random split of the indices.
        width: width of the networks' hidden layers.
        components: K.

    Attributes:
        logits, means, log_scales: parameters of the mixtures, (D, K) each.

    Source: Hoogeboom, Peters, van den Berg and Welling, Integer Discrete Flows and Lossless Compression, NeurIPS 2019
    (https://arxiv.org/abs/1905.07376).
    """

    def __init__(
        self, event_shape: Iterable[int], levels: int, couplings: int = 4, width: int = 64, components: int = 5
    ) -> None:
        super().__init__()
        self.label = type(self).__name__
        self.event_shape = checks.shape_tuple(event_shape, "event_shape", self.label)
        self.levels = checks.integer(levels, "levels", self.label, at_least=2, wanted="to be an integer ≥ 2")
        self.width = checks.positive_integer(width, "width", self.label)
        self.components = checks.positive_integer(components, "components", self.label)
        checks.integer(couplings, "couplings", self.label, at_least=0, wanted="to be an integer ≥ 0")
        size = torch.Size(self.event_shape).numel()
        if size < 2:
            raise ValueError(f"{self.label}: expected an event shape of two numbers or more, got {self.event_shape}.")
        orders = places(size, couplings)
        self.couplings = nn.ModuleList(IntegerCoupling(order, self.levels, self.width) for order in orders)
        self.logits = nn.Parameter(torch.zeros(size, components))
        middles = (torch.arange(components) + 0.5) / components * self.levels - 0.5
        self.means = nn.Parameter(middles.repeat(size, 1))
        self.log_scales = nn.Parameter(torch.full((size, components), self.levels / (2 * components)).log())

    # ---- probability -------------------------------------------------------------------------------------------------

    def log_prob(self, x: Tensor) -> Tensor:
        """log P(x), (B,) in nats, of integers x (B, *event_shape), on and off the levels.

        Raises:
            TypeError: x is not a tensor of an integer dtype.
            ValueError: wrong shape, or integers too large to be exact in the parameters' dtype.
            FloatingPointError: the result is not finite.
        """
        log_prob = self.log_prior(self.through(self._numbers(x, "x")))
        checks.require_finite_output(log_prob, self.label, "log_prob")
        return log_prob

    def through(self, numbers: Tensor) -> Tensor:
        """f of vectors (B, D) of integers stored as floats, with the straight-through gradient."""
        for coupling in self.couplings:
            numbers = coupling(numbers)
        return numbers

    def log_prior(self, z: Tensor) -> Tensor:
        """Σ_i log P_i(z_i), (B,) in nats, of vectors (B, D); differentiable with respect to z as a real number."""
        each = discretized_logistic(z[..., None], self.means, self.log_scales)
        return (log_softmax(self.logits, -1) + each).logsumexp(-1).sum(1)

    @torch.no_grad()
    def mass_outside(self, samples: int = 10_000, generator: torch.Generator | None = None) -> float:
        """Fraction of samples with a number outside the levels: the probability mass there."""
        x = self.sample(samples, generator)
        return float(((x < 0) | (x >= self.levels)).flatten(1).any(1).double().mean())

    # ---- bijection ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def code(self, x: Tensor) -> Tensor:
        """z = f(x), int64 (B, *event_shape), of integers x of that shape; raises the errors of ``log_prob``."""
        return self._integers(self.through(self._numbers(x, "x")))

    @torch.no_grad()
    def inverse(self, z: Tensor) -> Tensor:
        """x with f(x) = z, int64 (B, *event_shape), of integers z of that shape."""
        return self._integers(self._back(self._numbers(z, "z")))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n samples, int64 (n, *event_shape); some may lie outside the levels."""
        checks.integer(n, "n", self.label, at_least=0, wanted="to be an integer ≥ 0")
        uniform = torch.rand(2, n, len(self.means), dtype=torch.float64, generator=generator, device=self.means.device)
        steps = self.logits.double().softmax(-1).cumsum(-1)[:, :-1].contiguous()
        component = torch.searchsorted(steps, uniform[0].T.contiguous()).T[..., None]
        logistics = (self.means, self.log_scales)
        mean, log_scale = (p.double().expand(n, -1, -1).gather(-1, component)[..., 0] for p in logistics)
        # rounding a logistic sample gives the discretized one
        z = (mean + log_scale.exp() * uniform[1].clamp_min(1e-300).logit()).round()
        return self._integers(self._back(z.to(self.means.dtype)))

    def _back(self, z: Tensor) -> Tensor:
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, IntegerCoupling)
            z = coupling.inverse(z)
        return z

    def _integers(self, numbers: Tensor) -> Tensor:
        checks.require_finite_output(numbers, self.label, "the result")
        return numbers.round().long().reshape(-1, *self.event_shape)

    def _numbers(self, x: Tensor, name: str) -> Tensor:
        """Integers as vectors (B, D) of the parameters' dtype."""
        checks.require_tensor(x, self.label)
        if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
            raise TypeError(f"{self.label}: expected {name} of an integer dtype, got {x.dtype}.")
        checks.require_batch_of(x, self.event_shape, self.label)
        largest = int(0.25 / torch.finfo(self.means.dtype).eps)  # so that n ± ½ are exact
        if checks.is_eager(x) and x.numel() and not -largest <= int(x.min()) <= int(x.max()) <= largest:
            raise ValueError(
                f"{self.label}: expected {name} within ±{largest}, where {self.means.dtype} is exact, "
                f"got numbers from {int(x.min())} to {int(x.max())}."
            )
        return x.flatten(1).to(self.means.dtype)

    def settings(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        own = {"couplings": len(self.couplings), "width": self.width, "components": self.components}
        return {"event_shape": self.event_shape, "levels": self.levels, **own}


def rounded(t: Tensor) -> Tensor:
    """t rounded to integers, with the gradient of t (straight-through)."""
    return t + (t.round() - t).detach()


def discretized_logistic(n: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log(σ((n + ½ - μ)/s) - σ((n - ½ - μ)/s)), in nats: the logistic's mass in the bin of n.

    Computed as σ(b) - σ(a) = σ(b)·σ(-a)·(1 - e^{a-b}), without cancellation in the tails.
    """
    per_bin = (-log_scale).exp()
    upper, lower = (n + 0.5 - mean) * per_bin, (n - 0.5 - mean) * per_bin
    return logsigmoid(upper) + logsigmoid(-lower) + (-torch.expm1(-per_bin)).log()


def places(size: int, couplings: int) -> list[Tensor]:
    """A fixed order of the indices for each coupling: random orders, each followed by its reverse."""
    generator = torch.Generator().manual_seed(0)
    orders: list[Tensor] = []
    for index in range(couplings):
        orders.append(orders[-1].flip(0) if index % 2 else torch.randperm(size, generator=generator))
    return orders
