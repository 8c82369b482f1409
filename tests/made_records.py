"""Records of runs that nobody ran, for tests of what is told about records."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from small_runs import HELD_OUT, MOONS, fresh

import snf_lite as snf
from snf_lite.analysis.sampling import sample_pair
from snf_lite.experiments import record
from snf_lite.experiments.run import Recipe


def template() -> record.Record:
    """A true record of a short run over points of the plane."""
    torch.manual_seed(0)
    flow = fresh()
    history = snf.fit(flow, MOONS, 2, validation=HELD_OUT)
    test, pair = snf.evaluate(flow, "moons"), sample_pair(flow, 10)
    return record.make_record(
        "python -m snf_lite train dense-selfnorm", "dense-selfnorm", {}, flow, history, test, pair
    )


def record_of(recipe: Recipe, nats: float, like: record.Record) -> record.Record:
    """The record that a run by this recipe would leave, had it come to so many test nats."""
    asked = {
        "epochs": recipe.epochs, "batch_size": recipe.batch_size, "lr": recipe.lr, "seed": recipe.seed,
        "whiten": recipe.whiten, "warmup_epochs": recipe.warmup, "decay": recipe.decay, "clip_norm": recipe.clip,
        "precision": recipe.precision,
    }  # fmt: skip
    columns: dict[str, Any] = {
        "epochs": [0, recipe.epochs], "steps": [0, 500 * recipe.epochs], "seconds": [1.0, 99.0],
        "ms_per_step": [0.0, 12.5], "validation_nats": [2000.0, nats + 1],
    }  # fmt: skip
    features = 3072 if recipe.data in ("cifar10", "imagenet32") else 784
    bits = snf.training.evaluation.bits_per_dim(nats, features)
    test = {**like.results["test"], "nats": nats, "bits_per_dim": bits, "seed": recipe.seed}
    return replace(
        like, command=recipe.command, model={**like.model, "name": recipe.model, "settings": recipe.settings},
        seed=recipe.seed, data={split: {**entry, "name": recipe.data} for split, entry in like.data.items()},
        history={**like.history, **columns, "settings": {**like.history["settings"], **asked}, "features": features},
        seconds=99.0, results={"test": test},
    )  # fmt: skip


def put(folder: Path, name: str, recipe: Recipe, nats: float, like: record.Record) -> Path:
    """Such a record in a folder of runs; its file."""
    path = folder / name / "record.json"
    record.write_record(record_of(recipe, nats, like), path)
    return path
