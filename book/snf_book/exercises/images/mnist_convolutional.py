"""Checkers of the chapter *MNIST, convolutional*."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snf_book.exercises.verdict import Stopped, Verdict, checker, judge, normal, run, tensor
from snf_lite.layers.conv_exponential import remainder_bound
from snf_lite.layers.emerging import causal_mask

Mask = Callable[[int, int], Any]
Solve = Callable[[Tensor, float, float], Any]
Terms = Callable[[float, float], Any]


@checker
def check_convolutional_1(answer: Mask) -> Verdict:
    """The mask of a kernel that looks up and left, its own pixel last (eq-emerging).

    ``answer(channels, size)`` gives ones and zeros, (C, C, s, s): the taps (output, input, row, column) that may be
    used.
    """
    C, s = 3, 2
    got = run(answer, C, s)
    if isinstance(got, Tensor) and got.dtype == torch.bool:
        got = got.double()
    wanted = causal_mask(C, s).double()
    found = tensor(got, (C, C, s, s), "The mask")

    def own(channels: Tensor, others: Tensor | float = 1.0, row: int = -1, column: int = -1) -> Tensor:
        mask = torch.zeros(C, C, s, s, dtype=torch.float64) + others
        mask[:, :, row, column] = channels
        return mask

    ones = torch.ones(C, C, dtype=torch.float64)
    each = ones.tril()[:, :, None, None].expand(C, C, s, s)
    slips = {
        "Still the stub, nothing is masked: at its own pixel a channel may not see the channels after it.": own(ones),
        "At its own pixel a channel sees the channels after it; it should see those up to its own.": own(ones.triu()),
        "At its own pixel a channel must see itself: that tap is the diagonal.": own(ones.tril(-1)),
        "At its own pixel a channel may see the channels before it too.": own(torch.eye(C, dtype=torch.float64)),
        "Only its own pixel needs a mask; the pixels above and to the left are free for all channels.": each,
        "The pixel itself is the last tap here, not the first.": own(ones.tril(), row=0, column=0),
        "Nothing but its own pixel is left; above and to the left all is free.": own(ones.tril(), 0.0),
        "Its own pixel is masked altogether; then the diagonal is zero and the determinant too.": own(0 * ones),
        "This is the opposite: ones where the kernel may not look.": 1 - wanted,
    }
    return judge(found, wanted, slips, f"Right: {int(wanted.sum())} of {C * C * s * s} taps.")


@checker
def check_convolutional_2(answer: Solve) -> Verdict:
    """x with z_i = a·x_i + b·x_{i-1}, nothing before the first: ``answer(z, a, b)`` takes (n,) and gives (n,)."""
    x, a, b = normal(6, seed=3), 1.7, 0.6
    z = a * x + b * torch.cat([x.new_zeros(1), x[:-1]])
    given = z.clone()
    got = tensor(run(answer, given, a, b), (6,), "x")
    if not torch.equal(given, z):
        return Verdict(False, "z itself was changed on the way; write into a new tensor.")
    backward, mirrored, undivided = (torch.zeros_like(z) for _ in range(3))
    for i in range(6):
        before = undivided[i - 1] if i else 0.0
        undivided[i] = z[i] - b * before
        last = mirrored[6 - i] if i else 0.0
        mirrored[5 - i] = (z[5 - i] - b * last) / a
        past = backward[i - 1] if i else 0.0
        backward[i] = (z[i] + b * past) / a
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(z),
        "only the division by a; what the number before adds is missing.": z / a,
        "it takes off b times the latent before; it is the x before that feeds in.": (
            (z - b * torch.cat([z.new_zeros(1), z[:-1]])) / a
        ),
        "the division by a is missing.": undivided,
        "it begins at the last number; what feeds in comes from before.": mirrored,
        "the sign of b is turned.": backward,
        "this goes forward once more.": a * z + b * torch.cat([z.new_zeros(1), z[:-1]]),
    }
    praise = "Right: each number needs the one before, so the row cannot be solved all at once."
    return judge(got, x, slips, praise)


@checker
def check_convolutional_3(answer: Terms) -> Verdict:
    """The least N whose remainder is below a tolerance (eq-remainder): ``answer(norm, tolerance)``."""
    for norm, tolerance in ((0.9, 1e-3), (0.9, 1e-6), (2.0, 1e-5), (5.0, 1e-5)):
        got = tensor(run(answer, norm, tolerance), (), "The number of terms")
        words = _terms_words(int(got), norm, tolerance)
        if float(got) != int(got):
            raise Stopped("The number of terms should be a whole number.")
        if words:
            return Verdict(False, f"For a norm of {norm:g} and a tolerance of {tolerance:g}: {words}")
    praise = "Right: a tolerance a thousand times smaller asks for a few terms more, as factorials grow fast."
    return Verdict(True, praise)


def _terms_words(got: int, norm: float, tolerance: float) -> str:
    """What is wrong with this number of terms; empty if it is right."""
    wanted = next(n for n in range(200) if remainder_bound(norm, n) <= tolerance)
    first = next(n for n in range(200) if n + 2 > norm and norm ** (n + 1) / math.factorial(n + 1) <= tolerance)
    if got == wanted:
        return ""
    if got == 0:
        return "still the stub, it gives 0."
    if got == wanted + 1:
        return f"{got} is one too many; the first term left out is that with the power N + 1."
    if got == first:
        return f"{got} is enough for the first term left out alone; all that come after it count too."
    if got < 0:
        return f"{got} terms; a number of terms is not negative."
    left = remainder_bound(norm, got)
    return f"{got} terms leave {left:.1g}, and {'more' if got < wanted else 'fewer'} are needed."
