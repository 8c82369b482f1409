"""The examples in the docstrings of the public names: each class and function has one, and it runs as shown."""

import doctest
from pathlib import Path

import pytest
import torch

import snf_lite as snf

NAMES = [name for name in snf.__all__ if callable(getattr(snf, name))]


@pytest.mark.parametrize("name", NAMES)
def test_example_runs_as_shown(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, from a fixed seed, with ``torch`` and ``snf`` imported."""
    names = {"__name__": name, "torch": torch, "snf": snf}
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(snf, name), name, globs=names)
    assert example.examples, f"snf_lite.{name} has no example in its docstring"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(snf.FlowLayer, "registry", dict(snf.FlowLayer.registry))  # an example may define a layer
    torch.manual_seed(0)
    report: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(example, out=report.append)
    assert not report, "".join(report)
