"""The layer table bites: each mutant of the package must turn it red.

A mutant is one wrong line, put into a copy of the package; the table's tests then run against the copy in a process of
their own, up to the first failure. A mutant that survives names a check that is missing.
"""

import multiprocessing
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

ROOT = Path(__file__).parents[1]
PROCESSES = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
if os.name == "posix":
    PROCESSES.set_forkserver_preload(["pytest", "torch"])


#: The table's tests, and those of single layers for what the table does not see: a fused pass, a bound, a norm.
TESTS = (
    "test_layers.py", "test_spline.py", "test_lu.py", "test_emerging.py", "test_exponential.py", "test_geco.py",
    "test_glow.py", "test_toeplitz.py", "test_prior_layers.py", "test_forks.py",
    "test_prior_determinants.py",
)  # fmt: skip


#: Rooms whose mistakes another room's tests find.
ELSEWHERE = (
    {"chain.py": "glow.py"}
    | dict.fromkeys(
        ("prior/bisection.py", "prior/bnaf.py", "prior/mixture_coupling.py", "prior/integer.py"), "prior_layers.py"
    )
    | dict.fromkeys(("prior/measures.py", "prior/sylvester.py"), "prior_determinants.py")
)


class Mutant(NamedTuple):
    """A wrong line in a room; ``finder`` names the tests that find it, where they are not the room's own."""

    room: str
    right: str
    wrong: str
    finder: str = ""


MUTANTS: dict[str, Mutant] = {
    # the gradients of the self-normalising layers
    "dense: sign of the log-det's gradient": Mutant("dense.py", "addcmul_(half, R.T)", "addcmul_(-half, R.T)"),
    "dense: R in place of its transpose": Mutant("dense.py", "addcmul_(half, R.T)", "addcmul_(half, R)"),
    "dense: missing half of the log-det": Mutant("dense.py", "half = 0.5 * grad", "half = 1.0 * grad"),
    "dense: missing half of the data term": Mutant("dense.py", "R.to(dtype), beta=0.5", "R.to(dtype), beta=1.0"),
    "dense: missing half of R's data term": Mutant("dense.py", "pull, grad_x, alpha=-0.5", "pull, grad_x, alpha=-1.0"),
    "dense: sign of R's log-det": Mutant("dense.py", "addcmul_(half, W, value=-1)", "addcmul_(half, W, value=1)"),
    "dense: missing 2 of the reconstruction": Mutant("dense.py", "(2 * grad_recon", "(1 * grad_recon"),
    "dense: bias leaks into Wx": Mutant("dense.py", "W.to(dtype).T\n        error", "W.to(dtype).T + b\n        error"),
    "dense: bias takes half": Mutant(
        "dense.py", "grad_W, grad_R, grad_z.sum(0)", "grad_W, grad_R, 0.5 * grad_z.sum(0)"
    ),
    "dense: input takes half": Mutant("dense.py", "grad_x = delta @ W", "grad_x = 0.5 * delta @ W"),
    "dense: learned inverse forgets the bias": Mutant(
        "dense.py", "linear(z - self.bias, self.inverse_weight)", "linear(z, self.inverse_weight)"
    ),
    "relative: multiplied from the left": Mutant("dense.py", "delta.T @ (code @ low)", "(delta @ low.T).T @ code"),
    "lu: no diagonal in the lower factor": Mutant(
        "lu.py", "grad_code = torch.addmm(delta, delta, lower.to(dtype))", "grad_code = delta @ lower.to(dtype)"
    ),
    "lu: lower factor's gradient transposed": Mutant("lu.py", "(delta.T @ code)", "(code.T @ delta)"),
    "lu: sign of log|det|": Mutant("lu.py", "return pivots.log().sum()", "return -pivots.log().sum()"),
    "lu: factors solved in the wrong order": Mutant(
        "lu.py",
        "(self.lower, (z - self.bias).mT, upper=False, unitriangular=True)",
        "(self.upper, (z - self.bias).mT, upper=True)",
    ),
    "conv: sign of the log-det's gradient": Mutant(
        "conv.py", "addcmul_(counts, r_mirrored)", "sub_(counts * r_mirrored)"
    ),
    "conv: missing flip": Mutant("conv.py", "addcmul_(counts, r_mirrored)", "addcmul_(counts, r)"),
    "conv: missing half": Mutant("conv.py", "counts = 0.5 * grad", "counts = 1.0 * grad"),
    "conv: taps of the padding counted": Mutant("toeplitz.py", "(height - offsets)", "(height - 0 * offsets)"),
    "conv: flip without the channels": Mutant("toeplitz.py", "weight.transpose(0, 1).flip(2, 3)", "weight.flip(2, 3)"),
    "conv: flip of one axis": Mutant("toeplitz.py", ".flip(2, 3)", ".flip(2)"),
    "emerging: channels see all channels": Mutant("emerging.py", "mask[:, :, -1, -1].tril_()", "mask[:, :, -1, -1]"),
    "emerging: flipped one masked like the other": Mutant(
        "emerging.py", "torch.where(flipped, self.f", "torch.where(self.mask, self.f"
    ),
    "emerging: flipped one looks the same way": Mutant(
        "emerging.py", "(flipped, (p, 0, p, 0))", "(flipped, (0, p, 0, p))"
    ),
    "emerging: one diagonal counted twice": Mutant(
        "emerging.py", "self.flipped_weight[:, :, 0, 0]]", "self.weight[:, :, -1, -1]]"
    ),
    "emerging: log-det of one row": Mutant("emerging.py", "height * width * diagonals", "width * diagonals"),
    "emerging: a NaN gets past the mask": Mutant(
        "emerging.py", "torch.where(self.mask, self.weight, 0.0)", "self.mask * self.weight"
    ),
    "emerging: rows above forgotten": Mutant("emerging.py", "row - earlier @ matrix.mT", "row"),
    "emerging: rows above from the top": Mutant("emerging.py", "zip(above, reversed(found)", "zip(above, found"),
    "emerging: channels not turned in the inverse": Mutant(
        "emerging.py", "turned).flip(1, 2, 3)", "turned).flip(2, 3)"
    ),
    "emerging: a zero tap is let through": Mutant("linalg.py", "(sizes > 0) &", "(sizes >= 0) &", "test_emerging.py"),
    "exponential: no factorial": Mutant("exponential.py", "kernel / n)", "kernel)"),
    "exponential: inverse by the same exponential": Mutant(
        "exponential.py", "-kernel, self.terms_needed", "kernel, self.terms_needed"
    ),
    "exponential: sign of the trace": Mutant(
        "exponential.py", "return height * width * kernel", "return -height * width * kernel"
    ),
    "exponential: trace of the first tap": Mutant("exponential.py", "centre = kernel.shape[-1] // 2", "centre = 0"),
    "exponential: training's terms everywhere": Mutant(
        "exponential.py", "self._map(x, kernel, self.terms_needed(kernel))", "self._map(x, kernel, 6)"
    ),
    "exponential: weight not scaled": Mutant("exponential.py", "return self.weight * (", "return self.weight + 0 * ("),
    "exponential: small weights scaled up": Mutant("exponential.py", ".clamp_min(self.coefficient))", ")"),
    "exponential: norm without a gradient": Mutant(
        "exponential.py", "self.spectral_norm().clamp", "self.spectral_norm().detach().clamp"
    ),
    "exponential: power iteration without the transposed": Mutant(
        "exponential.py", "convolve(self.left, toeplitz.flip(self.weight))", "convolve(self.left, self.weight)"
    ),
    "exponential: bound at the frequencies alone": Mutant(
        "exponential.py", "return largest / math.cos(math.pi * degree / angles) ** 2", "return largest"
    ),
    "exponential: bound of one axis": Mutant("exponential.py", "degree / angles) ** 2", "degree / angles)"),
    "exponential: remainder relative to x": Mutant("exponential.py", "REMAINDER * math.exp(-norm)", "REMAINDER"),
    "exponential: only the first term left out": Mutant("exponential.py", "first / (1 - norm / (terms + 2))", "first"),
    "exponential: stale bound": Mutant("exponential.py", "self._bound.get(kernel,", "self._bound.get(kernel * 0,"),
    # log-determinants, inverses and what is remembered of them
    "linear: sign of log|det|": Mutant("linalg.py", ".abs().log().sum(-1), lu", ".abs().log().sum(-1).neg(), lu"),
    "linear: gradient is the inverse, not transposed": Mutant(
        "linalg.py", "left=False, adjoint=True", "left=False, adjoint=False"
    ),
    "linear: stale remembered factorisation": Mutant(
        "linalg.py", "or not _same_numbers(self._weight, weight)", "or self._weight is None"
    ),
    "toeplitz: first block forgotten": Mutant(
        "cyclic.py", "= self.pivot.log_abs_det + self", "= 0 * self.pivot.log_abs_det + self"
    ),
    "toeplitz: one eliminated row counted": Mutant("cyclic.py", "self.count * self.pivot.log", "self.pivot.log"),
    "toeplitz: sign of the gradient": Mutant("toeplitz.py", "None, None] * gradients", "None, None] * -gradients"),
    "toeplitz: gradient without the eliminated": Mutant(
        "cyclic.py", "Rows(D + gone, E, left_U", "Rows(D, E, left_U", "test_toeplitz.py"
    ),
    "toeplitz: safeguard left out": Mutant("toeplitz.py", "RESIDUAL_BOUND = 1e-11", "RESIDUAL_BOUND = 1e300"),
    "toeplitz: mirrored columns": Mutant("banded.py", ".flip(-4, -3)", ".flip(-4)"),
    "toeplitz: 1×1 counts one pixel": Mutant("toeplitz.py", "return height * width * linalg", "return height * linalg"),
    "leaky: slope of the other side": Mutant(
        "activations.py", "(1 - self.alpha) * sigmoid(x)", "(1 - self.alpha) * sigmoid(-x)"
    ),
    "leaky: log-det doubled": Mutant(
        "activations.py", "self.slope(x).log().flatten(1).sum(1)", "2 * self.slope(x).log().flatten(1).sum(1)"
    ),
    "leaky: one Newton step": Mutant("activations.py", "self.newton(z, self.newton_steps)", "self.newton(z, 1)"),
    "spline: factor of the log-slope": Mutant("spline.py", "2 * mean.log()", "mean.log()"),
    "spline: no tails": Mutant("spline.py", "torch.where(inside, log_slope, 0.0)", "log_slope"),
    "spline: other root": Mutant("spline.py", "(-2 * c / (b + root))", "(-2 * c / (b - root))"),
    "spline: fused log-slope with its sign turned": Mutant("spline.py", "slope.log().mul_", "slope.log().neg_().mul_"),
    "spline: fused pass without tails": Mutant(
        "spline.py", "grad_x = torch.sub(grad_z, inner_z).add_", "grad_x = 0 + "
    ),
    "spline: fused gradients beyond the bound": Mutant(
        "spline.py", "inside * grad_log_det[:, None]", "0 * inside + grad_log_det[:, None]"
    ),
    "spline: fused log-slope's gradient halved": Mutant("spline.py", "add_(log_slope, alpha=2)", "add_(log_slope)"),
    "spline: sign of the fused gradient of x0": Mutant(
        "spline.py", "factors[0], factors[2] = -1, 1", "factors[0], factors[2] = 1, 1"
    ),
    "spline: fused sums in the wrong bin": Mutant(
        "spline.py", "pad(beyond[:, 1:], (0, 0, 0, 1))", "pad(beyond[:, :-1], (0, 0, 1, 0))"
    ),
    "spline: fused gradients for all bins beyond": Mutant(
        "spline.py", "return beyond - pad(beyond[:, 1:], (0, 0, 0, 1))", "return beyond"
    ),
    "spline: fused heights without the log-slope": Mutant(
        "spline.py", "torch.mul(tall, part, out=to_height).add_(grad_log)", "torch.mul(tall, part, out=to_height)"
    ),
    "spline: fused slopes exchanged": Mutant("spline.py", "d0, d1 = numbers.unbind(0)", "d1, d0 = numbers.unbind(0)"),
    "spline: axes of the parameters as if channels came first": Mutant(
        "spline.py", "self._table(_axes_in_memory(x))", "self._table(list(range(x.dim() - 1)))"
    ),
    "dequantise: one number an event": Mutant("images.py", "-math.prod(x.shape[1:]) * math", "-math"),
    "logit: missing term": Mutant("images.py", "math.log(squeeze) - log_p - log_q", "-log_p - log_q"),
    "logit: sign": Mutant("images.py", "math.log(squeeze) - log_p - log_q", "log_p + log_q - math.log(squeeze)"),
    "actnorm: sign of the log-det": Mutant("glow.py", "* self.log_scale.sum())", "* -self.log_scale.sum())"),
    "actnorm: one pixel counted": Mutant("glow.py", "(math.prod(x.shape[2:]) * self.log", "(1 * self.log"),
    "actnorm: shift not scaled": Mutant("glow.py", "self._placed(scale * self.bias, x)", "self._placed(self.bias, x)"),
    "actnorm: starts at the mean with its sign turned": Mutant(
        "glow.py", "copy_(-numbers.mean(1))", "copy_(numbers.mean(1))"
    ),
    "actnorm: starts with the deviation itself": Mutant("glow.py", "copy_(-torch.where(", "copy_(torch.where("),
    "actnorm: infinite scale of what does not vary": Mutant("glow.py", "deviations > NO_DEVIATION", "deviations > -1"),
    "coupling: log-det without the 2": Mutant(
        "glow.py", "log_scale.sum((1, 2, 3))\n\n    def inv", "log_scale.sum((1, 2, 3)) / 2\n\n    def inv"
    ),
    "coupling: sign of the log-det": Mutant("glow.py", "1), log_scale.sum((1, 2, 3))", "1), -log_scale.sum((1, 2, 3))"),
    "coupling: scale of half its range": Mutant(
        "glow.py", "return 2 * torch.tanh(h / 2), shift", "return torch.tanh(h / 2), shift"
    ),
    "coupling: shifted after scaling": Mutant(
        "glow.py", "log_scale.exp() * (others + shift)", "log_scale.exp() * others + shift"
    ),
    "coupling: the net sees the half that it changes": Mutant(
        "glow.py", "x[:, : self.given], x[:, self.given :]", "x[:, self.changed :], x[:, : self.changed]"
    ),
    "coupling: zeros shared by two parameters": Mutant(
        "glow.py",
        "self.log_scale = nn.Parameter(torch.zeros(outputs))",
        "self.log_scale = nn.Parameter(self.bias.data)",
    ),
    "coupling: end of the net scaled by exp(l)": Mutant(
        "glow.py", "(3 * self.log_scale).exp()", "self.log_scale.exp()"
    ),
    "coupling: bias left unscaled": Mutant("glow.py", "scale * self.bias, padding=1", "self.bias, padding=1"),
    "split: sign of the prior's log-det": Mutant(
        "glow.py", "(-log_deviation).exp(), -log_deviation.sum", "(-log_deviation).exp(), log_deviation.sum"
    ),
    "split: multiplied by σ": Mutant("glow.py", "- mean) * (-log_deviation).exp()", "- mean) * log_deviation.exp()"),
    "split: mean added": Mutant("glow.py", "(others - mean) *", "(others + mean) *"),
    "split: log-det of the layers left out": Mutant("glow.py", "1), inner + log_det\n", "1), 0 * inner + log_det\n"),
    "split: term of the layers left out": Mutant("glow.py", "inner + log_det, penalty", "0 * inner + log_det, penalty"),
    "split: penalties dropped": Mutant("glow.py", "inner + log_det, penalty", "inner + log_det, None"),
    "split: halves exchanged in the code": Mutant(
        "glow.py",
        "torch.cat([z.flatten(1), residue.flatten(1)], 1), inner + log_det\n",
        "torch.cat([residue.flatten(1), z.flatten(1)], 1), inner + log_det\n",
    ),
    "split: the layers inverted exactly always": Mutant(
        "glow.py", "self._inner_shape(shape)), exact)", "self._inner_shape(shape)), True)"
    ),
    "split: layers initialised from the other half": Mutant(
        "glow.py", "self.prepare(self.halves(x)[0]", "self.prepare(self.halves(x)[1]"
    ),
    "row: layers initialised from the flow's input": Mutant(
        "chain.py", "            if index:\n", "            if False:\n"
    ),
    "row: penalties overwritten": Mutant("chain.py", "cost if penalty is None else penalty + cost", "cost"),
    "row: layers not adapted": Mutant("chain.py", "layer.adapt()", "layer"),
    "row: layers remember": Mutant("chain.py", "layer.forget()", "layer"),
    "row: labels without those around": Mutant("chain.py", 'f"{prefix}layers[', 'f"layers['),
    "orthogonal: R as W itself": Mutant("glow.py", "copy_(toeplitz.flip(layer.weight))", "copy_(layer.weight)"),
    "orthogonal: added to the identity": Mutant(
        "glow.py", "noise = layer.weight - identity if", "noise = layer.weight if"
    ),
    "geco: sign": Mutant("geco.py", "(RATE * above).exp()", "(-RATE * above).exp()"),
    "geco: without the tolerance": Mutant("geco.py", "self.average / self.tolerance - 1", "self.average"),
    "geco: the latest error in place of the average": Mutant(
        "geco.py", "lerp_(self.latest, 1 - DECAY)", "copy_(self.latest)"
    ),
    "geco: average decays too fast": Mutant("geco.py", "self.latest, 1 - DECAY", "self.latest, DECAY"),
    "geco: λ without a bound": Mutant("geco.py", ".clamp_(self.start / FURTHEST, self.start * FURTHEST)", ""),
    "geco: unbounded step": Mutant("geco.py", ".clamp_max(1.0)", ""),
    "geco: λ squared": Mutant("geco.py", "return self.weight * errors", "return self.weight.square() * errors"),
    "geco: average forgotten by checkpoints": Mutant(
        "geco.py",
        '"average", torch.tensor(self.tolerance))',
        '"average", torch.tensor(self.tolerance), persistent=False)',
    ),
    "geco: a sum over the batch": Mutant("geco.py", "errors.detach().mean()", "errors.detach().sum()"),
    "geco: convolutions not adapted": Mutant("conv.py", "self.adapted.adapt()", "self.adapted", "test_geco.py"),
    "bisection: the wrong half kept": Mutant("prior/bisection.py", "value(middle) < wanted", "value(middle) > wanted"),
    "bisection: roots without a gradient": Mutant("prior/bisection.py", "for _ in range(2):", "for _ in range(0):"),
    "bnaf: groups see those behind them": Mutant(
        "prior/bnaf.py", "torch.ones(dim, dim).tril(-1)", "torch.ones(dim, dim)"
    ),
    "bnaf: diagonal blocks of any sign": Mutant(
        "prior/bnaf.py", "self.weight, 0.0).exp(), lower)", "self.weight, 0.0), lower)"
    ),
    "bnaf: rows not normalised in the log-det": Mutant(
        "prior/bnaf.py", "(self.weight + log_factor[:, None])", "(self.weight + self.log_scale[:, None])"
    ),
    "bnaf: slope of tanh not squared": Mutant(
        "prior/bnaf.py", "return 2 * (math.log(2) - h", "return 1 * (math.log(2) - h"
    ),
    "bnaf: gate's shares exchanged": Mutant(
        "prior/bnaf.py", "share.exp() * f + rest.exp() * x", "rest.exp() * f + share.exp() * x"
    ),
    "bnaf: bracket without the bias": Mutant("prior/bnaf.py", ".sum(1) + last.bias.abs())", ".sum(1))"),
    "mixture: slope of the CDF alone": Mutant(
        "prior/mixture_coupling.py", "log_density - log_cdf - log_rest", "log_density"
    ),
    "mixture: density without the scales": Mutant(
        "prior/mixture_coupling.py", "below + above - self.log_scales", "below + above"
    ),
    "mixture: log-det without the scale behind": Mutant(
        "prior/mixture_coupling.py", "(log_slope + log_scale)", "(log_slope + 0 * log_scale)"
    ),
    "mixture: bracket of one component": Mutant(
        "prior/mixture_coupling.py", "roots.amin(-1), roots.amax(-1)", "roots[..., 0] - 1, roots[..., 0] + 1"
    ),
    "mixture: fresh components alike": Mutant("prior/mixture_coupling.py", "FIRST_MEANS = 2.0", "FIRST_MEANS = 0.0"),
    "integer: bin of twice the width": Mutant("prior/integer.py", "(n + 0.5 - mean)", "(n + 1.5 - mean)"),
    "integer: translations not rounded": Mutant("prior/integer.py", "(t.round() - t).detach()", "0 * t"),
    "integer: rounding stops the gradient": Mutant(
        "prior/integer.py", "t + (t.round() - t).detach()", "t.round().detach()"
    ),
    "integer: couplings undone in their own order": Mutant(
        "prior/integer.py", "in reversed(self.couplings)", "in self.couplings"
    ),
    "integer: mass of one number outside alone": Mutant("prior/integer.py", "(x < 0) | (x >= self.levels)", "(x < 0)"),
    "squeeze: rows and columns exchanged on the way back": Mutant(
        "images.py", "permute(0, 1, 4, 2, 5, 3)", "permute(0, 1, 4, 3, 5, 2)"
    ),
    # rules for a log-determinant, and the layer on one of them
    "diagonal: matrices with both sides let through": Mutant("prior/measures.py", "if wrong:", "if False:"),
    "diagonal: sign inside the logarithm": Mutant(
        "prior/measures.py", "jacobian.diagonal(dim1=1, dim2=2).abs().log()", "jacobian.diagonal(dim1=1, dim2=2).log()"
    ),
    "low rank: a factor transposed": Mutant("prior/measures.py", "v.mT @ u", "u.mT @ u"),
    "series: all terms of one sign": Mutant("prior/measures.py", "(-1) ** (k + 1) / k", "1 / k"),
    "series: terms not divided": Mutant("prior/measures.py", "(-1) ** (k + 1) / k", "(-1) ** (k + 1)"),
    "series: bound of one term more": Mutant(
        "prior/measures.py", "norm ** (terms + 1) / ((terms", "norm ** (terms + 2) / ((terms"
    ),
    "series: bound of one term": Mutant("prior/measures.py", "* (1 - norm))", "* 1)"),
    "series: bound of one coordinate": Mutant("prior/measures.py", "return features * norm", "return norm"),
    "claim: its error with its sign": Mutant(
        "prior/measures.py", "(jacobian).logabsdet).abs().max()", "(jacobian).logabsdet).max()"
    ),
    "sylvester: slope of the code in place of the tanh's": Mutant(
        "prior/sylvester.py", "(1 - bent.square()) * diagonal", "bent.square() * diagonal"
    ),
    "sylvester: one triangle's diagonal": Mutant("prior/sylvester.py", "tanh().prod(0)", "tanh()[0]"),
    "sylvester: directions that are not orthonormal": Mutant(
        "prior/sylvester.py", "torch.linalg.qr(self.free).Q", "self.free"
    ),
    # what a fork compares
    "fork: exact volume twice over": Mutant("forks.py", "- 0.5 * sum(turns)", "- 1.0 * sum(turns)"),
    "fork: λ as it was": Mutant("forks.py", "*= branch.factor", "*= 1"),
    "fork: exact branch follows the stand-in": Mutant("forks.py", "-flow.log_prob(x).mean()", "flow.loss(x)"),
    "fork: sum in place of the error": Mutant(
        "diagnose.py", "(guess - exact).norm()", "(guess + exact).norm()", "test_forks.py"
    ),
}


def run_table(folder: Path, room: str = "", finder: str = "") -> int:
    """Pytest's exit status of the table's tests against the package in ``folder``, up to the first failure.

    The ``finder``, or else what concerns the mutated room, comes first, the sooner to find what is wrong in it. Slow
    tests are left out.

    The process comes from a server that has imported torch already, which is most of what such a run would cost.
    """
    process = PROCESSES.Process(target=_table_in_this_process, args=(folder, room, finder))
    process.start()
    process.join(timeout=300)
    assert process.exitcode is not None, f"the table's tests are still running after 300 s in {folder}"
    return process.exitcode


def _table_in_this_process(folder: Path, room: str, finder: str) -> None:
    os.chdir(folder)
    sys.path[:0] = [str(folder), str(folder / "tests")]
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the table needs none, and loading them takes a second
    torch.set_num_threads(1)
    options = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder)]
    own = finder or f"test_{ELSEWHERE.get(room, room)}"
    first = own if own in TESTS else TESTS[0]
    for names in ([first], [name for name in TESTS if name != first]):  # most are found by the first: spare the rest
        status = pytest.main([*options, *(str(folder / "tests" / name) for name in names)], [Nearest(room)])
        if status != pytest.ExitCode.OK:
            sys.exit(status)
    sys.exit(pytest.ExitCode.OK)


class Nearest:
    """A plugin that puts first the tests of the table's layers from a room."""

    def __init__(self, room: str) -> None:
        self.room = room.removesuffix(".py").replace("/", ".")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        from layer_table import CASES  # the copy's, which can be imported only in its process

        near = {name for name, case in CASES.items() if type(case.make()).__module__.endswith(f".{self.room}")}
        items.sort(key=lambda item: params(item).get("name") not in near)


def params(item: pytest.Item) -> dict[str, Any]:
    """What a test is run with."""
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def copy_package(folder: Path) -> None:
    shutil.copytree(ROOT / "snf_lite", folder / "snf_lite", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    for name in ("layer_table.py", "small_models.py", *TESTS):
        shutil.copy(ROOT / "tests" / name, folder / "tests" / name)
    # the copy, not the installed package, must be what the table sees
    (folder / "tests" / "conftest.py").write_text(
        "import pathlib, hypothesis, snf_lite\n"
        "found_is_enough = [hypothesis.Phase.explicit, hypothesis.Phase.generate]\n"  # no search for a smaller example
        "hypothesis.settings.register_profile('mutant', phases=found_is_enough)\n"
        "hypothesis.settings.load_profile('mutant')\n"
        "assert pathlib.Path(snf_lite.__file__).parents[1] == pathlib.Path(__file__).parents[1]\n"
    , "utf-8")


@pytest.mark.parametrize("name", MUTANTS)
def test_the_table_catches(name: str, tmp_path: Path) -> None:
    mutant = MUTANTS[name]
    copy_package(tmp_path)
    room = tmp_path / "snf_lite" / mutant.room
    source = room.read_text("utf-8")
    assert mutant.right in source, f"{mutant.room} no longer holds {mutant.right!r}: bring this mutant up to date"
    room.write_text(source.replace(mutant.right, mutant.wrong), "utf-8")
    status = run_table(tmp_path, mutant.room, mutant.finder)
    log = (tmp_path / "log").read_text("utf-8")
    assert status == pytest.ExitCode.TESTS_FAILED, f"the table stays green (pytest's exit {status}):\n{log[-2000:]}"
    assert "1 failed" in log.splitlines()[-1]


def test_the_table_is_green_without_a_mutant(tmp_path: Path) -> None:
    copy_package(tmp_path)
    assert run_table(tmp_path) == pytest.ExitCode.OK, (tmp_path / "log").read_text("utf-8")[-2000:]
