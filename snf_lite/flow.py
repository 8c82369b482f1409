"""The flow: layers in a row in front of a standard normal base density.

Exact and self-normalised never mix: ``log_prob`` is the exact likelihood of f in nats, ``loss`` is the training
objective whose *gradient* matters and whose value is no likelihood wherever a layer learns its inverse.
"""

import math
from collections.abc import Hashable, Iterable
from typing import cast

import torch
from torch import Tensor, nn

from . import checks
from .layer import FlowLayer


class Flow(nn.Module):
    """Layers in a row and the base density N(0, I): log p(x) = log N(f(x); 0, I) + Σ_k log|det J_k|   (eq-change).

    Args:
        layers: the bijections, data side first.
        event_shape: the shape of one event: (D,), or (C, H, W) for images.

    Raises:
        ValueError: a layer does not take what the one before gives; the message names it.
    """

    initialised: Tensor
    _anchor: Tensor

    def __init__(self, layers: Iterable[FlowLayer], event_shape: Iterable[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.event_shape = checks.shape_tuple(event_shape, "event_shape", "Flow")
        self.z_shape = self._bind()
        self._teams = self._find_teams()
        self.features = math.prod(self.event_shape)
        # Persistent, so that a restored flow is never initialised a second time from other data.
        self.register_buffer("initialised", torch.tensor(False))
        # Empty: it only follows .to(), and so knows dtype and device where no layer has a parameter.
        self.register_buffer("_anchor", torch.empty(0, dtype=self._common_dtype()), persistent=False)

    def chain(self) -> list[FlowLayer]:
        """The layers, data side first, typed as what they are."""
        return cast(list[FlowLayer], list(self.layers))

    def _bind(self) -> tuple[int, ...]:
        shape = self.event_shape
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, FlowLayer):
                raise TypeError(f"Flow: expected layers[{index}] to be a FlowLayer, got {type(layer).__name__}.")
            layer.label = f"layers[{index}] {type(layer).__name__}"
            shape = layer.bind(shape)
        return shape

    def _find_teams(self) -> list[list[int]]:
        """Positions of layers whose log-determinants are computed in one go."""
        teams: dict[tuple[type, Hashable], list[int]] = {}
        for index, layer in enumerate(self.chain()):
            if layer.volume_key() is not None:
                teams.setdefault((type(layer), layer.volume_key()), []).append(index)
        return list(teams.values())

    def _volumes(self) -> dict[int, Tensor]:
        """By position the log|det| () of each layer in a team."""
        found: dict[int, Tensor] = {}
        for team in self._teams:
            layers = [self.chain()[index] for index in team]
            found.update(zip(team, type(layers[0]).volumes(layers).to(self.dtype), strict=True))
        return found

    def _common_dtype(self) -> torch.dtype:
        found = {layer.dtype: layer.label for layer in reversed(self.chain()) if layer.dtype is not None}
        if len(found) > 1:
            described = ", ".join(f"{label} has {dtype}" for dtype, label in found.items())
            raise TypeError(f"Flow: expected layers of one dtype, got several: {described}.")
        return next(iter(found), torch.get_default_dtype())

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of float input, of parameters and of log_prob."""
        return self._anchor.dtype

    @property
    def device(self) -> torch.device:
        return self._anchor.device

    @property
    def levels(self) -> int | None:
        """How many values a pixel may take, if the first layer dequantises; else None."""
        return getattr(self.layers[0], "levels", None) if self.layers else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x) of shape (B, *z_shape) and the exact log|det J_f|, (B,) in nats, preprocessing included.

        The log-determinant is the sum of the layers' own, each at its own input (eq-compose).

        Raises:
            TypeError, ValueError, FloatingPointError: as ``FlowLayer.forward``; the message names the layer.
        """
        self._check_input(x)
        log_det = torch.zeros(len(x), dtype=self.dtype, device=x.device)
        h = x
        for layer in self.chain():
            h, term = layer(h)
            log_det = log_det + term
        return h, log_det

    def inverse(self, z: Tensor, exact: bool = True) -> Tensor:
        """x with f(x) = z, layer by layer; ``exact=False`` goes through the learned inverses in one pass.

        z: (B, *z_shape). A flow whose first layer dequantises gives uint8 pixels.
        """
        checks.require_tensor(z, "Flow.inverse")
        checks.require_dtype(z, self.dtype, "Flow.inverse")
        checks.require_batch_of(z, self.z_shape, "Flow.inverse")
        for layer in reversed(self.chain()):
            z = layer.inverse(z, exact=exact)
        return z

    def reconstruct(self, x: Tensor) -> Tensor:
        """g(f(x)): through the layers and back through their learned inverses; equal to x where g = f⁻¹."""
        return self.inverse(self(x)[0], exact=False)

    def log_prob(self, x: Tensor) -> Tensor:
        """The exact log-likelihood of f (eq-change), (B,) in nats, of the dtype of the flow."""
        z, log_det = self(x)
        return standard_normal_log_prob(z) + log_det

    def loss(self, x: Tensor) -> Tensor:
        """The training objective to minimise, a scalar: batch mean of penalties minus the objective (eq-objective).

        ``backward()`` leaves the gradients of eq-dense-gradients and eq-conv-gradients on layers that learn their
        inverse, exact ones on every other (relative ones on ``RelativeGradientLinear``). The value leaves out the
        log-determinants that were never computed: it is not a likelihood.

        Raises:
            FloatingPointError: the loss is not finite; the message names the first layer that is not.
            TypeError, ValueError: as ``forward``.
        """
        self._check_input(x)
        if len(x) == 0:
            raise ValueError(f"Flow.loss: expected at least one event, got a batch of shape {tuple(x.shape)}.")
        h, total, penalty = x, torch.zeros((), dtype=self.dtype, device=x.device), None
        volumes = self._volumes()
        for index, layer in enumerate(self.chain()):
            if index in volumes:
                h, term, cost = layer.map(h), volumes[index], None
            else:
                h, term, cost = layer.surrogate(h)
            h = h.to(self.dtype)  # under autocast a product may come out in half precision
            total = total + term
            if cost is not None:
                penalty = cost if penalty is None else penalty + cost
        objective = standard_normal_log_prob(h) + total
        loss = (-objective if penalty is None else penalty - objective).mean()
        if not checks.all_finite(loss):
            self.name_non_finite_layer(x)
        return loss

    @torch.no_grad()
    def name_non_finite_layer(self, x: Tensor) -> None:
        """Raise FloatingPointError that names the first layer whose training pass is not finite on x."""
        h, largest = x, (0.0, "Flow")
        for layer in self.chain():
            h, term, cost = layer.surrogate(h)
            checks.require_finite_output(h, layer.label, "z")
            checks.require_finite_output(term, layer.label, "the log-determinant")
            if cost is not None:
                checks.require_finite_output(cost, layer.label, "the reconstruction penalty")
            largest = max(largest, (float(h.abs().max()), layer.label))
        raise FloatingPointError(
            f"{largest[1]}: its codes reach {largest[0]:.1e}, and their squares or the sum of all terms overflow."
        )

    @torch.no_grad()
    def sample(self, n: int, exact: bool = False, generator: torch.Generator | None = None) -> Tensor:
        """Draw n events: z ~ N(0, I), then g(z) in one pass, or f⁻¹(z) with ``exact=True``.

        Returns:
            (n, *event_shape); uint8 pixels where the first layer dequantises.
        """
        return self.inverse(self.sample_base(n, generator), exact=exact)

    def sample_base(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n codes z ~ N(0, I), (n, *z_shape): keep them to compare g(z) with f⁻¹(z)."""
        n = checks.integer(n, "a", "Flow.sample", at_least=0, wanted="number of samples ≥ 0")
        device = generator.device if generator is not None else self.device
        return torch.randn((n, *self.z_shape), generator=generator, dtype=self.dtype, device=device).to(self.device)

    @torch.no_grad()
    def initialise(self, batch: Tensor, whiten: bool = False) -> "Flow":
        """Set data-dependent parameters from a batch, layer after layer; returns the flow.

        Args:
            batch: (B, *event_shape), as for ``log_prob``.
            whiten: dense layers become W = cov^-1/2 of their own inputs, R = cov^1/2, b = -W·mean.

        Raises:
            ValueError: whitening needs more events in the batch than features.
        """
        self._check_input(batch)
        h = batch
        for layer in self.chain():
            layer.initialise(h, whiten)
            h = layer.surrogate(h)[0]
        self.initialised.fill_(True)
        return self

    @torch.no_grad()
    def adapt(self) -> None:
        """Let the layers change what they change by themselves after a training step; ``fit`` does so after each."""
        for layer in self.chain():
            layer.adapt()

    def forget(self) -> None:
        """Drop what the layers remember from their weights; ``fit`` does so after each step."""
        for layer in self.chain():
            layer.forget()

    def _check_input(self, x: Tensor) -> None:
        checks.require_tensor(x, "Flow")
        if self.levels is None:
            checks.require_dtype(x, self.dtype, "Flow")
        else:
            self.chain()[0].check_dtype(x)
        checks.require_batch_of(x, self.event_shape, "Flow")
        if x.is_floating_point():
            checks.require_finite_input(x, "Flow")


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) summed over each event, (B,) in nats: closed form, O(D), no covariance matrix."""
    energy = z.flatten(1).square().sum(1)
    return -0.5 * (energy + math.prod(z.shape[1:]) * math.log(2 * math.pi))
