"""What the README shows works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

from snf_lite.cli import main
from snf_lite.data.densities import sample_density


def code(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


def numbers_of(example: str, most: int, folder: Path) -> list[float]:
    """The numbers that an example of at most so many lines prints, run in a folder with warnings as errors."""
    lines = [line for line in example.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= most
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [float(number) for number in re.findall(r"-?\d+\.\d+", done.stdout)]


def test_ten_lines_work(tmp_path: Path) -> None:
    nats, bits = numbers_of(code("python")[1], 10, tmp_path)[:2]
    assert 0 < nats and 0 < bits < 6


def test_own_data_in_five_lines(tmp_path: Path) -> None:
    """Four statements after the imports fit moons; one Gaussian has 3.3 nats, the best flows 2.5."""
    np.save(tmp_path / "points.npy", sample_density("moons", 5000, seed=1).numpy())
    nats, *mean = numbers_of(code("python")[0], 6, tmp_path)
    assert nats <= 2.6
    assert mean == pytest.approx([0, 0], abs=0.2)


def commands() -> list[list[str]]:
    """What follows ``-m snf_lite`` in each command of the README."""
    lines = "".join(code("sh")).splitlines()
    return [line.split("#")[0].split("-m snf_lite", 1)[1].split() for line in lines if "-m snf_lite" in line]


def test_the_command_line_is_shown() -> None:
    assert {words[0] for words in commands()} >= {"list", "train", "evaluate", "sample"}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_command_exists(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The program knows the subcommand, and each option that the README gives it."""
    with pytest.raises(SystemExit) as ended:
        main([words[0], "--help"])
    assert not ended.value.code
    told = capsys.readouterr().out
    assert [option for option in words[1:] if option.startswith("--") and option not in told] == []
