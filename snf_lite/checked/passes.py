"""How a layer is called: its hooks run, its results are checked, and trained weights are distinguished from fresh ones.

A chain, and a layer that is called directly, reach ``transform``, ``surrogate``, ``invert`` and ``initialise`` through
the methods here alone. So a layer that returns something else than it promises is refused by name in every pass.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snf_lite.checked import hooks
from snf_lite.linalg import dense_matrix
from snf_lite.runtime import checks


class CheckedPasses(nn.Module):
    """The part of ``FlowLayer`` that calls the methods which a layer implements."""

    #: The name of this layer in messages; a flow adds the layer's position.
    label: str
    #: While a flow measures its learned inverse: ‖f(g(z)) − z‖ / ‖z‖ of the last ``invert``.
    inverse_error: float | None = None
    # Sum and norm of each parameter when a flow first took the layer, and whether parameters were loaded.
    _first: dict[str, tuple[torch.dtype, Tensor]] | None = None
    _loaded = False

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """As ``FlowLayer.output_shape``."""
        raise NotImplementedError(f"{type(self).__name__} has no output_shape.")

    # ---- one pass, its hooks and its result --------------------------------------------------------------------------

    def checked_transform(self, x: Tensor, dtype: torch.dtype, *context: Tensor) -> tuple[Tensor, Tensor]:
        """``transform`` with the layer's hooks; TypeError or ValueError for a result of another shape or dtype."""
        return self.exact_result(x, self._run("transform", x, *context), dtype)

    def checked_surrogate(
        self, x: Tensor, dtype: torch.dtype | None, *context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """``surrogate`` likewise, z in ``dtype`` under autocast too; values are not checked."""
        result = self._run("surrogate", x, *context)
        z, term, penalty = self.require_parts(result, "surrogate", ("z", "term", "penalty"))
        shape, rows = self._z_shape(x), (x.shape[0],)
        if dtype is not None and checks.under_autocast(x):  # there a product comes out in half precision
            wanted, z = None, z.to(dtype) if isinstance(z, Tensor) and z.is_floating_point() else z
        else:
            wanted = dtype
        self._require_result(z, shape, dtype, "z", "surrogate")
        self._require_result(term, rows, wanted, "term", "surrogate")
        if penalty is not None:
            self._require_result(penalty, rows, wanted, "penalty", "surrogate")
        return z, term, penalty

    def checked_invert(self, z: Tensor, exact: bool, dtype: torch.dtype | None, *context: Tensor) -> Tensor:
        """``invert`` likewise, with the weights that hooks compute; uint8 pixels are taken too."""
        run: Any = getattr(self, "invert")  # noqa: B009
        if hooks.computes_weights(self):
            x = hooks.call_with_weights(self, self.label, run, z, exact, *context)
        else:
            x = run(z, exact, *context)
        if not isinstance(x, Tensor) or x.dim() == 0 or len(x) != len(z) or not self._maps_to(x.shape[1:], z.shape[1:]):
            wanted = f"a tensor ({len(z)}, ...) whose z has shape {tuple(z.shape)}"
            raise self._result_error(
                f"invert to return {wanted}", x, ValueError if isinstance(x, Tensor) else TypeError
            )
        if x.dtype != torch.uint8:
            self._require_result(x, tuple(x.shape), dtype, "x", "invert")
        checks.require_finite_output(x, self.label, "the inverse")
        if self.inverse_error is not None and not exact:
            self.inverse_error = float((self.checked_surrogate(x, z.dtype, *context)[0] - z).norm() / z.norm())
        return x

    def checked_initialise(self, x: Tensor, whiten: bool, *context: Tensor) -> None:
        """``initialise``; TypeError if it writes to a weight that is computed from other parameters."""
        run: Any = getattr(self, "initialise")  # noqa: B009
        if not hooks.computes_weights(self):
            run(x, whiten, *context)
            return

        def initialise(*inputs: Any) -> None:
            computed = {name: (weight, weight._version) for name, weight in hooks.computed_weights(self).items()}
            run(*inputs)
            for name, (weight, version) in computed.items():
                if weight._version != version:
                    raise TypeError(
                        f"{self.label}: cannot initialize {name}, which pruning, a norm or a parametrization computes "
                        "from other parameters: call flow.initialise(batch) first, then prune or parametrize."
                    )

        hooks.call_with_weights(self, self.label, initialise, x, whiten, *context)

    def exact_result(self, x: Tensor, result: Any, dtype: torch.dtype | None) -> tuple[Tensor, Tensor]:
        """What ``transform`` returned for x, if it is what it promises."""
        z, log_det = self.require_parts(result, "transform", ("z", "log_det"))
        self._require_result(z, self._z_shape(x), dtype, "z", "transform")
        self._require_result(log_det, (x.shape[0],), dtype, "log_det", "transform")
        checks.require_finite_output(z, self.label, "z")
        checks.require_finite_output(log_det, self.label, "the log-determinant")
        return z, log_det

    def _run(self, method: str, x: Tensor, *context: Tensor) -> Any:
        run = getattr(self, method)
        with_hooks = hooks.runs_hooks(self) or hooks.computes_weights(self)
        return hooks.call(self, run, x, *context) if with_hooks else run(x, *context)

    def _z_shape(self, x: Tensor) -> tuple[int, ...]:
        batch, *event_shape = x.shape
        return (batch, *self.output_shape(tuple(event_shape)))

    def _maps_to(self, event_shape: Sequence[int], z_shape: Sequence[int]) -> bool:
        try:
            return self.output_shape(tuple(event_shape)) == tuple(z_shape)
        except ValueError:
            return False

    def require_parts(self, result: Any, method: str, names: tuple[str, ...]) -> Sequence[Any]:
        """What ``method`` returned, if it is a tuple of as many parts as there are names; else TypeError."""
        parts = isinstance(result, (tuple, list))  # not a union of types, which torch 2.6 cannot compile
        if not parts or len(result) != len(names):
            raise self._result_error(f"{method} to return ({', '.join(names)})", result)
        return result

    def _require_result(
        self, value: Any, shape: tuple[int, ...], dtype: torch.dtype | None, name: str, method: str
    ) -> None:
        if isinstance(value, Tensor) and value.shape == shape and value.dtype == dtype:
            return  # every training step comes here
        if not isinstance(value, Tensor) or not value.is_floating_point() or dtype not in (None, value.dtype):
            raise self._result_error(f"{name} of {method} to be a tensor of {dtype or 'a floating dtype'}", value)
        if tuple(value.shape) != shape:
            why = " (output_shape gives the event shape of z)" if name == "z" else ""
            raise self._result_error(f"{name} of {method} to have shape {shape}{why}", value, ValueError)

    def _result_error(self, expected: str, got: Any, kind: type[Exception] = TypeError) -> Exception:
        return kind(f"{self.label}: expected {expected}, got {checks.described(got)}.")

    # ---- trained or fresh --------------------------------------------------------------------------------------------

    def keep_first_checksums(self) -> None:
        """Called when a flow takes the layer, for ``is_trained``: the first time counts."""
        if self._first is None:
            self._first = self._checksums()
            self._loaded = self._loaded or any(weight.grad is not None for weight in self.parameters())

    @property
    def in_a_flow(self) -> bool:
        """Whether a flow took the layer."""
        return self._first is not None

    def count_as_fresh(self) -> None:
        """Take the parameters as they are for the first ones, as of a fresh flow that was saved."""
        self._loaded, self._first = False, None
        self.keep_first_checksums()

    def is_trained(self) -> bool:
        """Whether parameters were loaded, or have changed since a flow first took the layer."""
        first = self._first or {}
        return self._loaded or any(not _same(first.get(name, now), now) for name, now in self._checksums().items())

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
        """Compute the buffers that the state dict does not hold, on the device of ``like``; called after each load."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._loaded = self._loaded or any(key.startswith(prefix) for key in state_dict)
        for weight in self.parameters():
            return self.restore_constants(weight)


def _same(first: tuple[torch.dtype, Tensor], now: tuple[torch.dtype, Tensor]) -> bool:
    """Whether two checksums are equal up to the rounding of a conversion between their dtypes."""
    dtypes = {first[0], now[0]}, {first[1].dtype, now[1].dtype}
    converted = any(len(pair) > 1 for pair in dtypes)
    tolerance = 64 * max(torch.finfo(dtype).eps for pair in dtypes for dtype in pair) if converted else 1e-10
    before, after = first[1].tolist(), now[1].tolist()
    largest = max(map(abs, before))
    return all(abs(a - b) <= tolerance * largest for a, b in zip(before, after, strict=True))
