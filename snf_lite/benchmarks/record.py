"""The record of a benchmark: medians, ratios and counts of every case."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypedDict

import torch

from snf_lite.benchmarks.cost_model import power_law
from snf_lite.benchmarks.third_party import LIBRARIES
from snf_lite.runtime import provenance, records

#: Names of the suites, which ``suites.SUITES`` defines.
SUITE_NAMES = ("dense", "conv", "logdet", "sampling", "models")
#: Smallest D of the fits, because smaller steps are dominated by call overhead, and smallest number of sizes.
FITTED_FROM, FITTED_SIZES = 512, 3
#: A time is stable if its upper quartile is at most this many times the lower one, over at least this many rounds.
STABLE_SPREAD, STABLE_ROUNDS = 1.4, 5


class ResultEntry(TypedDict):
    """A method of a case: seconds, their ratios to the baseline's, and its ``Counts``, None where not counted."""

    what: str
    median: float
    quartiles: list[float]
    ratio: float | None
    ratio_quartiles: list[float] | None
    products: float | None
    multiply_adds: int | None
    solvers: dict[str, int] | None
    solver_multiply_adds: float | None
    saved_bytes: int | None
    peak_bytes: int | None


#: A case, and its methods by name.
CaseEntry = TypedDict(  # noqa: UP013
    "CaseEntry",
    {
        "suite": str, "event_shape": list[int], "batch": int, "kernel_size": int | None, "model": str | None,
        "floor": str, "rounds": int, "contenders": dict[str, ResultEntry], "skipped": dict[str, str],
    },
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BenchmarkRecord(records.Record):
    """Results of a benchmark.

    Attributes:
        seed: Seed of weights, inputs and order.
        exponents: Result of ``exponents``.
        cases: Entry of each case by name.
    """

    kind: ClassVar[str] = "benchmark"
    json_depth: ClassVar[int] = 4

    seed: int
    exponents: dict[str, dict[str, float]]
    cases: Annotated[dict[str, dict[str, Any]], dict[str, CaseEntry]]

    def problems(self) -> list[str]:
        return [problem for name, case in self.cases.items() for problem in _case_problems(f"the case {name!r}", case)]

    @classmethod
    def from_format_1(cls, entries: dict[str, Any]) -> dict[str, Any]:
        for entry in (entries, *entries["cases"].values()):
            entry.pop("sha256", None)
        return entries


def _case_problems(where: str, case: dict[str, Any]) -> Iterator[str]:
    baseline = case["contenders"].get(case["floor"])
    for name, result in case["contenders"].items():
        if baseline and not math.isclose(result["ratio"], result["median"] / baseline["median"]):
            yield f"{where}, {name!r}: its ratio is not that of the medians"


def make_bench_record(
    command: str, seed: int, device: torch.device, seconds: float, cases: list[dict[str, Any]]
) -> BenchmarkRecord:
    """The record of finished comparisons.

    Args:
        command: Command line that repeats the benchmark.
        seed: Seed of all cases.
        device: Device of all cases.
        seconds: Wall time of the benchmark.
        cases: Entries from ``timing.run_comparisons``.
    """
    return BenchmarkRecord(
        command=command,
        seed=seed,
        **provenance.provenance(device, **LIBRARIES),
        seconds=seconds,
        exponents=exponents(cases),
        cases={case_name(case): case for case in cases},
    )


def case_name(case: dict[str, Any]) -> str:
    """Name of a case in the record, such as "dense: D = 784, B = 128"."""
    shape, kernel = case["event_shape"], case["kernel_size"]
    size = f"D = {shape[0]}" if len(shape) == 1 else "×".join(map(str, shape))
    parts = (case["model"], size, kernel and f"kernel {kernel}×{kernel}", case["batch"] and f"B = {case['batch']}")
    return f"{case['suite']}: {', '.join(part for part in parts if part)}"


def suites(cases: dict[str, dict[str, Any]]) -> list[str]:
    """Names of the suites of a record's cases, in the order in which they ran."""
    return list(dict.fromkeys(case["suite"] for case in cases.values()))


def exponents(cases: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Growth of the time of a dense step: p in D^p by batch ("B = 128") and method, if there are enough sizes."""
    times: dict[tuple[str, str], dict[int, float]] = {}
    for case in cases:
        if case["suite"] == "dense" and case["event_shape"][0] >= FITTED_FROM:
            for name, result in case["contenders"].items():
                times.setdefault((f"B = {case['batch']}", name), {})[case["event_shape"][0]] = result["median"]
    found: dict[str, dict[str, float]] = {}
    for (batch, name), points in times.items():
        if len(points) >= FITTED_SIZES:
            found.setdefault(batch, {})[name] = power_law(points)[0]
    return found


def is_stable(case: Mapping[str, Any], *methods: str) -> bool:
    """Whether the times of all these methods of a case can be quoted: enough rounds, quartiles close together.

    A disturbed machine spreads the times; a median of such times is uncertain, and so is a ratio of two.
    """
    results = [case["contenders"].get(name) for name in methods]
    return case["rounds"] >= STABLE_ROUNDS and all(
        result is not None and result["quartiles"][1] <= STABLE_SPREAD * result["quartiles"][0] for result in results
    )


def time_ratio(case: Mapping[str, Any], method: str, other: str) -> tuple[float, float, float]:
    """Time of a method over that of another: the least between quartiles, of the medians, and the largest."""
    above, below = (case["contenders"][name] for name in (method, other))
    (low, high), (least, most) = above["quartiles"], below["quartiles"]
    return low / most, above["median"] / below["median"], high / least


def dense_cases(records: Sequence[Mapping[str, Any]], *methods: str) -> dict[tuple[int, int], dict[str, Any]]:
    """The dense cases with all these methods, by batch size and D; of several the newest stable one, or the newest."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for record in sorted(records, key=lambda record: record["date"]):
        for case in record["cases"].values():
            if case["suite"] == "dense" and set(methods) <= case["contenders"].keys():
                key = case["batch"], case["event_shape"][0]
                if key not in found or is_stable(case, *methods) or not is_stable(found[key], *methods):
                    found[key] = case
    return found


def step_ratios(folder: Path, twins: Mapping[str, str]) -> dict[tuple[str, int, int], float]:
    """Time of a model's training step over that of its exact twin's, by model, D and batch size.

    Of several records that have both in one case, the newest counts.

    Args:
        folder: Folder of runs.
        twins: Exact model by the name of the model that is held against it.
    """
    found = {}
    for record in sorted(map(read_bench, folder.glob("*/bench.json")), key=lambda record: record["date"]):
        for case in (case for case in record["cases"].values() if case["suite"] == "models"):
            medians = {name: result["median"] for name, result in case["contenders"].items()}
            for model in medians.keys() & twins.keys():
                if twins[model] in medians:
                    size = math.prod(case["event_shape"]), case["batch"]
                    found[model, *size] = medians[model] / medians[twins[model]]
    return found


def misplaced(folder: Path) -> list[str]:
    """Problems of the records in a folder of runs: unreadable, contradictory, or in the default folder of a suite."""
    wrong = []
    for path in sorted(folder.glob("*/bench.json")):
        try:
            found, default = suites(read_bench(path)["cases"]), path.parent.name.removeprefix("bench-").split("-")
        except (ValueError, OSError) as error:
            wrong.append(str(error))
        else:
            if set(default) <= set(SUITE_NAMES) and found != default:
                wrong.append(f"{path.parent.name}: holds the record of the suites {', '.join(found)}")
    return wrong


def read_bench(path: str | Path) -> dict[str, Any]:
    """The entries of a benchmark's record, those of ``BenchmarkRecord``; raises as ``records.read_record``."""
    return vars(records.read_record(path, BenchmarkRecord))
