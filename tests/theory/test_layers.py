"""Every layer of the table: exact log-determinants, inverses, shapes, dtypes, state, and its training pass."""

import copy

import pytest
import torch
from layer_table import CASES, LEARNED
from round_trips import close, jacobian, require_round_trip

from snf_lite import FlowLayer

ALL = pytest.mark.parametrize("name", CASES)


@ALL
def test_log_det_is_that_of_the_autograd_jacobian(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    _, log_det = layer(x)
    wanted = torch.stack([torch.linalg.slogdet(jacobian(layer, event))[1] for event in x])
    assert log_det.shape == (len(x),)
    assert (log_det - wanted).abs().max() < 1e-8


@ALL
def test_log_det_without_gradient_is_the_same(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    with torch.no_grad():
        remembered = [layer(x)[1] for _ in range(2)]
    for log_det in remembered:
        close(log_det, layer(x)[1], 1e-12)


@ALL
def test_log_det_gradient_is_that_of_the_autograd_jacobian(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events(2)
    parameters = [p for p in layer.parameters()]
    if not parameters:
        assert not layer(x)[1].requires_grad
        return
    wanted = sum(torch.linalg.slogdet(jacobian(layer, event))[1] for event in x)
    got = torch.autograd.grad(layer(x)[1].sum(), parameters, allow_unused=True, materialize_grads=True)
    truth = torch.autograd.grad(wanted, parameters, allow_unused=True, materialize_grads=True)
    for ours, autograds in zip(got, truth, strict=True):
        close(ours, autograds, 1e-9)


@ALL
def test_log_det_gradient_reaches_the_input(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events(1).requires_grad_()
    log_det = layer(x)[1]
    if not log_det.requires_grad:
        return
    (got,) = torch.autograd.grad(log_det.sum(), x, allow_unused=True, materialize_grads=True)
    wanted = torch.linalg.slogdet(jacobian(layer, x[0]))[1]
    if not wanted.requires_grad:
        return
    (truth,) = torch.autograd.grad(wanted, x, allow_unused=True, materialize_grads=True)
    close(got, truth, 1e-9)


@ALL
def test_exact_inverse_round_trips(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    z, _ = layer(x)
    back = layer.inverse(z)
    if name == "Dequantize":  # the inverse gives the pixel that the point belongs to
        assert back.dtype == torch.uint8
        assert torch.equal(back, x.floor().to(torch.uint8))
        return
    require_round_trip(layer, x, back)
    with torch.no_grad():
        require_round_trip(layer, x, layer.inverse(z))


@ALL
def test_inverse_is_differentiable(name: str) -> None:
    case = CASES[name]
    if name == "Dequantize":
        pytest.skip("pixels have no derivative")
    layer, x = case.layer(), case.events(1)
    z = layer(x)[0].detach()
    size = x.numel()
    inverse_jacobian = torch.autograd.functional.jacobian(lambda e: layer.invert(e[None], True), z[0])
    inverse_jacobian = inverse_jacobian.reshape(size, size)
    close(inverse_jacobian @ jacobian(layer, x[0]), torch.eye(size, dtype=x.dtype), 1e-7)


@ALL
def test_exact_inverse_has_the_inverse_parameter_gradient(name: str) -> None:
    """f(f⁻¹(z)) = z for every parameter: the derivative of the round trip by the parameters vanishes."""
    case = CASES[name]
    layer, z = case.layer(), case.layer()(case.events())[0].detach()
    parameters = list(layer.parameters())
    if not parameters or name == "Dequantize":
        return
    round_trip = (layer(layer.inverse(z))[0] * torch.sin(torch.arange(z.numel()).reshape(z.shape))).sum()
    for gradient in torch.autograd.grad(round_trip, parameters, allow_unused=True, materialize_grads=True):
        assert gradient.abs().max() < 1e-6


@ALL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtypes(name: str, dtype: torch.dtype) -> None:
    case = CASES[name]
    layer = case.layer(dtype)
    for batch in (0, 1, 3):
        x = case.events(batch, dtype)
        z, log_det = layer(x)
        assert z.shape == (batch, *layer.output_shape(case.event_shape))
        assert log_det.shape == (batch,)
        assert z.dtype == log_det.dtype == dtype
        surrogate_z, term, _ = layer.surrogate(x)
        assert surrogate_z.dtype == term.dtype == dtype
        assert term.shape == (batch,)
        for exact in (True, False):
            assert layer.inverse(z, exact=exact).shape == x.shape


@ALL
def test_float32_follows_float64(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    z, log_det = layer(x)
    z32, log_det32 = copy.deepcopy(layer).float()(x.float())
    assert (z - z32).abs().max() < 1e-3 * (1 + z.abs().max())
    assert (log_det - log_det32).abs().max() < 1e-3 * (1 + log_det.abs().max())


@ALL
def test_events_of_a_batch_do_not_touch(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    whole, alone = layer(x), layer(x[2:3])
    close(alone[0][0], whole[0][2], 1e-10)
    close(alone[1][0], whole[1][2], 1e-10)


@ALL
def test_state_and_settings_make_the_layer_again(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    twin = type(layer)(**layer.settings()).double()
    twin.load_state_dict(layer.state_dict())
    for ours, theirs in zip(layer(x), twin(x), strict=True):
        assert torch.equal(ours, theirs)
    assert FlowLayer.registry[type(layer).__name__] is type(layer)


@ALL
def test_training_pass_maps_like_the_exact_one(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    z, term, penalty = layer.surrogate(x)
    close(z, layer(x)[0], 1e-12)
    assert (penalty is not None) == (layer.learned_inverse and not name.startswith("Tracked"))
    if name in LEARNED:
        back = layer.inverse(z, exact=False)
        assert torch.equal(term, torch.zeros_like(term))
        close(penalty, layer.recon_weight * (back - x).square().flatten(1).sum(1), 1e-10)
    elif not layer.learned_inverse and name != "RelativeGradientLinear":
        close(term, layer(x)[1], 1e-10)


@ALL
def test_training_pass_sends_the_exact_gradient_to_the_input(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events().requires_grad_()
    z, term, _ = layer.surrogate(x)
    pull = torch.cos(torch.arange(z.numel(), dtype=z.dtype)).reshape(z.shape)
    (got,) = torch.autograd.grad((pull * z).sum() + term.sum(), x)
    exact_z, exact_log_det = layer(x)
    (wanted,) = torch.autograd.grad((pull * exact_z).sum() + exact_log_det.sum(), x)
    close(got, wanted, 1e-10)


@ALL
def test_works_under_the_transforms_of_torch_func_and_keeps_nothing_from_inside(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    with torch.no_grad():
        one_by_one = torch.func.vmap(lambda event: layer(event[None])[1][0])(x)
        close(one_by_one, layer(x)[1], 1e-10)
    z = layer(x)[0].detach()
    if name != "Dequantize":
        torch.func.jacrev(lambda code: layer.inverse(code[None])[0])(z[0])
    copy.deepcopy(layer)
