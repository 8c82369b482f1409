"""The benchmark: who runs computes what it says, turns are fair, counts are right, and the record says what happened.

No test asserts a time.
"""

import json
import random
import re
import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import snf_lite as snf
from snf_lite.benchmarks import command, layers, models, suites, third_party, timing
from snf_lite.benchmarks import record as bench_record
from snf_lite.benchmarks.figures import bench_figure, png
from snf_lite.benchmarks.operation_counts import count
from snf_lite.benchmarks.timing import Budget, Case, Comparison, Measurement, Method, TimedCall, UnavailableError
from snf_lite.cli import main

DENSE = Case("dense", (5,), 4, dtype=torch.float64)
CONV = Case("conv", (2, 3, 4), 4, kernel_size=3, dtype=torch.float64)
POINTWISE = replace(CONV, kernel_size=1)
TINY = ["bench", "--features", "3", "5", "--shapes", "1x4x4", "--batch", "2", "--seconds", "0.5"]

EXACT = [
    *((DENSE, name) for name in ("lu", "exact", "slogdet", *third_party.DENSE)),
    *((CONV, name) for name in ("exact", "exact-dense")),
    *((POINTWISE, name) for name in ("exact", *third_party.POINTWISE)),
]


def contender_of(case: Case, name: str) -> Method:
    known = [*suites.dense_races(suites.SuiteOptions((5,))), *suites.conv_races(suites.SuiteOptions())]
    return next(race.contenders[name] for race in known if alike(race.case, case) and name in race.contenders)


def alike(one: Case, other: Case) -> bool:
    return (one.suite, one.kernel_size) == (other.suite, other.kernel_size)


def ready(case: Case, name: str) -> TimedCall:
    """The step with its parameters far from the identity; a triangle's zeros stay zero."""
    try:
        step = contender_of(case, name)(case)
    except UnavailableError as reason:
        pytest.skip(str(reason))
    torch.manual_seed(0)
    with torch.no_grad():
        for leaf in step.leaves[1:]:
            where = torch.ones_like(leaf) if leaf.dim() == 1 else (leaf != 0).to(leaf)
            leaf.add_(0.3 * torch.randn_like(leaf) * where)
    return step


def share_parameters(one: TimedCall, other: TimedCall) -> None:
    with torch.no_grad():
        for mine, theirs in zip(one.leaves, other.leaves, strict=True):
            mine.copy_(theirs)


def jacobian(step: TimedCall) -> Tensor:
    """Of a map z = J x + b: what it does to the unit vectors, differentiable by its parameters."""
    x = step.leaves[0]
    units = torch.eye(x[0].numel(), dtype=x.dtype).reshape(-1, *x.shape[1:])
    assert step.surrogate is not None
    moved = step.surrogate(torch.cat([units, torch.zeros_like(units[:1])]))[0].flatten(1)
    return (moved[:-1] - moved[-1]).T


def assert_all_close(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


# ---- what the contenders compute -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "name"), EXACT, ids=lambda value: value if isinstance(value, str) else value.suite)
def test_an_exact_contender_has_the_log_determinant_of_its_jacobian_and_that_gradient(case: Case, name: str) -> None:
    step = ready(case, name)
    assert step.surrogate is not None
    z, log_det, _ = step.surrogate(step.leaves[0])
    true = torch.linalg.slogdet(jacobian(step)).logabsdet
    torch.testing.assert_close(log_det, true.expand(case.batch))
    loss = (0.5 * z.flatten(1).square().sum(1)).mean() - true
    assert_all_close(step.run(), torch.autograd.grad(loss, step.leaves))


@pytest.mark.parametrize("case", [DENSE, CONV, POINTWISE])
def test_two_passes_leave_the_gradients_of_the_fused_step(case: Case) -> None:
    fused, two = ready(case, "selfnorm"), ready(case, "selfnorm-two-pass")
    share_parameters(two, fused)
    assert_all_close(two.run(), fused.run())


def test_the_relative_contender_leaves_the_exact_gradient_times_its_gram_matrix() -> None:
    relative, exact = ready(DENSE, "relative"), ready(DENSE, "exact")
    share_parameters(relative, exact)
    weight = exact.leaves[1].detach()
    x, W, b = exact.run()
    assert_all_close(relative.run(), (x, W @ weight.T @ weight, b))


@pytest.mark.parametrize(("case", "name"), [(DENSE, "linear"), (CONV, "conv2d"), (POINTWISE, "conv2d")])
def test_the_floor_leaves_the_gradients_of_the_energy_alone(case: Case, name: str) -> None:
    step = ready(case, name)
    assert step.surrogate is not None
    energy = 0.5 * step.surrogate(step.leaves[0])[0].square().sum() / case.batch
    assert_all_close(step.run(), torch.autograd.grad(energy, step.leaves))


def test_a_determinant_is_the_same_by_blocks_and_from_the_dense_matrix() -> None:
    case = Case("logdet", (2, 4, 3), 0, kernel_size=3)
    banded, dense = (suites.LOG_DET[name](case) for name in ("block-banded", "dense-matrix"))
    (got,), (wanted,) = banded.run(), dense.run()
    torch.testing.assert_close(got, wanted)
    gaussian = suites.LOG_DET["block-banded-gaussian"](case).leaves[0]
    assert gaussian.std() > 0.5 and gaussian[0, 1].abs().max() > 0.5 > banded.leaves[0][0, 1].abs().max()


@pytest.mark.parametrize("case", [
    Case("sampling", (5,), 4), Case("sampling", (2, 3, 4), 4, kernel_size=3),
    Case("sampling", (1, 4, 4), 4, model="conv-selfnorm"),
])  # fmt: skip
def test_samples_are_inverses_of_the_same_codes(case: Case) -> None:
    steps = {name: contender(case) for name, contender in suites.SAMPLING.items()}
    samples = {name: step.run() for name, step in steps.items()}
    assert {name: (step.per, len(samples[name])) for name, step in steps.items()} == {
        "learned": (4, 4), "learned-single": (1, 1), "exact": (4, 4), "exact-single": (1, 1),
        "exact-single-fresh": (1, 1),
    }  # fmt: skip
    for kind, whole in (("learned-single", "learned"), ("exact-single", "exact"), ("exact-single-fresh", "exact")):
        torch.testing.assert_close(samples[kind], samples[whole][:1])
    assert not torch.equal(samples["learned"], samples["exact"])


def test_only_a_fresh_solve_factorises() -> None:
    case = Case("sampling", (5,), 4)
    solvers = {}
    for name, contender in suites.SAMPLING.items():
        step = contender(case)
        solvers[name] = "linalg_lu_factor_ex" in count(step.run).solvers
    assert [name for name, factorises in solvers.items() if factorises] == ["exact-single-fresh"]


@pytest.mark.parametrize("kind", ["dense", "conv"])
def test_the_plain_net_is_the_model_without_log_determinants(kind: str) -> None:
    case = Case("models", (1, 4, 4), 3, model=kind)
    counted = {name: count(contender(case).run) for name, contender in models.TABLES[kind].items()}
    plain, selfnorm = counted["plain"], counted[f"{kind}-selfnorm"]
    assert plain.products == {"dense": 5, "conv": 26}[kind] and not plain.solvers
    assert selfnorm.products == {"dense": 12, "conv": 54}[kind] and not selfnorm.solvers
    assert counted[f"{kind}-exact"].solvers["linalg_lu_factor_ex"] > 0


# ---- what is counted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "products"), [("linear", 3), ("selfnorm", 6), ("selfnorm-two-pass", 9), ("relative", 4), ("lu", 6)]
)
def test_a_dense_step_is_so_many_products(name: str, products: int) -> None:
    case = Case("dense", (16,), 8)
    counts = count(contender_of(DENSE, name)(case).run)
    assert (counts.products, counts.multiply_adds) == (products, products * 8 * 16**2)
    assert not counts.solvers and counts.peak_bytes is None


def test_the_exact_step_adds_one_factorisation_and_one_solve() -> None:
    case = Case("dense", (12,), 8)
    counts = count(contender_of(DENSE, "exact")(case).run)
    assert counts.products == 3 and counts.solvers == {"linalg_lu_factor_ex": 1, "linalg_lu_solve": 1}
    assert counts.solver_multiply_adds == 12**3 // 3 + 12**3


@pytest.mark.parametrize(("name", "products"), [("conv2d", 3), ("selfnorm", 6), ("selfnorm-two-pass", 9)])
def test_a_step_of_a_convolution_is_so_many_convolutions(name: str, products: int) -> None:
    counts = count(contender_of(CONV, name)(Case("conv", (2, 4, 4), 8, kernel_size=3)).run)
    assert (counts.products, counts.multiply_adds) == (products, products * 8 * 16 * 2 * 2 * 9)


def test_kept_bytes_are_those_between_forward_and_backward() -> None:
    x = torch.randn(10, requires_grad=True)

    def once() -> None:
        y = x.exp()  # keeps its result, 40 bytes
        y.square().sum().backward()  # keeps y again: one storage

    def twice() -> None:
        once()
        once()

    assert count(once, (x,)).saved_bytes == 40
    assert count(twice, (x,)).saved_bytes == 40  # the first pass lets go before the second
    assert count(lambda: (x * x).sum().backward(), (x,)).saved_bytes == 0  # the input stays anyway
    assert count(lambda: (x * x).sum().backward()).saved_bytes == 40


def test_counting_keeps_no_result_alive() -> None:
    x, results = torch.randn(10, requires_grad=True), []
    count(lambda: results.append(weakref.ref(x.exp())))  # a result that its own node keeps, and no backward pass
    assert results[0]() is None


# ---- turns and the budget --------------------------------------------------------------------------------------------


def counting(log: list[str], name: str) -> Method:
    def contender(case: Case) -> TimedCall:
        """Adds its name to a list."""
        return TimedCall(lambda: log.append(name))

    return contender


def test_each_round_visits_every_contender_once_in_an_order_drawn_anew() -> None:
    log: list[str] = []
    lanes = {name: Measurement(counting(log, name)(DENSE), None, 1.0) for name in "abcd"}
    timing.interleave(lanes, 20, torch.device("cpu"), random.Random(0))
    rounds = [tuple(log[start : start + 4]) for start in range(0, 80, 4)]
    assert all(sorted(visited) == list("abcd") for visited in rounds) and len(set(rounds)) > 5
    assert all(len(lane.seconds) == 20 for lane in lanes.values())
    again: list[str] = []
    lanes = {name: Measurement(counting(again, name)(DENSE), None, 1.0) for name in "abcd"}
    timing.interleave(lanes, 20, torch.device("cpu"), random.Random(0))
    assert again == log


def test_a_race_warms_up_twice_and_then_takes_as_many_rounds_for_all() -> None:
    log: list[str] = []
    race = Comparison(DENSE, {name: counting(log, name) for name in "abc"})
    entry = timing.run_race(race, Budget(60, 1))
    assert Counter(log) == dict.fromkeys("abc", entry["rounds"] + 2) and entry["rounds"] == timing.MAX_ROUNDS
    assert entry["contenders"]["a"]["what"] == "Adds its name to a list." and entry["floor"] == "a"


@pytest.mark.parametrize(("seconds", "races", "rounds"), [(60, 2, 10), (60, 60, 3), (1e6, 1, 500)])
def test_rounds_fill_the_races_share_within_bounds(seconds: float, races: int, rounds: int) -> None:
    lanes = [Measurement(TimedCall(lambda: None), None, 1.0), Measurement(TimedCall(lambda: None), None, 2.0)]
    assert Budget(seconds, races).rounds(lanes) == rounds


def test_ratios_are_of_medians_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"floor": [9.0, 1.0, 2.0, 1.0, 4.0], "other": [9.0, 30.0, 10.0, 20.0, 90.0]}
    lanes = {
        name: Measurement(TimedCall(lambda: None, per=per), None, 1.0) for name, per in (("floor", 1), ("other", 2))
    }
    for name, lane in lanes.items():
        lane.seconds = times[name]
    entry = timing._entry(Comparison(DENSE, dict.fromkeys(lanes, suites.learned)), lanes, {})
    assert (entry["contenders"]["floor"]["median"], entry["contenders"]["other"]["median"]) == (2.0, 10.0)
    assert entry["contenders"]["other"]["ratio"] == 5.0
    assert entry["contenders"]["other"]["quartiles"] == [5.0, 15.0]
    assert entry["contenders"]["other"]["ratio_quartiles"] == [2.5, 11.25]


def test_who_is_too_slow_is_left_out_and_not_tried_at_a_larger_size() -> None:
    log: list[str] = []
    races = [Comparison(replace(DENSE, event_shape=(size,)), {"slow": counting(log, "slow")}) for size in (64, 8, 16)]
    entries = list(timing.run_races(races, 1e-9))
    assert [entry["event_shape"] for entry in entries] == [[8], [16], [64]]
    assert all(entry["contenders"] == {} and entry["rounds"] == 0 for entry in entries)
    first, *later = [entry["skipped"]["slow"] for entry in entries]
    assert first.startswith("a turn takes") and log == ["slow"] * 2
    assert all(re.search(r"a turn would take .* or more, .*seen at D = 8", reason) for reason in later)


def test_the_forecast_is_a_square_and_of_its_own_kind_alone() -> None:
    budget = Budget(10.0, 1)
    budget.too_slow("exact", DENSE, 0.3)
    assert budget.refusal("exact", replace(DENSE, event_shape=(9,))) is None
    assert "would take 1.2 s" in (budget.refusal("exact", replace(DENSE, event_shape=(10,))) or "")
    assert budget.refusal("linear", replace(DENSE, event_shape=(500,))) is None
    assert budget.refusal("exact", replace(CONV, event_shape=(50, 5, 5))) is None
    budget.too_slow("exact", CONV, 0.3)
    assert budget.refusal("exact", replace(CONV, event_shape=(2, 3, 12))) is None
    assert "would take 1.2 s" in (budget.refusal("exact", replace(CONV, event_shape=(2, 3, 16))) or "")


def test_the_forecast_starts_from_the_fastest_turn_of_the_last_size() -> None:
    budget = Budget(10.0, 1)
    assert budget.too_slow("exact", DENSE, 5.0) == "a turn takes 5.0 s, and 1.0 s are allowed"
    budget.remember("exact", DENSE, 0.1)
    budget.remember("exact", DENSE, 0.2)
    assert budget.refusal("exact", replace(DENSE, event_shape=(10,))) is None
    budget.remember("exact", replace(DENSE, event_shape=(10,)), 0.9)
    assert budget.refusal("exact", replace(DENSE, event_shape=(20,))) is not None


def test_a_hopeless_first_turn_is_the_last() -> None:
    log: list[str] = []

    def slow(case: Case) -> TimedCall:
        return TimedCall(lambda: (log.append("turn"), time.sleep(0.02)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "LOADING", 0.0)
        entry = timing.run_race(Comparison(DENSE, {"slow": slow}), Budget(0.01, 1))
    assert log == ["turn"] and "a turn takes" in entry["skipped"]["slow"]


def test_a_case_from_which_all_are_left_out_is_drawn_empty() -> None:
    for case, suite in ((DENSE, "dense"), (replace(POINTWISE, suite="conv"), "conv")):
        entries = list(timing.run_races([Comparison(case, {"slow": counting([], "slow")})], 1e-9))
        record = {"cases": {bench_record.case_name(entry): entry for entry in entries}}
        assert png(bench_figure(record, suite)).startswith(b"\x89PNG")


def test_a_floor_that_is_left_out_leaves_the_others_without_a_ratio() -> None:
    def gone(case: Case) -> TimedCall:
        raise UnavailableError("not today")

    entry = timing.run_race(Comparison(DENSE, {"gone": gone, "there": counting([], "there")}), Budget(1.0, 1))
    assert entry["skipped"] == {"gone": "not today"} and entry["contenders"]["there"]["ratio"] is None


@pytest.mark.parametrize("name", [*third_party.DENSE, *third_party.POINTWISE])
def test_a_rival_that_is_not_installed_is_said_to_be_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = name.partition("-")[0]
    for module in (library, f"{library}.transforms", f"{library}.flows"):
        monkeypatch.setitem(sys.modules, module, None)
    case, table = (DENSE, third_party.DENSE) if name in third_party.DENSE else (POINTWISE, third_party.POINTWISE)
    entry = timing.run_race(Comparison(case, {name: table[name]}), Budget(1.0, 1))
    assert entry["skipped"] == {name: f"{library} is not installed: pip install -e .[bench]"}


def test_a_library_that_lacks_something_itself_is_not_called_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "halfway.py").write_text("import nothing_of_that_name", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nothing_of_that_name"):
        third_party.library("halfway")


# ---- the record ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    races = [race for race in suites.dense_races(suites.SuiteOptions((3, 5), batches=(2,)))]
    cases = list(timing.run_races(races, 2.0))
    return bench_record.make_bench_record("python -m snf_lite bench", 0, torch.device("cpu"), 1.5, cases)


def test_a_record_says_what_ran_where_and_comes_back(record: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "new" / "bench.json"
    bench_record.write_bench(record, path)
    assert bench_record.read_bench(path) == record
    assert record["libraries"].keys() == {"python", "torch", "numpy", *third_party.LIBRARIES}
    assert record["package"]["version"] == snf.__version__ and record["device"].startswith("CPU, ")
    assert record["threads"] == torch.get_num_threads() and record["date"].endswith("+00:00")
    assert list(record["cases"]) == ["dense: D = 3, B = 2", "dense: D = 5, B = 2"]
    assert set(record["cases"]["dense: D = 3, B = 2"]["contenders"]) >= set(layers.DENSE)
    assert str(Path.home()) not in path.read_text("utf-8") and str(tmp_path) not in path.read_text("utf-8")


CASE = "dense: D = 5, B = 2"


def change(record: Any, *keys: str, to: Any) -> None:
    for key in keys[:-1]:
        record = record[key]
    record[keys[-1]] = to


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda r: change(r, "cases", CASE, "contenders", "exact", "median", to=1.0), f"{CASE}.*'exact'.* not that of"),
        (lambda r: change(r, "cases", CASE, "contenders", "exact", "ratio", to=1.0), f"{CASE}.*'exact'.* not that of"),
        (lambda r: change(r, "cases", CASE, "contenders", "exact", "products", to=1), f"{CASE}' was altered"),
        (lambda r: change(r, "cases", CASE, "skipped", to={"lu": "slow"}), f"{CASE}' was altered"),
        (lambda r: change(r, "device", to="abacus"), "altered .* outside its single cases"),
        (lambda r: r["cases"].pop(CASE), "altered .* outside its single cases"),
        (lambda r: r["cases"][CASE].pop("floor"), f"{CASE}': missing or unknown are floor"),
        (lambda r: r["cases"][CASE]["contenders"]["lu"].pop("median"), f"{CASE}.*'lu': missing or unknown are median"),
        (lambda r: change(r, "colour", to="red"), "the record: missing or unknown are colour"),
        (lambda r: change(r, "format", to=0), "format 1, got something else"),
    ],
)
def test_an_altered_record_is_refused_by_name(
    alter: Callable[[Any], Any], message: str, record: dict[str, Any], tmp_path: Path
) -> None:
    altered = json.loads(json.dumps(record))
    alter(altered)
    (tmp_path / "bench.json").write_text(json.dumps(altered), "utf-8")
    with pytest.raises(ValueError, match=message) as refused:
        bench_record.read_bench(tmp_path / "bench.json")
    assert "bench.json" in str(refused.value)


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.json: there is no such record"):
        bench_record.read_bench(tmp_path / "gone.json")
    for text in ("{", "[]"):
        (tmp_path / "bad.json").write_text(text, "utf-8")
        with pytest.raises(ValueError, match=r"bad\.json: expected"):
            bench_record.read_bench(tmp_path / "bad.json")


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


def test_a_figure_has_a_line_for_each_contender_and_a_dashed_floor(record: dict[str, Any]) -> None:
    times, ratios = bench_figure(record, "dense").axes
    for axes, entry, unit in ((times, "median", 1000), (ratios, "ratio", 1)):
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert lines.keys() == set(record["cases"][CASE]["contenders"])
        assert axes.get_xscale() == axes.get_yscale() == "log"
        assert [name for name, line in lines.items() if line.get_linestyle() == "--"] == ["linear"]
        drawn = [record["cases"][case]["contenders"]["exact"][entry] * unit for case in record["cases"]]
        assert list(lines["exact"].get_ydata()) == pytest.approx(drawn)
    assert len({(line.get_color(), line.get_marker()) for line in times.get_lines()}) == len(times.get_lines())
    with pytest.raises(ValueError, match="a suite that the record holds, got 'conv'"):
        bench_figure(record, "conv")


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_command_runs_every_suite_and_writes_record_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    assert main([*TINY, "--seed", "7", "--threads", "1"]) == 0
    assert torch.get_num_threads() == before
    record, out = bench_record.read_bench("data/runs/bench/bench.json"), capsys.readouterr().out
    assert bench_record.suites(record) == list(suites.SUITES) and record["seed"] == 7 and record["threads"] == 1
    for suite in suites.SUITES:
        assert Path(f"data/runs/bench/{suite}.png").read_bytes().startswith(b"\x89PNG")
    for name, case in record["cases"].items():
        assert f"\n{name}, {case['rounds']} rounds\n" in out
        assert (case["rounds"] >= timing.MIN_ROUNDS) == bool(case["contenders"])
        for contender, reason in case["skipped"].items():
            assert re.search(rf"  {contender} +left out: {re.escape(reason)}\n", out)
    assert record["command"] == (
        "python -m snf_lite bench --suite dense conv logdet sampling models --features 3 5 --batch 2 --shapes 1x4x4 "
        "--seconds 0.5 --threads 1 --device cpu --seed 7"
    )


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with command.threads(before + 1):
        assert torch.get_num_threads() == before + 1
    with command.threads(None):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before


def test_one_suite_goes_to_a_folder_of_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--suite", "logdet", "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in (tmp_path / "bench-logdet").iterdir()) == ["bench.json", "logdet.png"]
    assert main([*TINY, "--suite", "logdet", "--out", str(tmp_path), "--name", "mine"]) == 0
    assert list(bench_record.read_bench(tmp_path / "mine" / "bench.json")["cases"]) == ["logdet: 1×4×4, kernel 3×3"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--suite", "speed"], "invalid choice: 'speed' .*dense.*models"),
        (["--features", "0"], "--features: expected a positive integer, got '0'"),
        (["--shapes", "4x4"], "--shapes: expected CxHxW such as 12x16x16, got '4x4'"),
        (["--shapes", "1x0x4"], "--shapes: expected a positive integer, got '0'"),
        (["--seconds", "0"], "--seconds: expected a positive number, got '0'"),
        (["--threads", "two"], "--threads: expected a positive integer, got 'two'"),
    ],
)
def test_wrong_usage_ends_with_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", *words])
    assert ended.value.code == 2 and re.search(message, capsys.readouterr().err)


def test_a_shape_that_a_model_does_not_take_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--suite", "models", "--shapes", "1x5x5", "--seconds", "1", "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("snf_lite: ") and error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("snf_lite.benchmarks.timing.interleave", interrupted)
    assert main([*TINY, "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "snf_lite: interrupted. Nothing was written.\n" and not list(tmp_path.iterdir())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_peak_of_memory_is_recorded_too(tmp_path: Path) -> None:
    assert main([*TINY, "--suite", "dense", "--device", "cuda", "--out", str(tmp_path)]) == 0
    record = bench_record.read_bench(tmp_path / "bench-dense-cuda" / "bench.json")
    assert all(result["peak_bytes"] > 0 for case in record["cases"].values() for result in case["contenders"].values())


def test_counts_of_a_convolution_do_not_depend_on_who_takes_the_channels_place() -> None:
    """One channel, as the layer computes it (grouped by images) and as ``conv2d`` does: the same multiply-adds."""
    x, weight = torch.randn(5, 1, 6, 7, requires_grad=True), torch.randn(1, 1, 3, 3, requires_grad=True)

    def grouped() -> Tensor:
        each = weight.expand(5, -1, -1, -1)
        return torch.nn.functional.conv2d(x.transpose(0, 1), each, padding=1, groups=5)

    def plain() -> Tensor:
        return torch.nn.functional.conv2d(x, weight, padding=1)

    for form in (grouped, plain):
        counted = count(lambda form=form: form().sum().backward())
        assert (counted.products, counted.multiply_adds) == (3, 3 * 5 * 6 * 7 * 9)


def test_a_record_is_not_lost_to_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*TINY, "--suite", "logdet", "--out", str(tmp_path)]
    assert main(asked) == 0
    record = tmp_path / "bench-logdet" / "bench.json"
    before = record.read_bytes()
    assert main(asked) == 1
    assert "holds a record already. Give another --name, or --restart" in capsys.readouterr().err
    assert record.read_bytes() == before
    assert main([*asked, "--restart"]) == 0
    assert record.read_bytes() != before
