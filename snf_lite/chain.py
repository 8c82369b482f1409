"""Layers in a row: what a flow shares with a layer that is itself made of layers."""

from collections.abc import Hashable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from snf_lite.layer import FlowLayer
from snf_lite.runtime import checks


class Chain(nn.Module):
    """Layers in a row, data side first, walked forwards, backwards and in training.

    ``Flow`` is a row with a base density behind it; a layer made of layers is a row that is itself a ``FlowLayer``.
    """

    layers: nn.ModuleList
    _groups: tuple[tuple[Hashable, list[int]], ...] = ()

    def chain(self) -> list[FlowLayer]:
        """The layers, data side first, typed as what they are."""
        return cast("list[FlowLayer]", list(self.layers))  # a string: torch 2.6 cannot compile the type

    def iter_layers(self, event_shape: tuple[int, ...]) -> Iterator[tuple[FlowLayer, tuple[int, ...]]]:
        """Each layer with the event shape that it takes; of a layer made of layers first those, then itself."""
        for layer in self.chain():
            if isinstance(layer, Chain):
                yield from layer.iter_layers(event_shape)
            yield layer, event_shape
            event_shape = layer.output_shape(event_shape)

    def bind_layers(self, event_shape: tuple[int, ...], owner: str, prefix: str = "") -> tuple[int, ...]:
        """Tell the layers their labels and which events will come; returns the event shape of the last one's z.

        Raises:
            TypeError: one of them is no layer.
            ValueError: a layer does not take what the one before gives; the message names it.
        """
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, FlowLayer):
                raise TypeError(f"{owner}: expected layers[{index}] to be a FlowLayer, got {type(layer).__name__}.")
            layer.label = f"{prefix}layers[{index}] {type(layer).__name__}"
            event_shape = layer.bind(event_shape)
        self._groups = tuple(self._find_groups())
        return event_shape

    def _find_groups(self) -> list[tuple[Hashable, list[int]]]:
        """Key and positions of layers whose log-determinants are computed in one go."""
        teams: dict[tuple[type, Hashable], list[int]] = {}
        for index, layer in enumerate(self.chain()):
            if layer.log_det_group() is not None:
                teams.setdefault((type(layer), layer.log_det_group()), []).append(index)
        return [(key, team) for (_, key), team in teams.items()]

    def _volumes(self, device: torch.device, dtype: torch.dtype) -> dict[int, Tensor]:
        """By position the log|det| () of each layer in a team."""
        found: dict[int, Tensor] = {}
        for key, team in self._groups:
            layers = [self.chain()[index] for index in team]
            found.update(zip(team, type(layers[0]).grouped_log_dets(layers, key).to(device, dtype), strict=True))
        return found

    def forward_layers(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """z, and the sum of the layers' exact log|det|, (B,) in nats."""
        log_det = torch.zeros(len(x), dtype=dtype, device=x.device)
        for layer in self.chain():
            x, term = layer(x)
            log_det = log_det + term
        return x, log_det

    def inverse_layers(self, z: Tensor, exact: bool) -> Tensor:
        """x from z, layer by layer."""
        for layer in reversed(self.chain()):
            z = layer.inverse(z, exact=exact)
        return z

    def training_pass(self, x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
        """z, the sum of the layers' terms in nats, () or (B,), and the sum of their penalties if there are any."""
        total, penalty = torch.zeros((), dtype=dtype, device=x.device), None
        volumes = self._volumes(x.device, dtype)
        for index, layer in enumerate(self.chain()):
            if index in volumes:
                x, term, cost = layer.map(x), volumes[index], None
            else:
                x, term, cost = layer.surrogate(x)
            x = x.to(dtype)  # under autocast a product may come out in half precision
            total = total + term
            if cost is not None:
                penalty = cost if penalty is None else penalty + cost
        return x, total, penalty

    def name_non_finite(self, x: Tensor) -> tuple[float, str]:
        """Raise FloatingPointError that names the first layer whose training pass is not finite on x.

        Returns:
            If there is none, how large a code becomes, and the label of the layer that gives it.
        """
        largest = (0.0, "Flow")
        for layer in self.chain():
            results = layer.surrogate(x)
            if isinstance(layer, Chain) and not all(result is None or checks.all_finite(result) for result in results):
                layer.name_non_finite(x)
            for result, what in zip(results, ("z", "the log-determinant", "the reconstruction penalty"), strict=True):
                if result is not None:
                    checks.require_finite_output(result, layer.label, what)
            x = results[0]
            largest = max(largest, (float(x.abs().max()), layer.label))
        return largest

    def initialise_layers(self, x: Tensor, whiten: bool) -> None:
        """Initialise layer after layer from a batch of the first one's inputs."""
        for index, layer in enumerate(self.chain()):
            if index:
                x = self.chain()[index - 1].surrogate(x)[0]
            layer.initialise(x, whiten)

    @torch.no_grad()
    def after_step(self) -> None:
        """Let the layers change what they change by themselves after a training step; ``fit`` does so after each."""
        for layer in self.chain():
            layer.after_step()

    def clear_cache(self) -> None:
        """Drop what the layers remember from their weights; ``fit`` does so after each step."""
        for layer in self.chain():
            layer.clear_cache()
