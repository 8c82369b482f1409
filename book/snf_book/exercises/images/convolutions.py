"""Checkers of the chapter *Convolutions*."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.grad import conv2d_weight

from snf_book.exercises.verdict import Verdict, checker, judge, run, tensor
from snf_lite.linalg import toeplitz

Mask = Callable[[int, int, int], Any]
Places = Callable[[int, int, int, int, int], Any]
Gradient = Callable[[Tensor, Tensor, Tensor], Any]


@checker
def check_convolutions_1(answer: Mask) -> Verdict:
    """m (k, k) for images of H × W: ``answer(height, width, k)``; also where taps miss the image."""
    height, width, k = 6, 4, 3
    got = tensor(run(answer, height, width, k), (k, k), "The mask")
    shift = torch.arange(k, dtype=torch.float64) - k // 2
    inner = float((height - k + 1) * (width - k + 1))
    slips = {
        "Still the stub, it gives zeros.": torch.zeros(k, k),
        "Every tap H·W times: that ignores the edges of the image.": torch.full((k, k), float(height * width)),
        "Every tap once: count the pixels at which it is used.": torch.ones(k, k),
        "Rows and columns have changed places: a stands for rows, of which there are H.": _mask(width, height, k),
        "These are the pixels at which the whole kernel fits; a tap needs only its own.": torch.full((k, k), inner),
        "A shift to the left and one to the right lose the same: take the absolute value.":
            torch.outer(height - shift, width - shift),
        "Shifts are counted from the middle tap, not from the first.":
            torch.outer(height - shift - k // 2, width - shift - k // 2),
        "Each direction loses its own share; multiply the two counts.":
            height * width - shift.abs()[:, None] - shift.abs()[None, :],
    }  # fmt: skip
    verdict = judge(got, _mask(height, width, k), slips, "")
    if not verdict.passed:
        return verdict
    small = tensor(run(answer, 2, 9, 7), (7, 7), "The mask")
    away = (torch.arange(7, dtype=torch.float64) - 3).abs()
    hint = {
        "Right where the image is larger than the kernel; else no count may fall below 0.":
            torch.outer(2 - away, 9 - away),
    }  # fmt: skip
    praise = "Right: 2 by 9 pixels never use the outer rows of a 7 by 7 kernel."
    return judge(small, _mask(2, 9, 7), hint, praise, "On 2 by 9 pixels with a 7 by 7 kernel: ")


def _mask(height: int, width: int, k: int) -> Tensor:
    return toeplitz.tap_counts(torch.zeros(1, 1, k, k, dtype=torch.float64), height, width)


@checker
def check_convolutions_2(answer: Places) -> Verdict:
    """Where tap (a, b) stands in T(w) (eq-conv-matrix): ``answer(a, b, height, width, k)``, a matrix of 0 and 1."""
    height, width, k = 3, 4, 3
    for a, b in ((0, 0), (2, 1), (1, 1), (1, 2)):
        got = tensor(run(answer, a, b, height, width, k), (12, 12), "The matrix")
        size, right = height * width, _places(a, b, height, width, k)
        offset = (a - k // 2) * width + b - k // 2
        across = _places(b, a, width, height, k).reshape(width, height, width, height)
        slips = {
            "still the stub, it gives zeros.": torch.zeros(size, size),
            "the whole diagonal, without gaps: at the end of a row a tap would look into the next one.":
                torch.ones(max(size - abs(offset), 0), dtype=torch.float64).diag(offset),
            "transposed: rows belong to output pixels, columns to the input pixels they see.": right.T,
            "pixels are numbered column by column; here it is row by row.": across.reshape(size, size),
            "rows and columns of the kernel have changed places: a is the row.": _places(b, a, height, width, k),
            "the edges are treated as if the image continued on the other side.": _around(a, b, height, width, k),
        }  # fmt: skip
        verdict = judge(got, right, slips, "", f"({a}, {b}): ")
        if not verdict.passed:
            return verdict
    return Verdict(True, "Right: tap (0, 0) stands W + 1 below the main diagonal, with a gap at each row's beginning.")


def _places(a: int, b: int, height: int, width: int, k: int) -> Tensor:
    kernel = torch.zeros(1, 1, k, k, dtype=torch.float64)
    kernel[0, 0, a, b] = 1.0
    return toeplitz.matrix(kernel, height, width)


def _around(a: int, b: int, height: int, width: int, k: int) -> Tensor:
    """The matrix of a tap with periodic edges."""
    units = torch.eye(height * width, dtype=torch.float64).reshape(-1, height, width)
    return units.roll((k // 2 - a, k // 2 - b), (1, 2)).reshape(height * width, -1).T


@checker
def check_convolutions_3(answer: Gradient) -> Verdict:
    """Half of δ ⋆ x + flip(r) ⊙ m (eq-conv-gradients): ``answer(delta, x, r)`` for one image, as (C, C, k, k)."""
    generator = torch.Generator().manual_seed(9)
    for k in (3, 5):
        delta, x = torch.randn(2, 2, 5, 4, dtype=torch.float64, generator=generator)
        r = torch.randn(2, 2, k, k, dtype=torch.float64, generator=generator)
        got = tensor(run(answer, delta, x, r), (2, 2, k, k), "The gradient")
        mask, pixels = _mask(5, 4, k), 20
        data = conv2d_weight(x[None], [2, 2, k, k], delta[None], padding=k // 2)  # δ ⋆ x
        log_det = toeplitz.flip(r) * mask
        slips = {
            "Still the stub, it gives zeros.": 0 * data,
            "The ½ is missing: each of the two likelihoods counts by half.": 2 * (data + log_det),
            "The log-determinant's part alone; δ ⋆ x is missing.": log_det,
            "The data alone; flip(r) ⊙ m is missing.": data,
            "The sign of the log-determinant's part is turned: w is to be made to stretch.": data - log_det,
            "The mask is missing: the sum over a tap's places has as many parts as there are places.":
                data + toeplitz.flip(r),
            "H·W for every tap ignores the edges; m knows them.": data + toeplitz.flip(r) * pixels,
            "r has yet to be flipped: T(r) is to be transposed.": data + r * mask,
            "Of r the channels have yet to be exchanged.": data + r.flip(2, 3) * mask,
            "Of r the taps have yet to be mirrored.": data + r.transpose(0, 1) * mask,
            "In δ ⋆ x the channels are the wrong way round: δ has the output's, x the input's.":
                data.transpose(0, 1) + log_det,
            "In δ ⋆ x the taps run backward: tap (0, 0) sees what is above and to the left.":
                data.flip(2, 3) + log_det,
            "This is x ⋆ δ: the two have changed places.": toeplitz.flip(data) + log_det,
            "In δ ⋆ x the pixels are averaged; they add up.": data / pixels + log_det,
        }  # fmt: skip
        where = "" if k == 3 else "Right for 3 by 3 taps. With 5 by 5: "
        halves = {words: wrong / 2 for words, wrong in slips.items()}
        verdict = judge(got, (data + log_det) / 2, halves, _PRAISE, where)
        if not verdict.passed:
            return verdict
    return verdict


_PRAISE = "Right. The layer does the same in two calls of a convolution, with the image as its kernel."
