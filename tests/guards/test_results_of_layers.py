"""A layer that returns something else than it promises is refused by name, in every pass."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import snf_lite as snf

PASSES: dict[str, Callable[[snf.Flow, Tensor], object]] = {
    "forward": lambda flow, x: flow(x),
    "log_prob": lambda flow, x: flow.log_prob(x),
    "loss": lambda flow, x: flow.loss(x),
    "initialise": lambda flow, x: flow.initialise(x),
    "layer": lambda flow, x: flow.layers[0](x),
    "evaluate": lambda flow, x: snf.evaluate(flow, x),
    "fit": lambda flow, x: snf.fit(flow, x, epochs=1, progress=False),
}
#: What ``transform`` returns for x (5, 4), the kind of error and words of its message.
WRONG: dict[str, tuple[Callable[[Tensor], Any], type[Exception], str]] = {
    "log_det (B, 1)": (lambda x: (x, x.sum(1, keepdim=True)), ValueError, r"shape \(\d+,\), got .*\(\d+, 1\)"),
    "log_det (B, D)": (lambda x: (x, x), ValueError, r"shape \(\d+,\), got .*\(\d+, 4\)"),
    "log_det ()": (lambda x: (x, x.sum()), ValueError, r"shape \(\d+,\), got a tensor of shape \(\)"),
    "log_det a float": (lambda x: (x, 0.0), TypeError, "log_det of transform to be a tensor.* got a float"),
    "log_det of another dtype": (lambda x: (x, x.sum(1).double()), TypeError, "torch.float32, got .*torch.float64"),
    "z alone": (lambda x: x, TypeError, r"return \(z, log_det\), got a tensor"),
    "three": (lambda x: (x, x.sum(1), None), TypeError, r"return \(z, log_det\), got a tuple of 3"),
    "z without a column": (lambda x: (x[:, 1:], x.sum(1)), ValueError, r"z of transform .*\(\d+, 4\).*output_shape"),
    "z of another batch": (lambda x: (x[1:], x.sum(1)), ValueError, "z of transform to have shape"),
    "z of another dtype": (lambda x: (x.double(), x.sum(1)), TypeError, "z of transform to be .*torch.float32"),
    "None": (lambda x: None, TypeError, "got None"),
}


class Wrong(snf.FlowLayer):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        result: tuple[Tensor, Tensor] = WRONG[self.kind][0](x)
        return result

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return z


@pytest.mark.parametrize("way", PASSES)
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_result_is_refused(kind: str, way: str) -> None:
    _, error, message = WRONG[kind]
    layer = Wrong(kind)
    flow = snf.Flow([layer, snf.ExactLinear(4)], (4,))
    if way in ("loss", "initialise", "fit"):
        if kind not in ("z alone", "three", "None"):  # these the training pass of the base class takes apart first
            message = message.replace("log_det of transform", "term of surrogate").replace("transform", "surrogate")
    with pytest.raises(error, match=message) as refused:
        PASSES[way](flow, torch.randn(20, 4))
    assert "layers[0] Wrong" in str(refused.value)


@pytest.mark.parametrize("result", [lambda z: (z, z), lambda z: z[:, 1:], lambda z: z[1:], lambda z: z.double(), len])
@pytest.mark.parametrize("way", ["flow", "layer", "sample", "exact"])
def test_a_wrong_inverse_is_refused(result: Callable[[Tensor], Any], way: str) -> None:
    class Inverse(snf.FlowLayer):
        def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x.new_zeros(len(x))

        def invert(self, z: Tensor, exact: bool) -> Tensor:
            found: Tensor = result(z)
            return found

    flow, z = snf.Flow([snf.ExactLinear(4), Inverse()], (4,)), torch.randn(5, 4)
    ways = {
        "flow": lambda: flow.inverse(z, exact=False), "layer": lambda: flow.layers[1].inverse(z),
        "sample": lambda: flow.sample(5), "exact": lambda: flow.sample_and_log_prob(5),
    }  # fmt: skip
    with pytest.raises((TypeError, ValueError), match=r"layers\[1\] Inverse: expected (invert to return|x of invert)"):
        ways[way]()


@pytest.mark.parametrize("penalty", [lambda x: x.sum(), lambda x: x, lambda x: 1.0, lambda x: x.sum(1).double()])
def test_a_wrong_penalty_is_refused_also_inside_a_layer_of_layers(penalty: Callable[[Tensor], Any]) -> None:
    class Penalized(snf.FlowLayer):
        def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x.new_zeros(len(x))

        def invert(self, z: Tensor, exact: bool) -> Tensor:
            return z

        def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
            return x, x.new_zeros(len(x)), penalty(x)

    inner = snf.SplitPrior(2, [Penalized()])
    with pytest.raises((TypeError, ValueError), match=r"SplitPrior, layers\[0\] Penalized: expected penalty of surr"):
        snf.Flow([inner], (2, 4, 4)).loss(torch.randn(3, 2, 4, 4))


def test_shapes_are_checked_under_compile_too() -> None:
    flow = snf.Flow([Wrong("log_det (B, 1)")], (4,))
    with pytest.raises(Exception, match=r"shape \(3,\)"):
        torch.compile(flow.log_prob, backend="eager")(torch.randn(3, 4))


def test_a_layer_with_output_shape_is_taken_and_a_shape_changing_inverse_too() -> None:
    class Fold(snf.FlowLayer):
        def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
            return (event_shape[0] // 2, 2) if len(event_shape) == 1 else (2 * event_shape[0],)

        def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.reshape(len(x), -1, 2), x.new_zeros(len(x))

        def invert(self, z: Tensor, exact: bool) -> Tensor:
            return z.flatten(1)

    flow = snf.Flow([snf.ExactLinear(4), Fold()], (4,))
    x = torch.randn(5, 4)
    assert flow.z_shape == (2, 2) and torch.allclose(flow.inverse(flow(x)[0]), x, atol=1e-5)
    assert flow.layers[1].inverse(flow.layers[1](x)[0]).equal(x)


BAD_SETTINGS: dict[str, tuple[Callable[[], object], str]] = {
    "layers of SplitPrior": (lambda: snf.SplitPrior(2, None), "SplitPrior: expected layers to be a list"),
    "a number in layers": (lambda: snf.SplitPrior(2, [1]), "SplitPrior: expected a FlowLayer"),
    "image_size of SplitPrior": (lambda: snf.SplitPrior(2, [], [1]), r"SplitPrior: expected image_size to be \(H, W\)"),
    "checkpointing": (lambda: snf.AffineCoupling(2, checkpointing="no"), "AffineCoupling: expected checkpointing"),
    "a dict for a shape": (lambda: snf.Standardize({}), "Standardize: expected event_shape to be a tuple"),
    "points for Squeeze": (lambda: snf.build("conv-selfnorm", (2,)), "for points build a dense"),
    "odd images": (lambda: snf.build("conv-selfnorm", (3, 10, 14), 256), "conv-... with blocks=2"),
}


@pytest.mark.parametrize("kind", BAD_SETTINGS)
def test_bad_settings_are_refused_by_name(kind: str) -> None:
    make, message = BAD_SETTINGS[kind]
    with pytest.raises((TypeError, ValueError), match=message):
        make()


class Normalized(snf.FlowLayer):
    """Batch normalization as a layer of a flow: by the batch in training, by running values in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(2, affine=False)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.norm(x)  # moves the running values in training
        variance = x.var(0, unbiased=False) if self.training else self.norm.running_var
        assert variance is not None
        return z, (-0.5 * (variance + self.norm.eps).log()).sum().expand(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        assert self.norm.running_mean is not None and self.norm.running_var is not None
        return z * (self.norm.running_var + self.norm.eps).sqrt() + self.norm.running_mean


def test_an_evaluation_neither_depends_on_the_batch_nor_changes_the_flow() -> None:
    x, flow = 3 * torch.randn(60, 2) + 7, snf.Flow([Normalized(), snf.ExactLinear(2)], (2,))
    flow.layers[1].eval()
    history = snf.fit(flow, x, epochs=3, validation=x, progress=False)
    modes, before = [module.training for module in flow.modules()], [b.clone() for b in flow.buffers()]
    found = snf.evaluate(flow, x).nats
    assert snf.evaluate(flow, x, batch_size=1).nats == pytest.approx(found) == history.best_nats
    snf.evaluate(flow, x - 100)
    assert all(torch.equal(a, b) for a, b in zip(flow.buffers(), before, strict=True))
    assert [module.training for module in flow.modules()] == modes
    with torch.no_grad():
        assert found == pytest.approx(-float(flow.eval().log_prob(x).mean()))
