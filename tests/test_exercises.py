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
from snf_lite.dense import readable_self_norm_linear

CHECK = exercises.check_learned_inverse_1
Answer = Callable[..., Any]


def terms(x: Tensor, w: Tensor, r: Tensor, d: Tensor, weight: float) -> dict[str, tuple[Tensor, Tensor]]:
    """The terms of the two gradients, for the gradient by w and by r, written apart from the checker's."""
    miss = r * w * x - x
    return {
        "data": (d * x / 2, -w * d * w * x / 2),
        "log-det": (r / 2, -w / 2),
        "recon": (-2 * weight * miss * r * x, -2 * weight * miss * w * x),
    }


def answer(**factors: float) -> Answer:
    """The gradients with each term multiplied by a factor, 1 unless told."""

    def gradients(*arguments: Any) -> tuple[Tensor, Tensor]:
        parts = terms(*arguments)
        by_w, by_r = (sum(factors.get(name, 1.0) * part[side] for name, part in parts.items()) for side in (0, 1))
        return by_w, by_r

    return gradients


SLIPS: dict[str, Answer] = {
    "gradient by w: still the stub": lambda x, *_: (0 * x, 0 * x),
    "gradient by w: the sign is turned": answer(**{"data": -1, "log-det": -1, "recon": -1}),
    "gradient by w: the likelihood's part lacks its ½": answer(**{"data": 2, "log-det": 2}),
    "gradient by w: the log-determinant's part has the wrong sign": answer(**{"log-det": -1}),
    "gradient by w: the log-determinant's part is missing": answer(**{"log-det": 0}),
    "gradient by w: the data term has the wrong sign": answer(data=-1),
    "gradient by w: the data term is missing": answer(data=0),
    "gradient by w: the reconstruction term is missing": answer(recon=0),
    "gradient by w: the reconstruction term has the wrong sign": answer(recon=-1),
    "gradient by w: the reconstruction term lacks the 2": answer(recon=0.5),
    "gradient by w: not yet; the largest difference": answer(recon=1.01),
    "gradient by r: the log-determinant's part has the wrong sign": lambda *arguments: (
        answer()(*arguments)[0],
        answer(**{"log-det": -1})(*arguments)[1],
    ),
    "two tensors of the shape of x": lambda x, *_: x,
    "shape of x: the gradient": lambda x, *_: (x[:2], x),
    "stopped with RuntimeError": lambda x, *_: x @ torch.zeros(7, dtype=x.dtype),
}


@pytest.mark.parametrize("words", SLIPS)
def test_each_slip_gets_its_own_words(words: str) -> None:
    verdict = CHECK(SLIPS[words])
    assert not verdict.passed
    assert words in repr(verdict) and repr(verdict).startswith("✗")


def test_the_right_answer_passes() -> None:
    assert CHECK(answer()).passed
    assert repr(CHECK(answer())).startswith("✓")


def test_the_scaling_layer_is_the_dense_one_with_diagonal_matrices() -> None:
    torch.manual_seed(1)
    x, w, r, pull = torch.randn(4, 5, dtype=torch.float64)
    W, R = (torch.diag(v).requires_grad_() for v in (w, r))
    z, term, recon = readable_self_norm_linear(x[None], W, R, torch.zeros_like(x))
    (-(pull * z).sum() + term.sum() - 0.7 * recon.sum()).backward()
    by_w, by_r = answer()(x, w, r, -pull, 0.7)
    assert torch.allclose(W.grad.diagonal(), by_w, atol=1e-12)
    assert torch.allclose(R.grad.diagonal(), by_r, atol=1e-12)


def test_errors_that_hurt_and_errors_that_do_not() -> None:
    W, identity = torch.tensor([[1.0, 0.5], [0.0, 2.0]]), torch.eye(2)
    check = exercises.check_learned_inverse_2
    assert check(W, -1.05 * identity, 20 * identity).passed
    for words, arguments in {
        "first error should be a tensor of the shape of W, (2, 2)": (None, identity),
        "second error should be": (identity, torch.zeros(3)),
        "size 2.00; find one of at most 1.1": (-2 * identity, 20 * identity),
        "size 0.50, still points uphill": (-0.5 * identity, 20 * identity),
        "size 9.00; find one of at least 10": (-1.05 * identity, 9 * identity),
        "size 20.0, does not point uphill": (-1.05 * identity, -20 * identity),
    }.items():
        verdict = check(W, *arguments)
        assert not verdict.passed and words in verdict.message


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
    defining, _, call = stub.partition("\nsnf.exercises.")
    for source, wanted in ((defining, False), (solution, True)):
        names: dict[str, Any] = {"torch": torch, "exercises": exercises, "W2": torch.tensor([[1.2, 0.5], [-0.3, 0.8]])}
        exec(source, names)
        assert eval(f"exercises.{call}", names).passed is wanted


def test_every_checker_is_used_by_a_chapter() -> None:
    used = {name for _, stub, _ in exercise_cells() for name in re.findall(r"check_\w+", stub)}
    assert used == {name for name in vars(exercises) if name.startswith("check_")}
