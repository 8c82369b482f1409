"""The book's exercises: the stub fails, the hidden solution passes, each typical slip gets words of its own."""

import functools
import math
import re
from collections import Counter
from itertools import pairwise
from typing import Any

import nbformat
import torch
from each_case import check_each
from paths import notebooks
from snf_book import exercises
from snf_book.exercises import verdict
from wrong_answers import WRONG
from wrong_answers.the_idea.learned_inverse import answer

import snf_lite as snf
from snf_lite.dense import reference_self_norm_linear


def test_each_slip_gets_its_own_words() -> None:
    def check(slip: tuple[str, str]) -> None:
        name, words = slip
        found = getattr(exercises, name)(*WRONG[name][words])
        assert not found.passed
        assert words in repr(found) and repr(found).startswith("✗")

    check_each([(name, words) for name, slips in WRONG.items() for words in slips], check)


def test_every_checker_knows_typical_slips() -> None:
    assert {name for name, slips in WRONG.items() if len(slips) >= 3} == set(exercises.__all__) - {"Verdict"}


def test_what_a_reader_may_give_by_mistake_gets_words() -> None:
    @verdict.checker
    def check(given: Any) -> verdict.Verdict:
        got = verdict.tensor(verdict.run(given, 1.0), (), "It")
        return verdict.judge(got, torch.tensor(2.0).double(), {"half.": torch.tensor(1.0)}, "Right.", "It is ")

    assert repr(check(lambda x: 2 * x)) == "✓ Right."
    assert repr(check(lambda x: x)) == "✗ It is half."
    assert repr(check(3)) == "✗ Give the function itself, not what it returns; this is of type int."
    assert "stopped with ZeroDivisionError: " in repr(check(lambda x: x / 0))
    assert "It should be a tensor of shape (); it is of type str" in repr(check(lambda x: "two"))
    assert "It is not finite" in repr(check(lambda x: float("nan")))
    assert "largest difference from the right one is 1" in repr(check(lambda x: 3.0))


def test_the_scaling_layer_is_the_dense_one_with_diagonal_matrices() -> None:
    torch.manual_seed(1)
    x, w, r, pull = torch.randn(4, 5, dtype=torch.float64)
    W, R = (torch.diag(v).requires_grad_() for v in (w, r))
    z, term, recon = reference_self_norm_linear(x[None], W, R, torch.zeros_like(x))
    (-(pull * z).sum() + term.sum() - 0.7 * recon.sum()).backward()
    by_w, by_r = answer()(x, w, r, -pull, 0.7)
    assert torch.allclose(W.grad.diagonal(), by_w, atol=1e-12)
    assert torch.allclose(R.grad.diagonal(), by_r, atol=1e-12)


FOLDED = re.compile(r"<details>\s*<summary>(\w+)</summary>(.*?)</details>", re.DOTALL)


@functools.cache
def exercise_cells() -> list[tuple[str, str, dict[str, str]]]:
    """(chapter, stub cell, its hint and solution) for each exercise; one on paper may follow in the same cell."""
    return [
        (path.stem, stub.source, dict(FOLDED.findall(after.source)[:2]))
        for path in notebooks()
        for stub, after in pairwise(nbformat.read(path, as_version=4).cells)
        if stub.cell_type == "code" and "exercises.check_" in stub.source
    ]


def test_hidden_solutions_pass_and_stubs_do_not() -> None:
    """Both run with nothing but torch, math, snf and exercises: one can be taken up without running its chapter."""

    def check(exercise: tuple[str, str, dict[str, str]]) -> None:
        _, stub, folded = exercise
        assert list(folded) == ["Hint", "Solution"], "put both into <details> in the cell behind the stub"
        assert len(folded["Hint"].split()) >= 5
        (solution,) = re.findall(r"```python\n(.*?)```", folded["Solution"], re.DOTALL)
        defining, _, call = stub.partition("\nexercises.")
        for source, wanted in ((defining, False), (f"{defining}\n{solution}", True)):
            names: dict[str, Any] = {"torch": torch, "math": math, "snf": snf, "exercises": exercises}
            exec(source, names)
            assert eval(f"exercises.{call}", names).passed is wanted

    check_each(exercise_cells(), check, lambda exercise: f"{exercise[0]}: {exercise[1].splitlines()[-1]}")


def test_every_chapter_has_three_exercises() -> None:
    found = Counter(chapter for chapter, *_ in exercise_cells())
    assert not [path.stem for path in notebooks() if found[path.stem] < 3]


def test_every_checker_is_used_by_a_chapter() -> None:
    used = {name for _, stub, *_ in exercise_cells() for name in re.findall(r"check_\w+", stub)}
    assert used == set(exercises.__all__) - {"Verdict"}
