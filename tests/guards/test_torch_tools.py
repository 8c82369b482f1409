"""Hooks, pruning, norms and parametrizations of torch, autocast, odd tensors and the meta device."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_models import small
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

import snf_lite as snf

TINY: dict[str, dict[str, Any]] = {"conv": {"blocks": 2, "depth": 1}, "glow": {"scales": 1, "steps": 1, "width": 8}}


def tiny(name: str, *arguments: Any, **settings: Any) -> snf.Flow:
    return snf.build(name, *arguments, **TINY.get(name.partition("-")[0], {}), **settings)


def image_models() -> list[str]:
    return [name for name in snf.model_names() if name.partition("-")[0] in ("dense", "conv", "glow")]


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight / 2


WAYS: dict[str, Callable[[nn.Module], object]] = {
    "prune": lambda layer: prune.random_unstructured(layer, "weight", amount=1),
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "parametrized weight_norm": parametrizations.weight_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "own parametrization": lambda layer: parametrize.register_parametrization(layer, "weight", Doubled()),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated", "ignore:.*spectral_norm.* is deprecated")
@pytest.mark.parametrize("model", ["dense-exact", "dense-selfnorm"])
@pytest.mark.parametrize("way", WAYS)
def test_a_computed_weight_is_trained_and_inverted(way: str, model: str) -> None:
    torch.manual_seed(0)
    flow = snf.build(model, (2,))
    WAYS[way](flow.layers[1])
    before = {name: p.detach().clone() for name, p in flow.layers[1].named_parameters() if p.requires_grad}
    x = torch.randn(500, 2) @ torch.tensor([[1.0, 0.5], [0.0, 2.0]])
    snf.fit(flow, x, epochs=3, lr=1e-2, progress=False)
    for name, p in flow.layers[1].named_parameters():
        assert not torch.equal(p, before[name]), name
    flow.double()
    z = torch.randn(50, 2, dtype=torch.float64)
    for _ in range(2):
        assert torch.allclose(flow(flow.inverse(z))[0], z, atol=1e-6) or "spectral" in way
        y = x[:50].double()
        assert torch.allclose(flow.inverse(flow(y)[0]), y, atol=1e-6)
        (-flow.log_prob(y).mean()).backward()
        torch.optim.SGD(flow.parameters(), 0.05).step()


def test_a_kernel_that_is_normed_is_trained() -> None:
    torch.manual_seed(0)
    for name in ("conv-exact", "conv-selfnorm", "conv-exponential", "conv-emerging"):
        flow = tiny(name, (1, 8, 8), 17)
        layer = next(layer for layer, _ in flow.iter_layers(flow.event_shape) if hasattr(layer, "weight"))
        parametrizations.weight_norm(layer)
        flow.loss(torch.randint(0, 17, (4, 1, 8, 8), dtype=torch.uint8)).backward()
        assert all(p.grad is not None for p in layer.parameters()), name


def test_whitening_a_computed_weight_is_refused() -> None:
    x = torch.randn(100, 2)
    for way in ("prune", "orthogonal"):
        flow = snf.build("dense-exact", (2,))
        WAYS[way](flow.layers[1])
        with pytest.raises(TypeError, match=r"layers\[1\] .*cannot initialize weight.*first, then prune"):
            flow.initialise(x, whiten=True)
        flow.initialise(x)


def test_hooks_run_in_the_loss_as_in_the_likelihood() -> None:
    flow, x = snf.build("dense-selfnorm", (2,)), torch.randn(20, 2, requires_grad=True)
    calls: list[str] = []
    for layer in flow.layers:
        layer.register_forward_hook(lambda *_: calls.append("after"))
        layer.register_forward_pre_hook(lambda *_: calls.append("before"))
        layer.register_full_backward_hook(lambda *_: calls.append("backward"))
    flow.register_forward_hook(lambda *_: calls.append("flow"))
    flow.loss(x).backward()
    counts = {name: calls.count(name) for name in ("before", "after", "backward", "flow")}
    assert counts == {"before": len(flow.layers), "after": len(flow.layers), "backward": len(flow.layers), "flow": 1}
    assert "forward" not in vars(flow) and all("forward" not in vars(layer) for layer in flow.layers)


def test_a_hook_that_changes_the_input_is_refused_in_the_inverse() -> None:
    flow = snf.build("dense-exact", (2,))
    flow.layers[1].register_forward_pre_hook(lambda _, inputs: (inputs[0] + 1,))
    with pytest.raises(TypeError, match=r"layers\[1\] .*forward_pre_hooks that leave the input"):
        flow.inverse(torch.zeros(3, 2))


def test_a_group_of_convolutions_sees_the_pruned_weight() -> None:
    torch.manual_seed(0)
    flow = tiny("conv-exact", (1, 8, 8), 17).double()
    x = 0.5 + 15 * torch.rand(3, 1, 8, 8, dtype=torch.float64)
    layer = next(layer for layer, _ in flow.iter_layers(flow.event_shape) if isinstance(layer, snf.ExactConv2d))
    prune.l1_unstructured(layer, "weight", amount=0.3)
    torch.testing.assert_close(flow.loss(x), -flow.log_prob(x).mean())


@pytest.mark.parametrize("name", image_models())
def test_exact_passes_keep_their_dtype_under_autocast(name: str) -> None:
    torch.manual_seed(0)
    flow, x = tiny(name, (1, 8, 8), 17), 0.5 + 15 * torch.rand(4, 1, 8, 8)
    z = flow.sample_base(4)
    plain = flow.log_prob(x), flow.inverse(z), flow.inverse(z, exact=False), flow.reconstruct(x)
    with torch.autocast("cpu", torch.bfloat16):
        cast = flow.log_prob(x), flow.inverse(z), flow.inverse(z, exact=False), flow.reconstruct(x)
        assert flow.loss(x).isfinite() and flow.sample(2).shape == (2, 1, 8, 8)
        flow.sample_and_log_prob(2)
        flow.initialise(x)
    assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))


def test_fit_and_evaluate_inside_autocast_are_those_outside() -> None:
    x, values = torch.randn(100, 2), []
    for enabled in (False, True):
        torch.manual_seed(0)
        flow = snf.build("dense-exact", (2,))
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            history = snf.fit(flow, x, epochs=1, lr=1e-9, progress=False)
            values.append((history.validation_nats[0], snf.evaluate(flow, x).nats))
    assert values[0] == pytest.approx(values[1], abs=1e-6)


ODD: dict[str, tuple[Callable[[], Any], str]] = {
    "sparse": (lambda: torch.eye(2).to_sparse(), r"dense tensor.*to_dense"),
    "csr": (lambda: torch.eye(2).to_sparse_csr(), r"dense tensor.*to_dense"),
    "nested": (lambda: torch.nested.nested_tensor([torch.zeros(2), torch.zeros(2)]), "dense tensor, got a nested"),
    "meta": (lambda: torch.zeros(2, 2, device="meta"), "on meta"),
    "complex": (lambda: torch.zeros(2, 2, dtype=torch.complex64), "torch.complex64"),
    "bool": (lambda: torch.zeros(2, 2, dtype=torch.bool), "torch.bool"),
    "int": (lambda: torch.zeros(2, 2, dtype=torch.int64), r"torch.int64: type x.float\(\)"),
    "float64": (lambda: torch.zeros(2, 2, dtype=torch.float64), r"type x.float\(\), or flow.double\(\)"),
    "float16": (lambda: torch.zeros(2, 2, dtype=torch.float16), r"type x.float\(\)"),
    "uint8": (lambda: torch.zeros(2, 2, dtype=torch.uint8), "levels=256"),
    "numpy": (lambda: torch.zeros(2, 2).numpy(), "torch.as_tensor"),
    "list": (lambda: [[0.0, 1.0]], "torch.as_tensor"),
}


@pytest.mark.filterwarnings("ignore:.*[Ss]parse", "ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("method", ["log_prob", "loss", "inverse", "initialise", "reconstruct", "forward"])
def test_odd_tensors_are_refused_in_words(method: str, kind: str) -> None:
    make, message = ODD[kind]
    with pytest.raises((TypeError, ValueError), match=f"Flow.*{message}"):
        getattr(snf.build("dense-selfnorm", (2,)), method)(make())


def test_half_precision_parameters_are_refused_in_words() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        with pytest.raises(TypeError, match=r"type flow.float\(\)"):
            small("dense-selfnorm", (2,)).to(dtype).log_prob(torch.zeros(2, 2, dtype=dtype))


@pytest.mark.parametrize("name", image_models())
@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.filterwarnings("ignore:.* the learned inverse g")
def test_a_flow_built_on_meta_is_whole_after_loading(name: str, assign: bool) -> None:
    torch.manual_seed(0)
    source = tiny(name, (1, 8, 8), 17)
    with torch.no_grad():
        for weight in source.parameters():
            weight.add_(0.03 * torch.randn_like(weight))
    with torch.device("meta"):
        flow = tiny(name, (1, 8, 8), 17)
    if not assign:
        flow.to_empty(device="cpu")
        for buffer in flow.buffers():
            buffer.fill_(1 if buffer.dtype == torch.bool else 7)
    flow.load_state_dict(source.state_dict(), assign=assign)
    kept = dict(flow.named_buffers())
    assert all(torch.equal(kept[key], buffer) for key, buffer in source.named_buffers())
    x = 0.5 + 15 * torch.rand(4, 1, 8, 8)
    assert torch.equal(flow.log_prob(x), source.log_prob(x)) and flow.device == torch.device("cpu")
    pixels = [each.sample(3, generator=torch.Generator().manual_seed(0)) for each in (flow, source)]
    assert torch.equal(*pixels)
    flow.loss(x.to(torch.uint8)).backward()
    flow.after_step()
    assert not flow.is_fresh


def test_buffers_of_an_adapted_penalty_follow_the_loaded_device() -> None:
    source = snf.Flow([snf.SelfNormLinear(2, tolerance=0.1)], (2,))
    with torch.device("meta"):
        flow = snf.Flow([snf.SelfNormLinear(2, tolerance=0.1)], (2,))
    flow.load_state_dict(source.state_dict(), assign=True)
    flow.after_step()
    assert not any(buffer.is_meta for buffer in flow.buffers())


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning", "ignore:The .grad attribute")
@pytest.mark.parametrize("method", ["loss", "log_prob"])
def test_compiles_for_data_as_they_are_loaded(method: str) -> None:
    torch._dynamo.reset()
    run = getattr(snf.build("dense-selfnorm", (1, 8, 8), 17, depth=1), method)
    assert bool(torch.compile(run, backend="aot_eager")(snf.load("digits")[:20]).isfinite().all())


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning", "ignore:The .grad attribute")
def test_flows_of_other_sizes_compile_in_one_process() -> None:
    torch._dynamo.reset()
    for features, batch in ((4, 20), (2, 6), (7, 9), (4, 20)):  # from the second one on, sizes are traced
        x = torch.randn(batch, 1, features, 1)
        flow = snf.Flow([snf.Flatten((1, features, 1)), snf.SelfNormLinear(features)], (1, features, 1))
        compiled = torch.compile(flow.loss, fullgraph=True, backend="aot_eager")
        assert torch.allclose(compiled(x), flow.loss(x))
