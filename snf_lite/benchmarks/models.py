"""The methods for whole models: flows of the package, and the same networks with plain torch layers as baselines."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from snf_lite import models
from snf_lite.benchmarks.layers import objective
from snf_lite.benchmarks.timing import Case, Method, TimedCall, UnavailableError
from snf_lite.beyond.tracked import TrackedLinear
from snf_lite.conv import SelfNormConv2d
from snf_lite.dense import SelfNormLinear
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.spline import RationalQuadraticSpline
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training.adam import adam
from snf_lite.training.loop.cuda_graph import WARM_UP, captured
from snf_lite.training.settings import TrainingConfig

#: Number of values of a pixel.
LEVELS = 256
#: Small enough that hundreds of steps leave the weights, and with them the operations, unchanged.
LEARNING_RATE = 1e-7


class PlainNetwork(nn.Module):
    """A chain of flow layers and plain torch layers; only the flow layers have log-determinants."""

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def loss(self, x: Tensor) -> Tensor:
        total = torch.zeros(len(x), device=x.device)
        for layer in self.layers:
            if isinstance(layer, FlowLayer):
                x, term, _ = layer.surrogate(x)
                total = total + term
            else:
                x = layer(x)
        return objective(x, total)


def plain_dense(case: Case) -> TimedCall:
    """The network of dense-selfnorm with torch.nn.Linear: no log-determinant of its dense layers."""
    return _training(case, lambda: PlainNetwork(_replaced("dense-selfnorm", case)))


def plain_conv(case: Case) -> TimedCall:
    """The network of conv-selfnorm with torch.nn.Conv2d and without its splines."""
    return _training(case, lambda: PlainNetwork(_replaced("conv-selfnorm", case, but=RationalQuadraticSpline)))


def plain_conv_splines(case: Case) -> TimedCall:
    """The network of conv-selfnorm with torch.nn.Conv2d and its splines: no log-determinant of its convolutions."""
    return _training(case, lambda: PlainNetwork(_replaced("conv-selfnorm", case)))


def _replaced(model: str, case: Case, but: type[FlowLayer] | tuple[()] = ()) -> list[nn.Module]:
    """The layers of a model except those of class ``but``, with plain torch layers for those with a learned inverse."""
    layers: list[nn.Module] = []
    for layer in models.build(model, case.event_shape, LEVELS).bijections:
        if isinstance(layer, SelfNormLinear):
            layers.append(nn.Linear(layer.features, layer.features))
        elif isinstance(layer, SelfNormConv2d):
            layers.append(nn.Conv2d(layer.channels, layer.channels, layer.kernel_size, padding=layer.padding))
        elif not isinstance(layer, but):
            layers.append(layer)
    return layers


def _model(name: str) -> Method:
    def step(case: Case) -> TimedCall:
        return _training(case, lambda: models.build(name, case.event_shape, LEVELS))

    step.__doc__ = f"snf.build({name!r}), as in training."
    return step


#: Other means by which a step is run: the end of the method's name → the end of its description.
MEANS = {
    "compiled": "with its loss compiled by torch.compile(fullgraph=True)",
    "graph": "replayed as one CUDA graph",
    "bf16": "with matrix products and convolutions in bf16",
}


def by(means: str, name: str, method: Method) -> Method:
    """The same step by other means, one of ``MEANS``."""

    def step(case: Case) -> TimedCall:
        return method(replace(case, means=means))

    step.__doc__ = f"{name}, {MEANS[means]}."
    return step


def _training(case: Case, make: Callable[[], PlainNetwork | Flow]) -> TimedCall:
    if case.means == "graph" and case.device.type != "cuda":
        raise UnavailableError(f"a CUDA graph needs a CUDA device, got {case.device}")
    network = case.fresh(make)
    with isolated_rng("cpu", case.seed, "bench pixels"):
        pixels = torch.randint(LEVELS, (case.batch, *case.event_shape), dtype=torch.uint8).to(case.device)
    optimizer = adam(list(network.parameters()), LEARNING_RATE, capturable=case.means == "graph")
    loss = _compile(network.loss, pixels) if case.means == "compiled" else network.loss
    precision = TrainingConfig(precision="bf16" if case.means == "bf16" else "float32")
    steps = max((layer.every for layer in network.modules() if isinstance(layer, TrackedLinear)), default=1)

    def run() -> None:
        for _ in range(steps):
            network.zero_grad()
            with precision.autocast(case.device):
                value = loss(pixels)
            value.backward()
            optimizer.step()
            if isinstance(network, Flow):
                network.after_step()

    call = TimedCall(run, (pixels, *network.parameters()), steps=steps, eager=case.means in ("eager", "bf16"))
    return replace(call, run=_graph(run)) if case.means == "graph" else call


def _graph(run: Callable[[], None]) -> Callable[[], None]:
    """The replay of a call, captured after calls that initialize libraries and the optimizer's state."""
    for _ in range(WARM_UP):
        run()
    try:
        return captured(run)
    except ValueError as error:
        raise UnavailableError(str(error)) from error


def _compile(loss: Callable[[Tensor], Tensor], pixels: Tensor) -> Callable[[Tensor], Tensor]:
    """The compiled loss, after a first call, which fails on a machine without a compiler."""
    compiled_loss: Callable[[Tensor], Tensor] = torch.compile(loss, fullgraph=True)
    try:
        compiled_loss(pixels).backward()
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise UnavailableError(f"torch.compile failed: {type(error).__name__}: {reason}") from error
    return compiled_loss


TABLES: dict[str, dict[str, Method]] = {
    "dense": {
        "plain": plain_dense,
        **{name: _model(name) for name in ("dense-selfnorm", "dense-tracked", "dense-exact", "dense-relative")},
    },
    "conv": {
        "plain": plain_conv,
        "plain-splines": plain_conv_splines,
        **{name: _model(name) for name in ("conv-selfnorm", "conv-unbiased", "conv-exact")},
    },
}
