"""The table of everyday tasks on the page of the package: each line runs, in its order."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from paths import ROOT
from PIL import Image

import snf_lite as snf
from snf_lite.commands import parser

TABLE = (ROOT / "book" / "api.md").read_text("utf-8").split("## You want, type")[1].split("\n## ")[0]
LINES = re.findall(r"^\| .* \| `(.*)` \|$", TABLE, re.MULTILINE)


@pytest.mark.usefixtures("bare_environment")
def test_each_line_of_the_table_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    Image.new("RGB", (4, 4)).save("images/a.png")
    rows = np.random.default_rng(0).normal([10.0, 5.0], size=(200, 2))
    names = {
        "snf": snf, "torch": torch, "np": np, "plt": plt, "X": rows, "labels": np.arange(200) % 3
    }  # fmt: skip
    assert len(LINES) == TABLE.count("\n| ") - 2 > 20, "each row of the table is one line of code"
    for line in LINES:
        exec(line, names)
    assert np.loadtxt("samples.csv", delimiter=",").shape == (100, 2)
    assert tuple(names["images"].shape) == (1, 3, 4, 4)  # type: ignore[attr-defined]


def test_help_shows_a_default_of_zero() -> None:
    options = parser.Parser(prog="snf-lite")
    parser.add_seed_and_device(options)
    assert "random seed (default: 0)" in options.format_help()
