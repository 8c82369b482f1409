"""``self_norm_log_det``: exact where g inverts f, the formula elsewhere, Hutchinson's estimate unbiased."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import snf_lite as snf
from snf_lite import self_norm_log_det, surrogate
from snf_lite.flow import standard_normal_log_prob


class Bend(nn.Module):
    """x → x + ½ tanh(A x) with small A: invertible, and no layer of the package."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.3 * torch.randn(features, features, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.5 * torch.tanh(x @ self.weight.T)

    def inverse(self, z: Tensor) -> Tensor:
        x = z
        for _ in range(100):  # a contraction
            x = z - 0.5 * torch.tanh(x @ self.weight.T)
        return x


@pytest.fixture
def drawn() -> tuple[Bend, Tensor]:
    torch.manual_seed(0)
    return Bend(4), torch.randn(6, 4, dtype=torch.float64)


def jacobians(f: object, x: Tensor) -> Tensor:
    return torch.stack(
        [torch.autograd.functional.jacobian(lambda e: f(e[None])[0], event, create_graph=True) for event in x]  # type: ignore[operator]
    )


def test_with_the_true_inverse_the_gradient_is_exact(drawn: tuple[Bend, Tensor]) -> None:
    f, x = drawn
    x = x.requires_grad_()
    got = torch.autograd.grad(self_norm_log_det(f, f.inverse, x).sum(), [f.weight, x])
    exact = torch.linalg.slogdet(jacobians(f, x))[1].sum()
    wanted = torch.autograd.grad(exact, [f.weight, x])
    for ours, autograds in zip(got, wanted, strict=True):
        assert (ours - autograds).abs().max() < 1e-10


@pytest.mark.equation("eq-general")
def test_elsewhere_the_gradient_is_the_trace_of_jg_and_the_change_of_jf(drawn: tuple[Bend, Tensor]) -> None:
    f, x = drawn
    g = Bend(4)
    weights = torch.rand(6, dtype=torch.float64)
    surrogate = self_norm_log_det(f, g, x)
    assert surrogate.shape == (6,) and torch.equal(surrogate, torch.zeros_like(surrogate))
    (got,) = torch.autograd.grad((weights * surrogate).sum(), f.weight)
    J_g = jacobians(g, f(x)).detach()
    traces = torch.einsum("bij,bji->b", J_g, jacobians(f, x))
    (wanted,) = torch.autograd.grad((weights * traces).sum(), f.weight)
    assert (got - wanted).abs().max() < 1e-12


def test_g_gets_nothing_and_the_other_half_is_the_call_turned_round(drawn: tuple[Bend, Tensor]) -> None:
    f, x = drawn
    g = Bend(4)
    assert torch.autograd.grad(self_norm_log_det(f, g, x).sum(), g.weight, allow_unused=True) == (None,)
    z = f(x).detach()
    (turned,) = torch.autograd.grad(-self_norm_log_det(g, f, z).sum(), g.weight)
    traces = torch.einsum("bij,bji->b", jacobians(f, g(z)).detach(), jacobians(g, z))
    assert (turned - torch.autograd.grad(-traces.sum(), g.weight)[0]).abs().max() < 1e-12


def test_for_a_dense_layer_it_is_the_transpose_of_r(drawn: tuple[Bend, Tensor]) -> None:
    layer, x = snf.SelfNormLinear(4).double(), drawn[1]
    surrogate = self_norm_log_det(lambda h: layer(h)[0], lambda z: layer.inverse(z, exact=False), x)
    (got,) = torch.autograd.grad(surrogate.mean(), layer.weight)
    assert (got - layer.inverse_weight.T).abs().max() < 1e-12


def test_hutchinsons_estimate_is_unbiased(drawn: tuple[Bend, Tensor]) -> None:
    """The mean of many one-probe estimates lies within four standard errors of the exact trace's gradient."""
    f, x = drawn
    g, x = Bend(4), x[:2]
    (exact,) = torch.autograd.grad(self_norm_log_det(f, g, x).sum(), f.weight)
    torch.manual_seed(1)
    draws = torch.stack(
        [torch.autograd.grad(self_norm_log_det(f, g, x, probes=1).sum(), f.weight)[0] for _ in range(400)]
    )
    errors = (draws.mean(0) - exact).abs() / (draws.std(0) / 400**0.5)
    assert draws.std(0).min() > 0 and errors.max() < 4
    torch.manual_seed(1)
    (many,) = torch.autograd.grad(self_norm_log_det(f, g, x, probes=2000).sum(), f.weight)
    assert (many - exact).norm() < 0.1 * exact.norm()


def test_refuses_bad_arguments(drawn: tuple[Bend, Tensor]) -> None:
    f, x = drawn
    for bad in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"probes to be a positive integer, got {bad}"):
            self_norm_log_det(f, f, x, probes=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"keep the batch and the 4 features of a data point, got \(6, 4\) → \(6, 3\)"):
        self_norm_log_det(lambda h: h[:, :3], f, x)
    with pytest.raises(TypeError, match="expected f to give a tensor, got a tuple"):
        self_norm_log_det(snf.ExactLinear(4).double(), f, x)
    with pytest.raises(ValueError, match=r"at least one data point, \(B, ...\), got shape \(0, 4\)"):
        self_norm_log_det(f, f, x[:0])
    with pytest.raises(FloatingPointError, match="trace of J_g J_f is not finite"):
        self_norm_log_det(torch.log, torch.exp, -x.abs())
    with pytest.raises(ValueError, match=r"expected g to keep the batch and the 4 features"):
        self_norm_log_det(f, lambda z: z[:, :3], x)


@pytest.mark.equation("eq-general")
def test_with_the_true_inverse_both_halves_are_the_exact_gradients() -> None:
    """f and g, two readings of one bent map: f(x) = arsinh(W x + b), g(z) = R (sinh z - b) with R = W⁻¹."""
    torch.manual_seed(3)
    W, b, x = torch.randn(4, 4).double(), torch.randn(4).double(), torch.randn(6, 4).double().requires_grad_()
    W.requires_grad_()
    R = torch.linalg.inv(W).detach().requires_grad_()
    z = f_of(W, b)(x)
    (delta_x,) = torch.autograd.grad(log_prob(z, x, W).sum(), x, retain_graph=True)
    first = (standard_normal_log_prob(z) + self_norm_log_det(f_of(W, b), g_of(R, b), x)).sum()
    code = z.detach()
    trace = self_norm_log_det(g_of(R, b), f_of(W, b), code)
    second = (-(delta_x * g_of(R, b)(code)).sum(1) - trace).sum()
    exact_f = log_prob(z, x, W).sum()
    y = f_of(torch.linalg.inv(R), b)(x.detach())
    exact_g = log_prob(y, x.detach(), torch.linalg.inv(R)).sum()
    for ours, exact, weight in ((first, exact_f, W), (second, exact_g, R)):
        got, wanted = (torch.autograd.grad(value, weight, retain_graph=True)[0] for value in (ours, exact))
        assert (got - wanted).abs().max() < 1e-9 * wanted.abs().max()


def f_of(W: Tensor, b: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.arcsinh(x @ W.T + b)


def g_of(R: Tensor, b: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda z: (torch.sinh(z) - b) @ R.T


def log_prob(z: Tensor, x: Tensor, W: Tensor) -> Tensor:
    """log p(x) of z = arsinh(W x + b), whose slopes are 1/cosh z."""
    return standard_normal_log_prob(z) - torch.cosh(z).log().sum(1) + torch.linalg.slogdet(W).logabsdet


# ---- corrected: without bias, whatever g is --------------------------------------------------------------------------


class Residual(nn.Module):
    """x + B tanh(A x): no inverse in closed form, of either network."""

    def __init__(self, features: int, size: float = 0.3) -> None:
        super().__init__()
        self.A = nn.Parameter(size * torch.randn(features, features, dtype=torch.float64))
        self.B = nn.Parameter(size * torch.randn(features, features, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(x @ self.A.T) @ self.B.T


def exact_gradients(f: Residual, x: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    log_dets = torch.linalg.slogdet(jacobians(f, x)).logabsdet
    return torch.autograd.grad((weights * log_dets).sum(), [f.A, f.B, x])


@pytest.mark.equation("eq-corrected-trace")
@pytest.mark.parametrize("seed", range(3))
def test_corrected_the_gradient_is_that_of_log_det_whatever_g_is(seed: int) -> None:
    torch.manual_seed(seed)
    f, g, x = Residual(5), Residual(5), torch.randn(6, 5, dtype=torch.float64).requires_grad_()
    weights = torch.rand(6, dtype=torch.float64)
    term = self_norm_log_det(f, g, x, correct=1e-13)
    assert term.shape == (6,) and torch.equal(term, torch.zeros_like(term))
    got = torch.autograd.grad((weights * term).sum(), [f.A, f.B, x])
    published = torch.autograd.grad((weights * self_norm_log_det(f, g, x)).sum(), [f.A, f.B, x])
    for ours, biased, wanted in zip(got, published, exact_gradients(f, x, weights), strict=True):
        assert (ours - wanted).abs().max() < 1e-10 * wanted.abs().max()
        assert (biased - wanted).abs().max() > 1e-2 * wanted.abs().max()


@pytest.mark.equation("eq-corrected-trace")
def test_corrected_hutchinsons_estimate_is_unbiased() -> None:
    """10⁴ probes: the mean of their gradients lies within four standard errors of the exact one, entry by entry."""
    torch.manual_seed(0)
    f, g, x = Residual(3), Residual(3), torch.randn(2, 3, dtype=torch.float64).requires_grad_()
    wanted = exact_gradients(f, x, torch.ones(2, dtype=torch.float64))
    torch.manual_seed(1)
    draws: list[tuple[Tensor, ...]] = []
    for _ in range(100):
        term = self_norm_log_det(f, g, x, probes=100, correct=1e-10).sum()
        draws.append(torch.autograd.grad(term, [f.A, f.B, x]))
    for ours, exact in zip(map(torch.stack, zip(*draws, strict=True)), wanted, strict=True):
        standard_error = ours.std(0) / 100**0.5
        assert standard_error.min() > 0 and ((ours.mean(0) - exact).abs() / standard_error).max() < 4


def test_corrected_maps_may_change_the_shape_of_a_data_point() -> None:
    torch.manual_seed(0)
    inner, x = Residual(4), torch.randn(3, 2, 2, dtype=torch.float64).requires_grad_()
    term = self_norm_log_det(lambda h: inner(h.flatten(1)), lambda z: z.unflatten(1, (2, 2)), x, correct=1e-12)
    flat = x.detach().flatten(1).requires_grad_()
    wanted = exact_gradients(inner, flat, torch.ones(3, dtype=torch.float64))
    got = torch.autograd.grad(term.sum(), [inner.A, inner.B, x])
    for ours, exact in zip(got, wanted, strict=True):
        assert (ours.flatten() - exact.flatten()).abs().max() < 1e-10


@pytest.mark.filterwarnings("ignore:self_norm_log_det. g is far")
def test_where_the_iteration_ends_early_the_data_points_are_eliminated(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one iteration no data point converges: by elimination the gradient is exact, from the iterate it is not."""
    monkeypatch.setattr(surrogate, "LIMIT", 1)
    torch.manual_seed(0)
    f, g, x = Residual(5), Residual(5), torch.randn(6, 5, dtype=torch.float64).requires_grad_()
    wanted = exact_gradients(f, x, torch.ones(6, dtype=torch.float64))
    for most, near in ((1024, True), (4, False)):
        monkeypatch.setattr(surrogate, "MOST_FEATURES", most)
        found = surrogate.estimate(f, g, x, None, 1e-12, "here")
        assert found.unsolved == 6 and found.residual > 1e-12 and found.iterations == 1
        got = torch.autograd.grad(found.term.sum(), [f.A, f.B, x])
        close = [bool((ours - exact).abs().max() < 1e-10) for ours, exact in zip(got, wanted, strict=True)]
        assert all(close) is near


def test_says_that_the_iteration_did_not_converge_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "LIMIT", 1)
    torch.manual_seed(0)
    f, g, x = Residual(5), Residual(5), torch.randn(6, 5, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"1 iterations left .* in 6 of 6 data points, .* by elimination"):
        self_norm_log_det(f, g, x, correct=1e-12)
    flat = torch.zeros(5, 5, dtype=torch.float64)
    with pytest.raises(snf.NotInvertibleError, match="J_f is singular at 6 data points"):
        self_norm_log_det(lambda h: h @ flat, g, x, correct=1e-3)


@pytest.mark.parametrize("bad", [0.0, 1.0, -1e-3, "yes", math.nan])
def test_refuses_a_residual_that_is_none(drawn: tuple[Bend, Tensor], bad: object) -> None:
    f, x = drawn
    with pytest.raises(ValueError, match=r"self_norm_log_det: expected correct in \(0, 1\), got"):
        self_norm_log_det(f, f, x, correct=bad)  # type: ignore[arg-type]


def test_a_good_g_saves_iterations(drawn: tuple[Bend, Tensor]) -> None:
    f, x = drawn
    taken = [surrogate.estimate(f, g, x, None, 1e-8, "here").iterations for g in (f.inverse, lambda z: z)]
    assert taken[0] == 1 < taken[1]
