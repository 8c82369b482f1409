"""Devices without float64, parameters as torch's tools want them, and the inverse of a spline with extreme weights."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import snf_lite as snf
from snf_lite.linalg import dense_matrix

TINY: dict[str, dict[str, Any]] = {"conv": {"blocks": 2, "depth": 1}, "glow": {"scales": 1, "steps": 1, "width": 8}}


def tiny(name: str, shape: tuple[int, ...], levels: int | None) -> snf.Flow:
    return snf.build(name, shape, levels, **TINY.get(name.partition("-")[0], {}))


IMAGE_MODELS = [name for name in snf.model_names() if name.partition("-")[0] in ("dense", "conv", "glow")]


class NoFloat64(TorchDispatchMode):
    """Stands for a device without float64."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if any(isinstance(t, Tensor) and t.dtype == torch.float64 for t in tree_leaves(out)):
            raise TypeError("float64")
        return out


@pytest.fixture
def warned_once() -> Iterator[list[warnings.WarningMessage]]:
    dense_matrix._warn_of_float32.cache_clear()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found
    dense_matrix._warn_of_float32.cache_clear()


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_every_pass_works_without_float64(name: str, warned_once: list[warnings.WarningMessage]) -> None:
    torch.manual_seed(0)
    digits = torch.randint(0, 17, (100, 1, 8, 8), dtype=torch.uint8)
    works: dict[str, Callable[[snf.Flow], Any]] = {
        "loss": lambda f: f.loss(digits), "log_prob": lambda f: f.log_prob(digits).mean(),
        "sample": lambda f: f.sample(2),
        "exact": lambda f: f.sample(2, exact=True), "initialise": lambda f: f.initialise(digits),
        "whiten": lambda f: f.initialise(digits, whiten=True), "fresh": lambda f: f.is_fresh,
    }  # fmt: skip
    for what, work in works.items():
        flow = tiny(name, (1, 8, 8), 17)
        torch.manual_seed(1)
        with NoFloat64():
            found = work(flow)
        if what == "log_prob":
            torch.manual_seed(1)
            assert float(found.detach()) == pytest.approx(float(flow.log_prob(digits).mean().detach()), rel=1e-4)
    assert len(warned_once) <= 1 and all("has no float64" in str(each.message) for each in warned_once)


def test_a_device_that_is_not_here_is_named() -> None:
    for name in ("mps", "xpu", "cuda:7"):
        with pytest.raises(ValueError, match=rf"got '{name}': no (MPS|XPU|CUDA) device here \(torch"):
            snf.fit(snf.build("dense-exact", (2,)), torch.zeros(20, 2), epochs=1, device=name)


@pytest.mark.parametrize("name", snf.model_names())
def test_safetensors_keep_the_weights(name: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    shape, levels = ((1, 8, 8), 17) if name in IMAGE_MODELS else ((4,), None)
    flow, other = tiny(name, shape, levels), tiny(name, shape, levels)
    safetensors.save_file(flow.state_dict(), tmp_path / "flow.safetensors")
    other.load_state_dict(safetensors.load_file(tmp_path / "flow.safetensors"))
    assert torch.equal(other.sample(3, seed=0), flow.sample(3, seed=0))


@pytest.mark.parametrize("name", snf.model_names())
def test_tools_that_want_contiguous_parameters(name: str) -> None:
    torch.manual_seed(0)
    shape, levels = ((1, 8, 8), 17) if name in IMAGE_MODELS else ((4,), None)
    flow = tiny(name, shape, levels)
    x = torch.randint(0, 17, (20, *shape), dtype=torch.uint8) if levels else torch.randn(20, *shape)
    flat = torch.nn.utils.parameters_to_vector(flow.parameters())
    torch.nn.utils.vector_to_parameters(flat, flow.parameters())
    flow.loss(x).backward()
    torch.cat([p.grad.view(-1) for p in flow.parameters() if p.grad is not None])
    optimizer = torch.optim.LBFGS(flow.parameters(), lr=1e-3, max_iter=2)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = flow.loss(x)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert all(p.is_contiguous() for p in flow.parameters())


@pytest.mark.parametrize(("scale", "seed", "column", "value"), [(5, 9, 30, 2.7917230129), (20, 9, 42, 2.9688873291)])
def test_the_inverse_of_a_spline_stays_in_its_bin(scale: float, seed: int, column: int, value: float) -> None:
    torch.manual_seed(seed)
    spline = snf.RationalQuadraticSpline((64,), bins=8, bound=3.0)
    with torch.no_grad():
        for weight in spline.parameters():
            weight.normal_(0, scale)
        x = torch.zeros(1, 64)
        x[0, column] = value
        z, _ = spline(x)
        again, _ = spline(spline.inverse(z))
    assert (again - z)[0, column].abs() < 1e-3


def test_layers_show_their_settings() -> None:
    shown = repr(snf.build("dense-selfnorm", (1, 4, 4), 17))
    assert "SelfNormLinear(features=16, recon_weight=1.0" in shown and "Dequantize(levels=17)" in shown
