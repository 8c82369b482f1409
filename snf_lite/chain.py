"""Layers applied one after the other: what a flow and a layer made of layers have in common.

Let x_0 = x and x_k = f_k(x_{k-1}) with Jacobians J_k. The chain rule gives J = J_K ⋯ J_1, and since the determinant of
a product is the product of the determinants,

    log|det J(x)| = Σ_k log|det J_k(x_{k-1})|    (eq-compose),

each term at that layer's own input. The training pass replaces a term by the layer's ``surrogate`` where the layer
learns its inverse, and adds the reconstruction penalties λ ‖g_k(f_k(x)) − x‖². A penalty stays local to its layer: its
input is treated as a constant there, so that no gradient reaches the layers before it (eq-objective).

Inputs are checked once, by ``Flow`` or by a layer that is called directly. Inside the chain only the results of layers
are checked (``FlowLayer.checked_transform`` and its sisters), so that an error names the layer in which it arises.
"""

from collections.abc import Hashable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from snf_lite.checked import hooks
from snf_lite.layer import FlowLayer
from snf_lite.runtime import checks


class Chain(nn.Module):
    """Layers applied one after the other, data side first: forward, inverse, and the training pass.

    ``Flow`` is a chain with a base density; a layer made of layers is a chain that is itself a ``FlowLayer``.
    """

    layers: nn.ModuleList
    # Key and positions of layers whose log-determinants are computed in one batch.
    _groups: tuple[tuple[Hashable, list[int]], ...] = ()

    @property
    def bijections(self) -> list[FlowLayer]:
        """The layers, data side first, typed as what they are."""
        return cast("list[FlowLayer]", list(self.layers))  # a string: torch 2.6 cannot compile the type

    def iter_layers(self, event_shape: tuple[int, ...]) -> Iterator[tuple[FlowLayer, tuple[int, ...]]]:
        """Each layer with its event shape; a layer made of layers follows those inside it."""
        for layer in self.bijections:
            if isinstance(layer, Chain):
                yield from layer.iter_layers(event_shape)
            yield layer, event_shape
            event_shape = layer.output_shape(event_shape)

    def bind_layers(self, event_shape: tuple[int, ...], label: str, prefix: str = "") -> tuple[int, ...]:
        """Give each layer its label and its event shape; returns the event shape of the last one's z.

        Raises:
            TypeError: an element is no layer.
            ValueError: a layer does not accept the output of the one before; the message names it.
        """
        groups: dict[tuple[type, Hashable], list[int]] = {}
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, FlowLayer):
                raise TypeError(f"{label}: expected layers[{index}] to be a FlowLayer, got {type(layer).__name__}.")
            layer.label = f"{prefix}layers[{index}] {type(layer).__name__}"
            event_shape = layer.bind(event_shape)
            layer.keep_first_checksums()
            if (key := layer.log_det_group()) is not None:
                groups.setdefault((type(layer), key), []).append(index)
        self._groups = tuple((key, positions) for (_, key), positions in groups.items())
        return event_shape

    def forward_layers(self, x: Tensor, dtype: torch.dtype, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """z, and the sum of the layers' exact log|det|, (B,) in nats."""
        total = torch.zeros(len(x), dtype=dtype, device=x.device)
        for layer in self.bijections:
            x, log_det = layer.checked_transform(x, dtype, *layer.own(context))
            total = total + log_det
        return x, total

    def inverse_layers(self, z: Tensor, exact: bool, context: Tensor | None = None) -> Tensor:
        """x from z, layer by layer."""
        dtype = z.dtype
        for layer in reversed(self.bijections):
            z = layer.checked_invert(z, exact, dtype, *layer.own(context))
        return z

    @torch.no_grad()
    def learned_inverse_errors(
        self, z: Tensor, event_shape: tuple[int, ...], context: Tensor | None = None
    ) -> dict[str, float]:
        """‖f_k(g_k(z_k)) − z_k‖ / ‖z_k‖ by layer that learns its inverse, z_k the latents that come to it from z."""
        layers = [layer for layer, _ in self.iter_layers(event_shape) if layer.learned_inverse]
        learned = [layer for layer in layers if not isinstance(layer, Chain)]
        for layer in learned:
            layer.inverse_error = 0.0
        try:
            self.inverse_layers(z, False, context)
            return {layer.label: cast(float, layer.inverse_error) for layer in learned}
        finally:
            for layer in learned:
                layer.inverse_error = None

    def training_pass(
        self, x: Tensor, dtype: torch.dtype, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """z, the sum of the layers' terms in nats, () or (B,), and the sum of their penalties if there are any."""
        total, penalty = torch.zeros((), dtype=dtype, device=x.device), None
        layers = self.bijections
        log_dets: dict[int, Tensor] = {}
        for key, positions in self._groups:
            # hooks have to run before a weight is read, around the layer's own pass
            plain = [i for i in positions if not (hooks.runs_hooks(layers[i]) or hooks.computes_weights(layers[i]))]
            if plain:
                group = [layers[index] for index in plain]
                values = type(group[0]).grouped_log_dets(group, key).to(x.device, dtype)
                log_dets.update(zip(plain, values, strict=True))
        for index, layer in enumerate(layers):
            if index in log_dets:
                x, term, cost = layer.map(x).to(dtype), log_dets[index], None
            else:
                x, term, cost = layer.checked_surrogate(x, dtype, *layer.own(context))
            total = total + term
            if cost is not None:
                penalty = cost if penalty is None else penalty + cost
        return x, total, penalty

    def name_non_finite(self, x: Tensor, context: Tensor | None = None) -> tuple[float, str]:
        """Raise FloatingPointError that names the first layer whose training pass is not finite on x.

        Returns:
            If there is none, the largest absolute value of a latent, and the label of the layer that gives it.
        """
        largest = (0.0, "Flow")
        for layer in self.bijections:
            results = layer.checked_surrogate(x, None, *layer.own(context))
            if isinstance(layer, Chain) and not all(result is None or checks.all_finite(result) for result in results):
                layer.name_non_finite(x, *layer.own(context))
            for result, what in zip(results, ("z", "the log-determinant", "the reconstruction penalty"), strict=True):
                if result is not None:
                    checks.require_finite_output(result, layer.label, what)
            x = results[0]
            largest = max(largest, (float(x.abs().max()), layer.label))
        return largest

    def initialise_layers(self, x: Tensor, whiten: bool, dtype: torch.dtype, context: Tensor | None = None) -> None:
        """Initialize layer after layer, each from its own inputs for the batch x."""
        for index, layer in enumerate(self.bijections):
            if index:
                before = self.bijections[index - 1]
                x = before.checked_surrogate(x, dtype, *before.own(context))[0]
            layer.checked_initialise(x, whiten, *layer.own(context) if isinstance(layer, Chain) else ())

    @torch.no_grad()
    def after_step(self) -> None:
        """Update what the layers adapt without a gradient; ``fit`` calls it after each training step."""
        for layer in self.bijections:
            if hooks.computes_weights(layer):
                hooks.call_with_weights(layer, layer.label, layer.after_step)
            else:
                layer.after_step()

    def clear_cache(self) -> None:
        """Drop what the layers cached from their weights; ``fit`` calls it after each training step."""
        for layer in self.bijections:
            layer.clear_cache()
