"""The interface of a flow layer, and the input checks that all layers share.

A layer is a bijection z = f(x) with the Jacobian J = ∂z/∂x. A small box of size dx around x is mapped to one of size
|det J| dx, and both hold the same probability: p_X(x) dx = p_Z(z) |det J| dx. Hence the density of the data is

    log p_X(x) = log p_Z(f(x)) + log|det J(x)|    (eq-change).

A layer therefore gives z and log|det J| (``transform``), and the inverse, from which samples are drawn (``invert``).
The gradient of log|det J| with respect to J is J⁻ᵀ (eq-jacobi), which costs O(D³) for a general layer. A layer that
learns its inverse avoids this cost during training: it overrides ``surrogate``, whose second result has a cheap
gradient in place of that of log|det J|, and whose value is therefore no likelihood.
"""

import inspect
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from snf_lite.checked import hooks
from snf_lite.checked.passes import CheckedPasses
from snf_lite.runtime import checks


class FlowLayer(CheckedPasses):
    """A bijection x → z of single data points, and the log-determinant of its Jacobian (eq-change).

    Subclasses implement ``transform`` and ``invert``; where needed ``output_shape`` (which shapes are accepted), and
    ``surrogate`` if they learn their inverse. Calling the layer checks shape, dtype and values of its input.

    Example:
        >>> class Shift(snf.FlowLayer):
        ...     def transform(self, x):
        ...         return x + 1, x.new_zeros(len(x))
        ...     def invert(self, z, exact):
        ...         return z - 1
        >>> snf.Flow([Shift()], (2,)).inverse(torch.zeros(1, 2))
        tensor([[-1., -1.]])

    References:
        Tabak & Turner, A family of nonparametric density estimation algorithms, 2013, for the change of variables.
    """

    # Subclasses by ``registered_name``, so that a saved flow finds the classes of its layers.
    registry: ClassVar[dict[str, type["FlowLayer"]]] = {}
    #: The class's name; with its module for a class of another package, so that it cannot replace one of this package.
    registered_name: ClassVar[str]
    #: Whether ``inverse(z, exact=False)`` differs from the exact inverse.
    learned_inverse: bool = False
    #: The only event shape that the layer accepts; None: ``output_shape`` decides.
    accepted_shape: tuple[int, ...] | None = None
    #: K, for a layer conditioned on a context (B, K); its transform, invert and surrogate take it as last argument.
    context_features: int | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__module__.partition(".")[0] in ("snf_lite", "snf_book")
        cls.registered_name = cls.__name__ if own else f"{cls.__module__}.{cls.__qualname__}"
        FlowLayer.registry[cls.registered_name] = cls

    @staticmethod
    def named(name: str) -> type["FlowLayer"]:
        """The class with a registered name; for one of a script (``__main__``) also that of the imported script.

        Raises:
            LookupError: it is not defined here.
        """
        if name in FlowLayer.registry:
            return FlowLayer.registry[name]
        own, missing = name.removeprefix("__main__."), f"needs the layer class {name}, which is not defined here"
        if own == name:
            raise LookupError(f"{missing}: import its module")
        same = [layer for layer in FlowLayer.registry.values() if layer.__qualname__ == own]
        if len(same) != 1:
            raise LookupError(f"{missing}: run the script or cell that defines it first, or import its module")
        return same[0]

    def __init__(self) -> None:
        super().__init__()
        self.label = type(self).__name__

    # ---- what a subclass implements ----------------------------------------------------------------------------------

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The event shape of z for x of ``event_shape``; ValueError if the layer does not accept it."""
        # Not `in (None, event_shape)`: a compiled pass may have traced sizes here, which compare right by `!=` alone.
        if self.accepted_shape is not None and self.accepted_shape != event_shape:
            raise self.shape_error(self.accepted_shape, event_shape)
        return event_shape

    def input_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The event shape of x for latents z of ``z_shape``; ValueError if the layer does not give it."""
        return self.output_shape(z_shape)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z, and log|det ∂z/∂x| of shape (B,) in nats, exact and differentiable. The input is not checked."""
        raise NotImplementedError(f"{type(self).__name__} has no transform: define transform(self, x) -> (z, log_det).")

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        """x with transform(x) = z, or the learned approximation if not ``exact``. The input is not checked."""
        raise NotImplementedError(f"{type(self).__name__} has no invert: define invert(self, z, exact) -> x.")

    def surrogate(self, x: Tensor, *context: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """The training pass: z, a (B,) term with the gradient used for the log-determinant, and a (B,) penalty.

        For most layers the term is the exact log-determinant and there is no penalty. The input is not checked.
        """
        z, log_det = self.require_parts(self.transform(x, *context), "transform", ("z", "log_det"))
        return z, log_det, None

    def log_det_group(self) -> Hashable | None:
        """A key shared by layers of one class whose log-determinants are computed in one batch; None: separately."""
        return None

    @classmethod
    def grouped_log_dets(cls, layers: Sequence[Any], key: Any) -> Tensor:
        """log|det| (N,) in nats of the layers of a group, from their weights alone, differentiable."""
        raise NotImplementedError(f"{cls.__name__} has no grouped log-determinants.")

    def map(self, x: Tensor) -> Tensor:
        """z alone, for a layer with a ``log_det_group``."""
        raise NotImplementedError(f"{type(self).__name__} has no map.")

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Set parameters from a batch of the layer's own inputs, where the layer has such a rule."""

    def after_step(self) -> None:
        """Update in place what the layer adapts after each training step without a gradient."""

    def clear_cache(self) -> None:
        """Drop results cached from the weights; needed after writes to the weights that cannot be detected."""

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, read from the attributes of the same names; a default of None is left out.

        Raises:
            TypeError: an argument cannot be read so: no attribute has its name, a tensor or module has, or it is one of
                ``*`` or ``**``.
        """
        found = {}
        for name, parameter in self._arguments().items():
            value = getattr(self, name, self)  # itself: a module, so that a missing attribute is refused too
            if isinstance(value, Tensor | nn.Module) or parameter.kind is parameter.POSITIONAL_ONLY:
                wanted = f"an attribute {name!r} with the value of the constructor's argument"
                got = "none" if value is self else f"one of type {type(value).__name__}"
                raise TypeError(f"{self.label}: expected {wanted}, got {got}; override settings().")
            if not (value is None and parameter.default is None):
                found[name] = value
        return found

    def _arguments(self) -> dict[str, inspect.Parameter]:
        """The constructor's named arguments; where it takes ``**``, also those of the constructor above it."""
        found: dict[str, inspect.Parameter] = {}
        constructors = [vars(cls)["__init__"] for cls in type(self).__mro__ if "__init__" in vars(cls)]
        for constructor in constructors[: 1 + constructors.index(FlowLayer.__init__)]:
            own = list(inspect.signature(constructor).parameters.values())[1:]
            open_ended = [one for one in own if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
            found = {**{one.name: one for one in own if one not in open_ended}, **found}
            if constructor is FlowLayer.__init__ and constructor is not constructors[0]:
                raise TypeError(f"{self.label}: no constructor names what * and ** stand for; override settings().")
            if not open_ended:
                break
        return found

    # ---- what every layer has ----------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """The settings, in ``print(flow)``."""
        try:
            return ", ".join(f"{name}={value!r}" for name, value in self.settings().items() if name != "layers")
        except TypeError:
            return ""

    def bind(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Called once by the flow with the event shape of x; returns that of z."""
        return self.output_shape(event_shape)

    @property
    def dtype(self) -> torch.dtype | None:
        """The floating dtype of the parameters and buffers; None for a layer without any."""
        tensors: Iterable[Tensor] = (*self.parameters(), *self.buffers())
        for tensor in tensors:  # a loop: torch 2.6 cannot compile ``next`` with a default
            if tensor.is_floating_point():
                return tensor.dtype
        return None

    def set_context(self, context_features: int | None) -> None:
        """Let the layer be conditioned on K = context_features numbers; None: on nothing."""
        if context_features is not None:
            self.context_features = checks.positive_integer(context_features, "context_features", self.label)

    def own(self, context: Tensor | None) -> tuple[Tensor, ...]:
        """The arguments that the layer takes behind x: the context of the chain if it is conditioned, else nothing."""
        return () if context is None or self.context_features is None else (context,)

    def shape_error(self, expected: tuple[int, ...] | str | None, got: tuple[int, ...]) -> ValueError:
        """The error to raise for an event shape that the layer does not accept."""
        return ValueError(f"{self.label}: expected event shape {expected}, got {got}.")

    def check_dtype(self, x: Tensor) -> None:
        checks.require_dtype(x, self.dtype, self.label)

    def _check(self, x: Tensor, shape_rule: Callable[[tuple[int, ...]], tuple[int, ...]]) -> None:
        checks.require_tensor(x, self.label)
        try:
            shape_rule(tuple(x.shape[1:]))
        except ValueError as error:
            raise ValueError(f"{error} The input's shape is {tuple(x.shape)}, its first axis the batch.") from None
        if x.dim() < 2:
            raise ValueError(f"{self.label}: expected a batch of data points, (B, ...), got shape {tuple(x.shape)}.")
        if x.is_floating_point():
            checks.require_finite_input(x, self.label)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map a batch forward, exactly.

        Args:
            x: Finite tensor (B, *event_shape) of the layer's dtype.
            context: (B, K) or (K,), for a conditioned layer alone.

        Returns:
            z (B, *output_shape), and log|det ∂z/∂x| of shape (B,) in nats, differentiable with its exact gradient.

        Raises:
            TypeError: x is no tensor, or of another dtype.
            ValueError: wrong shape, NaN or infinity in x, or a singular weight (``NotInvertibleError``); a context
                that is missing or not used.
            FloatingPointError: finite input gave a result that is not finite.
        """
        self._check(x, self.output_shape)
        self.check_dtype(x)
        context = checks.context_of(context, self.context_features, len(x), self.dtype, self.label)
        dtype = self.dtype or (x.dtype if x.is_floating_point() else None)
        return self.exact_result(x, hooks.with_one_weight(self, self.transform, x, *self.own(context)), dtype)

    def inverse(self, z: Tensor, exact: bool = True, context: Tensor | None = None) -> Tensor:
        """Map latents back: exactly, or (``exact=False``) through the learned inverse where the layer has one.

        Args:
            z: Finite tensor (B, *output_shape).
            exact: Whether to use f⁻¹; False uses g, which is f⁻¹ for a layer that learns no inverse.
            context: (B, K) or (K,), for a conditioned layer alone.

        Returns:
            x (B, *event_shape).

        Raises the errors of ``forward``.
        """
        self._check(z, self.input_shape)
        checks.require_dtype(z, self.dtype, self.label)
        context = checks.context_of(context, self.context_features, len(z), self.dtype, self.label)
        return self.checked_invert(z, exact, self.dtype or z.dtype, *self.own(context))
