"""Flows and training runs on disk: written atomically, read without running code from the file, checked by a digest.

A file is what ``torch.save`` writes, a zip archive, with the SHA-256 of its bytes as the archive's comment.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import torch
from torch import Tensor

from snf_lite.data.source import sha256_of
from snf_lite.flow import Flow
from snf_lite.latents.base import restored_base
from snf_lite.layer import FlowLayer
from snf_lite.runtime.files import atomic_write, read_regular, sha256
from snf_lite.runtime.records import RunData
from snf_lite.runtime.rng import isolated_rng
from snf_lite.runtime.schema import AtLeast, mismatches, require_shallow
from snf_lite.runtime.unpickle import DTYPES, BoundedFactories, load_archive
from snf_lite.training.evaluation import without_wrapper
from snf_lite.training.loop.restorable import require_restorable

FORMAT = "snf_lite checkpoint"
#: Version 1 held ``digest`` of its content, not of the file.
VERSION = 2
#: Bytes that constructors of layers may allocate for each byte of stored weights, and besides.
_SPARE_FACTOR, _SPARE_BYTES = 16, 2**26
#: The last record of a zip archive begins with this; its 22 bytes end with the length of the comment that follows.
_ZIP_END = b"PK\x05\x06"
_DIGEST = 64  # length of a SHA-256 in hexadecimal


class _Architecture(TypedDict):
    layers: list[tuple[str, dict[str, Any]]]
    event_shape: list[int]
    dtype: str
    base: NotRequired[Any]
    fresh: NotRequired[bool]


class _Clock(TypedDict):
    seconds: float
    stepping: float
    stepped: int
    objective: NotRequired[float]


class _HistoryEntry(TypedDict):
    settings: Annotated[dict[str, Any], AtLeast(RunData)]


class _RunState(TypedDict):
    """State of a training run, as ``TrainingRun`` writes it."""

    epoch: int
    weights: dict[str, Tensor]
    optimizer: NotRequired[dict[str, Any]]
    history: Annotated[dict[str, Any], AtLeast(_HistoryEntry)]
    clock: Annotated[dict[str, Any], AtLeast(_Clock)]


class _Content(TypedDict):
    architecture: _Architecture
    weights: dict[str, Tensor]
    training: Annotated[Any, AtLeast(_RunState)] | None


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or belongs to another model or run; the message names file and reason.

    Example:
        >>> torch.save({"weights": torch.zeros(2)}, "other.pt")
        >>> snf.restore("other.pt")
        Traceback (most recent call last):
        snf_lite.training.checkpoints.CheckpointError: other.pt: expected a checkpoint...
    """


def save(flow: Flow, path: str | Path) -> None:
    """Write a flow: its architecture, dtype and weights. ``restore`` reads it in any process that has its layers.

    A fresh flow comes back as a fresh one, which ``fit`` initializes.

    Raises:
        TypeError: flow is no Flow, a layer's settings hold a value that a checkpoint cannot (a function, an array), or
            ``restore`` could not give the flow back: a layer made from its settings would be another, a weight is
            pruned, normed or parametrized, something was added to the flow, or it is a subclass of Flow.
        OSError: the file cannot be written; one that was there is intact.

    Example:
        >>> flow = snf.build("dense-selfnorm", (2,))
        >>> snf.save(flow, "flow.pt")
        >>> torch.equal(snf.restore("flow.pt").layers[-1].weight, flow.layers[-1].weight)
        True
    """
    write(path, without_wrapper(flow))


def restore(path: str | Path) -> Flow:
    """The flow that ``save`` or ``fit`` wrote, on the CPU; for a training run, with its best weights.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is damaged, altered, of another format, or needs a layer class that is not defined here.

    Example:
        >>> snf.save(snf.build("dense-selfnorm", (2,)), "flow.pt")
        >>> snf.restore("flow.pt").sample(3).shape
        torch.Size([3, 2])
    """
    stored = read(path)
    described, weights = stored["architecture"], stored["weights"]
    layers: list[FlowLayer] = []
    most = _SPARE_BYTES + _SPARE_FACTOR * sum(value.nbytes for value in weights.values())
    with isolated_rng("cpu", "restore"), BoundedFactories(most):  # constructors draw weights, which are replaced
        for name, settings in described["layers"]:
            try:
                kind = FlowLayer.named(name)
            except LookupError as error:
                raise CheckpointError(f"{path}: {error.args[0]}.") from None
            try:
                layers.append(kind(**settings))
            except Exception as error:  # a constructor may raise anything on settings that nobody checked
                refused = f"{name} does not take its stored settings {settings}: {error}"
                raise CheckpointError(f"{path}: {refused}") from error
    try:
        base = described.get("base")
        made = None if base is None else restored_base(base, weights)
        flow = Flow(layers, tuple(described["event_shape"]), made).to(getattr(torch, described["dtype"]))
        require_fitting(weights, flow)
        flow.load_state_dict(weights, strict=True)
        if described.get("fresh"):
            for layer, _ in flow.iter_layers(flow.event_shape):
                layer.count_as_fresh()
    except Exception as error:  # likewise the base density
        raise CheckpointError(f"{path}: its weights do not fit its own architecture: {error}") from error
    return flow


def require_run(content: Mapping[str, Any], history: Mapping[str, Any], path: Path) -> None:
    """Refuse the content of a checkpoint that another run wrote than the one with a history, with CheckpointError."""
    there = (content["training"] or {}).get("history", {})
    if any(there.get(column) != history[column] for column in ("epochs", "seconds", "validation_nats")):
        epochs = max(there.get("epochs", [0]), default=0)
        raise CheckpointError(
            f"{path}: holds another run, of {epochs} epochs, than the one whose history ends at epoch "
            f"{history['epochs'][-1]}: it was replaced. Run the command of the run again, or choose another --out."
        )


def require_fitting(weights: Mapping[str, Tensor], flow: Flow) -> None:
    """Refuse weights whose names or shapes are not those of a flow, with ValueError."""
    there = {name: tuple(value.shape) for name, value in weights.items()}
    here = {name: tuple(value.shape) for name, value in flow.state_dict().items()}
    if there != here:
        raise ValueError(f"{'; '.join(differences(there, here)[:4])}.")


def write(path: str | Path, flow: Flow, weights: Any = None, training: dict[str, Any] | None = None) -> None:
    """Write a checkpoint: the flow's architecture, ``weights`` (None: its own), and the state of a run (None: no run).

    Raises the errors of ``save``.
    """
    described = architecture(flow)
    content = {"architecture": described, "weights": dict(weights or flow.state_dict()), "training": training}
    _require_plain(content)
    require_restorable(flow, described)
    if flow.is_fresh:
        described["fresh"] = True
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "version": VERSION, **content}, buffer)
    atomic_write(path, signed(buffer.getvalue()))


def _require_plain(content: Any) -> None:
    """Refuse what could not be read without running code, such as functions and arrays, in nested dicts and lists."""
    pending = [("content", content)]
    for where, value in pending:  # grows by the entries of dicts and lists
        if isinstance(value, Mapping):
            for key, entry in value.items():
                pending += (where, key), (f"{where}[{key!r}]", entry)
        elif type(value) in (list, tuple):
            for index, entry in enumerate(value):
                pending.append((f"{where}[{index}]", entry))
        elif isinstance(value, Tensor):
            if value.layout != torch.strided or value.is_meta or value.dtype not in DTYPES:
                got = f"one of {value.dtype}, {value.layout}, on {value.device}"
                raise TypeError(f"Checkpoint: expected dense tensors of numbers, got {got}, at {where}.")
        elif not (value is None or type(value) in (str, int, float, bool)):
            raise TypeError(f"Checkpoint: expected tensors and plain values, got a {type(value).__name__} at {where}.")


def signed(archive: bytes) -> bytes:
    """A zip archive without a comment, with the SHA-256 of its bytes as the comment."""
    comment = sha256(archive).encode()
    return archive[:-2] + len(comment).to_bytes(2, "little") + comment


def read(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU: ``architecture``, ``weights`` and ``training``.

    Raises the errors of ``restore``.
    """
    try:
        data = read_regular(path, "checkpoint")
    except ValueError as error:
        raise CheckpointError(str(error)) from None
    try:
        stored = load_archive(data)
        end = data.rfind(_ZIP_END) + 22
        if len(data) - end < int.from_bytes(data[end - 2 : end], "little"):
            raise EOFError  # zipfile does not miss the end of the comment
        require_shallow(stored, most=4 * len(data))
    # Zip, pickle and torch each raise their own kinds on a damaged file.
    except Exception as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint, got {len(data)} bytes that cannot be read as one "
            f"({type(error).__name__}): the file is truncated, damaged or something else."
        ) from error
    named = isinstance(stored, dict) and isinstance(stored.get("format"), str) and stored["format"] == FORMAT
    if not named:
        entries = ", ".join(map(repr, list(stored)[:4])) if isinstance(stored, dict) else None
        kind = f"a {type(stored).__name__}" + ("" if entries is None else f" with {entries or 'nothing in it'}")
        raise CheckpointError(f"{path}: expected a checkpoint of snf_lite, got something else ({kind}).")
    content = {key: stored.get(key) for key in _Content.__annotations__}
    version = stored.get("version")
    match version if type(version) is int else repr(version)[:40]:
        case 1:
            intact = stored.get("digest") == digest(content)
        case 2:
            intact = data == signed(data[: -2 - _DIGEST] + b"\0\0")
        case other:
            raise CheckpointError(f"{path}: expected checkpoint format {VERSION} or before, got {other}.")
    if not intact:
        raise CheckpointError(f"{path}: its content has been altered since it was written: the SHA-256 digests differ.")
    described: Any = content["architecture"]
    wrong = list(mismatches(content, _Content, "the content"))
    if not wrong and f"torch.{described['dtype']}" not in (str(dtype) for dtype in DTYPES if dtype.is_floating_point):
        wrong = [f"its dtype is no floating-point dtype of torch: {described['dtype']!r:.40}"]
    if wrong:
        raise CheckpointError(f"{path}: {'; '.join(wrong[:4])}.")
    return content


def architecture(flow: Any) -> dict[str, Any]:
    """The description from which a flow is built: each layer's class name and settings, the event shape, the dtype.

    Raises TypeError if flow is no Flow, or uses a layer twice.
    """
    if not isinstance(flow, Flow):
        way = ": give its .module" if isinstance(getattr(flow, "module", None), Flow) else ""
        raise TypeError(f"Checkpoint: expected a Flow, got a {type(flow).__name__}{way}.")
    layers = [[layer.registered_name, layer.settings()] for layer in flow.bijections]
    if len(set(map(id, flow.bijections))) < len(layers):
        raise TypeError("Checkpoint: expected a flow of different layers, got one that uses a layer twice.")
    dtype = str(flow.dtype).removeprefix("torch.")
    base = {} if flow.base is None else {"base": flow.base.settings()}
    return {"layers": layers, "event_shape": list(flow.event_shape), "dtype": dtype, **base}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """A phrase with both values for each key on which two mappings differ."""
    keys = [*there, *(key for key in here if key not in there)]
    return [
        f"{key} is {there.get(key, 'missing')} in the checkpoint, {here.get(key, 'missing')} here"
        for key in keys
        if there.get(key, "missing") != here.get(key, "missing")
    ]


def digest(content: Any) -> str:
    """SHA-256 over every tensor (dtype, shape, bytes) and every plain value in nested dicts and lists.

    Checkpoints of version 1 hold it, and records of ablations identify weights by it.
    """
    hasher = hashlib.sha256()
    _feed(hasher, content)
    return hasher.hexdigest()


def _feed(hasher: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        hasher.update(f"{value.dtype}{tuple(value.shape)}{sha256_of(value)}".encode())
    elif isinstance(value, Mapping):
        hasher.update(f"{{{len(value)}".encode())
        for item in value.items():
            for entry in item:
                _feed(hasher, entry)
    elif type(value) in (list, tuple):
        hasher.update(f"{type(value).__name__}{len(value)}".encode())
        for entry in value:
            _feed(hasher, entry)
    else:
        hasher.update(f"{type(value).__name__}{value!r};".encode())
