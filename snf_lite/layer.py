"""The layer protocol: what a bijection owes its flow, and the checks that all of them share."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from snf_lite.runtime import checks


class FlowLayer(nn.Module):
    """A bijection x → z of single events, and the log-determinant of its Jacobian.

    A layer owes four methods: ``output_shape`` (which events it takes), ``transform`` (z and the exact log|det ∂z/∂x|),
    ``invert`` (x from z) and ``settings`` (its constructor's arguments). A layer that learns its inverse also writes
    ``surrogate``, the training pass that needs no determinant. Shapes, dtypes and values are checked here, for all.
    """

    # Subclasses by ``registered_name``, so that a saved flow finds the classes of its layers.
    registry: ClassVar[dict[str, type["FlowLayer"]]] = {}
    #: The class's name; of a class from elsewhere with its module, so that it cannot stand in for one of the package.
    registered_name: ClassVar[str]
    #: Whether ``inverse(z, exact=False)`` differs from the exact inverse.
    learned_inverse: bool = False
    #: How messages name this layer; a flow puts the layer's position in front.
    label: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__module__.partition(".")[0] in ("snf_lite", "snf_book")
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

    def log_det_group(self) -> Hashable | None:
        """Equal for layers of one class whose log-determinants are computed in one go; None: each its own, from x."""
        return None

    @classmethod
    def grouped_log_dets(cls, layers: Sequence[Any], key: Any) -> Tensor:
        """log|det| (N,) in nats of layers that gave the flow this one key, from their weights alone, differentiable."""
        raise NotImplementedError(f"{cls.__name__} has no volumes.")

    def map(self, x: Tensor) -> Tensor:
        """z alone, for a layer with a ``log_det_group``."""
        raise NotImplementedError(f"{type(self).__name__} has no map.")

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Set parameters from a batch of the layer's own inputs, where the layer has such a rule."""

    def after_step(self) -> None:
        """What a layer changes by itself after each training step, without a gradient; of tensors, in place."""

    def clear_cache(self) -> None:
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
        for tensor in tensors:  # a loop: torch 2.6 cannot compile ``next`` with a default
            if tensor.is_floating_point():
                return tensor.dtype
        return None

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

        Raises the errors of ``forward``.
        """
        self._check(z, self.input_shape)
        checks.require_dtype(z, self.dtype, self.label)
        x = self.invert(z, exact)
        checks.require_finite_output(x, self.label, "the inverse")
        return x
