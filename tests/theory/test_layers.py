"""Every layer of the table: exact log-determinants, inverses, shapes, dtypes, gradients, state, refusals."""

import copy
import math

import pytest
import torch
from layer_table import CASES, CONV_LEARNED, DENSE_LEARNED, LEARNED, Case
from round_trips import close, jacobian, require_round_trip
from torch import Tensor

import snf_lite as snf
from snf_lite import FlowLayer, conv, dense
from snf_lite.linalg import toeplitz

ALL = pytest.mark.parametrize("name", CASES)


# ---- the self-normalising gradients ----------------------------------------------------------------------------------


def training_gradients(layer: FlowLayer, x: Tensor, pull: Tensor, weights: Tensor) -> dict[str, Tensor]:
    """Gradients of Σ_b pull·z - weights·(term - penalty), as a training loss with uneven weights would ask for."""
    layer.zero_grad()
    z, term, penalty = layer.surrogate(x)
    ((pull * z).sum() - (weights * term).sum() + (weights * penalty).sum()).backward()
    return {key: value.grad for key, value in layer.named_parameters()}


def drawn(layer: FlowLayer, x: Tensor) -> tuple[Tensor, Tensor]:
    torch.manual_seed(7)
    return torch.randn_like(layer.transform(x)[0]), torch.rand(len(x), dtype=x.dtype)


@pytest.mark.parametrize("name", LEARNED)
def test_fused_step_equals_the_readable_lines(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events().requires_grad_()
    pull, weights = drawn(layer, x)
    fused = training_gradients(layer, x, pull, weights)
    x_grad, x.grad = x.grad.clone(), None
    readable = dense.reference_self_norm_linear if name in DENSE_LEARNED else conv.reference_self_norm_conv2d
    layer.zero_grad()
    z, term, recon = readable(x, layer.weight, layer.inverse_weight, layer.bias)
    assert torch.equal(term, torch.zeros_like(term))
    ((pull * z).sum() - (weights * term).sum() + layer.recon_weight * (weights * recon).sum()).backward()
    close(x_grad, x.grad, 1e-12)
    for key, parameter in layer.named_parameters():
        close(fused[key], parameter.grad, 1e-12)


def by_formula(W: Tensor, R: Tensor, lam: float, batch: Tensor, pull: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """eq-dense-gradients: ½(δz xᵀ + Rᵀ) - 2λ Rᵀ(x̂-x)xᵀ and ½(-δx(Wx)ᵀ - Wᵀ) - 2λ (x̂-x)(Wx)ᵀ, written event by event."""
    ascend_W, ascend_R = torch.zeros_like(W), torch.zeros_like(R)
    for x, g, s in zip(batch, pull, weights, strict=True):
        delta_z = -g / s
        error = R @ W @ x - x
        ascend_W += s * (0.5 * (torch.outer(delta_z, x) + R.T) - 2 * lam * torch.outer(R.T @ error, x))
        ascend_R += s * (0.5 * (-torch.outer(W.T @ delta_z, W @ x) - W.T) - 2 * lam * torch.outer(error, W @ x))
    return ascend_W, ascend_R


@pytest.mark.equation("eq-dense-gradients")
@pytest.mark.parametrize("name", DENSE_LEARNED)
def test_dense_gradients_follow_the_formula(name: str) -> None:
    case = CASES[name]
    layer, batch = case.layer(), case.events()
    pull, weights = drawn(layer, batch)
    got = training_gradients(layer, batch, pull, weights)
    W, R = layer.weight.detach(), layer.inverse_weight.detach()
    ascend_W, ascend_R = by_formula(W, R, layer.recon_weight, batch, pull, weights)
    close(-got["weight"], ascend_W, 1e-9)
    close(-got["inverse_weight"], ascend_R, 1e-9)
    close(got["bias"], pull.sum(0), 1e-12)  # no half: the bias takes the whole gradient


@pytest.mark.parametrize("name", CONV_LEARNED)
def test_conv_gradients_follow_the_formula(name: str) -> None:
    """eq-conv-gradients through the dense matrices T(w), T(r): the same formula as for W and R, then the chain rule."""
    case = CASES[name]
    layer, batch = case.layer(), case.events()
    pull, weights = drawn(layer, batch)
    got = training_gradients(layer, batch, pull, weights)
    w, r = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.inverse_weight))
    size = case.event_shape[1:]
    T_w, T_r = toeplitz.matrix(w, *size), toeplitz.matrix(r, *size)
    events, pulls = batch.flatten(1), pull.flatten(1)
    ascend_W, ascend_R = by_formula(T_w.detach(), T_r.detach(), layer.recon_weight, events, pulls, weights)
    close(-got["weight"], torch.autograd.grad((T_w * ascend_W).sum(), w)[0], 1e-9)
    close(-got["inverse_weight"], torch.autograd.grad((T_r * ascend_R).sum(), r)[0], 1e-9)
    close(got["bias"], pull.sum((0, 2, 3)), 1e-12)


def test_with_the_true_inverse_the_gradients_are_the_exact_ones() -> None:
    """R = W⁻¹: twice the gradient of W is that of log p_f, twice that of R is that of log p_g, by plain autograd."""
    case = CASES["SelfNormLinear"]
    layer, x = case.layer(), case.events()
    with torch.no_grad():
        layer.inverse_weight.copy_(torch.linalg.inv(layer.weight))
    torch.manual_seed(3)
    quadratic = torch.randn(5, 5, dtype=x.dtype)
    log_p = lambda z: -(z @ quadratic).square().sum(1).sqrt()  # noqa: E731

    layer.zero_grad()
    z, term, penalty = layer.surrogate(x)
    (-(log_p(z) + term - penalty)).mean().backward()
    W, R = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.inverse_weight))
    exact_f = -(log_p(x @ W.T + layer.bias.detach()) + torch.linalg.slogdet(W)[1]).mean()
    code = torch.linalg.solve(R, x.T).T
    exact_g = -(log_p(code + layer.bias.detach()) - torch.linalg.slogdet(R)[1]).mean()
    close(2 * layer.weight.grad, torch.autograd.grad(exact_f, W)[0], 1e-10)
    close(2 * layer.inverse_weight.grad, torch.autograd.grad(exact_g, R)[0], 1e-10)


@pytest.mark.equation("eq-relative")
def test_relative_gradient_is_the_exact_one_times_WtW() -> None:
    case = CASES["RelativeGradientLinear"]
    layer, x = case.layer(), case.events()
    pull, weights = drawn(layer, x)
    z, term, _ = layer.surrogate(x)
    assert torch.equal(term, torch.zeros_like(term))
    ((pull * z).sum() - (weights * term).sum()).backward()
    W = layer.weight.detach()
    exact = pull.T @ x - weights.sum() * torch.linalg.inv(W).T
    close(layer.weight.grad, exact @ W.T @ W, 1e-10)
    close(layer.bias.grad, pull.sum(0), 1e-12)


# ---- exact log-determinants, inverses, shapes ------------------------------------------------------------------------


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
    assert (penalty is not None) == layer.learned_inverse
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


# ---- what a layer refuses --------------------------------------------------------------------------------------------


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
        with pytest.raises(ValueError, match=rf"{label}: expected events of shape .* got "):
            layer(wrong)
    z = layer(x)[0]
    with pytest.raises(ValueError, match=rf"{label}: expected events of shape .* got "):
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


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's own: addcmul_ is batched by a loop
@pytest.mark.parametrize("name", LEARNED)
def test_gradients_of_single_events(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events()
    parameters = dict(layer.named_parameters())

    class Objective(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, event: Tensor) -> Tensor:
            z, term, penalty = self.layer.surrogate(event[None])
            return (z.sin().sum() + term + penalty).sum()

    objective = Objective()

    def value(weights: dict[str, Tensor], event: Tensor) -> Tensor:
        return torch.func.functional_call(objective, {f"layer.{key}": w for key, w in weights.items()}, (event,))

    single = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0))(parameters, x)
    layer.zero_grad()
    sum(objective(event) for event in x).backward()
    for key, weight in parameters.items():
        close(single[key].sum(0), weight.grad, 1e-10)
