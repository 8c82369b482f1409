"""Coupling layers of vectors: a network of one half of the features gives the maps of the others, affine or splines."""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn

from snf_lite.layer import FlowLayer
from snf_lite.layers.spline import SplineLayer
from snf_lite.runtime import checks


class VectorCoupling(FlowLayer):
    """Coupling z₁ = x₁, z₂ = τ(x₂; θ(x₁, c)): one half of a vector's features, and a context, parametrize a map τ.

    τ is element-wise, so that the Jacobian is triangular and log|det| = Σ log τ′ nats (eq-coupling). θ is a network of
    linear layers with ReLU between them, whose last layer is zero at first, so that the fresh layer is the identity.
    Its exact inverse costs what the map costs. Layers with ``flip`` alternate with layers without, so that all features
    change.

    Args:
        features: D ≥ 2, the number of features; the first ⌈D/2⌉ are x₁.
        hidden_features: Widths of the network's hidden layers.
        flip: Whether the first ⌈D/2⌉ features are x₂ instead.
        context_features: K, the number of features of a context (B, K) on which the layer is conditioned; None: none.

    Raises:
        ValueError: fewer than two features, or a width below 1.
    """

    #: The numbers of θ for each number of x₂.
    parameters_each: int

    def __init__(
        self, features: int, hidden_features: Iterable[int] = (64, 64), flip: bool = False,
        context_features: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.features = checks.integer(
            features, "features", self.label, at_least=2, wanted="to be an integer ≥ 2, one for each half"
        )
        self.accepted_shape = (self.features,)
        self.hidden_features = checks.shape_tuple(hidden_features, "hidden_features", self.label)
        self.flip = flip
        self.set_context(context_features)
        first = self.features - self.features // 2
        self.sizes = (first, self.features - first)
        given, self.changed = self.sizes[::-1] if flip else self.sizes
        widths = (given + (self.context_features or 0), *self.hidden_features)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        last = nn.Linear(widths[-1], self.changed * self.parameters_each)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.net = nn.Sequential(*layers, last)

    def element_map(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """τ and log τ′ of numbers x (B, d), with parameters (B, d, parameters_each)."""
        raise NotImplementedError(f"{type(self).__name__} has no element_map.")

    def inverse_map(self, z: Tensor, parameters: Tensor) -> Tensor:
        """x with τ(x) = z."""
        raise NotImplementedError(f"{type(self).__name__} has no inverse_map.")

    def transform(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z and Σ log τ′, (B,) in nats (eq-coupling)."""
        given, others = self.halves(x)
        mapped, log_slope = self.element_map(others, self.conditioned(given, context))
        return self.joined(given, mapped), log_slope.sum(1)

    def invert(self, z: Tensor, exact: bool, context: Tensor | None = None) -> Tensor:
        given, others = self.halves(z)
        return self.joined(given, self.inverse_map(others, self.conditioned(given, context)))

    def conditioned(self, given: Tensor, context: Tensor | None) -> Tensor:
        """θ, (B, d, parameters_each), from x₁ and the context."""
        inputs = given if context is None else torch.cat([given, context], 1)
        return self.net(inputs).to(given.dtype).unflatten(1, (self.changed, self.parameters_each))

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x₁ and x₂."""
        first, last = x.split(self.sizes, 1)
        return (last, first) if self.flip else (first, last)

    def joined(self, given: Tensor, others: Tensor) -> Tensor:
        return torch.cat([others, given] if self.flip else [given, others], 1)


class AffineVectorCoupling(VectorCoupling):
    """Affine coupling of vectors: z₂ = exp(2 tanh(h/2)) · (x₂ + t), with (h, t) from a network of x₁ (eq-coupling).

    The map and its bounded scale are those of ``AffineCoupling``, which is for images.

    Args:
        features: D ≥ 2, the number of features; the first ⌈D/2⌉ are x₁.
        hidden_features: Widths of the network's hidden layers.
        flip: Whether the first ⌈D/2⌉ features are x₂ instead.
        context_features: K, the number of features of a context (B, K) on which the layer is conditioned; None: none.

    Example:
        >>> layers = [snf.AffineVectorCoupling(3), snf.AffineVectorCoupling(3, flip=True), snf.SelfNormLinear(3)]
        >>> snf.Flow(layers, (3,)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
        >>> labels = torch.nn.functional.one_hot(torch.tensor([0, 1]), 10).float()
        >>> snf.Flow([snf.AffineVectorCoupling(3, context_features=10)], (3,)).sample(2, context=labels).shape
        torch.Size([2, 3])

    References:
        Dinh et al., Density estimation using Real NVP, ICLR 2017 (https://arxiv.org/abs/1605.08803).
    """

    parameters_each = 2

    def element_map(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.scale_and_shift(parameters)
        return log_scale.exp() * (x + shift), log_scale

    def inverse_map(self, z: Tensor, parameters: Tensor) -> Tensor:
        log_scale, shift = self.scale_and_shift(parameters)
        return z * (-log_scale).exp() - shift

    def scale_and_shift(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """2 tanh(h/2) and t, (B, d) each."""
        return 2 * torch.tanh(parameters[..., 0] / 2), parameters[..., 1]


class SplineVectorCoupling(VectorCoupling, SplineLayer):
    """Coupling of vectors by splines: z₂ = rational-quadratic splines of x₂, their parameters from a network of x₁.

    Each number of x₂ has a spline of its own on [-bound, bound], the identity outside (eq-spline).

    Args:
        features: D ≥ 2, the number of features; the first ⌈D/2⌉ are x₁.
        bins: Number of bins K ≥ 1 of a spline.
        bound: Half the side of the square [-bound, bound]² that holds a spline.
        hidden_features: Widths of the network's hidden layers.
        flip: Whether the first ⌈D/2⌉ features are x₂ instead.
        context_features: K, the number of features of a context (B, K) on which the layer is conditioned; None: none.

    Raises:
        ValueError: as ``RationalQuadraticSpline``.

    Example:
        >>> layers = [snf.SplineVectorCoupling(2), snf.SplineVectorCoupling(2, flip=True)]
        >>> flow = snf.Flow(layers, (2,))  # fresh: the identity
        >>> torch.allclose(flow(torch.ones(1, 2))[0], torch.ones(1, 2))
        True

    References:
        Durkan et al., Neural Spline Flows, NeurIPS 2019, section 3.2 (https://arxiv.org/abs/1906.04032).
    """

    def __init__(
        self, features: int, bins: int = 8, bound: float = 5.0, hidden_features: Iterable[int] = (64, 64),
        flip: bool = False, context_features: int | None = None,
    ) -> None:  # fmt: skip
        self.parameters_each = 3 * checks.positive_integer(bins, "bins", type(self).__name__) - 1
        super().__init__(features, hidden_features, flip, context_features)
        self.set_bins(bins, bound)

    def split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unnormalized widths, heights and slopes; the identity where all parameters are zero."""
        widths, heights, slopes = parameters.split((self.bins, self.bins, self.bins - 1), -1)
        return widths, heights, slopes + self.UNIT_SLOPE

    def element_map(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return self.spline(x, self.split(parameters))

    def inverse_map(self, z: Tensor, parameters: Tensor) -> Tensor:
        return self.inverse_spline(z, self.split(parameters))
