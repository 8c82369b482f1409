"""A flow from a file or the folder of a run, with the modules that define its layers, and its own data."""

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snf_lite.data.datasets import DataTensor
from snf_lite.data.own_data import read_data, split_by_seed
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.runtime.files import expanded
from snf_lite.training import checkpoints
from snf_lite.training.checkpoints import CheckpointError

#: File of a run that holds its flow.
CHECKPOINT = "checkpoint.pt"


def import_modules(modules: Iterable[str]) -> None:
    """Import modules by name, also from the current folder, or by the path of a ``.py`` file.

    The layers of a file also count as those of the script ``__main__``, so that a flow that a script saved can be read.

    Raises:
        ValueError: there is no such module or file, or it fails; the message names it.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")  # the console script does not put the current folder there
    for module in modules:
        path = expanded(module)
        try:
            if module.endswith(".py"):
                _import_file(path)
            else:
                importlib.import_module(module)
        except Exception as error:  # the module is the user's and may raise anything
            raise ValueError(f"--import {module}: {type(error).__name__}: {error}") from error


def _import_file(path: Path) -> None:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError("there is no such file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # as ``import`` does, for what looks its own module up
    spec.loader.exec_module(module)
    for name, layer in list(FlowLayer.registry.items()):
        if layer.__module__ == path.stem:
            FlowLayer.registry.setdefault(f"__main__.{name.removeprefix(f'{path.stem}.')}", layer)


def checkpoint_of(path: Path) -> Path:
    """The checkpoint of a run's folder; a file is returned as it is.

    Raises:
        FileNotFoundError: the folder holds none; the message names those of the runs below it.
    """
    if not path.is_dir():
        return path
    if not (path / CHECKPOINT).exists():
        runs = ", ".join(str(found.parent) for found in sorted(path.glob(f"*/{CHECKPOINT}")))
        raise FileNotFoundError(f"{path}: expected a run's folder with {CHECKPOINT}, got {runs or 'none in it'}.")
    return path / CHECKPOINT


def restore(path: Path) -> Flow:
    """The flow of a checkpoint; for a layer class that is not defined here, the message names the option to give."""
    try:
        return checkpoints.restore(path)
    except CheckpointError as error:
        if "import its module" not in str(error):
            raise
        own = "--import SCRIPT.py, the script that defines it" if "class __main__." in str(error) else "--import MODULE"
        needed = str(error).partition("not defined here")[0]
        raise CheckpointError(f"{needed}not defined here: import its module by {own}.") from error


def training_data(path: Path) -> dict[str, Any] | None:
    """What the checkpoint of a training run keeps of its data; None for a flow that was saved."""
    state = checkpoints.read(path)["training"]
    return None if state is None else dict(state["history"]["settings"]["data"])


def own_part(path: str, channels: int | None, split: str | None, trained: dict[str, Any] | None) -> DataTensor:
    """A part of own data, as the training run split them.

    Args:
        path: Path of the data.
        channels: As for ``read_data``; None: as in the run.
        split: "train", "validation", "test" or "all"; None: "test" of the data that were trained on, "all" of others.
        trained: What ``training_data`` returned.

    Raises:
        DataError, FileNotFoundError: as ``read_data``.
        ValueError: as ``read_data``; other columns than those of the run; or a split that the run did not make.
    """
    stored = trained or {}
    examples = read_data(path, channels or (stored.get("channels") if expanded(path).is_dir() else None))
    names, own = stored.get("columns"), examples.origin.get("columns")
    if names and own and names != own:
        raise ValueError(f"{path}: expected the columns {', '.join(names)}, in this order, got {', '.join(own)}.")
    same = stored.get("file_sha256") == examples.origin["file_sha256"]
    if split == "all" or (split is None and not same):
        return examples
    if not same:
        raise ValueError(f"{path}: is not what the flow was trained on, so it has no part {split!r}; leave --split out")
    return split_by_seed(examples, stored["split_seed"])[split or "test"]
