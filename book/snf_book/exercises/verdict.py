"""What all checkers share: running the reader's function, comparing its answer, and naming a known slip."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec

import torch
from torch import Tensor

#: Answers closer than this to the right one are right; to a known slip, are that slip.
TOLERANCE = 1e-6

Slips = Mapping[str, Tensor]
P = ParamSpec("P")


@dataclass(frozen=True)
class Verdict:
    """Whether an answer holds, and what to say to the reader; a notebook shows the words."""

    passed: bool
    message: str

    def __repr__(self) -> str:
        return f"{'✓' if self.passed else '✗'} {self.message}"


class Stopped(Exception):
    """The answer cannot be judged; the words are the verdict."""

    def verdict(self) -> Verdict:
        return Verdict(False, str(self))


def run(answer: Callable[..., Any], *arguments: Any) -> Any:
    """What the reader's function gives. Raises Stopped with the reader's own error in it."""
    if not callable(answer):
        raise Stopped(f"Give the function itself, not what it returns; this is of type {type(answer).__name__}.")
    try:
        return answer(*arguments)
    except Exception as error:  # the reader's own code may raise anything
        raise Stopped(f"Your function stopped with {type(error).__name__}: {error}") from error


def tensor(got: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """The answer in float64. Raises Stopped unless it is a finite tensor of ``shape``, or a number where that is ()."""
    if shape == () and isinstance(got, int | float):
        got = torch.tensor(float(got))
    if not isinstance(got, Tensor) or tuple(got.shape) != shape:
        found = f"of shape {tuple(got.shape)}" if isinstance(got, Tensor) else f"of type {type(got).__name__}"
        raise Stopped(f"{what} should be a tensor of shape {shape}; it is {found}.")
    got = got.detach().double()
    if not bool(got.isfinite().all()):
        raise Stopped(f"{what} is not finite.")
    return got


def judge(got: Tensor, wanted: Tensor, slips: Slips, praise: str, what: str = "") -> Verdict:
    """Right, a known slip by its words, or how far off; ``what`` names the judged part in front of these."""
    if _same(got, wanted):
        return Verdict(True, praise)
    words = next((words for words, wrong in slips.items() if _same(got, wrong.expand_as(wanted))), None)
    off = float((got - wanted).abs().max())
    return Verdict(False, what + (words or f"not yet; the largest difference from the right one is {off:.3g}."))


def _same(got: Tensor, other: Tensor) -> bool:
    return torch.allclose(got, other.double(), atol=TOLERANCE, rtol=TOLERANCE)


def checker(check: Callable[P, Verdict]) -> Callable[P, Verdict]:
    """A checker whose ``Stopped`` is a verdict too: its readers see words, never a traceback."""

    @functools.wraps(check)
    def checked(*arguments: P.args, **named: P.kwargs) -> Verdict:
        try:
            return check(*arguments, **named)
        except Stopped as stopped:
            return stopped.verdict()

    return checked
