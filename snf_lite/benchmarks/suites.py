"""The suites of ``bench``: their cases and methods. The first method of each table is the baseline."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from snf_lite.benchmarks import models, third_party
from snf_lite.benchmarks.layers import CONV, DENSE, dense_log_abs_det
from snf_lite.benchmarks.timing import Case, Comparison, Method, TimedCall
from snf_lite.conv import ExactConv2d, SelfNormConv2d
from snf_lite.dense import SelfNormLinear
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.linalg import toeplitz
from snf_lite.models import build
from snf_lite.runtime.rng import isolated_rng

Shape = tuple[int, ...]

FEATURES = (32, 64, 128, 256, 512, 1024, 2048, 4096)
CONV_SHAPES = ((1, 28, 28), (4, 14, 14), (16, 7, 7), (12, 16, 16))
LOG_DET_SHAPES = ((4, 14, 14), (12, 16, 16), (3, 32, 32))
SAMPLED = ((784,), (3072,), (1, 28, 28), (12, 16, 16), (48, 64, 64))
IMAGE = (1, 28, 28)


@dataclass(frozen=True)
class SuiteOptions:
    """Options of the command line; None leaves a suite its own sizes."""

    features: Sequence[int] | None = None
    shapes: Sequence[Shape] | None = None
    batches: Sequence[int] | None = None
    device: torch.device = torch.device("cpu")  # noqa: RUF009, a torch.device never changes
    seed: int = 0
    compiled: bool = False

    @property
    def means(self) -> list[str]:
        """The means besides eager mode by which whole models are run."""
        return ["compiled"] * self.compiled + ["graph", "bf16"] * (self.device.type == "cuda")

    def cases(self, suite: str, shapes: Iterable[Shape], batch: int, **rest: Any) -> list[Case]:
        """One case for each shape and batch size."""
        batches = self.batches or (batch,)
        return [Case(suite, s, b, **rest, device=self.device, seed=self.seed) for s in shapes for b in batches]


# ---- single layers ---------------------------------------------------------------------------------------------------


def dense_suite(options: SuiteOptions) -> list[Comparison]:
    """A training step of one dense layer, over D."""
    shapes = [(features,) for features in options.features or FEATURES]
    return [Comparison(case, {**DENSE, **third_party.DENSE}) for case in options.cases("dense", shapes, 128)]


def conv_suite(options: SuiteOptions) -> list[Comparison]:
    """A training step of one convolution: 3×3, and 1×1 for more than one channel."""
    shapes = options.shapes or CONV_SHAPES
    pointwise = {name: run for name, run in CONV.items() if name != "exact-dense"} | third_party.POINTWISE
    wide = [shape for shape in shapes if shape[0] > 1]
    return [Comparison(case, CONV) for case in options.cases("conv", shapes, 100, kernel_size=3)] + [
        Comparison(case, pointwise) for case in options.cases("conv", wide, 100, kernel_size=1)
    ]


def log_det_suite(options: SuiteOptions) -> list[Comparison]:
    """The exact log-determinant of a 3×3 convolution and its gradient, without a batch."""
    cases = replace(options, batches=None).cases("logdet", options.shapes or LOG_DET_SHAPES, 0, kernel_size=3)
    return [Comparison(case, LOG_DET) for case in cases]


def block_banded(case: Case) -> TimedCall:
    """toeplitz.log_abs_det in float64 for a kernel near the identity, as at initialization."""
    return _log_det_step(case, _fresh_kernel(case), toeplitz.log_abs_det)


def block_banded_gaussian(case: Case) -> TimedCall:
    """toeplitz.log_abs_det in float64 for a Gaussian kernel, for which elimination may need pivoting."""
    with isolated_rng("cpu", case.seed, "bench kernel"):
        kernel = torch.randn(case.event_shape[0], case.event_shape[0], 3, 3)
    return _log_det_step(case, kernel.to(case.device), toeplitz.log_abs_det)


def dense_matrix(case: Case) -> TimedCall:
    """slogdet of the dense matrix T(w) in float64, for the same kernel near the identity."""
    return _log_det_step(case, _fresh_kernel(case), dense_log_abs_det)


def _fresh_kernel(case: Case) -> Tensor:
    return case.fresh(lambda: ExactConv2d(case.event_shape[0], 3)).weight.detach()


def _log_det_step(case: Case, kernel: Tensor, log_abs_det: Callable[[Tensor, int, int], Tensor]) -> TimedCall:
    weight, (height, width) = kernel.requires_grad_(), case.event_shape[1:]
    return TimedCall(lambda: torch.autograd.grad(log_abs_det(weight, height, width), weight), (weight,))


LOG_DET: dict[str, Method] = {
    "block-banded": block_banded,
    "block-banded-gaussian": block_banded_gaussian,
    "dense-matrix": dense_matrix,
}


# ---- sampling --------------------------------------------------------------------------------------------------------


def sampling_suite(options: SuiteOptions) -> list[Comparison]:
    """From latents to samples, with the time per sample."""
    chosen: list[Shape] = [(features,) for features in options.features or ()]
    shapes = [*chosen, *(options.shapes or ())] or SAMPLED
    layers = options.cases("sampling", [s for s in shapes if len(s) == 1], 100)
    layers += options.cases("sampling", [s for s in shapes if len(s) == 3], 100, kernel_size=3)
    images = options.shapes or [IMAGE]
    flows = [
        case
        for model in ("dense-selfnorm", "conv-selfnorm")
        for case in options.cases("sampling", images, 100, model=model)
    ]
    return [Comparison(case, SAMPLING) for case in (*layers, *flows)]


def learned(case: Case) -> TimedCall:
    """The learned inverse of all samples in one pass."""
    return _sampling(case, case.batch, exact=False)


def learned_single(case: Case) -> TimedCall:
    """The learned inverse, one sample at a time."""
    return _sampling(case, 1, exact=False)


def exact(case: Case) -> TimedCall:
    """The exact inverse of all samples in one pass, with the cached factorization where one is used."""
    return _sampling(case, case.batch, exact=True)


def exact_fresh(case: Case) -> TimedCall:
    """The exact inverse of all samples in one pass, with a new factorization where one is used."""
    return _sampling(case, case.batch, exact=True, fresh=True)


def exact_single(case: Case) -> TimedCall:
    """The exact inverse, one sample at a time, with the cached factorization."""
    return _sampling(case, 1, exact=True)


def exact_single_fresh(case: Case) -> TimedCall:
    """The exact inverse, one sample at a time, with a new factorization for each."""
    return _sampling(case, 1, exact=True, fresh=True)


def _sampling(case: Case, count: int, exact: bool, fresh: bool = False) -> TimedCall:
    made = case.fresh(lambda: _sampled_module(case))
    z = case.inputs().detach()[:count].reshape(count, *(made.z_shape if isinstance(made, Flow) else case.event_shape))
    if exact:
        made.inverse(z, exact=True)  # fills the cache before the first round

    @torch.no_grad()
    def run() -> Tensor:
        if fresh:
            made.clear_cache()
        return made.inverse(z, exact=exact)

    return TimedCall(run, (z, *made.parameters()), per=count)


def _sampled_module(case: Case) -> Flow | FlowLayer:
    if case.model is not None:
        return build(case.model, case.event_shape, models.LEVELS)
    if case.kernel_size is not None:
        return SelfNormConv2d(case.event_shape[0], case.kernel_size)
    return SelfNormLinear(case.features)


SAMPLING: dict[str, Method] = {
    "learned": learned,
    "learned-single": learned_single,
    "exact": exact,
    "exact-fresh": exact_fresh,
    "exact-single": exact_single,
    "exact-single-fresh": exact_single_fresh,
}


# ---- whole models ----------------------------------------------------------------------------------------------------


def model_suite(options: SuiteOptions) -> list[Comparison]:
    """A whole training step over pixels: preprocessing, loss, backward pass, Adam; on a GPU also as graph, in bf16."""
    comparisons = []
    for kind, table in models.TABLES.items():
        faster = {f"{name}-{how}": models.by(how, name, run) for how in options.means for name, run in table.items()}
        cases = options.cases("models", options.shapes or [IMAGE], 100, model=kind)
        comparisons += [Comparison(case, {**table, **faster}) for case in cases]
    return comparisons


SUITES: dict[str, Callable[[SuiteOptions], list[Comparison]]] = {
    "dense": dense_suite,
    "conv": conv_suite,
    "logdet": log_det_suite,
    "sampling": sampling_suite,
    "models": model_suite,
}
