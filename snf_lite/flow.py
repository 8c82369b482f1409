"""The layer protocol and the flow: layers in a row in front of a standard normal base density.

Exact and self-normalised never mix: ``log_prob`` is the exact likelihood of f in nats, ``loss`` is the training
objective whose *gradient* matters and whose value is no likelihood wherever a layer learns its inverse.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from . import checks


class FlowLayer(nn.Module):
    """A bijection x → z of single events, and the log-determinant of its Jacobian.

    A layer owes four methods: ``output_shape`` (which events it takes), ``transform`` (z and the exact log|det ∂z/∂x|),
    ``invert`` (x from z) and ``settings`` (its constructor's arguments). A layer that learns its inverse also writes
    ``surrogate``, the training pass that needs no determinant. Shapes, dtypes and values are checked here, for all.
    """

    #: Subclasses by ``registered_name``, so that a saved flow finds the classes of its layers.
    registry: ClassVar[dict[str, type["FlowLayer"]]] = {}
    #: The class's name; of a class from elsewhere with its module, so that it cannot stand in for one of the package.
    registered_name: ClassVar[str]
    #: Whether ``inverse(z, exact=False)`` differs from the exact inverse.
    learned_inverse: ClassVar[bool] = False
    #: How messages name this layer; a flow puts the layer's position in front.
    label: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__module__.partition(".")[0] == __package__
        cls.registered_name = cls.__name__ if own else f"{cls.__module__}.{cls.__qualname__}"
        FlowLayer.registry[cls.registered_name] = cls

    def __init__(self) -> None:
        super().__init__()
        self.label = type(self).__name__

    # ---- what a layer owes -------------------------------------------------------------------------------------------

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The event shape of z for events x of ``event_shape``; ValueError if the layer does not take them."""
        return event_shape

    def input_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The event shape of x for codes z of ``z_shape``: the same check seen from the other side."""
        return self.output_shape(z_shape)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z, and log|det ∂z/∂x| of shape (B,) in nats, exact and differentiable; x has been checked."""
        raise NotImplementedError(f"{type(self).__name__} has no transform.")

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        """x with transform(x) = z, or the learned approximation if not ``exact``; z has been checked."""
        raise NotImplementedError(f"{type(self).__name__} has no invert.")

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The training pass: z, a (B,) term whose gradient stands for the log-determinant's, and a (B,) penalty.

        For most layers the term is the exact log-determinant and there is no penalty.
        """
        z, log_det = self.transform(x)
        return z, log_det, None

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Set parameters from a batch of the layer's own inputs, where the layer has such a rule."""

    def forget(self) -> None:
        """Drop whatever was remembered from the weights, for a writer that changes them unseen."""

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that make this layer again (its parameters come from the state dict)."""
        return {}

    # ---- what a layer is given ---------------------------------------------------------------------------------------

    def bind(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Told once, by its flow, which events will come; returns the event shape of z."""
        return self.output_shape(event_shape)

    @property
    def dtype(self) -> torch.dtype | None:
        """The floating dtype of the parameters and buffers; None for a layer without any."""
        tensors: Iterable[Tensor] = (*self.parameters(), *self.buffers())
        return next((t.dtype for t in tensors if t.is_floating_point()), None)

    def shape_error(self, wanted: tuple[int, ...] | str, got: tuple[int, ...]) -> ValueError:
        """The error to raise when events of shape ``wanted`` were due and ``got`` came."""
        return ValueError(f"{self.label}: expected events of shape {wanted}, got {got}.")

    def check_dtype(self, x: Tensor) -> None:
        checks.require_dtype(x, self.dtype, self.label)

    def _check(self, x: Tensor, shape_rule: Callable[[tuple[int, ...]], tuple[int, ...]]) -> None:
        checks.require_tensor(x, self.label)
        try:
            shape_rule(tuple(x.shape[1:]))
        except ValueError as error:
            raise ValueError(f"{error} The input's shape is {tuple(x.shape)}, its first axis the batch.") from None
        if x.dim() < 2:
            raise ValueError(f"{self.label}: expected a batch of events, (B, ...), got shape {tuple(x.shape)}.")
        if x.is_floating_point():
            checks.require_finite_input(x, self.label)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map a batch forward, exactly.

        Args:
            x: (B, *event_shape), finite, of the layer's dtype.

        Returns:
            z (B, *output_shape), and log|det ∂z/∂x| of shape (B,) in nats, differentiable with its exact gradient.

        Raises:
            TypeError: x is no tensor, or of another dtype.
            ValueError: wrong shape, NaN or infinity in x, or a singular weight (``NotInvertibleError``).
            FloatingPointError: finite input gave a result that is not finite.
        """
        self._check(x, self.output_shape)
        self.check_dtype(x)
        z, log_det = self.transform(x)
        checks.require_finite_output(z, self.label, "z")
        checks.require_finite_output(log_det, self.label, "the log-determinant")
        return z, log_det

    def inverse(self, z: Tensor, exact: bool = True) -> Tensor:
        """Map codes back: exactly, or (``exact=False``) through the learned inverse where the layer has one.

        Args:
            z: (B, *output_shape), finite.
            exact: False takes g in place of f⁻¹; the same as True for a layer that learns no inverse.

        Returns:
            x (B, *event_shape).

        Raises:
            The errors of ``forward``.
        """
        self._check(z, self.input_shape)
        checks.require_dtype(z, self.dtype, self.label)
        x = self.invert(z, exact)
        checks.require_finite_output(x, self.label, "the inverse")
        return x


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
        """The training objective to minimise, a scalar: batch mean of penalties minus the self-normalised objective.

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
        for layer in self.chain():
            h, term, cost = layer.surrogate(h)
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
