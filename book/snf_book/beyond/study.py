"""The study: the 8×8 digits, several seeds, and training that differs from the exact one in one part at a time."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict

from snf_book.beyond.layers import BetweenLinear
from snf_lite.analysis.learned_inverse import inverse_errors
from snf_lite.beyond.tracked import TrackedLinear
from snf_lite.data.datasets import load
from snf_lite.dense import ExactLinear, SelfNormLinear
from snf_lite.experiments.results import paired_error
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.preprocessing import Whiten
from snf_lite.models.architectures import dense
from snf_lite.runtime import records
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training.evaluation import evaluate
from snf_lite.training.fit import fit

FILE = "gap.json"
#: Epochs from one validation value of the record to the next.
SHOWN_EVERY = 10
#: Whether a fixed ``Whiten`` precedes the layers; or what makes another one.
Front = bool | Callable[[int], Whiten]


@dataclass(frozen=True)
class Variant:
    """A way to train a dense layer.

    Attributes:
        log_det: What replaces W⁻ᵀ in the gradient of W.
        acts_on: What the reconstruction penalty acts on.
        inverse_learns_from: What R follows.
        layer: The layer.
        options: Its settings.
    """

    log_det: str
    acts_on: str
    inverse_learns_from: str
    layer: Callable[..., FlowLayer]
    options: dict[str, Any]


def _between(substitute: str, penalized: bool, likelihood: bool) -> Variant:
    names = {"exact": "W⁻ᵀ", "learned": "Rᵀ", "corrected": "Rᵀ, corrected"}
    source = "likelihood, reconstruction" if likelihood else "reconstruction"
    options = {"substitute": substitute, "weight_penalized": penalized, "likelihood": likelihood}
    return Variant(names[substitute], "W and R" if penalized else "R alone", source, BetweenLinear, options)


#: From the exact twin, the first, to the paper's layer and on: every other one is held against the first.
VARIANTS = {
    "exact": Variant("W⁻ᵀ", "–", "–", ExactLinear, {}),
    "paper": Variant("Rᵀ", "W and R", "likelihood, reconstruction", SelfNormLinear, {}),
    "paper-exact": _between("exact", penalized=True, likelihood=True),
    "both": _between("learned", penalized=True, likelihood=False),
    "both-exact": _between("exact", penalized=True, likelihood=False),
    "alone": _between("learned", penalized=False, likelihood=False),
    "alone-corrected": _between("corrected", penalized=False, likelihood=False),
    "alone-exact": _between("exact", penalized=False, likelihood=False),
    "tracked": Variant("Rᵀ", "–", "Newton–Schulz", TrackedLinear, {"every": 1}),
}


class VariantEntry(TypedDict):
    """Results of a variant, a value for each seed.

    ``nats``: exact test value at the best epoch; ``errors``: the largest ‖RW − I‖₂ there, nothing where there is no R;
    ``best_epochs``; ``validation``: exact validation value at every tenth epoch from 0 on.
    """

    nats: list[float]
    errors: list[float]
    best_epochs: list[int]
    validation: list[list[float]]


@dataclass(frozen=True, kw_only=True)
class GapRecord(records.Record):
    """Results of all variants.

    Attributes:
        seeds: Seeds of order, noise and start, shared by the variants.
        epochs, lr: Settings of ``fit``; the layers start whitened.
        front: Whether a fixed ``Whiten`` precedes the layers.
        data: Name and SHA-256 by split.
        variants: Entry by name, in the order of ``VARIANTS``.
    """

    kind: ClassVar[str] = "gap"
    json_depth: ClassVar[int] = 3

    seeds: list[int]
    epochs: int
    lr: float
    front: bool
    data: dict[str, str]
    variants: Annotated[dict[str, dict[str, Any]], dict[str, VariantEntry]]

    def problems(self) -> list[str]:
        if list(self.variants) != list(VARIANTS):
            return [f"expected the variants {', '.join(VARIANTS)}; got {', '.join(self.variants)}"]
        found, epochs = [], self.epochs // SHOWN_EVERY + 1
        for name, entry in self.variants.items():
            counts = {key: len(values) for key, values in entry.items()}
            wanted = dict.fromkeys(counts, len(self.seeds)) | {"errors": len(self.seeds) * (name != "exact")}
            lengths = {len(values) for values in entry["validation"]}
            if counts != wanted or lengths != {epochs} or not self.seeds:
                found.append(f"{name}: its seeds, values and epochs differ in number")
        return found

    def difference(self, name: str, other: str = "exact") -> tuple[float, float]:
        """Mean over the seeds of the test value of a variant minus that of another, and its standard error, in nats."""
        pairs = zip(self.variants[name]["nats"], self.variants[other]["nats"], strict=True)
        gaps = [one - two for one, two in pairs]
        error = paired_error(gaps)
        return statistics.mean(gaps), math.nan if error is None else error

    def mean(self, name: str, key: str = "nats") -> float:
        """Mean over the seeds of an entry of a variant."""
        return statistics.mean(self.variants[name][key])


def model(name: str, seed: int, front: Front = False, recon_weight: float = 1.0) -> Flow:
    """The untrained flow of a variant: two dense layers on digits, with the start of that seed."""
    variant, numbers = VARIANTS[name], count(2 * seed)
    own = {"recon_weight": recon_weight} if variant.layer in (SelfNormLinear, BetweenLinear) else {}

    def layer(features: int) -> FlowLayer:
        probes = {"seed": next(numbers)} if variant.layer is BetweenLinear else {}
        return variant.layer(features, **variant.options, **own, **probes)

    with isolated_rng("cpu", seed, "gap", "start"):
        flow = dense(layer, (1, 8, 8), load("digits", "train").levels, front=bool(front))
    if callable(front):
        (at,) = (at for at, one in enumerate(flow.layers) if isinstance(one, Whiten))
        flow.layers[at] = front(flow.features)
        flow.bind_layers(flow.event_shape, "Flow")
    return flow


def train(
    name: str, seed: int, epochs: int, lr: float, front: Front = False, recon_weight: float = 1.0,
    every: int = SHOWN_EVERY,
) -> dict[str, Any]:  # fmt: skip
    """Train a variant with one seed; the values of its ``VariantEntry``, validation at each ``every``-th epoch."""
    flow = model(name, seed, front, recon_weight)
    history = fit(flow, "digits", epochs, lr=lr, seed=seed, whiten=True, progress=False)
    nats, errors = history.validation_nats, inverse_errors(flow)
    return {
        "nats": evaluate(flow, "digits", split="test").nats,
        **({"errors": max(errors)} if errors else {}),
        "best_epochs": history.epochs[nats.index(min(nats))],
        "validation": nats[::every],
    }


def gathered(runs: dict[str, dict[str, Any]], seeds: list[int]) -> dict[str, dict[str, Any]]:
    """The variants of the record from the values of single runs, by ``run_name``."""
    found: dict[str, dict[str, Any]] = {}
    for name in VARIANTS:
        of_seeds = [runs[run_name(name, seed)] for seed in seeds]
        keys = VariantEntry.__annotations__
        found[name] = {key: [values[key] for values in of_seeds if key in values] for key in keys}
    return found


def run_name(name: str, seed: int) -> str:
    """Name of a variant's run with one seed."""
    return f"{name}, seed {seed}"


def read(path: str | Path) -> GapRecord:
    """The record in a file; raises as ``records.read_record``."""
    return records.read_record(path, GapRecord)
