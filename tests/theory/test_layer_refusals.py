"""What every layer of the table refuses, and that cached factorizations notice a changed weight."""

import math
from typing import Any

import pytest
import torch
from layer_table import CASES, Case
from round_trips import close, require_round_trip
from torch import Tensor, nn

import snf_lite as snf
from snf_lite import FlowLayer
from snf_lite.linalg import toeplitz

ALL = pytest.mark.parametrize("name", CASES)


@ALL
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_refuses_numbers_that_are_not_finite(name: str, bad: float) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    z = layer(x)[0].detach()
    x[0].view(-1)[0] = bad
    with pytest.raises(ValueError, match=r"finite"):
        layer(x)
    z[0].view(-1)[0] = bad
    with pytest.raises(ValueError, match=r"finite"):
        layer.inverse(z)


@ALL
def test_refuses_other_dtypes(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    with pytest.raises(TypeError, match="int64"):
        layer(x.long())
    with pytest.raises(TypeError, match="int64"):
        layer.inverse(layer(x)[0].long())
    with pytest.raises(TypeError, match="list"):
        layer([[0.0]])
    if layer.dtype is not None:
        with pytest.raises(TypeError, match=r"float64.*float32"):
            layer(x.float())


@ALL
def test_refuses_wrong_shapes(name: str) -> None:
    case = CASES[name]
    if name.startswith("SmoothLeakyReLU") or name in ("Logit", "Dequantize"):
        pytest.skip("takes events of any shape")
    layer, x = case.layer(), case.events()
    label = type(layer).__name__
    wrong_shapes = [x[0], x[:, None], x[:, :0], x.sum()]
    if "Conv" not in name and name != "ActNorm-image" and "Coupling" not in name:  # which take any height and width
        wrong_shapes.append(torch.cat([x, x, x], dim=-1)[..., : x.shape[-1] + 1])
    for wrong in wrong_shapes:
        with pytest.raises(ValueError, match=rf"{label}: expected event shape .* got "):
            layer(wrong)
    z = layer(x)[0]
    with pytest.raises(ValueError, match=rf"{label}: expected event shape .* got "):
        layer.inverse(z[:, None, None])


#: The exponential of a convolution has an inverse whatever the weight.
MAY_BE_SINGULAR = [n for n in CASES if ("Linear" in n or "Conv" in n) and "Exponential" not in n]


@pytest.mark.parametrize("name", MAY_BE_SINGULAR)
def test_refuses_a_singular_weight(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    z = layer(x)[0].detach()
    with torch.no_grad():
        stored_weight(layer).zero_()
    for attempt in (lambda: layer(x), lambda: layer.inverse(z)):
        with pytest.raises(snf.NotInvertibleError, match="singular"):
            attempt()
        with torch.no_grad(), pytest.raises(snf.NotInvertibleError, match="singular"):
            attempt()


@pytest.mark.parametrize("name", [n for n in CASES if "Linear" in n or "Conv" in n])
@pytest.mark.parametrize("write", ["in place", "through .data", "fused optimiser", "load_state_dict"])
def test_remembered_factorisations_notice_a_changed_weight(name: str, write: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    with torch.no_grad():
        before = layer(x)[1]
        z = layer(x)[0]
        layer.inverse(z)
    changed = case.layer(seed=5)
    if write == "in place":
        with torch.no_grad():
            stored_weight(layer).copy_(stored_weight(changed))
    elif write == "through .data":
        stored_weight(layer).data.copy_(stored_weight(changed).data)
    elif write == "load_state_dict":
        layer.load_state_dict(changed.state_dict())
    else:
        weight = stored_weight(layer)
        weight.grad = torch.randn_like(weight)
        torch.optim.Adam([weight], lr=0.1, fused=True).step()
    with torch.no_grad():
        after, fresh = layer(x)[1], toeplitz_or_slogdet(layer, case)
        assert not torch.allclose(before, after)
        close(after, fresh.expand_as(after), 1e-9)
        require_round_trip(layer, x, layer.inverse(layer(x)[0]))


def stored_weight(layer: FlowLayer) -> torch.nn.Parameter:
    """The parameter that decides whether the layer has an inverse."""
    return layer.upper if isinstance(layer, snf.LULinear) else layer.weight


def toeplitz_or_slogdet(layer: FlowLayer, case: Case) -> Tensor:
    return torch.linalg.slogdet(dense_matrix(layer, case.event_shape[1:]))[1]


def dense_matrix(layer: FlowLayer, size: tuple[int, ...]) -> Tensor:
    if isinstance(layer, snf.EmergingConv2d):
        first, second = (toeplitz.matrix(kernel, *size) for kernel in layer.kernels())
        return second @ first
    if isinstance(layer, snf.ConvExponential2d):
        return torch.linalg.matrix_exp(toeplitz.matrix(layer.kernel(), *size))
    return layer.weight if layer.weight.dim() == 2 else toeplitz.matrix(layer.weight, *size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("features", [8, 64, 200])
@pytest.mark.parametrize("learning", [True, False])
def test_refuses_weights_that_are_singular_but_for_rounding(features: int, dtype: torch.dtype, learning: bool) -> None:
    """The last row is the sum of the others: exactly singular, and yet LU leaves pivots far from zero."""
    x = torch.ones(2, features, dtype=dtype)
    for seed in range(10):
        torch.manual_seed(seed)
        weight = torch.randint(-3, 4, (features, features)).to(dtype)
        weight[-1] = weight[:-1].sum(0)
        dense_layer, conv_layer = snf.ExactLinear(features).to(dtype), snf.ExactConv2d(features, 1).to(dtype)
        dense_layer.weight.data.copy_(weight)
        conv_layer.weight.data.copy_(weight[:, :, None, None])
        for layer, events in ((dense_layer, x), (conv_layer, x[:, :, None, None])):
            with torch.set_grad_enabled(learning), pytest.raises(snf.NotInvertibleError, match="singular"):
                layer(events)


def test_takes_weights_that_are_badly_scaled_but_regular() -> None:
    layer = snf.ExactLinear(2)
    layer.weight.data.copy_(torch.tensor([[1.0, 0.5], [0.3e-6, 1e-6]]))
    assert layer(torch.ones(1, 2))[1].item() == pytest.approx(math.log(0.85e-6), abs=1e-5)
    rotated = torch.linalg.qr(torch.randn(64, 64))[0] * torch.logspace(0, -6, 64)
    wide = snf.ExactLinear(64)
    wide.weight.data.copy_(rotated @ torch.linalg.qr(torch.randn(64, 64))[0])
    assert wide(torch.ones(1, 64))[1].item() == pytest.approx(-32.0 * 6 * math.log(10), rel=1e-3)


@pytest.mark.parametrize("name", [n for n in CASES if "Linear" in n or "Conv" in n])
def test_refuses_a_weight_that_is_not_finite(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    with torch.no_grad():
        stored_weight(layer).view(-1)[0] = math.nan
        with pytest.raises((snf.NotInvertibleError, FloatingPointError)):
            layer(x)
    with pytest.raises((snf.NotInvertibleError, FloatingPointError)):
        layer(x)


class Shift(FlowLayer):
    """A layer of a user, who names a parameter like the argument that decides about it."""

    def __init__(self, features: int, bias: bool = True, scale: float | None = 1.0) -> None:
        super().__init__()
        self.features, self.scale = features, scale
        self.bias = nn.Parameter(torch.zeros(features)) if bias else None


class Hidden(FlowLayer):
    def __init__(self, features: int) -> None:
        super().__init__()
        self._features = features


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Shift(2), r"Shift: expected an attribute 'bias' .* got one of type Parameter; override settings\(\)"),
        (Hidden(2), r"Hidden: expected an attribute 'features' .* got none; override settings\(\)"),
    ],
    ids=["a parameter", "no attribute"],
)
def test_settings_that_no_attribute_holds_are_refused(layer: FlowLayer, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        layer.settings()


@pytest.mark.parametrize("scale", [None, 2.0])
def test_settings_hold_none_where_it_is_not_the_default(scale: float | None) -> None:
    settings: dict[str, Any] = Shift(2, False, scale).settings()
    assert settings == {"features": 2, "bias": None, "scale": scale}
