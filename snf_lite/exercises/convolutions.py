"""Checkers of the chapter *Convolutions*."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .. import toeplitz
from .verdict import Slips, Verdict, checker, judge, run, tensor

Mask = Callable[[int, int, int], Any]
Places = Callable[[int, int, int, int, int], Any]
Flip = Callable[[Tensor], Any]


@checker
def check_convolutions_1(answer: Mask) -> Verdict:
    """m (k, k) for pictures of H × W: ``answer(height, width, k)``; also where taps miss the picture."""
    wanted = _mask(6, 4, 3)
    got = tensor(run(answer, 6, 4, 3), (3, 3), "The mask")
    verdict = judge(got, wanted, _mask_slips(6, 4, 3), "")
    if not verdict.passed:
        return verdict
    small = tensor(run(answer, 2, 9, 7), (7, 7), "The mask")
    hint = {
        "Right where the picture is larger than the kernel; else no count may fall below 0.": _unclamped(2, 9, 7),
    }
    praise = "Right: 2 by 9 pixels never meet the outer rows of a 7 by 7 kernel."
    return judge(small, _mask(2, 9, 7), hint, praise, "On 2 by 9 pixels with a 7 by 7 kernel: ")


def _mask(height: int, width: int, k: int) -> Tensor:
    return toeplitz.tap_counts(torch.zeros(1, 1, k, k, dtype=torch.float64), height, width)


def _unclamped(height: int, width: int, k: int) -> Tensor:
    away = (torch.arange(k, dtype=torch.float64) - k // 2).abs()
    return torch.outer(height - away, width - away)


def _mask_slips(height: int, width: int, k: int) -> Slips:
    shift = torch.arange(k, dtype=torch.float64) - k // 2
    inner = float((height - k + 1) * (width - k + 1))
    return {
        "Still the stub, it gives zeros.": torch.zeros(k, k),
        "Every tap H·W times: that forgets the edges of the picture.": torch.full((k, k), float(height * width)),
        "Every tap once: count the pixels at which it meets another.": torch.ones(k, k),
        "Rows and columns have changed places: a stands for rows, of which there are H.": _mask(width, height, k),
        "These are the pixels at which the whole kernel fits; a tap needs only its own.": torch.full((k, k), inner),
        "A shift to the left and one to the right lose the same: take the absolute value.":
            torch.outer(height - shift, width - shift),
        "Shifts are counted from the middle tap, not from the first.":
            torch.outer(height - shift - k // 2, width - shift - k // 2),
        "Each direction loses its own share; multiply the two counts.":
            height * width - shift.abs()[:, None] - shift.abs()[None, :],
    }  # fmt: skip


@checker
def check_convolutions_2(answer: Places) -> Verdict:
    """Where tap (a, b) stands in T(w) (eq-conv-matrix): ``answer(a, b, height, width, k)``, a matrix of 0 and 1."""
    height, width, k = 3, 4, 3
    for a, b in ((0, 0), (2, 1), (1, 1), (1, 2)):
        got = tensor(run(answer, a, b, height, width, k), (12, 12), "The matrix")
        verdict = judge(got, _places(a, b, height, width, k), _place_slips(a, b, height, width, k), "", f"({a}, {b}): ")
        if not verdict.passed:
            return verdict
    return Verdict(True, "Right: tap (0, 0) stands W + 1 below the main diagonal, with a gap at each row's beginning.")


def _places(a: int, b: int, height: int, width: int, k: int) -> Tensor:
    kernel = torch.zeros(1, 1, k, k, dtype=torch.float64)
    kernel[0, 0, a, b] = 1.0
    return toeplitz.matrix(kernel, height, width)


def _place_slips(a: int, b: int, height: int, width: int, k: int) -> Slips:
    size, right = height * width, _places(a, b, height, width, k)
    offset = (a - k // 2) * width + b - k // 2
    across = _places(b, a, width, height, k).reshape(width, height, width, height)
    return {
        "still the stub, it gives zeros.": torch.zeros(size, size),
        "the whole diagonal, without gaps: at the end of a row a tap would look into the next one.":
            torch.ones(max(size - abs(offset), 0), dtype=torch.float64).diag(offset),
        "transposed: rows belong to output pixels, columns to the input pixels they see.": right.T,
        "pixels are numbered column by column; here it is row by row.":
            across.reshape(size, size),
        "rows and columns of the kernel have changed places: a is the row.": _places(b, a, height, width, k),
        "the edges are treated as if the picture went on on the other side.": _around(a, b, height, width, k),
    }  # fmt: skip


def _around(a: int, b: int, height: int, width: int, k: int) -> Tensor:
    """The matrix of a tap with periodic edges."""
    units = torch.eye(height * width, dtype=torch.float64).reshape(-1, height, width)
    return units.roll((k // 2 - a, k // 2 - b), (1, 2)).reshape(height * width, -1).T


@checker
def check_convolutions_3(answer: Flip) -> Verdict:
    """T(flip(w)) = T(w)ᵀ: ``answer(w)`` for w (C, C, k, k)."""
    w = torch.randn(2, 2, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    got = tensor(run(answer, w), (2, 2, 3, 3), "The kernel")
    mirrored, exchanged = w.flip(2, 3), w.transpose(0, 1)
    slips = {
        "Still the stub: nothing has moved.": w,
        "The taps are mirrored; input and output channels have yet to be exchanged.": mirrored,
        "The channels are exchanged; the taps have yet to be mirrored.": exchanged,
        "Mirrored up and down alone; left and right have to change too.": exchanged.flip(2),
        "Mirrored left and right alone; up and down have to change too.": exchanged.flip(3),
        "The taps are transposed; they have to run backward along both axes instead.": exchanged.mT,
        "The channels are mirrored instead of exchanged.": w.flip(0, 1, 2, 3),
    }
    return judge(got, toeplitz.flip(w), slips, "Right: its matrix is the transposed one.")
