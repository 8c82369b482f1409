"""The record of a benchmark: entries, exponents, and figures."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_cases import DENSE, POINTWISE

import snf_lite as snf
from snf_lite.analysis.figures import figure_png
from snf_lite.benchmarks import layers, suites, third_party, timing
from snf_lite.benchmarks import record as bench_record
from snf_lite.benchmarks.figures import bench_figure
from snf_lite.benchmarks.timing import Case, Comparison, TimedCall, UnavailableError
from snf_lite.runtime.records import write_record

CASE = "dense: D = 5, B = 2"


@pytest.fixture(scope="module")
def record() -> bench_record.BenchmarkRecord:
    comparisons = suites.dense_suite(suites.SuiteOptions((3, 5), batches=(2,)))
    cases = list(timing.run_comparisons(comparisons, 2.0))
    return bench_record.make_bench_record("python -m snf_lite bench", 0, torch.device("cpu"), 1.5, cases)


def test_a_record_holds_cases_and_provenance_and_comes_back(
    record: bench_record.BenchmarkRecord, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "bench.json"
    write_record(record, path)
    assert bench_record.read_bench(path) == vars(record)
    assert record.libraries.keys() == {"python", "torch", "numpy", *third_party.LIBRARIES}
    assert record.package["version"] == snf.__version__ and record.device.startswith("CPU, ")
    assert record.threads == torch.get_num_threads() and record.date.endswith("+00:00")
    assert list(record.cases) == ["dense: D = 3, B = 2", CASE]
    assert set(record.cases[CASE]["contenders"]) >= set(layers.DENSE)
    assert str(Path.home()) not in path.read_text("utf-8") and str(tmp_path) not in path.read_text("utf-8")


def method_in(stored: Any, name: str) -> Any:
    return stored["cases"][CASE]["contenders"][name]


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda r: method_in(r, "exact").update(median=1.0), f"{CASE}', 'exact': its ratio is not that of the medians"),
        (lambda r: method_in(r, "exact").update(ratio=1.0), f"{CASE}', 'exact': its ratio is not that of the medians"),
        (lambda r: r["cases"][CASE].pop("floor"), f"{CASE}'.: missing or unknown are floor"),
        (lambda r: method_in(r, "lu").pop("median"), f"{CASE}'., contenders.'lu'.: missing or unknown are median"),
    ],
)
def test_an_altered_record_is_refused(
    alter: Callable[[Any], Any], message: str, record: bench_record.BenchmarkRecord, tmp_path: Path
) -> None:
    path = tmp_path / "bench.json"
    write_record(record, path)
    altered = json.loads(path.read_text("utf-8"))
    alter(altered)
    path.write_text(json.dumps(altered), "utf-8")
    with pytest.raises(ValueError, match=rf"bench\.json: .*{message}"):
        bench_record.read_bench(path)


def made_up(features: int, batch: int, **medians: float) -> dict[str, Any]:
    found = {name: {"median": median} for name, median in medians.items()}
    return {"suite": "dense", "event_shape": [features], "batch": batch, "contenders": found}


def test_exponents_are_slopes_over_large_sizes_by_batch() -> None:
    def cases(batch: int, power: float) -> list[dict[str, Any]]:
        sizes = (32, 64, 512, 1024, 4096)  # the small ones do not lie on the line
        return [made_up(d, batch, one=7.0 if d < 512 else 1e-9 * d**power, two=d**2.0) for d in sizes]

    few = [made_up(d, 9, one=1.0) for d in (512, 1024)]
    found = bench_record.exponents([*cases(128, 3.0), *cases(32, 2.5), *few, made_up(2048, 32, two=2048.0**2)])
    assert found.keys() == {"B = 128", "B = 32"}
    assert found["B = 128"] == pytest.approx({"one": 3.0, "two": 2.0})
    assert found["B = 32"] == pytest.approx({"one": 2.5, "two": 2.0})


def timed(rounds: int, batch: int = 2, **times: tuple[float, float, float]) -> dict[str, Any]:
    """A case whose methods have a lower quartile, a median and an upper quartile."""
    found = {name: {"median": middle, "quartiles": [low, high]} for name, (low, middle, high) in times.items()}
    return {"suite": "dense", "event_shape": [5], "batch": batch, "rounds": rounds, "contenders": found}


def test_a_case_is_stable_if_each_of_its_times_is() -> None:
    calm, wild = (2.0, 2.2, 2.8), (2.0, 2.2, 2.9)
    assert bench_record.is_stable(timed(5, one=calm, two=calm, three=wild), "one", "two")
    assert not bench_record.is_stable(timed(5, one=calm, three=wild), "one", "three")
    assert not bench_record.is_stable(timed(5, one=wild, two=calm), "one", "two")
    assert not bench_record.is_stable(timed(4, one=calm, two=calm), "one", "two")  # too few rounds
    assert not bench_record.is_stable(timed(5, one=calm), "one", "two")  # not measured


def test_a_ratio_of_times_lies_between_those_of_opposite_quartiles() -> None:
    case = timed(5, one=(3.0, 4.0, 6.0), two=(1.0, 2.0, 3.0))
    assert bench_record.time_ratio(case, "one", "two") == (1.0, 2.0, 6.0)


def test_of_several_measurements_of_a_case_the_newest_stable_one_stands() -> None:
    calm, wild = (2.0, 2.2, 2.8), (2.0, 2.2, 9.0)

    def dated(day: int, *cases: dict[str, Any]) -> dict[str, Any]:
        return {"date": f"2026-01-0{day}", "cases": {str(at): case for at, case in enumerate(cases)}}

    first, again = timed(5, one=calm), timed(9, one=calm)
    disturbed = timed(9, one=wild)
    found = bench_record.dense_cases
    assert found([dated(2, again), dated(1, first)], "one") == {(2, 5): again}
    assert found([dated(1, first), dated(2, disturbed)], "one") == {(2, 5): first}
    assert found([dated(1, disturbed), dated(2, first)], "one") == {(2, 5): first}
    assert found([dated(1, timed(5, one=wild)), dated(2, disturbed)], "one") == {(2, 5): disturbed}
    assert found([dated(1, first)], "one", "two") == {}  # without one of the methods


def test_a_figure_has_a_line_for_each_method_and_a_dashed_baseline(
    record: bench_record.BenchmarkRecord,
) -> None:
    times, ratios = bench_figure(record.cases, "dense").axes
    for axes, entry, unit in ((times, "median", 1000), (ratios, "ratio", 1)):
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert lines.keys() == set(record.cases[CASE]["contenders"])
        assert axes.get_xscale() == axes.get_yscale() == "log"
        assert [name for name, line in lines.items() if line.get_linestyle() == "--"] == ["linear"]
        drawn = [record.cases[case]["contenders"]["exact"][entry] * unit for case in record.cases]
        assert list(lines["exact"].get_ydata()) == pytest.approx(drawn)
    assert len({(line.get_color(), line.get_marker()) for line in times.get_lines()}) == len(times.get_lines())
    with pytest.raises(ValueError, match="a suite out of dense, got 'conv'"):
        bench_figure(record.cases, "conv")


def test_a_case_without_methods_has_an_empty_figure() -> None:
    def missing(case: Case) -> TimedCall:
        raise UnavailableError("not today")

    for case, suite in ((DENSE, "dense"), (replace(POINTWISE, suite="conv"), "conv")):
        entry = timing.run_comparison(Comparison(case, {"missing": missing}), 1.0)
        cases = {bench_record.case_name(entry): entry}
        assert figure_png(bench_figure(cases, suite)).startswith(b"\x89PNG")
