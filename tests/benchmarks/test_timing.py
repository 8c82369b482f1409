"""Interleaved timing: warm-up, rounds, skipped methods, and the entry of a case. No test asserts a measured time."""

import random
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from bench_cases import DENSE, POINTWISE

from snf_lite.benchmarks import suites, third_party, timing
from snf_lite.benchmarks.timing import Case, Comparison, Measurement, Method, TimedCall, UnavailableError


def counting(log: list[str], name: str) -> Method:
    def method(case: Case) -> TimedCall:
        """Adds its name to a list."""
        return TimedCall(lambda: log.append(name))

    return method


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that moves only when a test adds to its last entry."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[-1])
    return now


def lasting(clock: list[float], seconds: float) -> Method:
    def method(case: Case) -> TimedCall:
        return TimedCall(lambda: clock.append(clock[-1] + seconds))

    return method


def interleaved(log: list[str]) -> dict[str, Measurement]:
    measurements = {name: Measurement(counting(log, name)(DENSE), None) for name in "abcd"}
    timing.interleave(measurements, 0.0, torch.device("cpu"), random.Random(0))
    return measurements


def test_each_round_runs_every_method_once_in_a_new_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MIN_ROUNDS", 20)
    log: list[str] = []
    measurements = interleaved(log)
    rounds = [tuple(log[start : start + 4]) for start in range(0, 80, 4)]
    assert all(sorted(visited) == list("abcd") for visited in rounds) and len(set(rounds)) > 5
    assert all(len(measurement.seconds) == 20 for measurement in measurements.values())
    again: list[str] = []
    interleaved(again)
    assert again == log


def test_a_comparison_warms_up_twice_and_then_runs_the_same_rounds_for_all() -> None:
    log: list[str] = []
    comparison = Comparison(DENSE, {name: counting(log, name) for name in "abc"})
    entry = timing.run_comparison(comparison, 60)
    assert Counter(log) == dict.fromkeys("abc", entry["rounds"] + 2) and entry["rounds"] == timing.MAX_ROUNDS
    assert entry["contenders"]["a"]["what"] == "Adds its name to a list." and entry["floor"] == "a"


@pytest.mark.parametrize(("seconds", "rounds"), [(10.0, 10), (1.0, 3), (1e6, 500)])
def test_rounds_last_for_the_seconds_within_bounds(seconds: float, rounds: int, clock: list[float]) -> None:
    methods = {"slow": lasting(clock, 0.75), "fast": lasting(clock, 0.26)}
    assert timing.run_comparison(Comparison(DENSE, methods), seconds)["rounds"] == rounds


def test_the_seconds_of_a_suite_are_divided_among_its_comparisons(clock: list[float]) -> None:
    comparisons = [
        Comparison(replace(DENSE, event_shape=(size,)), {"a": lasting(clock, 0.99)}) for size in (9, 3, 5, 7)
    ]
    entries = list(timing.run_comparisons(comparisons, 40.0))
    assert [entry["rounds"] for entry in entries] == [11] * 4
    assert [entry["event_shape"] for entry in entries] == [[9], [3], [5], [7]]


def test_ratios_are_of_medians_by_sample() -> None:
    times = {"floor": [9.0, 1.0, 2.0, 1.0, 4.0], "other": [9.0, 30.0, 10.0, 20.0, 90.0]}
    measurements = {
        name: Measurement(TimedCall(lambda: None, per=per), None, times[name])
        for name, per in {"floor": 1, "other": 2}.items()
    }
    entry = timing._entry(Comparison(DENSE, dict.fromkeys(measurements, suites.learned)), measurements, {})
    assert (entry["contenders"]["floor"]["median"], entry["contenders"]["other"]["median"]) == (2.0, 10.0)
    assert entry["contenders"]["other"]["ratio"] == 5.0
    assert entry["contenders"]["other"]["quartiles"] == [5.0, 15.0]
    assert entry["contenders"]["other"]["ratio_quartiles"] == [2.5, 11.25]


def test_a_method_that_exceeds_the_seconds_is_skipped(clock: list[float]) -> None:
    methods = {"slow": lasting(clock, 2.5), "fast": lasting(clock, 0.1)}
    entry = timing.run_comparison(Comparison(DENSE, methods), 2.0)
    assert entry["skipped"] == {"slow": "a call takes 2.5 s, longer than the 2.0 s of its case"}
    assert list(entry["contenders"]) == ["fast"] and len(clock) == 1 + 2 + 2 + entry["rounds"]


def test_a_skipped_baseline_leaves_the_others_without_a_ratio() -> None:
    def missing(case: Case) -> TimedCall:
        raise UnavailableError("not today")

    entry = timing.run_comparison(Comparison(DENSE, {"missing": missing, "there": counting([], "there")}), 1.0)
    assert entry["skipped"] == {"missing": "not today"} and entry["contenders"]["there"]["ratio"] is None


@pytest.mark.parametrize("name", [*third_party.DENSE, *third_party.POINTWISE])
def test_a_library_that_is_not_installed_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = name.partition("-")[0]
    for module in (library, f"{library}.transforms", f"{library}.flows"):
        monkeypatch.setitem(sys.modules, module, None)
    case, table = (DENSE, third_party.DENSE) if name in third_party.DENSE else (POINTWISE, third_party.POINTWISE)
    entry: dict[str, Any] = timing.run_comparison(Comparison(case, {name: table[name]}), 1.0)
    assert entry["skipped"] == {name: f"{library} is not installed: pip install snf-lite[bench]"}
