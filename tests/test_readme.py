"""What the README shows works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from refresh import ROOT


def code(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)


def run(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ten_lines_work(tmp_path: Path) -> None:
    (example,) = code("python")
    lines = [line for line in example.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= 10
    said = run(["-c", example], tmp_path)
    nats, bits = (float(number) for number in re.findall(r"-?\d+\.\d+", said)[:2])
    assert 0 < nats and 0 < bits < 6, said


def test_commands_exist(tmp_path: Path) -> None:
    """Each subcommand of the README is one that the program knows, with the options that the README gives it."""
    lines = "".join(code("sh")).splitlines()
    commands = [line.split("#")[0].split() for line in lines if "-m snf_lite" in line]
    assert commands
    for words in commands:
        subcommand, *rest = words[words.index("snf_lite") + 1 :]
        told = run(["-m", "snf_lite", subcommand, "--help"], tmp_path)
        for option in rest:
            assert not option.startswith("--") or option in told, f"{subcommand} does not know {option}"
