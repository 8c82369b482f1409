"""The spline's fused training pass: the readable one's numbers and gradients, in every bin, layout and dtype."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import snf_lite as snf
from snf_lite.layers import spline_fused


def drawn(shape: tuple[int, ...], bins: int, bound: float = 10.0, spread: float = 1.0) -> snf.RationalQuadraticSpline:
    """A float64 spline with Gaussian noise on all parameters, from torch's global generator."""
    layer = snf.RationalQuadraticSpline(shape, bins, bound).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return layer


def numbers(layer: snf.RationalQuadraticSpline, batch: int) -> Tensor:
    """Inside and outside of the bound, at both ends, on inner knots, and far away."""
    x = 0.7 * layer.bound * torch.randn(batch, *layer.shape, dtype=torch.float64)
    with torch.no_grad():
        knots = layer._knots(layer.widths).flatten(0, -2)
    special = [*(knot.reshape(layer.shape) for knot in knots.unbind(-1)), x.new_full(layer.shape, 1e30)]
    return torch.cat([x, torch.stack([*special, -special[-1]])])


def all_of(layer: snf.RationalQuadraticSpline, x: Tensor, fused: bool) -> dict[str, Tensor]:
    """z, log_det, and the gradients of a loss that weighs each z and each event's log_det differently."""
    x = x.detach().requires_grad_()
    z, log_det = layer.surrogate(x)[:2] if fused else layer.transform(x)
    pull = torch.cos(torch.arange(z.numel(), dtype=z.dtype)).reshape(z.shape)
    weights = 1 + torch.sin(torch.arange(len(x), dtype=z.dtype))
    loss = (pull * torch.where(z.abs() < 1e9, z, 0 * z)).sum() + (weights * log_det).sum()
    names = ["x", *(name for name, _ in layer.named_parameters())]
    gradients = torch.autograd.grad(loss, [x, *layer.parameters()])
    return {"z": z, "log_det": log_det, **dict(zip(names, gradients, strict=True))}


def assert_close(got: dict[str, Tensor], wanted: dict[str, Tensor], bound: float) -> None:
    assert list(got) == list(wanted)
    for name, truth in wanted.items():
        assert got[name].shape == truth.shape and torch.isfinite(got[name]).all()
        error = (got[name] - truth).abs() / (1 + truth.abs())
        assert truth.numel() == 0 or error.max() < bound, f"{name} differs by {error.max():.1e}"


@given(
    seed=st.integers(0, 10_000),
    bins=st.integers(1, 12),
    shape=st.sampled_from([(1,), (5,), (2, 3), (3, 2, 4), (1, 4, 4)]),
    bound=st.floats(0.5, 50),
    spread=st.floats(0, 2),
)
def test_fused_pass_equals_the_readable_lines(
    seed: int, bins: int, shape: tuple[int, ...], bound: float, spread: float
) -> None:
    torch.manual_seed(seed)
    layer = drawn(shape, bins, bound, spread)
    x = numbers(layer, 7)
    assert_close(all_of(layer, x, fused=True), all_of(layer, x, fused=False), 1e-10)


@pytest.mark.parametrize("bins", [1, 2, 5])
def test_gradients_are_those_of_finite_differences(bins: int) -> None:
    torch.manual_seed(0)
    layer = drawn((2,), bins, 3.0)
    x = torch.tensor([[-3.5, 0.1], [-1.3, 2.2], [0.7, 4.0]], dtype=torch.float64, requires_grad=True)
    parameters = [layer.widths, layer.heights, *([layer.slopes] if bins > 1 else [])]
    assert torch.autograd.gradcheck(lambda *_: layer.surrogate(x)[:2], (x, *parameters))


@pytest.mark.parametrize("where", ["one bin", "below", "above"])
def test_a_batch_in_one_place_leaves_all_other_bins_alone(where: str) -> None:
    torch.manual_seed(0)
    layer = drawn((3,), 6)
    middle = layer._knots(layer.widths)[:, 2:4].mean(-1).detach()
    x = {"one bin": middle, "below": middle.new_full((3,), -11.0), "above": middle.new_full((3,), 11.0)}[where]
    got = all_of(layer, x.expand(5, -1), fused=True)
    assert_close(got, all_of(layer, x.expand(5, -1), fused=False), 1e-10)
    touched = got["slopes"].abs() > 0
    assert touched.tolist() == [[where == "one bin" and knot in (1, 2) for knot in range(5)]] * 3  # its two ends alone
    assert (where == "one bin") == bool(got["widths"].any())


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0, 4.0])
def test_float32_is_as_accurate_as_the_readable_lines(spread: float) -> None:
    torch.manual_seed(0)
    layer = drawn((3, 6, 6), 5, spread=spread)
    single = copy.deepcopy(layer).float()
    layer = copy.deepcopy(single).double()  # the same parameters, rounded
    x = (4 * torch.randn(200, 3, 6, 6)).double().float()
    truth = all_of(layer, x.double(), fused=False)
    fused, readable = (all_of(single, x, way) for way in (True, False))
    for name, wanted in truth.items():
        ours, theirs = ((found[name] - wanted).norm() / (1e-6 + wanted.norm()) for found in (fused, readable))
        assert ours < max(1.5 * theirs, 1e-6), f"{name}: {ours:.1e} against {theirs:.1e}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_far_outside_pass_unchanged(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = drawn((4,), 5).to(dtype)
    x = torch.tensor([[1e30, -1e30, 1e6, -10.5]], dtype=dtype, requires_grad=True)
    z, log_det, _ = layer.surrogate(x)
    assert torch.equal(z, x) and not log_det.any()
    gradients = torch.autograd.grad((z + log_det[:, None]).sum(), [x, *layer.parameters()])
    assert torch.equal(gradients[0], torch.ones_like(x)) and not any(g.any() for g in gradients[1:])


def laid_out(x: Tensor, layout: str) -> Tensor:
    if layout == "channels last":
        return x.contiguous(memory_format=torch.channels_last)
    return x if layout == "channels first" else x.transpose(2, 3).contiguous().transpose(2, 3)


@pytest.mark.parametrize("layout", ["channels first", "channels last", "columns first"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_layout_gives_the_same_and_the_usual_two_are_kept(layout: str, channels: int) -> None:
    torch.manual_seed(0)
    layer = drawn((channels, 4, 2), 4)
    x = laid_out(4 * torch.randn(5, channels, 4, 2, dtype=torch.float64), layout)
    got = all_of(layer, x, fused=True)
    assert_close(got, all_of(layer, x, fused=False), 1e-10)
    if layout != "columns first":
        kept = torch.channels_last if layout == "channels last" else torch.contiguous_format
        assert got["z"].is_contiguous(memory_format=kept) and got["x"].is_contiguous(memory_format=kept)


def test_training_pass_of_single_events_under_torch_func() -> None:
    torch.manual_seed(0)
    layer = drawn((2, 3), 4)
    x = numbers(layer, 4)[:4]
    alone = torch.func.vmap(torch.func.grad(lambda event: layer.surrogate(event[None])[1].sum()))(x)
    x.requires_grad_()
    (whole,) = torch.autograd.grad(layer.surrogate(x)[1].sum(), x)
    assert torch.allclose(alone, whole, rtol=1e-10)


def test_training_pass_keeps_no_table_of_all_bins_for_each_number() -> None:
    """What makes the readable pass slow: gathers from tables expanded to (B, …, K), and scatters back."""
    torch.manual_seed(0)
    layer = drawn((4, 5), 7)
    with torch.profiler.profile() as profile:
        z, log_det, _ = layer.surrogate(torch.randn(6, 4, 5, dtype=torch.float64, requires_grad=True))
        (z.sum() + log_det.sum()).backward()
    names = {event.key for event in profile.key_averages()}
    assert "aten::lerp_" in names and not {"aten::gather", "aten::scatter_add_", "aten::where"} & names


def test_bound_of_a_narrow_spline_is_kept() -> None:
    torch.manual_seed(0)
    layer = drawn((3,), 3, 0.5)
    x = torch.tensor([[0.5, -0.5, math.nextafter(0.5, 1)]], dtype=torch.float64)
    assert_close(all_of(layer, x, fused=True), all_of(layer, x, fused=False), 1e-10)


@pytest.mark.parametrize("bins", [1, 2, 5])
def test_what_compilers_are_given_is_the_same_pass(bins: int) -> None:
    torch.manual_seed(0)
    layer = drawn((7,), bins, 3.0)
    x = numbers(layer, 9).requires_grad_()
    table = layer._table([0]).detach().requires_grad_()
    found = []
    for step in (spline_fused.step_for_compilers, spline_fused.SplineStep.apply):
        z, log_det = step(x, table, layer.bound)
        found.append((z, log_det, *torch.autograd.grad((z.sin().sum(1) * log_det.cos()).sum(), (x, table))))
    for ours, fused in zip(*found, strict=True):
        assert torch.allclose(ours, fused, rtol=1e-10, atol=1e-10)
