"""What a training step computes: no determinant where an inverse is learned, six products, and graphs that capture."""

import inspect
from collections import Counter
from typing import Any

import pytest
import torch
from layer_table import CASES, LEARNED
from small_models import SMALL, small
from torch.utils._python_dispatch import TorchDispatchMode

import snf_lite as snf
from snf_lite.linalg import toeplitz
from snf_lite.linalg.dense_matrix import AutogradFunction

CONVOLUTIONAL = ("conv-selfnorm", "conv-exact", "conv-emerging", "conv-exponential")

#: Words in the names of operators that factorise, invert or solve.
FORBIDDEN = {"det", "slogdet", "logdet", "inv", "inverse", "solve", "lu", "linalg", "cholesky", "qr", "svd", "eigh"}


class Operators(TorchDispatchMode):
    """Counts every operator that reaches the dispatcher, backward passes included."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))

    def forbidden(self) -> list[str]:
        return [name for name in self.names if FORBIDDEN & set(name.split("_"))]


def operators_of_a_step(flow: snf.Flow, x: torch.Tensor) -> Operators:
    with Operators() as operators:
        flow.loss(x).backward()
    return operators


@pytest.mark.parametrize("name", ["dense-selfnorm", "conv-selfnorm", "glow-selfnorm", "dense-relative", "dense-lu"])
def test_a_training_step_factorises_nothing(name: str) -> None:
    flow = small(name, (1, 8, 8), levels=17)
    operators = operators_of_a_step(flow, torch.randint(0, 17, (5, 1, 8, 8), dtype=torch.uint8))
    assert operators.forbidden() == []


@pytest.mark.parametrize("name", ["dense-exact", "conv-exact", "glow-exact"])
def test_the_search_finds_the_factorisations_of_the_exact_twin(name: str) -> None:
    flow = small(name, (1, 8, 8), levels=17)
    assert operators_of_a_step(flow, torch.randint(0, 17, (5, 1, 8, 8), dtype=torch.uint8)).forbidden()


def step_of_one_layer(name: str) -> Operators:
    case = CASES[name]
    layer, x = case.layer(), case.events().requires_grad_()
    with Operators() as operators:
        z, term, penalty = layer.surrogate(x)
        (z.square().sum() - term.sum() + penalty.sum()).backward()
    return operators


@pytest.mark.parametrize("name", [name for name in LEARNED if "Linear" in name])
def test_a_dense_step_is_six_matrix_products(name: str) -> None:
    names = step_of_one_layer(name).names
    assert names["mm"] + names["addmm"] + names["addmm_"] == 6
    assert names["bmm"] == names["matmul"] == names["clone"] == 0
    assert names["copy_"] == ("tolerance" in name)  # of one number, the batch's error


@pytest.mark.parametrize("name", [name for name in LEARNED if "Conv" in name])
def test_a_convolutional_step_is_six_convolutions(name: str) -> None:
    names = step_of_one_layer(name).names
    assert names["convolution"] + names["convolution_backward"] == 6
    assert names["mm"] + names["addmm"] + names["bmm"] == 0


@pytest.mark.parametrize("name", LEARNED)
def test_parameters_and_gradients_are_stored_by_rows(name: str) -> None:
    layer, x = CASES[name].layer(), CASES[name].events()
    z, term, penalty = layer.surrogate(x)
    loss = z.sum() + term.sum() + (0 if penalty is None else penalty.sum())
    weights = list(layer.parameters())
    assert all(tensor.is_contiguous() for tensor in (*weights, *torch.autograd.grad(loss, weights)))


# ---- full graphs -----------------------------------------------------------------------------------------------------


torchs_own_warning = pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*should not be instantiated")


@torchs_own_warning
@pytest.mark.parametrize("name", [name for name in CASES if "-" not in name])
def test_every_layer_is_captured_whole(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    for method in (layer.forward, layer.surrogate):
        torch._dynamo.reset()
        captured = torch.compile(method, fullgraph=True, backend="eager")
        with torch.random.fork_rng():
            passed = captured(x)
        for ours, eager in zip(passed, method(x), strict=True):  # with the same probes, where a layer draws them
            assert eager is None or torch.allclose(ours, eager, atol=1e-10)


@torchs_own_warning
@pytest.mark.parametrize(
    ("name", "settings"),
    [("dense-selfnorm", {}), ("dense-exact", {}), ("dense-relative", {}), ("dense-lu", {})]
    + [(name, {"blocks": 2, "depth": 1}) for name in CONVOLUTIONAL]
    + [("dense-selfnorm", {"tolerance": 0.1}), ("glow-exact", SMALL["glow-exact"])]
    + [("glow-selfnorm", {**SMALL["glow-selfnorm"], **more}) for more in ({}, {"tolerance": 0.1, "kernel_size": 3})]
    + [("glow-selfnorm", {**SMALL["glow-selfnorm"], "checkpointing": True})],
)
def test_every_training_loss_is_captured_whole(name: str, settings: dict[str, Any]) -> None:
    flow = snf.build(name, (1, 4, 4), levels=17, **settings).double()
    x = 17 * torch.rand(4, 1, 4, 4, dtype=torch.float64)
    torch._dynamo.reset()
    loss = torch.compile(flow.loss, fullgraph=True, backend="eager")(x)
    got = torch.autograd.grad(loss, list(flow.parameters()))
    wanted = torch.autograd.grad(flow.loss(x), list(flow.parameters()))
    for ours, eager in zip(got, wanted, strict=True):
        assert torch.allclose(ours, eager, atol=1e-9)


# ---- exact convolutions of one shape in one batch --------------------------------------------------------------------


def test_exact_convolutions_of_one_shape_are_eliminated_together(monkeypatch: pytest.MonkeyPatch) -> None:
    together, batches = toeplitz.log_abs_dets, []
    monkeypatch.setattr(toeplitz, "log_abs_dets", lambda w, *rest: batches.append(len(w)) or together(w, *rest))
    flow = snf.build("conv-exact", (1, 8, 8), levels=17, blocks=2, depth=3).double()
    x = 17 * torch.rand(4, 1, 8, 8, dtype=torch.float64)
    ours = torch.autograd.grad(flow.loss(x), list(flow.parameters()))
    assert batches == [3, 3]
    alone = torch.autograd.grad(-flow.log_prob(x).mean(), list(flow.parameters()))
    for gradient, wanted in zip(ours, alone, strict=True):
        assert torch.allclose(gradient, wanted, atol=1e-10)


def test_a_singular_kernel_among_many_is_named() -> None:
    flow = snf.build("conv-exact", (1, 8, 8), levels=17, blocks=1, depth=3)
    with torch.no_grad():
        flow.layers[4].weight.zero_()
    with pytest.raises(snf.NotInvertibleError, match=r"layers\[4\] ExactConv2d"):
        flow.loss(torch.randint(0, 17, (4, 1, 8, 8), dtype=torch.uint8))


def test_a_layer_in_two_flows_keeps_to_the_images_of_each() -> None:
    torch.manual_seed(0)
    layer = snf.ExactConv2d(1).double()
    with torch.no_grad():
        layer.weight.add_(0.2 * torch.randn_like(layer.weight))
    flows = {side: snf.Flow([layer], (1, side, side)) for side in (6, 9)}
    for side, flow in flows.items():
        x = torch.randn(3, 1, side, side, dtype=torch.float64)
        loss, exact = flow.loss(x), -flow.log_prob(x).mean()
        ours, wanted = (torch.autograd.grad(value, layer.weight)[0] for value in (loss, exact))
        assert torch.allclose(loss, exact, atol=1e-10) and torch.allclose(ours, wanted, atol=1e-10)


@pytest.mark.parametrize("name", ["conv-selfnorm", "glow-selfnorm"])
def test_a_look_in_inference_mode_leaves_the_flow_trainable(name: str) -> None:
    small = {"width": 4, "steps": 1} if name == "glow-selfnorm" else {"blocks": 1, "depth": 1}
    flow, x = snf.build(name, (1, 8, 8), levels=17, **small), torch.randint(0, 17, (4, 1, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        flow.loss(x)
    flow.loss(x).backward()
    assert all(weight.grad is not None for weight in flow.parameters())


@pytest.mark.parametrize("step", AutogradFunction.__subclasses__())
def test_the_signature_of_a_fused_pass_is_kept(step: type[torch.autograd.Function]) -> None:
    assert inspect.signature(step.forward) is vars(step.forward)["__signature__"]
