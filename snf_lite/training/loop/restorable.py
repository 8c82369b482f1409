"""What ``save`` refuses as ``restore`` could not give it back: layers are made from their settings and compared."""

from collections.abc import Mapping
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from snf_lite.checked import hooks
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.runtime.rng import isolated_rng

# The description and the shapes with which a flow was last found restorable: a run writes the same ones each epoch.
_found: WeakKeyDictionary[Flow, tuple[str, dict[str, tuple[int, ...]]]] = WeakKeyDictionary()


def require_restorable(flow: Flow, described: Mapping[str, Any]) -> None:
    """Refuse a flow that its description does not rebuild, with TypeError that names the layer.

    Args:
        flow: Flow to save.
        described: Its ``architecture``.
    """
    if type(flow) is not Flow:
        kind = type(flow).__name__
        raise TypeError(
            f"Checkpoint: expected a Flow, got its subclass {kind}, which would come back as a plain Flow: put what "
            f"{kind} adds into a layer, or save torch.save(flow.state_dict(), path) and load it into a new {kind}."
        )
    here = {name: tuple(value.shape) for name, value in flow.state_dict().items()}
    if _found.get(flow) == (repr(described), here):
        return
    for layer, (_, settings) in zip(flow.bijections, described["layers"], strict=True):
        _require_plain(layer)
        _require_same(layer, _rebuilt(layer, settings), settings)
    known = ("initialised", "layers.", "base.")
    extra = [name for name in here if not name.startswith(known)]
    if extra:
        raise TypeError(f"Checkpoint: expected a Flow with nothing but its layers, got {_listed(extra)} besides.")
    _found[flow] = repr(described), here


def _rebuilt(layer: FlowLayer, settings: Mapping[str, Any]) -> FlowLayer:
    """A layer made from the settings of another one; on ``meta``, where nothing is computed, if that is possible."""
    kind = FlowLayer.registry.get(layer.registered_name, type(layer))
    try:
        with isolated_rng("cpu", "restorable"):
            try:
                with torch.device("meta"):
                    return kind(**settings)
            except (RuntimeError, NotImplementedError, ValueError, TypeError):
                return kind(**settings)
    except Exception as error:  # a constructor of a user may raise anything
        raise TypeError(
            f"{layer.label}: settings() must give what the constructor takes, but "
            f"{type(layer).__name__}(**{dict(settings)}) fails: {error}"
        ) from error


def _require_same(layer: FlowLayer, made: FlowLayer, settings: Mapping[str, Any]) -> None:
    """Refuse a layer whose tensors or constructor arguments differ from those of one made from the settings."""
    there, here = _shapes(made), _shapes(layer)
    if there != here:
        missing, added = sorted(set(here) - set(there)), sorted(set(there) - set(here))
        other = sorted(name for name in set(here) & set(there) if here[name] != there[name])
        found = [*missing, *added, *other]
        raise TypeError(
            f"{layer.label}: made from its settings {dict(settings)} it has other tensors: {_listed(found)}; "
            "settings() must give all that the constructor needs, and tensors added later cannot be saved."
        )
    for name in list(signature(type(layer).__init__).parameters)[1:]:
        mine, new = vars(layer).get(name), vars(made).get(name)
        if name not in settings and isinstance(mine, str | int | float | bool | tuple) and mine != new:
            raise TypeError(
                f"{layer.label}: settings() leaves out {name}={mine!r}, and the layer would come back with {new!r}."
            )


def _require_plain(layer: nn.Module) -> None:
    """Refuse what pruning, norms and parametrizations have done to a layer or to modules inside it, by name."""
    for module in layer.modules():
        if "parametrizations" in module._modules:
            names = _listed(list(module._modules["parametrizations"]._modules))  # type: ignore[union-attr]
            way = "torch.nn.utils.parametrize.remove_parametrizations(layer, name)"
            raise TypeError(f"{_label(layer)}: cannot save a parametrized {names}: first fold it by {way}.")
        for hook in module._forward_pre_hooks.values():
            name = hooks.computed_by(hook)
            if name is not None:
                ways = {"WeightNorm": "remove_weight_norm", "SpectralNorm": "remove_spectral_norm"}
                way = ways.get(type(hook).__name__, "prune.remove")
                raise TypeError(
                    f"{_label(layer)}: cannot save {name}, which a hook of {type(hook).__name__} computes: first fold "
                    f"it by torch.nn.utils.{way}(layer, {name!r})."
                )


def _label(layer: nn.Module) -> str:
    return str(getattr(layer, "label", type(layer).__name__))


def _shapes(layer: nn.Module) -> dict[str, tuple[int, ...]]:
    tensors: Mapping[str, Tensor] = layer.state_dict()
    return {name: tuple(value.shape) for name, value in tensors.items()}


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
