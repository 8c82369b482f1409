"""The ``bench`` command: its record and figures, its usage, and its errors."""

import re
from pathlib import Path

import pytest
import torch
from bench_cases import TINY

from snf_lite.benchmarks import command, suites, timing
from snf_lite.benchmarks import record as bench_record
from snf_lite.cli import main


def test_the_command_runs_every_suite_and_writes_record_and_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    assert main([*TINY, "--seed", "7", "--threads", "1"]) == 0
    assert torch.get_num_threads() == before
    record, out = bench_record.read_bench("runs/bench/bench.json"), capsys.readouterr().out
    assert (
        bench_record.suites(record["cases"]) == list(suites.SUITES) and record["seed"] == 7 and record["threads"] == 1
    )
    for suite in suites.SUITES:
        assert Path(f"runs/bench/{suite}.png").read_bytes().startswith(b"\x89PNG")
    tables = [line for line in out.splitlines() if line.startswith("  ") and "skipped" not in line]
    assert tables and max(map(len, tables)) <= 81, "one more, for the longest name of a method"
    for name, case in record["cases"].items():
        assert f"\n{name}, {case['rounds']} rounds\n" in out
        assert (case["rounds"] >= timing.MIN_ROUNDS) == bool(case["contenders"])
        for method, reason in case["skipped"].items():
            assert re.search(rf"  {method} +skipped: {re.escape(reason)}\n", out)
    assert record["command"] == (
        "python -m snf_lite bench --suite dense conv logdet sampling models --features 3 5 --batch 2 --shapes 1x4x4 "
        "--seconds 0.5 --threads 1 --device cpu --seed 7"
    )


def test_the_number_of_threads_is_restored() -> None:
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
        (["--suite", "speed"], "expected one of dense.*models; got 'speed'"),
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
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--suite", "models", "--shapes", "1x5x5", "--seconds", "1", "--quiet", "--out", str(tmp_path)])
    error = capsys.readouterr().err
    assert error.startswith("snf_lite bench: ") and "got (1, 5, 5)" in error and not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("snf_lite.benchmarks.timing.interleave", interrupted)
    assert main([*TINY, "--out", str(tmp_path)]) == 130
    *shown, last = capsys.readouterr().err.splitlines()
    assert last == "snf_lite: interrupted. Nothing was written." and not list(tmp_path.iterdir())
    assert len(shown) == 1 and re.match(r"suite \w+, 1 of \d: about", shown[0]), (
        "a suite does not name itself at its start"
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_the_peak_of_memory_is_recorded_too(tmp_path: Path) -> None:
    assert main([*TINY, "--suite", "dense", "--device", "cuda", "--out", str(tmp_path)]) == 0
    record = bench_record.read_bench(tmp_path / "bench-dense-cuda" / "bench.json")
    assert all(result["peak_bytes"] > 0 for case in record["cases"].values() for result in case["contenders"].values())


def test_a_record_is_not_lost_to_another_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*TINY, "--suite", "logdet", "--out", str(tmp_path)]
    assert main(asked) == 0
    record = tmp_path / "bench-logdet" / "bench.json"
    before = record.read_bytes()
    assert main(asked) == 1
    assert "holds a record already. Give another --name, or --overwrite" in capsys.readouterr().err
    assert record.read_bytes() == before
    assert main([*asked, "--overwrite"]) == 0
    assert record.read_bytes() != before
