"""Two processes under torchrun: one run, the same as that of one process, and written once."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import distributed_runs
import pytest
import torch
from paths import ROOT
from small_runs import HELD_OUT, MOONS, fresh

import snf_lite as snf
from snf_lite.experiments import record as runs
from snf_lite.runtime import distributed
from snf_lite.runtime.devices import choose_device
from snf_lite.runtime.distributed import Process
from snf_lite.training import checkpoints

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or sys.platform == "win32",
    reason="torch was built without distributed, or for Windows, where its launcher lacks libuv",
)


def torchrun(folder: Path) -> subprocess.CompletedProcess[str]:
    """``distributed_runs.py`` by two processes on this machine, over its loopback: the only start of torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = ROOT / "tests" / "fixtures" / "distributed_runs.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": LOOPBACK}
    environment["PYTHONWARNINGS"] = "ignore:Guards may run slower:RuntimeWarning"  # of Python 3.13.0 alone
    return subprocess.run(
        [*command, str(script), str(folder)],
        cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300,
    )  # fmt: skip


LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("joint")


@pytest.fixture(scope="module")
def both(folder: Path) -> list[dict[str, Any]]:
    """What each of two processes came to."""
    distributed_runs.pixels(folder / "one.pt", [2])  # the run of one process, for two to take over
    done = torchrun(folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Warning" not in done.stderr, done.stderr
    return [torch.load(folder / f"process{rank}.pt") for rank in (0, 1)]


# ---- the same steps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", distributed_runs.SAME)
def test_two_processes_end_where_one_does(name: str, both: list[dict[str, Any]]) -> None:
    """With batches of uneven shares, and last ones of which a process gets no event at all."""
    one, (first, second) = distributed_runs.SAME[name](), (found[name] for found in both)
    assert torch.equal(first["weights"], second["weights"]) and first["nats"] == second["nats"]
    assert torch.allclose(first["weights"], one["weights"], rtol=0, atol=1e-12)
    assert first["nats"] == pytest.approx(one["nats"], abs=1e-10) and len(set(one["nats"])) > 1
    assert first["settings"] == {**one["settings"], "processes": 2}


def test_compiled_code_is_averaged_too(both: list[dict[str, Any]]) -> None:
    for found in both:
        assert torch.allclose(found["compiled"]["weights"], found["dense-selfnorm"]["weights"], rtol=0, atol=1e-12)
        assert found["compiled"]["settings"]["compile"] is True


@pytest.mark.parametrize(("mistake", "case"), [("unweighted", "dense-selfnorm"), ("unaveraged", "adapted")])
def test_a_mistake_would_be_seen(mistake: str, case: str, both: list[dict[str, Any]]) -> None:
    assert (both[0][mistake]["weights"] - both[0][case]["weights"]).abs().max() > 1e-4


def test_each_process_draws_its_own_noise(both: list[dict[str, Any]]) -> None:
    first, second = (found["noise"] for found in both)
    assert first.shape == second.shape
    assert torch.isclose(first, second).double().mean() < 0.01 < 17 * first.std()


@pytest.mark.parametrize("size", [1, 2, 7, 12])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_make_up_the_batch(size: int, count: int) -> None:
    indices, values = torch.randperm(size), torch.rand(size, dtype=torch.float64)
    processes = [Process(rank, count, torch.device("cpu")) for rank in range(count)]
    parts = [process.shard(indices) for process in processes]
    assert all(len(part) for part, _ in parts)
    assert torch.equal(torch.cat([part for part, weight in parts if weight]), indices)
    joint = sum(weight * values[part].mean() for part, weight in parts) / count
    assert joint == pytest.approx(float(values.mean()), abs=1e-12)


# ---- files and interruptions -----------------------------------------------------------------------------------------


def test_a_run_in_two_parts_ends_as_one_in_one_go(both: list[dict[str, Any]]) -> None:
    whole, cut = (both[0]["resumed"][name] for name in ("whole", "cut"))
    assert torch.equal(whole["weights"], cut["weights"]) and whole["nats"] == cut["nats"]
    assert torch.equal(whole["weights"], both[1]["resumed"]["cut"]["weights"])


def test_one_process_writes(both: list[dict[str, Any]]) -> None:
    assert [found["resumed"]["written"] for found in both] == [1 + 4 + 1 + 2 + 2, 0]


def test_two_processes_take_over_the_run_of_one_and_one_theirs(both: list[dict[str, Any]], folder: Path) -> None:
    history = checkpoints.read(folder / "one.pt")["training"]["history"]
    assert (history["epochs"], history["resumed_at"]) == ([0, 1, 2, 3], [2])
    assert history["settings"]["processes"] == 2 and history["validation_nats"] == both[1]["taken over"]["nats"]
    assert "processes" not in distributed_runs.pixels(folder / "one.pt", [4])["settings"]


def test_the_command_line_trains_and_writes_once(both: list[dict[str, Any]], folder: Path) -> None:
    (code, told, errors), others = both[0]["command"], both[1]["command"]
    assert (code, others) == (0, (0, "", "")), errors
    run = folder / "runs" / "dense-selfnorm-moons-seed0"
    assert sorted(os.listdir(run)) == ["checkpoint.pt", "record.json", "samples.png"]
    record = runs.read_record(run / "record.json")
    assert record.history["epochs"] == [0, 1, 2] and record.history["settings"]["processes"] == 2
    assert told.count("nats") == told.count("best epoch") == told.count("record.json") == 1
    flow = snf.restore(run / "checkpoint.pt")
    assert snf.evaluate(flow, "moons").nats == pytest.approx(record.results["test"]["nats"], abs=1e-5)


def test_reproduce_plans_and_tells_once(both: list[dict[str, Any]], folder: Path) -> None:
    (code, told, errors), others = both[0]["reproduce"], both[1]["reproduce"]
    assert (code, errors) == (0, "") and others == (0, "", "")
    assert told.count("1 of 1: dense-exact") == told.count("bits/dim (exact") == 1
    assert sorted(path.name for path in (folder / "reproduced").iterdir()) == [
        "fast-dense-exact-digits-seed0", "reproduce-fast-digits-dense-exact",
    ]  # fmt: skip


# ---- failures --------------------------------------------------------------------------------------------------------


def test_what_fails_in_one_process_is_raised_in_all(both: list[dict[str, Any]]) -> None:
    located = "This was at step 2, in epoch 1. No checkpoint was kept."
    for found in both:
        assert found["failures"] == [f"NotInvertibleError: lost in process {rank}. {located}" for rank in (0, 1)]
        assert found["gradient"].startswith("FloatingPointError: layers[3] SelfNormLinear: the gradient of inverse_we")
        assert found["validation"] == "ZeroDivisionError: division by zero"
        assert found["idle"].startswith("ValueError: fit: several processes need a gradient of every parameter, got no")


def test_what_several_processes_cannot_do_is_refused(both: list[dict[str, Any]]) -> None:
    told = "snf_lite evaluate: torchrun is for train and reproduce; evaluate takes one process."
    for found in both:
        assert found["graph"] == "ValueError: fit: cuda_graph=True is for one process, got 2; leave it out."
        status, out, error = found["evaluate"]
        assert (status, out) == (2, "") and error.splitlines()[0] == told


def test_half_a_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ValueError, match=r"WORLD_SIZE is 2: expected LOCAL_RANK, MASTER_ADDR, .*got none"):
        snf.fit(fresh(), MOONS, 1, validation=HELD_OUT)


def test_each_process_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device(None) == torch.device("cuda:0"), "of one process LOCAL_RANK says nothing"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert choose_device(None) == choose_device("cuda") == choose_device("cuda:1") == torch.device("cuda:1")
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"each of several processes \(cuda:1 here\); got 'cuda:0'"):
        choose_device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match=r"out of cpu, cuda:0, cuda:1; got 'cuda', which is cuda:2 for this process"):
        choose_device(None)


def test_one_process_touches_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_, **__: pytest.fail("a group was made"))
    monkeypatch.setenv("WORLD_SIZE", "1")  # torchrun with one process
    snf.fit(fresh(), MOONS, 1, validation=HELD_OUT)
    process = distributed.current(torch.device("cpu"))
    assert (process.world_size, process.rank, process.is_main) == (1, 0, True)
