"""Checkers of the chapter *Sampling*."""

from collections.abc import Callable

import torch
from torch import Tensor

from snf_book.exercises.verdict import Verdict, checker, judge, normal, run, tensor


@checker
def check_sampling_1(answer: Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]) -> Verdict:
    """The learned inverse of z = W x + b, refined by a number of passes (eq-refine).

    ``answer(R, W, b, z, passes)`` takes (D, D), (D, D), (D,), (D,) and a number; it gives x, (D,).
    """
    noise, b, z = normal(3, 3, seed=0), normal(4, 3, seed=0)[3], normal(5, 3, seed=0)[4]
    W = torch.eye(3).double() + 0.3 * noise
    R = torch.linalg.inv(W) @ (torch.eye(3).double() + 0.2 * noise.T)
    praise = "Right: a few products in place of a solve, as long as ‖E‖ is below 1."
    for passes in (0, 3):
        what = f"With {passes} passes it"
        got = tensor(run(answer, R, W, b, z, passes), (3,), what)
        slips = {
            "still the stub, it gives zeros.": torch.zeros_like(z),
            "g(z) without passes.": _refined(R, W, b, z, 0, R),
            "this is the exact inverse, by a solve; the passes are to do without one.": torch.linalg.solve(W, z - b),
            "the bias is missing; the latent is W x + b.": _refined(R, W, 0 * b, z, passes, R),
            "the correction has the wrong sign; it moves away.": _refined(R, W, b, z, passes, -R),
            "one pass too many.": _refined(R, W, b, z, passes + 1, R),
            "one pass too few; g(z) itself counts as none.": _refined(R, W, b, z, max(passes - 1, 0), R),
            "the residue of the latent is added as it is; R has to map it to x.":
                _refined(R, W, b, z, passes, torch.eye(3).double()),
        }  # fmt: skip
        verdict = judge(got, _refined(R, W, b, z, passes, R), slips, praise, f"With {passes} passes: ")
        if not verdict.passed:
            return verdict
    return verdict


def _refined(R: Tensor, W: Tensor, b: Tensor, z: Tensor, passes: int, step: Tensor) -> Tensor:
    x = R @ (z - b)
    for _ in range(passes):
        x = x + step @ (z - b - W @ x)
    return x


@checker
def check_sampling_2(answer: Callable[[Tensor, Tensor], Tensor]) -> Verdict:
    """The bound of the error of x from the errors of K layers (eq-compound).

    ``answer(own, stretch)`` takes the own errors and the stretches, (K,) each, latent side first; it gives a number.
    """
    own, stretch = normal(4, seed=0).abs(), 1 + normal(8, seed=0)[4:].abs()
    after = torch.stack([stretch[k + 1 :].prod() for k in range(4)])  # stretch of the layers between layer k and x
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
        "each error is stretched by all layers; those that come after it are enough.": own.sum() * stretch.prod(),
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
    """The mean of ‖E x‖² over x of a given mean and covariance (eq-error-directions).

    ``answer(E, mean, covariance)`` takes (D, D), (D,) and (D, D); it gives a number.
    """
    E, root, mean = normal(3, 3, seed=0), normal(6, 3, seed=0)[3:], normal(7, 3, seed=0)[6]
    C = root @ root.T
    spread, center = (E @ C @ E.T).trace(), (E @ mean).square().sum()
    wanted, size = spread + center, torch.linalg.matrix_norm(E, ord=2)
    slips = {
        "still the stub, it gives zero.": torch.zeros(()),
        "the mean's part is missing: E brings it off too.": spread,
        "this is the error of the mean x alone; the spread around it is missing.": center,
        "E stands the wrong way round: x is a column, E x.": (E.T @ C @ E).trace() + (E.T @ mean).square().sum(),
        "this is the worst case, as if every x lay along the worst direction.": size**2 * (C.trace() + mean @ mean),
        "the root of it; the mean of the squares is asked.": wanted.sqrt(),
        "all entries are added; only the diagonal holds squares.": (E @ C @ E.T).sum() + center,
        "this takes all directions for equally common.": E.square().sum() * (C.trace() + mean @ mean) / 3,
    }
    praise = "Right: two errors of one size ‖E‖ can cost the data quite different amounts."
    return judge(tensor(run(answer, E, mean, C), (), "The mean"), wanted, slips, praise)
