"""Shared parts of the checkers: run the reader's function, compare its answer, and name a known slip."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec

import torch
from torch import Tensor

#: Absolute and relative tolerance for the right answer and for known slips.
TOLERANCE = 1e-6

Slips = Mapping[str, Tensor]
P = ParamSpec("P")


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, and the message to the reader; a notebook shows it."""

    passed: bool
    message: str

    def __repr__(self) -> str:
        return f"{'✓' if self.passed else '✗'} {self.message}"


class Stopped(Exception):
    """The answer cannot be judged; the message is the verdict."""

    def verdict(self) -> Verdict:
        return Verdict(False, str(self))


def run(answer: Callable[..., Any], *arguments: Any) -> Any:
    """Result of the reader's function. Raises Stopped with the reader's own error in the message."""
    if not callable(answer):
        raise Stopped(f"Give the function itself, not what it returns; this is of type {type(answer).__name__}.")
    try:
        return answer(*arguments)
    except Exception as error:  # the reader's function may raise anything
        raise Stopped(f"Your function stopped with {type(error).__name__}: {error}") from error


def tensor(got: Any, shape: tuple[int, ...], what: str) -> Tensor:
    """The answer in float64. Raises Stopped unless it is a finite tensor of ``shape``, or a number if that is ()."""
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
    """Right, a known slip with its message, or the largest difference; ``what`` names the judged part."""
    if _same(got, wanted):
        return Verdict(True, praise)
    words = next((words for words, wrong in slips.items() if _same(got, wrong.expand_as(wanted))), None)
    off = float((got - wanted).abs().max())
    return Verdict(False, what + (words or f"not yet; the largest difference from the right one is {off:.3g}."))


def scalar(value: float) -> Tensor:
    """The number as a float64 tensor of shape ()."""
    return torch.tensor(value, dtype=torch.float64)


def scalars(slips: Mapping[str, float]) -> Slips:
    """Slips of an answer that is one number."""
    return {words: scalar(value) for words, value in slips.items()}


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers in float64, the same at each call."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _same(got: Tensor, other: Tensor) -> bool:
    return torch.allclose(got, other.double(), atol=TOLERANCE, rtol=TOLERANCE)


def checker(check: Callable[P, Verdict]) -> Callable[P, Verdict]:
    """A checker that turns ``Stopped`` into a verdict: readers see a message, never a traceback."""

    @functools.wraps(check)
    def checked(*arguments: P.args, **named: P.kwargs) -> Verdict:
        try:
            return check(*arguments, **named)
        except Stopped as stopped:
            return stopped.verdict()

    return checked
