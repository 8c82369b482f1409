"""Models for points and tables beside zuko's neural spline flow and Gaussian mixtures: test likelihoods, in a record.

Repeat it with ``python -m snf_lite own-data``; without zuko it measures the others.
"""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from snf_lite.data.densities import mixture_log_prob, sample_density
from snf_lite.models import build
from snf_lite.runtime import provenance, records
from snf_lite.runtime.optional import MissingLibraryError, optional_import
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training.adam import adam
from snf_lite.training.estimator import FlowDensity

FILE = "own-data.json"
#: Models of this package, and the name of zuko's.
MODELS, ZUKO = ("coupling-spline", "spline-selfnorm"), "zuko NSF"
#: Tables that come with scikit-learn; ``california_housing`` is downloaded by it.
TABLES = ("wine", "breast_cancer", "diabetes", "iris")
DOWNLOADED = ("california_housing",)
#: Rows of a table: numpy (N, D), float64.
Rows = Any
#: Points to train on and to test with, and the training of all flows on points.
POINTS, TEST_POINTS, BATCH, LR, CLIP = 10_000, 20_000, 256, 5e-3, 10.0
#: Fraction of a table's rows that is for testing, and of the others that is held out; the most Gaussians in a mixture.
TEST_FRACTION, HELD_OUT, GAUSSIANS = 0.25, 0.1, 10


class Trainable(Protocol):
    """A flow of this package, or one of zuko's."""

    def loss(self, x: Tensor) -> Tensor: ...
    def log_prob(self, x: Tensor) -> Tensor: ...
    def parameters(self) -> Any: ...
    def after_step(self) -> None: ...
    def clear_cache(self) -> None: ...


class ZukoFlow(nn.Module):
    """``zuko.flows.NSF`` with its defaults, on standardized data."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.flow = optional_import("zuko.flows", extra="bench").NSF(x.shape[1])
        self.mean, self.deviation = x.mean(0), x.std(0)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in the units of the data, (B,) in nats."""
        scaled = (x - self.mean) / self.deviation
        log_prob: Tensor = self.flow().log_prob(scaled) - self.deviation.log().sum()
        return log_prob

    def loss(self, x: Tensor) -> Tensor:
        return -self.log_prob(x).mean()

    def after_step(self) -> None:
        """Nothing: there is no learned inverse."""

    def clear_cache(self) -> None:
        """Nothing: there is no factorization."""


@dataclass(frozen=True, kw_only=True)
class OwnDataRecord(records.Record):
    """Test likelihoods on 2-D densities and on tables.

    Attributes:
        seed: Seed of the first repetition; the others are the next.
        budget: Seconds of processor time of each training on a 2-D density.
        densities: By density its ``entropy`` in nats (None if it has no closed form), and by method ``parameters``; by
            repetition ``nats`` per test point and ``steps``; and ``mean``, with its ``standard_error``, of the nats.
        tables: By table ``rows``, ``columns``, and by method the same of each split, in units of the data.
        skipped: Reason by method that could not be measured.
    """

    kind: ClassVar[str] = "own data"
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


def summary(nats: list[float]) -> tuple[float, float]:
    """Mean over the repetitions, and its standard error; 0 of a single one."""
    return float(np.mean(nats)), float(np.std(nats, ddof=1) / len(nats) ** 0.5) if len(nats) > 1 else 0.0


def _summarized(methods: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    keys = ("mean", "standard_error")
    return {name: {**dict(zip(keys, summary(found["nats"]), strict=True)), **found} for name, found in methods.items()}


def measure(
    densities: tuple[str, ...], tables: tuple[str, ...], budget: float, repeats: int, splits: int, seed: int = 0,
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
    started, skipped = time.perf_counter(), {}
    try:
        optional_import("zuko", extra="bench")
    except MissingLibraryError as error:
        skipped[ZUKO] = str(error)
    on_points, on_tables = {}, {}
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


def read(path: str | Path) -> OwnDataRecord:
    """The record in a file; raises as ``records.read_record``."""
    return records.read_record(path, OwnDataRecord)


# ---- points ----------------------------------------------------------------------------------------------------------


def entropy(name: str, points: Tensor) -> float | None:
    """Entropy of a 2-D density in nats, the lowest nats that a model can have; None if it has no closed form."""
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
        flows: dict[str, Trainable] = {}
        with isolated_rng("cpu", seed, "own data"):
            for model in MODELS:
                flows[model] = build(model, (2,)).initialise(train)
            if with_zuko:
                flows[ZUKO] = ZukoFlow(train)
            steps = train_alike(flows, train, budget, seed)
        for method, flow in flows.items():
            parameters = sum(weight.numel() for weight in flow.parameters())
            result = methods.setdefault(method, {"parameters": parameters, "nats": [], "steps": []})
            result["nats"].append(mean_nats(flow, test))
            result["steps"].append(steps[method])
    return {"entropy": entropy(name, test), "methods": _summarized(methods)}


def train_alike(flows: Mapping[str, Trainable], x: Tensor, budget: float, seed: int) -> dict[str, int]:
    """Train flows in turn, each for ``budget`` seconds of processor time, by the same plain loop.

    Adam on the flow's loss, batches of ``BATCH``, a half cosine from ``LR`` to 0 over the budget, gradients clipped to
    the norm ``CLIP``. The flows take turns step by step, so that whatever else the machine does slows all alike.

    Returns:
        Number of steps by name.
    """
    optimizers = {name: adam(list(flow.parameters()), LR) for name, flow in flows.items()}
    orders = {name: torch.Generator().manual_seed(seed) for name in flows}
    used, steps = dict.fromkeys(flows, 0.0), dict.fromkeys(flows, 0)
    while unfinished := [name for name in flows if used[name] < budget]:
        for name in unfinished:
            started = time.process_time()
            rate = 0.5 * LR * (1 + math.cos(math.pi * used[name] / budget))
            batch = x[torch.randint(len(x), (BATCH,), generator=orders[name])]
            step(flows[name], batch, optimizers[name], rate)
            steps[name] += 1
            used[name] += time.process_time() - started
    return steps


def step(flow: Trainable, batch: Tensor, optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One step of Adam with gradients clipped to the norm ``CLIP``."""
    optimizer.param_groups[0]["lr"] = rate
    optimizer.zero_grad()
    flow.loss(batch).backward()
    nn.utils.clip_grad_norm_(flow.parameters(), CLIP)
    optimizer.step()
    flow.after_step()
    flow.clear_cache()


@torch.no_grad()
def mean_nats(flow: Trainable, x: Tensor) -> float:
    """Exact negative log-likelihood, the mean over the rows of x, in nats."""
    return -float(torch.cat([flow.log_prob(batch).double() for batch in x.split(1000)]).mean())


# ---- tables ----------------------------------------------------------------------------------------------------------


def load_table(name: str) -> Rows:
    """Numeric columns of a table of scikit-learn, (N, D); ``california_housing`` is downloaded by scikit-learn."""
    from sklearn import datasets

    make = datasets.fetch_california_housing if name in DOWNLOADED else getattr(datasets, f"load_{name}")
    return make().data.astype(np.float64)


def _table(name: str, splits: range, with_zuko: bool) -> dict[str, Any]:
    from sklearn.model_selection import train_test_split

    rows = load_table(name)
    scorers = {"FlowDensity": _flow_density, "GaussianMixture": _mixture} | ({ZUKO: _zuko} if with_zuko else {})
    methods: dict[str, dict[str, list[float]]] = {method: {"nats": []} for method in scorers}
    for seed in splits:
        train, test = train_test_split(rows, test_size=TEST_FRACTION, random_state=seed)
        for method, score in scorers.items():
            methods[method]["nats"].append(score(train, test, seed))
    return {"rows": rows.shape[0], "columns": rows.shape[1], "methods": _summarized(methods)}


def _flow_density(train: Rows, test: Rows, seed: int) -> float:
    """Nats per test row of ``FlowDensity`` with its defaults."""
    return -FlowDensity(random_state=seed).fit(train).score(test)


def _mixture(train: Rows, test: Rows, seed: int) -> float:
    """Nats per test row of the mixture of 1 to ``GAUSSIANS`` Gaussians with the best BIC, on standardized columns."""
    from sklearn.mixture import GaussianMixture
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    scaled = scaler.transform(train)
    mixtures = [GaussianMixture(k, random_state=seed).fit(scaled) for k in range(1, min(GAUSSIANS, len(train)) + 1)]
    best = min(mixtures, key=lambda mixture: mixture.bic(scaled))
    return float(np.log(scaler.scale_).sum() - best.score(scaler.transform(test)))


def _zuko(train: Rows, test: Rows, seed: int) -> float:
    """Nats per test row of zuko's NSF with its defaults, trained as ``FlowDensity`` is."""
    ours = FlowDensity(random_state=seed)
    epochs, batch_size = ours.epochs_for(len(train)), ours.batch_size
    with isolated_rng("cpu", seed, "own data"):
        x = torch.from_numpy(train).float()[torch.randperm(len(train))]
        cut = math.ceil(HELD_OUT * len(x))
        held_out, x = x[:cut], x[cut:]
        flow = ZukoFlow(x)
        optimizer, steps = adam(list(flow.parameters()), ours.lr), epochs * math.ceil(len(x) / batch_size)
        best, taken = (math.inf, flow.state_dict()), 0
        for _ in range(epochs):
            for batch in x[torch.randperm(len(x))].split(batch_size):
                step(flow, batch, optimizer, 0.5 * ours.lr * (1 + math.cos(math.pi * taken / steps)))
                taken += 1
            if (nats := mean_nats(flow, held_out)) < best[0]:
                best = nats, copy.deepcopy(flow.state_dict())
        flow.load_state_dict(best[1])
        return mean_nats(flow, torch.from_numpy(test).float())


# ---- the tables of the page ------------------------------------------------------------------------------------------


def rows_of(results: Mapping[str, Any]) -> list[list[str]]:
    """Rows of a table, heading first: data, and by method nats ± standard error of the mean over the repetitions.

    Args:
        results: ``densities`` or ``tables`` of a record.
    """
    methods = list(next(iter(results.values()))["methods"]) if results else []
    found = [(name, [entry["methods"][method] for method in methods]) for name, entry in results.items()]
    lines = [[name, *[f"{r['mean']:.2f} ± {r['standard_error']:.2f}" for r in cells]] for name, cells in found]
    return [["", *methods], *lines]


def difference(entry: Mapping[str, Any], method: str, other: str) -> tuple[float, float]:
    """Nats of a method minus those of another, and the standard error of that mean over the repetitions."""
    pairs = zip(entry["methods"][method]["nats"], entry["methods"][other]["nats"], strict=True)
    return summary([one - two for one, two in pairs])
