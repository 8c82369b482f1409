"""Flow++'s coupling: one half is transformed by the CDF of a mixture of logistics conditioned on the other half."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from snf_book.prior_work.flows.root_finding import bisect, with_gradient
from snf_lite.layers.glow import ChannelSplit
from snf_lite.runtime import checks

#: Bounds of the logarithms of the mixture's scales, and of the final scale.
MIXTURE_BOUND = 5.0
SCALE_BOUND = 2.0
#: The initial means lie between plus and minus this.
FIRST_MEANS = 2.0


class Mixture:
    """F(x) = Σ_k π_k σ((x - μ_k) e^{-s_k}), a mixture of K logistic distributions per element.

    Args:
        logits: log π_k up to a constant, (..., K).
        means: μ_k.
        log_scales: s_k.
    """

    def __init__(self, logits: Tensor, means: Tensor, log_scales: Tensor) -> None:
        self.log_weights = log_softmax(logits, -1)
        self.means, self.log_scales = means, log_scales

    def logit(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log F(x)/(1 - F(x)) of x (...), and the logarithm of its slope, F'/(F·(1 - F)); stable in the tails."""
        u = (x[..., None] - self.means) * (-self.log_scales).exp()
        below, above = logsigmoid(u), logsigmoid(-u)
        log_cdf = (self.log_weights + below).logsumexp(-1)
        log_rest = (self.log_weights + above).logsumexp(-1)
        log_density = (self.log_weights + below + above - self.log_scales).logsumexp(-1)
        return log_cdf - log_rest, log_density - log_cdf - log_rest

    def inverse_logit(self, wanted: Tensor) -> Tensor:
        """x with logit(x) = ``wanted``, by bisection between the single logistics' roots, μ_k + e^{s_k}·wanted."""
        roots = torch.addcmul(self.means, self.log_scales.exp(), wanted[..., None])
        x = bisect(lambda x: self.logit(x)[0], wanted, roots.amin(-1), roots.amax(-1))

        def value_and_slope(x: Tensor) -> tuple[Tensor, Tensor]:
            value, log_slope = self.logit(x)
            return value, log_slope.exp()

        return with_gradient(x, wanted, value_and_slope)


class MixtureCoupling(ChannelSplit):
    """Flow++'s coupling: z₁ = x₁, z₂ = logit(F(x₂)) · exp(s) + t, F a mixture's CDF per element.

    The mixture has K logistics, F(x) = Σ_k π_k σ((x - μ_k) e^{-s_k}), and π, μ, s_k, s, t = network(x₁). The Jacobian
    is triangular: log|det| = Σ (log F'(x₂) - log F - log(1 - F) + s) nats, over the elements of x₂.
    The network is a convolution, ReLU, a 1×1 convolution, ReLU, and a zero-initialized convolution; the paper's also
    has attention. A vector is treated as an image of one pixel. A tanh keeps s in (-2, 2), s_k in (-5, 5).

    The inverse is found by bisection of a monotone function, all elements at once: logit(F) lies between the logits of
    the single logistics, which brackets the root, and the bracket is halved to eps/4096 of its width (35 times in
    float32, 64 in float64); two Newton steps then carry the gradient. Density and inverse cost one pass of the
    network, and O(K) per element and evaluation.

    Args:
        channels: C ≥ 2, for the event shape (C, H, W) or (C,); if odd, the first half has one more.
        components: K.
        width: channels of the hidden convolutions.
        kernel_size: kernel size of the first and the last convolution, odd; 1 suffices for vectors.

    Source: Ho, Chen, Srinivas, Duan and Abbeel, Flow++: Improving Flow-Based Generative Models with Variational
    Dequantization and Architecture Design, ICML 2019 (https://arxiv.org/abs/1902.00275), section 3.2.
    """

    def __init__(self, channels: int, components: int = 4, width: int = 64, kernel_size: int = 3) -> None:
        super().__init__(channels)
        self.components = checks.positive_integer(components, "components", self.label)
        self.width = checks.positive_integer(width, "width", self.label)
        self.kernel_size = checks.odd_integer(kernel_size, "kernel_size", self.label)
        padding = kernel_size // 2
        last: nn.Conv2d
        *others, last = (
            nn.Conv2d(self.given, width, kernel_size, padding=padding), nn.ReLU(),
            nn.Conv2d(width, width, 1), nn.ReLU(),
            nn.Conv2d(width, self.changed * (3 * components + 2), kernel_size, padding=padding),
        )  # fmt: skip
        self.network = nn.Sequential(*others, last)
        assert last.bias is not None
        with torch.no_grad():  # zero except for the means: equal components would always get equal gradients
            last.weight.zero_()
            biases = last.bias.zero_().reshape(self.changed, -1)
            if components > 1:
                biases[:, components : 2 * components] = torch.linspace(-FIRST_MEANS, FIRST_MEANS, components)

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) not in (1, 3) or event_shape[0] != self.channels or 0 in event_shape:
            raise self.shape_error(f"({self.channels},) or ({self.channels}, H, W)", event_shape)
        return event_shape

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        given, others = self.halves(x)
        mixture, log_scale, shift = self.described(given)
        value, log_slope = mixture.logit(others)
        z = torch.cat([given, value * log_scale.exp() + shift], 1)
        return z, (log_slope + log_scale).flatten(1).sum(1)

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        given, others = self.halves(z)
        mixture, log_scale, shift = self.described(given)
        return torch.cat([given, mixture.inverse_logit((others - shift) * (-log_scale).exp())], 1)

    def described(self, given: Tensor) -> tuple[Mixture, Tensor, Tensor]:
        """Mixture, s and t for the other half, from the identity half."""
        size = given.shape[2:] or (1, 1)
        described = self.network(given.reshape(*given.shape[:2], *size))
        of_each = described.reshape(len(given), self.changed, 3 * self.components + 2, *size).movedim(2, -1)
        of_each = of_each.reshape(len(given), self.changed, *given.shape[2:], of_each.shape[-1])
        logits, means, log_scales, last = of_each.split([self.components] * 3 + [2], -1)
        mixture = Mixture(logits, means, bounded(log_scales, MIXTURE_BOUND))
        return mixture, bounded(last[..., 0], SCALE_BOUND), last[..., 1]

    def settings(self) -> dict[str, Any]:
        own = {"components": self.components, "width": self.width, "kernel_size": self.kernel_size}
        return {"channels": self.channels, **own}


def bounded(h: Tensor, bound: float) -> Tensor:
    """bound·tanh(h / bound): close to h for small h, and within the bound."""
    return bound * torch.tanh(h / bound)
