"""Integer discrete flow: whole numbers shifted by whole numbers, and a probability in place of a density."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from snf_lite.runtime import checks


class IntegerCoupling(nn.Module):
    """x_b ↦ x_b + round(t(x_a)) on vectors of whole numbers (B, D): a bijection of ℤ^D, undone by subtracting.

    t is a network of two hidden layers, zero at first, which sees x_a scaled to [-1, 1] over the levels.

    Args:
        order: a permutation of 0 … D-1; its first half, rounded up, are the places a, the others the places b.
        levels: of which the numbers usually are, 0 … levels-1.
        width: of the hidden layers.
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
        self.net = nn.Sequential(nn.Linear(half, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)

    def translation(self, x: Tensor) -> Tensor:
        """round(t(x_a)) at the places b, 0 elsewhere, (B, D); its gradient is that of t (straight-through)."""
        t = self.reach * self.net(x[:, self.given] / self.reach - 1)
        return torch.zeros_like(x).index_copy(1, self.changed, rounded(t))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.translation(x)

    def inverse(self, z: Tensor) -> Tensor:
        return z - self.translation(z)


class IntegerFlow(nn.Module):
    """Integer discrete flow: P(x) = Π_i P_i(z_i), z = f(x), f a row of couplings x_b ↦ x_b + round(t(x_a)) on ℤ^D.

    A bijection of a lattice moves probabilities and stretches nothing: no Jacobian, no dequantisation. Rounding passes
    the gradient on as if it were not there. P_i is a mixture of K discretised logistics,
    P_i(n) = Σ_k π_k (σ((n + ½ - μ_k) / s_k) - σ((n - ½ - μ_k) / s_k)) (eq-lattice).

    Probabilities are on all of ℤ^D and sum to 1 there. The levels 0 … levels-1 get less: what lies beyond is not given
    to the bins at the edges, since translations move the edges, but is reported, ``mass_outside``; samples can lie
    there too. Density and sample cost one pass of the networks, O(D·width + width²) an event for each coupling.

    The inverse gives back the same whole numbers if the networks give the same t both times. A batch of another size
    may change the last digit of t, and so, where t lies at a half, an x by 1: rare in float32 and rarer in float64.

    Args:
        event_shape: of the events, D ≥ 2 numbers in all.
        levels: of the data, 0 … levels-1; sets scales, forbids nothing.
        couplings: how many; they come in pairs that change one half of the places each, chosen by chance.
        width: of the networks' hidden layers.
        components: K.

    Attributes:
        logits, means, log_scales: (D, K) each, of the mixtures.

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
            raise ValueError(f"{self.label}: expected events of two numbers or more, got shape {self.event_shape}.")
        orders = places(size, couplings)
        self.couplings = nn.ModuleList(IntegerCoupling(order, self.levels, self.width) for order in orders)
        self.logits = nn.Parameter(torch.zeros(size, components))
        middles = (torch.arange(components) + 0.5) / components * self.levels - 0.5
        self.means = nn.Parameter(middles.repeat(size, 1))
        self.log_scales = nn.Parameter(torch.full((size, components), self.levels / (2 * components)).log())

    # ---- probability -------------------------------------------------------------------------------------------------

    def log_prob(self, x: Tensor) -> Tensor:
        """log P(x), (B,) in nats, of whole numbers x (B, *event_shape), on and off the levels.

        Raises:
            TypeError: x is no tensor of an integer dtype.
            ValueError: wrong shape, or numbers too large for the parameters' dtype to tell from their neighbours.
            FloatingPointError: the result is not finite.
        """
        log_prob = self.log_prior(self.through(self._numbers(x, "x")))
        checks.require_finite_output(log_prob, self.label, "log_prob")
        return log_prob

    def through(self, numbers: Tensor) -> Tensor:
        """f of vectors (B, D) of whole numbers held as floats, with the straight-through gradient."""
        for coupling in self.couplings:
            numbers = coupling(numbers)
        return numbers

    def log_prior(self, z: Tensor) -> Tensor:
        """Σ_i log P_i(z_i), (B,) in nats, of vectors (B, D); differentiable by z as if it were no whole number."""
        each = discretised_logistic(z[..., None], self.means, self.log_scales)
        return (log_softmax(self.logits, -1) + each).logsumexp(-1).sum(1)

    @torch.no_grad()
    def mass_outside(self, samples: int = 10_000, generator: torch.Generator | None = None) -> float:
        """The share of samples with a number outside of the levels: how much of its mass the flow gives away."""
        x = self.sample(samples, generator)
        return float(((x < 0) | (x >= self.levels)).flatten(1).any(1).double().mean())

    # ---- there and back ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def code(self, x: Tensor) -> Tensor:
        """z = f(x), int64 (B, *event_shape), of whole numbers x of that shape; raises the errors of ``log_prob``."""
        return self._events(self.through(self._numbers(x, "x")))

    @torch.no_grad()
    def inverse(self, z: Tensor) -> Tensor:
        """x with f(x) = z, int64 (B, *event_shape), of whole numbers z of that shape."""
        return self._events(self._back(self._numbers(z, "z")))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n events, int64 (n, *event_shape), from the flow's own distribution: some may lie outside of the levels."""
        checks.integer(n, "n", self.label, at_least=0, wanted="to be an integer ≥ 0")
        uniform = torch.rand(2, n, len(self.means), dtype=torch.float64, generator=generator, device=self.means.device)
        steps = self.logits.double().softmax(-1).cumsum(-1)[:, :-1].contiguous()
        component = torch.searchsorted(steps, uniform[0].T.contiguous()).T[..., None]
        mean, log_scale = (p.double().expand(n, -1, -1).gather(-1, component)[..., 0] for p in self._logistics())
        # rounding a logistic number gives the discretised one
        z = (mean + log_scale.exp() * uniform[1].clamp_min(1e-300).logit()).round()
        return self._events(self._back(z.to(self.means.dtype)))

    def _logistics(self) -> tuple[Tensor, Tensor]:
        return self.means, self.log_scales

    def _back(self, z: Tensor) -> Tensor:
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, IntegerCoupling)
            z = coupling.inverse(z)
        return z

    def _events(self, numbers: Tensor) -> Tensor:
        checks.require_finite_output(numbers, self.label, "the result")
        return numbers.round().long().reshape(-1, *self.event_shape)

    def _numbers(self, x: Tensor, name: str) -> Tensor:
        """Whole numbers as vectors (B, D) of the parameters' dtype."""
        checks.require_tensor(x, self.label)
        if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
            raise TypeError(f"{self.label}: expected {name} of an integer dtype, got {x.dtype}.")
        checks.require_batch_of(x, self.event_shape, self.label)
        largest = int(0.25 / torch.finfo(self.means.dtype).eps)  # the halves beside it are floats too
        if checks.is_eager(x) and x.numel() and not -largest <= int(x.min()) <= int(x.max()) <= largest:
            raise ValueError(
                f"{self.label}: expected {name} within ±{largest}, which {self.means.dtype} can tell from its "
                f"neighbours, got numbers from {int(x.min())} to {int(x.max())}."
            )
        return x.flatten(1).to(self.means.dtype)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that make this flow again."""
        own = {"couplings": len(self.couplings), "width": self.width, "components": self.components}
        return {"event_shape": self.event_shape, "levels": self.levels, **own}


def rounded(t: Tensor) -> Tensor:
    """t rounded to whole numbers, with the gradient of t itself."""
    return t + (t.round() - t).detach()


def discretised_logistic(n: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """log(σ((n + ½ - μ)/s) - σ((n - ½ - μ)/s)), in nats: the logistic's mass in the bin around n, far into the tails.

    By σ(b) - σ(a) = σ(b)·σ(-a)·(1 - e^{a-b}), in which nothing cancels.
    """
    per_bin = (-log_scale).exp()
    upper, lower = (n + 0.5 - mean) * per_bin, (n - 0.5 - mean) * per_bin
    return logsigmoid(upper) + logsigmoid(-lower) + (-torch.expm1(-per_bin)).log()


def places(size: int, couplings: int) -> list[Tensor]:
    """An order of the places for each coupling, always the same ones: a fresh one, then it from behind, and so on."""
    generator = torch.Generator().manual_seed(0)
    orders: list[Tensor] = []
    for index in range(couplings):
        orders.append(orders[-1].flip(0) if index % 2 else torch.randperm(size, generator=generator))
    return orders
