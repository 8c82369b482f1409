"""Two processes and one run: the second is told, a file put in the way is noticed, a record stays with its weights."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpointed_runs import MOONS, assert_same, fresh, run
from paths import ROOT

import snf_lite as snf
from snf_lite.cli import main
from snf_lite.experiments.record import read_record, require_own_checkpoint
from snf_lite.runtime import files
from snf_lite.runtime.locks import locked

HOLDER = """
import sys, time
from snf_lite.runtime.locks import locked
with locked(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    """A process that holds the lock of a run, until it is killed."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "run.pt")], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "locked\n"
    with child:
        yield child
        child.kill()


def test_a_second_process_is_told(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError, match=rf"run\.pt: process {holder.pid} trains into it"):
        run(tmp_path / "run.pt")
    assert not (tmp_path / "run.pt").exists()
    run(tmp_path / "other.pt")


def test_the_lock_of_a_killed_process_holds_nobody_up(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    os.kill(holder.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    holder.wait()
    assert_same(run(tmp_path / "run.pt"), run(None))
    assert os.listdir(tmp_path) == ["run.pt"], "the lock's file is gone"


def test_a_second_thread_is_told_and_the_same_thread_is_let_in(tmp_path: Path) -> None:
    refused: list[BaseException] = []

    def train() -> None:
        try:
            run(tmp_path / "run.pt")
        except BlockingIOError as error:
            refused.append(error)

    with locked(tmp_path / "run.pt"):
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
        run(tmp_path / "run.pt")
    assert "another thread" in str(refused[0])
    train()
    assert len(refused) == 1


def test_a_failed_run_leaves_neither_lock_nor_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="validation"):
        snf.fit(fresh(), MOONS, 1, checkpoint=tmp_path / "new" / "run.pt", validation=torch.zeros(3, 7))
    assert os.listdir(tmp_path) == []


def test_a_run_in_a_folder_that_cannot_be_written_returns_its_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "run.pt", 2)

    def refused(path: Path, *arguments: Any, **keywords: Any) -> Any:
        if path.suffix == ".lock":
            raise PermissionError
        return opened(path, *arguments, **keywords)

    opened = Path.open
    monkeypatch.setattr(Path, "open", refused)
    assert_same(run(tmp_path / "run.pt", 2), run(None, 2))


def test_another_run_put_in_the_way_is_noticed(tmp_path: Path) -> None:
    path, other = tmp_path / "run.pt", tmp_path / "other.pt"
    run(other, 3, lr=1e-3)

    def replace(history: Any) -> None:
        if history.epochs[-1] == 4:
            os.replace(other, path)

    with pytest.raises(snf.CheckpointError, match=r"run\.pt: holds another run, of 3 epochs.*ends at epoch 4"):
        run(path, 4, callbacks=[lambda history, *_: replace(history)])


# ---- what a killed process leaves ------------------------------------------------------------------------------------


def test_partial_files_of_processes_that_ended_are_cleared(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead, alive = int(ended.stdout), os.getppid()
    names = [f".run.pt.{dead}.partial", f".record.json.{files._machine()}-{dead}.partial"]
    kept = [f".run.pt.{files._machine()}-{alive}.partial", f".run.pt.another-{dead}.partial", ".mine.partial", "a.pt"]
    for name in (*names, *kept):
        (tmp_path / name).write_bytes(b"part")
    snf.save(fresh(), tmp_path / "run.pt")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "run.pt"])


# ---- records ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two epochs."""
    out = tmp_path_factory.mktemp("records")
    assert main(["train", "dense-selfnorm", "--epochs", "2", "--out", str(out), "--name", "run"]) == 0
    return out / "run"


def test_a_record_names_the_weights_of_its_checkpoint(trained: Path) -> None:
    record = read_record(trained / "record.json")
    require_own_checkpoint(record, trained / "checkpoint.pt")
    assert record.weights is not None and len(record.weights) == 64


def test_a_record_beside_another_checkpoint_is_refused(trained: Path, tmp_path: Path) -> None:
    """As a longer run leaves it that was killed before it wrote its record."""
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("record.json", "checkpoint.pt"):
        (copy / name).write_bytes((trained / name).read_bytes())
    flow = snf.restore(copy / "checkpoint.pt")
    snf.fit(flow, "digits", 3, checkpoint=tmp_path / "longer.pt", progress=False)
    os.replace(tmp_path / "longer.pt", copy / "checkpoint.pt")
    started = time.monotonic()
    assert main(["ablate", "run", "--out", str(tmp_path), "--steps", "1"]) == 1
    assert time.monotonic() - started < 20
    with pytest.raises(snf.CheckpointError, match=r"checkpoint\.pt: holds another run, of 3 epochs"):
        require_own_checkpoint(read_record(copy / "record.json"), copy / "checkpoint.pt")
    snf.save(flow, copy / "checkpoint.pt")
    with pytest.raises(snf.CheckpointError, match="holds another run, of 0 epochs"):
        require_own_checkpoint(read_record(copy / "record.json"), copy / "checkpoint.pt")


def test_threads_do_not_disturb_each_others_random_numbers() -> None:
    """Pixels get their noise from the seed alone, and the caller's generator is as it was."""
    digits, flow = snf.load("digits", "validation")[:20], snf.build("dense-exact", (1, 8, 8), 17)
    alone = [snf.evaluate(flow, digits, seed=seed).nats for seed in range(40)]
    torch.manual_seed(1)
    expected = torch.randn(3)
    torch.manual_seed(1)
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda seed: snf.evaluate(flow, digits, seed=seed).nats, range(40)))
    assert together == alone and torch.equal(torch.randn(3), expected)
