"""The book's exercises: the stub fails, the hidden solution passes, each typical slip gets words of its own."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import nbformat
import pytest
import torch
from refresh import notebooks
from torch import Tensor

from snf_lite import exercises

GRADIENT = exercises.gradient_of_r
CHECK = exercises.check_learned_inverse_1


def changed(change: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The right answer with a slip: ``change(right, code, x, W, R, delta_z, recon_weight)``."""
    return lambda x, W, R, d, weight: change(GRADIENT(x, W, R, d, weight), W @ x, x, W, R, d, weight)


SLIPS: dict[str, Callable[..., Any]] = {
    "still the stub": lambda x, W, R, d, weight: torch.zeros_like(R),
    "sign is turned": changed(lambda right, *_: -right),
    "lacks its ½": changed(lambda right, code, x, W, R, d, lam: 2 * right + 2 * lam * torch.outer(R @ code - x, code)),
    "transpose of W": changed(lambda right, code, x, W, *_: right + 0.5 * W.T - 0.5 * W),
    "sign of f": changed(lambda right, code, x, W, *_: right + W.T),
    "log-determinant's part is missing": changed(lambda right, code, x, W, *_: right + 0.5 * W.T),
    "reconstruction term is missing": lambda x, W, R, d, weight: GRADIENT(x, W, R, d, 0.0),
    "lacks the 2": lambda x, W, R, d, weight: GRADIENT(x, W, R, d, weight / 2),
    "δz where δx": changed(
        lambda right, code, x, W, R, d, lam: right + 0.5 * torch.outer(W.T @ d, code) - 0.5 * torch.outer(d, code)
    ),
    "x where the code": changed(
        lambda right, code, x, W, R, d, lam: right + 0.5 * torch.outer(W.T @ d, code) - 0.5 * torch.outer(W.T @ d, x)
    ),
    "largest difference": changed(lambda right, *_: right + 1e-3),
    r"shape of R, \(3, 3\); yours is a shape \(3,\)": lambda x, W, R, d, weight: x,
    "yours is a NoneType": lambda x, W, R, d, weight: None,
    "stopped with RuntimeError": lambda x, W, R, d, weight: x @ torch.zeros(7, dtype=x.dtype),
}


@pytest.mark.parametrize("words", SLIPS)
def test_each_slip_gets_its_own_words(words: str) -> None:
    verdict = CHECK(SLIPS[words])
    assert not verdict.passed
    assert re.search(words, repr(verdict)) and repr(verdict).startswith("✗")


def test_the_right_answer_passes() -> None:
    assert CHECK(GRADIENT).passed
    assert repr(CHECK(GRADIENT)).startswith("✓")


def exercise_cells() -> list[tuple[str, str, str]]:
    """(chapter, stub cell, solution) for each exercise: the solution stands in the <details> after the stub."""
    found = []
    for path in notebooks():
        cells = nbformat.read(path, as_version=4).cells
        for stub, after in pairwise(cells):
            if stub.cell_type == "code" and "exercises.check_" in stub.source:
                solution = re.search(r"<details>.*?```python\n(.*?)```", after.source, re.DOTALL)
                assert solution, f"{path.name}: no solution behind {stub.source[:60]!r}"
                found.append((path.stem, stub.source, solution[1]))
    return found


@pytest.mark.parametrize(("chapter", "stub", "solution"), exercise_cells())
def test_hidden_solutions_pass_and_stubs_do_not(chapter: str, stub: str, solution: str) -> None:
    check, answer = re.search(r"snf\.exercises\.(check_\w+)\((\w+)\)", stub).groups()  # type: ignore[union-attr]
    for source, wanted in ((stub.partition("\nsnf.exercises")[0], False), (solution, True)):
        names: dict[str, Any] = {"torch": torch}
        exec(source, names)
        assert getattr(exercises, check)(names[answer]).passed is wanted


def test_every_checker_is_used_by_a_chapter() -> None:
    used = {name for _, stub, _ in exercise_cells() for name in re.findall(r"check_\w+", stub)}
    assert used == {name for name in vars(exercises) if name.startswith("check_")}
