"""Flows and training runs on disk: written whole, read back without running code from the file, checked by a digest."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snf_lite.data.source import sha256_of
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.runtime.files import atomic_write
from snf_lite.runtime.rng import isolated_rng

FORMAT = "snf_lite checkpoint"
VERSION = 1


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or belongs to another model or run; the message names it and says which.

    Example:
        >>> torch.save({"weights": torch.zeros(2)}, "other.pt")
        >>> snf.restore("other.pt")
        Traceback (most recent call last):
        snf_lite.training.checkpoints.CheckpointError: other.pt: expected a checkpoint...
    """


def save(flow: Flow, path: str | Path) -> None:
    """Write a flow: its architecture, dtype and weights. ``restore`` gives it back in any process that has its layers.

    Raises:
        TypeError: a layer's settings hold something that a checkpoint cannot (a function, an array).
        OSError: the file cannot be written; one that was there is intact.

    Example:
        >>> flow = snf.build("dense-selfnorm", (2,))
        >>> snf.save(flow, "flow.pt")
        >>> torch.equal(snf.restore("flow.pt").layers[-1].weight, flow.layers[-1].weight)
        True
    """
    write(path, flow, flow.state_dict(), training=None)


def restore(path: str | Path) -> Flow:
    """The flow that ``save`` or ``fit`` wrote, on the CPU; of a training run, with its best weights.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, altered, of another format, or needs a layer class that is not defined here.

    Example:
        >>> snf.save(snf.build("dense-selfnorm", (2,)), "flow.pt")
        >>> snf.restore("flow.pt").sample(3).shape
        torch.Size([3, 2])
    """
    stored = read(path)
    flow = _rebuilt(stored["architecture"], path)
    try:
        flow.load_state_dict(stored["weights"], strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not fit its own architecture: {error}") from error
    return flow


def write(path: str | Path, flow: Flow, weights: Mapping[str, Tensor], training: dict[str, Any] | None) -> None:
    """Write a checkpoint: the flow's architecture, ``weights`` for it, and where a run stands (None: no run).

    Raises the errors of ``save``.
    """
    content = {"architecture": architecture(flow), "weights": dict(weights), "training": training}
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "version": VERSION, "digest": digest(content), **content}, buffer)
    atomic_write(path, buffer.getvalue())


def read(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU: ``architecture``, ``weights`` and ``training``.

    Raises the errors of ``restore``.
    """
    stored = _unpacked(path)
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected a checkpoint of snf_lite, got something else ({_kind(stored)}).")
    if stored.get("version") != VERSION:
        raise CheckpointError(f"{path}: expected checkpoint format {VERSION}, got {stored.get('version')!r}.")
    content = {key: stored.get(key) for key in ("architecture", "weights", "training")}
    if stored.get("digest") != digest(content):
        raise CheckpointError(f"{path}: its content has been altered since it was written: the SHA-256 digests differ.")
    return content


def _unpacked(path: str | Path) -> Any:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such checkpoint.") from None
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    # Zip, pickle and torch each raise their own kinds on a damaged file.
    except Exception as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint, got {len(data)} bytes that cannot be read as one "
            f"({type(error).__name__}): the file is truncated, damaged or something else."
        ) from error


def _kind(stored: Any) -> str:
    if not isinstance(stored, dict):
        return f"a {type(stored).__name__}"
    return f"a dict with {', '.join(map(repr, list(stored)[:4])) or 'nothing in it'}"


def architecture(flow: Flow) -> dict[str, Any]:
    """What it takes to build the flow again: each layer's class name and settings, the event shape, the dtype."""
    if not isinstance(flow, Flow):
        raise TypeError(f"Checkpoint: expected a Flow, got a {type(flow).__name__}.")
    layers = [[layer.registered_name, layer.settings()] for layer in flow.bijections]
    if len(set(map(id, flow.bijections))) < len(layers):
        raise TypeError("Checkpoint: expected a flow of different layers, got one that uses a layer twice.")
    return {"layers": layers, "event_shape": list(flow.event_shape), "dtype": str(flow.dtype).removeprefix("torch.")}


def _rebuilt(described: dict[str, Any], path: str | Path) -> Flow:
    with isolated_rng("cpu", "restore"):  # constructors draw weights, which the stored ones replace
        layers = [_layer(name, settings, path) for name, settings in described["layers"]]
    return Flow(layers, described["event_shape"]).to(getattr(torch, described["dtype"]))


def _layer(name: str, settings: dict[str, Any], path: str | Path) -> FlowLayer:
    if name not in FlowLayer.registry:
        raise CheckpointError(f"{path}: needs the layer class {name}, which is not defined here: import its module.")
    try:
        return FlowLayer.registry[name](**settings)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {name} does not take its stored settings {settings}: {error}") from error


def described_differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """How two architectures differ: a phrase with both values for each layer, shape or dtype; empty if they agree."""
    return differences(_flat(there), _flat(here))


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """A phrase with both values for each key on which two mappings differ."""
    keys = [*there, *(key for key in here if key not in there)]
    return [
        f"{key} is {there.get(key, 'missing')} in the checkpoint, {here.get(key, 'missing')} here"
        for key in keys
        if there.get(key, "missing") != here.get(key, "missing")
    ]


def _flat(described: dict[str, Any]) -> dict[str, str]:
    layers = {
        f"layers[{index}]": f"{name}({', '.join(f'{key}={value!r}' for key, value in settings.items())})"
        for index, (name, settings) in enumerate(described["layers"])
    }
    return {**layers, "event_shape": str(tuple(described["event_shape"])), "dtype": described["dtype"]}


def digest(content: Any) -> str:
    """SHA-256 over every tensor (dtype, shape, bytes) and every plain value in nested dicts and lists.

    Raises:
        TypeError: something else is among them, which a checkpoint could not give back.
    """
    hasher = hashlib.sha256()
    _feed(hasher, content, "content")
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any, where: str) -> None:
    if isinstance(value, Tensor):
        hasher.update(f"{value.dtype}{tuple(value.shape)}{sha256_of(value)}".encode())
    elif isinstance(value, Mapping):
        hasher.update(f"{{{len(value)}".encode())
        for key, entry in value.items():
            _feed(hasher, key, where)
            _feed(hasher, entry, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        hasher.update(f"{type(value).__name__}{len(value)}".encode())
        for index, entry in enumerate(value):
            _feed(hasher, entry, f"{where}[{index}]")
    elif value is None or type(value) in (str, int, float, bool):
        hasher.update(f"{type(value).__name__}{value!r};".encode())
    else:
        raise TypeError(f"Checkpoint: expected tensors and plain values, got a {type(value).__name__} at {where}.")
