"""The gradients that the training passes of the layers leave: those of the paper's formulas, by other means."""

import pytest
import torch
from layer_table import CASES, CONV_LEARNED, DENSE_LEARNED, LEARNED
from round_trips import close
from torch import Tensor

from snf_lite import FlowLayer, conv, dense
from snf_lite.linalg import toeplitz


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
