"""Who runs in the races of whole models: the package's flows, and the same nets of torch's own layers as the floor."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from snf_lite import models
from snf_lite.benchmarks.layers import objective
from snf_lite.benchmarks.timing import Case, Method, TimedCall, UnavailableError
from snf_lite.conv import SelfNormConv2d
from snf_lite.dense import SelfNormLinear
from snf_lite.flow import Flow
from snf_lite.layer import FlowLayer
from snf_lite.layers.spline import RationalQuadraticSpline
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training.adam import adam

#: How many values a pixel takes.
LEVELS = 256
#: So small that hundreds of steps leave the weights, and with them the work, as they were.
LEARNING_RATE = 1e-7


class PlainNet(nn.Module):
    """Flow layers and ordinary ones in a row; only the flow layers have log-determinants."""

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
    """The net of dense-selfnorm with torch.nn.Linear: no log-determinant of its dense layers."""
    return _training(case, lambda: PlainNet(_replaced("dense-selfnorm", case)))


def plain_conv(case: Case) -> TimedCall:
    """The net of conv-selfnorm with torch.nn.Conv2d and without its splines."""
    return _training(case, lambda: PlainNet(_replaced("conv-selfnorm", case, but=RationalQuadraticSpline)))


def plain_conv_splines(case: Case) -> TimedCall:
    """The net of conv-selfnorm with torch.nn.Conv2d, splines included: no log-determinant of its convolutions."""
    return _training(case, lambda: PlainNet(_replaced("conv-selfnorm", case)))


def _replaced(model: str, case: Case, but: type[FlowLayer] | tuple[()] = ()) -> list[nn.Module]:
    """A model's layers but for those of class ``but``; in place of each that learns its inverse one of torch's own."""
    chain = models.build(model, case.event_shape, LEVELS).chain()
    return [_ordinary(layer) for layer in chain if not isinstance(layer, but)]


def _ordinary(layer: FlowLayer) -> nn.Module:
    if isinstance(layer, SelfNormLinear):
        return nn.Linear(layer.features, layer.features)
    if isinstance(layer, SelfNormConv2d):
        return nn.Conv2d(layer.channels, layer.channels, layer.kernel_size, padding=layer.padding)
    return layer


def _model(name: str) -> Method:
    def step(case: Case) -> TimedCall:
        return _training(case, lambda: models.build(name, case.event_shape, LEVELS))

    step.__doc__ = f"snf.build({name!r}), as train trains it."
    return step


def compiled(name: str, contender: Method) -> Method:
    """The same step with its loss through torch.compile, without graph breaks."""

    def step(case: Case) -> TimedCall:
        return contender(replace(case, compiled=True))

    step.__doc__ = f"{name}, its loss through torch.compile(fullgraph=True)."
    return step


def _training(case: Case, make: Callable[[], PlainNet | Flow]) -> TimedCall:
    net = case.fresh(make)
    with isolated_rng("cpu", case.seed, "bench pixels"):
        pixels = torch.randint(LEVELS, (case.batch, *case.event_shape), dtype=torch.uint8).to(case.device)
    optimiser = adam(list(net.parameters()), LEARNING_RATE)
    loss = _compile(net.loss, pixels) if case.compiled else net.loss

    def run() -> None:
        net.zero_grad()
        loss(pixels).backward()
        optimiser.step()

    return TimedCall(run, (pixels, *net.parameters()), eager=not case.compiled)


def _compile(loss: Callable[[Tensor], Tensor], pixels: Tensor) -> Callable[[Tensor], Tensor]:
    """The compiled loss, after its first call: a machine without a compiler finds out here."""
    faster: Callable[[Tensor], Tensor] = torch.compile(loss, fullgraph=True)
    try:
        faster(pixels).backward()
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise UnavailableError(f"torch.compile failed: {type(error).__name__}: {reason}") from error
    return faster


TABLES: dict[str, dict[str, Method]] = {
    "dense": {
        "plain": plain_dense,
        **{name: _model(name) for name in ("dense-selfnorm", "dense-exact", "dense-relative")},
    },
    "conv": {
        "plain": plain_conv,
        "plain-splines": plain_conv_splines,
        **{name: _model(name) for name in ("conv-selfnorm", "conv-exact")},
    },
}
