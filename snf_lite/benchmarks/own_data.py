"""Models for points and tables beside zuko's neural spline flow and Gaussian mixtures: test likelihoods, in a record.

Repeat it with ``python -m snf_lite own-data``; without zuko it measures the others.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from snf_lite.data.densities import mixture_log_prob, sample_density
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.preprocessing import Standardize
from snf_lite.models import build
from snf_lite.runtime import provenance, records
from snf_lite.runtime.optional import MissingLibraryError, optional_import
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training.adam import adam
from snf_lite.training.evaluation import evaluate
from snf_lite.training.fit import fit

FILE = "own-data.json"
#: Models of this package on the densities, and the name of zuko's flow.
MODELS, ZUKO = ("coupling-spline", "spline-selfnorm"), "zuko NSF"
#: Tables that come with scikit-learn, and one that it downloads.
TABLES, DOWNLOADED = ("wine", "breast_cancer", "diabetes", "iris"), "california_housing"
#: Points to train on and to test with, and the training of all flows on points.
POINTS, TEST_POINTS, BATCH, LR, CLIP = 10_000, 20_000, 256, 5e-3, 10.0
#: Fraction of a table's rows that is for testing; the most Gaussians in a mixture.
TEST_FRACTION, GAUSSIANS = 0.25, 10

Rows = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class OwnDataRecord(records.Record):
    """Test likelihoods on 2-D densities and on tables.

    Attributes:
        seed: Seed of the first repetition; the others are the next.
        budget: Seconds of processor time of each training on a density.
        densities: By density its ``entropy`` in nats (None if it has no closed form), and by method ``parameters``; by
            repetition ``nats`` per test point and ``steps``; and the ``mean`` of ``nats``, with its ``standard_error``.
        tables: By table ``rows``, ``columns``, and by method the same of each split, in units of the data.
        skipped: Reason by method that could not be measured.
    """

    kind: ClassVar[str] = "comparison"
    json_depth: ClassVar[int] = 5

    seed: int
    budget: float
    densities: dict[str, Any]
    tables: dict[str, Any]
    skipped: dict[str, str]

    def problems(self) -> list[str]:
        found = []
        for name, entry in {**self.densities, **self.tables}.items():
            if len({len(result["nats"]) for result in entry["methods"].values()}) != 1:
                found.append(f"{name}: its methods differ in number of repetitions")
            for method, result in entry["methods"].items():
                if not np.allclose(summary(result["nats"]), (result["mean"], result["standard_error"]), rtol=1e-9):
                    found.append(f"{name}, {method}: its mean does not match its repetitions")
        return found


def read(path: str | Path) -> OwnDataRecord:
    """The record in a file; raises as ``records.read_record``."""
    return records.read_record(path, OwnDataRecord)


def measure(
    densities: list[str], tables: list[str], budget: float, repeats: int, splits: int, seed: int = 0,
    log: Callable[[str], None] = lambda line: None,
) -> OwnDataRecord:  # fmt: skip
    """Train every method on every data set, on the CPU.

    Args:
        densities: Names of 2-D densities.
        tables: Names of tables of scikit-learn.
        budget: Seconds of processor time of each training on a density.
        repeats: Number of trainings on a density, from different initial weights.
        splits: Number of random splits of a table.
        seed: First seed of both.
        log: Function that is given a line about each finished data set.
    """
    started, skipped, on_points, on_tables = time.perf_counter(), {}, {}, {}
    try:
        optional_import("zuko", extra="bench")
    except MissingLibraryError as error:
        skipped[ZUKO] = str(error)
    for name in densities:
        on_points[name] = _density(name, budget, range(seed, seed + repeats), ZUKO not in skipped)
        log(" | ".join(rows_of({name: on_points[name]})[1]))
    for name in tables:
        on_tables[name] = _table(name, range(seed, seed + splits), ZUKO not in skipped)
        log(" | ".join(rows_of({name: on_tables[name]})[1]))
    words = ["python -m snf_lite own-data --densities", *densities, "--tables", *tables]
    return OwnDataRecord(
        command=" ".join([*words, f"--budget {budget:g} --repeats {repeats} --splits {splits} --seed {seed}"]),
        seed=seed,
        budget=budget,
        densities=on_points,
        tables=on_tables,
        skipped=skipped,
        **provenance.provenance(torch.device("cpu"), zuko="zuko", sklearn="scikit-learn"),
        seconds=time.perf_counter() - started,
    )


# ---- points ----------------------------------------------------------------------------------------------------------


class ZukoNSF(FlowLayer):
    """The transform of ``zuko.flows.NSF`` with its defaults, whose base density is that of ``Flow``."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.nsf = optional_import("zuko.flows", extra="bench").NSF(features)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.nsf().transform.call_and_ladj(x)
        return z, log_det


def zuko_flow(features: int) -> Flow:
    """zuko's flow behind the standardization that the models of this package have."""
    return Flow([Standardize((features,), floor=0.0), ZukoNSF(features)], (features,))


def entropy(name: str, points: Tensor) -> float | None:
    """Entropy of a 2-D density in nats, the lowest that a model can reach; None if it has no closed form."""
    normal = 0.5 * math.log(2 * math.pi * math.e)
    known = {
        "checkerboard": math.log(32),  # uniform on eight squares of area 4
        "sine": math.log(7) + normal + math.log(0.2),
        "banana": 2 * normal + math.log(0.3),
    }
    return -float(mixture_log_prob(points.double()).mean()) if name == "mixture" else known.get(name)


def _density(name: str, budget: float, seeds: range, with_zuko: bool) -> dict[str, Any]:
    train, test = sample_density(name, POINTS, seed=1), sample_density(name, TEST_POINTS, seed=2)
    methods: dict[str, dict[str, Any]] = {}
    for seed in seeds:
        with isolated_rng("cpu", seed, "own data"):
            flows = {model: build(model, (2,)) for model in MODELS} | ({ZUKO: zuko_flow(2)} if with_zuko else {})
        steps = train_alike(flows, train, budget, seed)
        for method, flow in flows.items():
            parameters = sum(weight.numel() for weight in flow.parameters())
            result = methods.setdefault(method, {"parameters": parameters, "nats": [], "steps": []})
            result["nats"].append(evaluate(flow, test).nats)
            result["steps"].append(steps[method])
    return {"entropy": entropy(name, test), "methods": _summarized(methods)}


def train_alike(flows: Mapping[str, Flow], x: Tensor, budget: float, seed: int) -> dict[str, int]:
    """Train flows in turn, each for ``budget`` seconds of processor time, by the same plain loop.

    Adam on the flow's loss, batches of ``BATCH``, a half cosine from ``LR`` to 0 over the budget, gradients clipped to
    the norm ``CLIP``. The flows are interleaved step by step, so that whatever else the machine does slows all alike.

    Returns:
        Number of steps by name.
    """
    optimizers = {name: adam(list(flow.initialise(x).parameters()), LR) for name, flow in flows.items()}
    orders = {name: torch.Generator().manual_seed(seed) for name in flows}
    used, steps = dict.fromkeys(flows, 0.0), dict.fromkeys(flows, 0)
    while unfinished := [name for name in flows if used[name] < budget]:
        for name in unfinished:
            started, flow, optimizer = time.process_time(), flows[name], optimizers[name]
            batch = x[torch.randint(len(x), (BATCH,), generator=orders[name])]
            optimizer.param_groups[0]["lr"] = 0.5 * LR * (1 + math.cos(math.pi * used[name] / budget))
            optimizer.zero_grad()
            flow.loss(batch).backward()
            nn.utils.clip_grad_norm_(flow.parameters(), CLIP)
            optimizer.step()
            flow.after_step()
            flow.clear_cache()
            steps[name] += 1
            used[name] += time.process_time() - started
    return steps


# ---- tables ----------------------------------------------------------------------------------------------------------


def load_table(name: str) -> Rows:
    """Numeric columns of a table of scikit-learn, (N, D); "california_housing" is downloaded by scikit-learn."""
    from sklearn import datasets  # imported here and below: it takes a second

    make = datasets.fetch_california_housing if name == DOWNLOADED else getattr(datasets, f"load_{name}")
    rows: Rows = make().data.astype(np.float64)
    return rows


def _table(name: str, splits: range, with_zuko: bool) -> dict[str, Any]:
    from sklearn.model_selection import train_test_split

    rows = load_table(name)
    scorers = {"FlowDensity": flow_nats, "GaussianMixture": mixture_nats} | ({ZUKO: zuko_nats} if with_zuko else {})
    methods: dict[str, dict[str, Any]] = {method: {"nats": []} for method in scorers}
    for seed in splits:
        train, test = train_test_split(rows, test_size=TEST_FRACTION, random_state=seed)
        for method, nats in scorers.items():
            methods[method]["nats"].append(nats(train, test, seed))
    return {"rows": rows.shape[0], "columns": rows.shape[1], "methods": _summarized(methods)}


def flow_nats(train: Rows, test: Rows, seed: int) -> float:
    """Nats per test row of ``FlowDensity`` with its defaults."""
    from snf_lite.training.estimator import FlowDensity

    return -FlowDensity(random_state=seed).fit(train).score(test)


def mixture_nats(train: Rows, test: Rows, seed: int) -> float:
    """Nats per test row of the mixture of 1 to ``GAUSSIANS`` Gaussians with the best BIC, on standardized columns."""
    from sklearn.mixture import GaussianMixture
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    scaled = scaler.transform(train)
    mixtures = [GaussianMixture(count, random_state=seed).fit(scaled) for count in range(1, GAUSSIANS + 1)]
    best = min(mixtures, key=lambda mixture: mixture.bic(scaled))
    return float(np.log(scaler.scale_).sum() - best.score(scaler.transform(test)))


def zuko_nats(train: Rows, test: Rows, seed: int) -> float:
    """Nats per test row of zuko's NSF with its defaults, trained as ``FlowDensity`` trains its flow."""
    from snf_lite.training.estimator import FlowDensity

    ours = FlowDensity()
    with isolated_rng("cpu", seed, "own data"):
        flow = zuko_flow(train.shape[1]).double()
    fit(
        flow, train, ours.epochs_for(len(train)), ours.batch_size, ours.lr, "cpu", seed, decay="cosine",
        validation=ours.validation_fraction, progress=False,
    )  # fmt: skip
    return evaluate(flow, test).nats


# ---- tables of a record ----------------------------------------------------------------------------------------------


def summary(nats: list[float]) -> tuple[float, float]:
    """Mean over the repetitions, and its standard error; 0 of a single one."""
    return float(np.mean(nats)), float(np.std(nats, ddof=1) / len(nats) ** 0.5) if len(nats) > 1 else 0.0


def _summarized(methods: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    keys = ("mean", "standard_error")
    return {name: {**dict(zip(keys, summary(found["nats"]), strict=True)), **found} for name, found in methods.items()}


def rows_of(results: Mapping[str, Any]) -> list[list[str]]:
    """Rows of ``densities`` or ``tables`` of a record, heading first: data, and by method nats ± standard error.

    A single repetition has no standard error.
    """

    def cell(result: Mapping[str, Any]) -> str:
        error = f" ± {result['standard_error']:.2f}" if len(result["nats"]) > 1 else ""
        return f"{result['mean']:.2f}{error}"

    methods = list(next(iter(results.values()))["methods"]) if results else []
    lines = [[name, *[cell(entry["methods"][method]) for method in methods]] for name, entry in results.items()]
    return [["", *methods], *lines]


def difference(entry: Mapping[str, Any], method: str, other: str) -> tuple[float, float]:
    """Nats of a method minus those of another, and the standard error of that mean over the repetitions."""
    pairs = zip(entry["methods"][method]["nats"], entry["methods"][other]["nats"], strict=True)
    return summary([one - two for one, two in pairs])
