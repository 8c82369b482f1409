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
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from snf_lite.linalg import dense_matrix
from snf_lite.runtime import checks, hooks


class FlowLayer(nn.Module):
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
    #: The name of this layer in messages; a flow adds the layer's position.
    label: str
    #: While a flow measures its learned inverse: ‖f(g(z)) − z‖ / ‖z‖ of the last ``invert``.
    inverse_error: float | None = None
    # Sum and norm of each parameter when the layer first became part of a flow, and whether it was loaded or trained.
    _first: dict[str, tuple[torch.dtype, Tensor]] | None = None
    _loaded = False
    #: The only event shape that the layer accepts; None: ``output_shape`` decides.
    accepted_shape: tuple[int, ...] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__module__.partition(".")[0] in ("snf_lite", "snf_book")
        cls.registered_name = cls.__name__ if own else f"{cls.__module__}.{cls.__qualname__}"
        FlowLayer.registry[cls.registered_name] = cls

    def __init__(self) -> None:
        super().__init__()
        self.label = type(self).__name__

    # ---- what a subclass implements ----------------------------------------------------------------------------------

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The event shape of z for x of ``event_shape``; ValueError if the layer does not accept it."""
        if self.accepted_shape not in (None, event_shape):
            raise self.shape_error(self.accepted_shape, event_shape)
        return event_shape

    def input_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The event shape of x for latents z of ``z_shape``; ValueError if the layer does not give it."""
        return self.output_shape(z_shape)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z, and log|det ∂z/∂x| of shape (B,) in nats, exact and differentiable. The input is not checked."""
        raise NotImplementedError(f"{type(self).__name__} has no transform.")

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        """x with transform(x) = z, or the learned approximation if not ``exact``. The input is not checked."""
        raise NotImplementedError(f"{type(self).__name__} has no invert.")

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The training pass: z, a (B,) term with the gradient used for the log-determinant, and a (B,) penalty.

        For most layers the term is the exact log-determinant and there is no penalty. The input is not checked.
        """
        z, log_det = self.transform(x)
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
            TypeError: an argument cannot be read so, as no attribute or a tensor or module has its name.
        """
        found = {}
        for name, parameter in list(inspect.signature(type(self).__init__).parameters.items())[1:]:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            value = getattr(self, name, self)  # itself: a module, so that a missing attribute is refused too
            if isinstance(value, Tensor | nn.Module) or parameter.kind is parameter.POSITIONAL_ONLY:
                wanted = f"an attribute {name!r} with the value of the constructor's argument"
                got = "none" if value is self else f"one of type {type(value).__name__}"
                raise TypeError(f"{self.label}: expected {wanted}, got {got}; override settings().")
            if not (value is None and parameter.default is None):
                found[name] = value
        return found

    # ---- what every layer has ----------------------------------------------------------------------------------------

    def bind(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Called once by the flow with the event shape of x; returns that of z."""
        return self.output_shape(event_shape)

    def remember_first_weights(self) -> None:
        """Called when a flow takes the layer, for ``is_trained``: the first time counts."""
        if self._first is None:
            self._first = self._checksums()
            self._loaded = self._loaded or any(weight.grad is not None for weight in self.parameters())

    def is_trained(self) -> bool:
        """Whether parameters were loaded, or have changed since a flow first took the layer."""
        return self._loaded or any(
            name in (self._first or {}) and not _same(self._first[name], now)  # type: ignore[index]
            for name, now in self._checksums().items()
        )

    @torch.no_grad()
    def _checksums(self) -> dict[str, tuple[torch.dtype, Tensor]]:
        """The dtype, and sum and norm in float64 on the CPU, of each parameter that has values."""
        found = {}
        for name, weight in self.named_parameters():
            if not weight.is_meta:
                numbers = dense_matrix.precise(weight)
                found[name] = weight.dtype, torch.stack([numbers.sum(), numbers.norm()]).cpu()
        return found

    def restore_constants(self, like: Tensor) -> None:
        """Compute buffers anew that the state dict does not hold, on the device of ``like``; called after each load."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._loaded = self._loaded or any(key.startswith(prefix) for key in state_dict)
        for weight in self.parameters():
            return self.restore_constants(weight)

    @property
    def dtype(self) -> torch.dtype | None:
        """The floating dtype of the parameters and buffers; None for a layer without any."""
        tensors: Iterable[Tensor] = (*self.parameters(), *self.buffers())
        for tensor in tensors:  # a loop: torch 2.6 cannot compile ``next`` with a default
            if tensor.is_floating_point():
                return tensor.dtype
        return None

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

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map a batch forward, exactly.

        Args:
            x: Finite tensor (B, *event_shape) of the layer's dtype.

        Returns:
            z (B, *output_shape), and log|det ∂z/∂x| of shape (B,) in nats, differentiable with its exact gradient.

        Raises:
            TypeError: x is no tensor, or of another dtype.
            ValueError: wrong shape, NaN or infinity in x, or a singular weight (``NotInvertibleError``).
            FloatingPointError: finite input gave a result that is not finite.
        """
        self._check(x, self.output_shape)
        self.check_dtype(x)
        with hooks.one_weight(self):
            return self._exact_result(x, self.transform(x), self.dtype)

    def inverse(self, z: Tensor, exact: bool = True) -> Tensor:
        """Map latents back: exactly, or (``exact=False``) through the learned inverse where the layer has one.

        Args:
            z: Finite tensor (B, *output_shape).
            exact: Whether to use f⁻¹; False uses g, which is f⁻¹ for a layer that learns no inverse.

        Returns:
            x (B, *event_shape).

        Raises the errors of ``forward``.
        """
        self._check(z, self.input_shape)
        checks.require_dtype(z, self.dtype, self.label)
        return self.checked_invert(z, exact, self.dtype)

    # ---- one pass, its hooks and its result: how a chain calls a layer -----------------------------------------------

    def checked_transform(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """``transform`` with the layer's hooks; a result of another shape or dtype is refused by name."""
        with_hooks = hooks.runs_hooks(self) or hooks.computes_weights(self)
        result = hooks.call(self, self.transform, x) if with_hooks else self.transform(x)
        return self._exact_result(x, result, dtype)

    def _exact_result(self, x: Tensor, result: Any, dtype: torch.dtype | None) -> tuple[Tensor, Tensor]:
        self._require_parts(result, "transform", ("z", "log_det"))
        z, log_det = result
        self._require_result(z, (len(x), *self.output_shape(tuple(x.shape[1:]))), dtype, "z", "transform")
        self._require_result(log_det, (len(x),), dtype, "log_det", "transform")
        checks.require_finite_output(z, self.label, "z")
        checks.require_finite_output(log_det, self.label, "the log-determinant")
        return z, log_det

    def checked_surrogate(self, x: Tensor, dtype: torch.dtype | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """``surrogate`` with the layer's hooks, likewise, z in ``dtype`` under autocast too; values are not checked."""
        with_hooks = hooks.runs_hooks(self) or hooks.computes_weights(self)
        result = hooks.call(self, self.surrogate, x) if with_hooks else self.surrogate(x)
        self._require_parts(result, "surrogate", ("z", "term", "penalty"))
        z, term, penalty = result
        wanted = None if checks.under_autocast(x) else dtype  # there a product comes out in half precision
        self._require_result(z, (len(x), *self.output_shape(tuple(x.shape[1:]))), wanted, "z", "surrogate")
        self._require_result(term, (len(x),), wanted, "term", "surrogate")
        if penalty is not None:
            self._require_result(penalty, (len(x),), wanted, "penalty", "surrogate")
        return z.to(dtype or z.dtype), term, penalty

    def checked_invert(self, z: Tensor, exact: bool, dtype: torch.dtype | None) -> Tensor:
        """``invert`` with the weights that hooks compute, likewise."""
        if hooks.computes_weights(self):
            x = hooks.call_with_weights(self, self.label, self.invert, z, exact)
        else:
            x = self.invert(z, exact)
        if not isinstance(x, Tensor) or len(x) != len(z) or not self._maps_to(x.shape[1:], z.shape[1:]):
            wanted = f"a tensor ({len(z)}, ...) whose z has shape {tuple(z.shape)}"
            raise self._result_error(f"invert to return {wanted}", x)
        if x.dtype != torch.uint8:  # pixels
            self._require_result(x, tuple(x.shape), dtype, "x", "invert")
        checks.require_finite_output(x, self.label, "the inverse")
        if self.inverse_error is not None and not exact:
            self.inverse_error = float((self.checked_surrogate(x, z.dtype)[0] - z).norm() / z.norm())
        return x

    def checked_initialise(self, x: Tensor, whiten: bool) -> None:
        """``initialise``; TypeError if it writes to a weight that is computed from other parameters."""
        if not hooks.computes_weights(self):
            return self.initialise(x, whiten)

        def initialise(x: Tensor, whiten: bool) -> None:
            computed = {name: (weight, weight._version) for name, weight in hooks.computed_weights(self).items()}
            self.initialise(x, whiten)
            for name, (weight, version) in computed.items():
                if weight._version != version:
                    raise TypeError(
                        f"{self.label}: cannot initialize {name}, which pruning, a norm or a parametrization computes "
                        "from other parameters: call flow.initialise(batch) first, then prune or parametrize."
                    )

        return cast(None, hooks.call_with_weights(self, self.label, initialise, x, whiten))

    def _maps_to(self, event_shape: Sequence[int], z_shape: Sequence[int]) -> bool:
        try:
            return self.output_shape(tuple(event_shape)) == tuple(z_shape)
        except ValueError:
            return False

    def _require_parts(self, result: Any, method: str, names: tuple[str, ...]) -> None:
        if not isinstance(result, tuple | list) or len(result) != len(names):
            raise self._result_error(f"{method} to return ({', '.join(names)})", result)

    def _require_result(
        self, value: Any, shape: tuple[int, ...], dtype: torch.dtype | None, name: str, method: str
    ) -> None:  # fmt: skip
        if not isinstance(value, Tensor) or not value.is_floating_point() or dtype not in (None, value.dtype):
            raise self._result_error(f"{name} of {method} to be a tensor of {dtype or 'a floating dtype'}", value)
        if tuple(value.shape) != shape:
            why = "; output_shape gives the event shape of z" if name == "z" else ""
            raise self._result_error(f"{name} of {method} to have shape {shape}{why}", value, ValueError)

    def _result_error(self, expected: str, got: Any, kind: type[Exception] = TypeError) -> Exception:
        return kind(f"{self.label}: expected {expected}, got {checks.described(got)}.")


def _same(first: tuple[torch.dtype, Tensor], now: tuple[torch.dtype, Tensor]) -> bool:
    """Whether two checksums are equal up to the rounding of a conversion between their dtypes."""
    tolerance = 1e-10 if first[0] == now[0] else 4 * max(torch.finfo(dtype).eps for dtype in (first[0], now[0]))
    return bool(((first[1] - now[1]).abs() <= tolerance * first[1].abs().max()).all())
