"""Checkers of the chapter *Sampling*."""

from collections.abc import Callable

import torch
from torch import Tensor

from snf_book.exercises.verdict import Verdict, checker, judge, run, tensor


def _drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@checker
def check_sampling_1(answer: Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]) -> Verdict:
    """The learned way back through z = W x + b, mended by a number of passes (eq-refine).

    ``answer(R, W, b, z, passes)`` takes (D, D), (D, D), (D,), (D,) and a number; it gives the event, (D,).
    """
    noise, b, z = _drawn(3, 3), _drawn(4, 3)[3], _drawn(5, 3)[4]
    W = torch.eye(3).double() + 0.3 * noise
    R = torch.linalg.inv(W) @ (torch.eye(3).double() + 0.2 * noise.T)
    praise = "Right: a few products in place of a solve, as long as ‖E‖ is below 1."
    for passes in (0, 3):
        what = f"With {passes} passes it"
        got = tensor(run(answer, R, W, b, z, passes), (3,), what)
        slips = _refine_slips(R, W, b, z, passes)
        verdict = judge(got, _refined(R, W, b, z, passes), slips, praise, f"With {passes} passes: ")
        if not verdict.passed:
            return verdict
    return verdict


def _refined(R: Tensor, W: Tensor, b: Tensor, z: Tensor, passes: int, sign: float = 1.0) -> Tensor:
    x = R @ (z - b)
    for _ in range(passes):
        x = x + sign * R @ (z - b - W @ x)
    return x


def _refine_slips(R: Tensor, W: Tensor, b: Tensor, z: Tensor, passes: int) -> dict[str, Tensor]:
    exact = torch.linalg.solve(W, z - b)
    slips = {
        "still the stub, it gives zeros.": torch.zeros_like(z),
        "g(z) without passes.": _refined(R, W, b, z, 0),
        "this is the exact event, by a solve; the passes are to do without one.": exact,
        "the bias is missing; the code is W x + b.": _refined(R, W, 0 * b, z, passes),
        "the correction has the wrong sign; it moves away.": _refined(R, W, b, z, passes, -1.0),
        "one pass too many.": _refined(R, W, b, z, passes + 1),
        "one pass too few; g(z) itself counts as none.": _refined(R, W, b, z, max(passes - 1, 0)),
        "the residue of the code is added as it is; R has to bring it back to the event.": _unprepared(
            R, W, b, z, passes
        ),
    }
    return slips


def _unprepared(R: Tensor, W: Tensor, b: Tensor, z: Tensor, passes: int) -> Tensor:
    x = R @ (z - b)
    for _ in range(passes):
        x = x + (z - b - W @ x)
    return x


@checker
def check_sampling_2(answer: Callable[[Tensor, Tensor], Tensor]) -> Verdict:
    """The most that errors of K layers in a row can come to at the event (eq-compound).

    ``answer(own, stretch)`` takes the own errors and the stretches, (K,) each, code side first; it gives a number.
    """
    own, stretch = _drawn(4).abs(), 1 + _drawn(8)[4:].abs()
    after = torch.stack([stretch[k + 1 :].prod() for k in range(4)])  # what still lies between layer k and the event
    wanted = (own * after).sum()
    slips = {
        "still the stub, it gives zero.": torch.zeros(()),
        "the errors are added as if no layer stretched them.": own.sum(),
        "a layer's own error is stretched by the layer itself; it arises behind that stretch.": (
            own * after * stretch
        ).sum(),
        "each error is stretched by the layers before it; it travels on through those that come after.": (
            own * torch.stack([stretch[:k].prod() for k in range(4)])
        ).sum(),
        "each error is stretched by all layers; those it has not met yet are enough.": own.sum() * stretch.prod(),
        "only the last layer's error; those of the layers before are carried along.": own[-1],
        "only the first layer's error; each layer adds its own.": (own * after)[0],
        "the squares are added; norms need not be at right angles, so the bound adds the norms.": (
            (own * after).square().sum().sqrt()
        ),
    }
    praise = "Right: an early error is stretched by all that follows."
    return judge(tensor(run(answer, own, stretch), (), "The bound"), wanted, slips, praise)


@checker
def check_sampling_3(answer: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Verdict:
    """The mean of ‖E x‖² over events of a given mean and covariance (eq-error-directions).

    ``answer(E, mean, covariance)`` takes (D, D), (D,) and (D, D); it gives a number.
    """
    E, root, mean = _drawn(3, 3), _drawn(6, 3)[3:], _drawn(7, 3)[6]
    C = root @ root.T
    spread, centre = (E @ C @ E.T).trace(), (E @ mean).square().sum()
    wanted, size = spread + centre, torch.linalg.matrix_norm(E, ord=2)
    slips = {
        "still the stub, it gives zero.": torch.zeros(()),
        "the mean's part is missing: E brings it off too.": spread,
        "this is the error of the mean event alone; the spread around it is missing.": centre,
        "E stands the wrong way round: events are columns, E x.": (E.T @ C @ E).trace() + (E.T @ mean).square().sum(),
        "this is the worst case, as if all events lay along the worst direction.": size**2 * (C.trace() + mean @ mean),
        "the root of it; the mean of the squares is asked.": wanted.sqrt(),
        "all entries are added; only the diagonal holds squares.": (E @ C @ E.T).sum() + centre,
        "this takes all directions for equally common.": E.square().sum() * (C.trace() + mean @ mean) / 3,
    }
    praise = "Right: two errors of one size ‖E‖ can cost the data quite different amounts."
    return judge(tensor(run(answer, E, mean, C), (), "The mean"), wanted, slips, praise)
