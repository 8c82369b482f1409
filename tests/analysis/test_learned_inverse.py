"""The diagnosis of learned inverses: E, the bound on what it does, and the angle, against matrices built by hand."""

import math

import pytest
import torch
from layer_table import CASES, CONV_LEARNED, DENSE_LEARNED, LEARNED, Case
from snf_book.exercises.the_idea import two_dimensional_flows
from torch import Tensor

import snf_lite as snf
from snf_lite import FlowLayer
from snf_lite.analysis import learned_inverse
from snf_lite.linalg import toeplitz


def matrices(case: Case, layer: FlowLayer) -> tuple[Tensor, Tensor]:
    """W and R of a layer, (D, D), written apart from the layer's own passes."""
    W, R = layer.get_parameter("weight").detach(), layer.get_parameter("inverse_weight").detach()
    if W.dim() == 4:
        W, R = (toeplitz.matrix(taps, *case.event_shape[1:]) for taps in (W, R))
    return W, R


def drawn(name: str, seed: int = 0) -> tuple[Case, FlowLayer, Tensor, Tensor]:
    case = CASES[name]
    layer = case.layer(seed=seed)
    return case, layer, *matrices(case, layer)


@pytest.mark.equation("eq-error")
@pytest.mark.parametrize("name", LEARNED)
def test_the_error_is_what_separates_the_stand_in_from_the_gradient(name: str) -> None:
    case, layer, W, R = drawn(name)
    E = learned_inverse.error_matrix(layer, case.event_shape)
    assert (E - (R @ W - torch.eye(len(W)))).abs().max() < 1e-11
    inverse = torch.linalg.inv(W)
    assert (R.T - inverse.T - inverse.T @ E.T).norm() < 1e-9 * inverse.norm() ** 2
    size, stretch, apart = (float(torch.linalg.matrix_norm(m, ord=2)) for m in (E, inverse, R - inverse))
    assert apart <= size * stretch * (1 + 1e-9)


@pytest.mark.equation("eq-error")
def test_the_bound_on_the_stand_in_is_met_where_the_error_stretches_all_alike() -> None:
    layer = CASES["SelfNormLinear"].layer()
    inverse = torch.linalg.inv(layer.weight.detach())
    with torch.no_grad():
        layer.inverse_weight.copy_(1.75 * inverse)
    size = torch.linalg.matrix_norm(learned_inverse.error_matrix(layer, (5,)), ord=2)
    assert abs(float(size) - 0.75) < 1e-12
    apart = torch.linalg.matrix_norm(layer.inverse_weight.detach() - inverse, ord=2)
    assert abs(float(apart - size * torch.linalg.matrix_norm(inverse, ord=2))) < 1e-11


def test_a_layer_without_a_learned_inverse_has_no_error() -> None:
    flow = snf.Flow([snf.ExactLinear(2)], (2,))
    with pytest.raises(ValueError, match=r"layers\[0\] ExactLinear: expected a layer that learns its inverse"):
        learned_inverse.error_matrix(flow.bijections[0], (2,))
    assert learned_inverse.inverse_errors(flow) == []
    assert (
        learned_inverse.gradient_angles(flow, torch.ones(1, 2))
        == learned_inverse.weight_gradients(flow, torch.ones(1, 2))
        == []
    )


def mixed_flow() -> snf.Flow:
    """Two convolutions, one of them on the squeezed image, and a dense layer, all far from their inverses."""
    torch.manual_seed(0)
    first = [snf.SelfNormConv2d(1), snf.SmoothLeakyReLU(), snf.Squeeze(), snf.SelfNormConv2d(4)]
    flow = snf.Flow([*first, snf.Flatten((4, 2, 1)), snf.SelfNormLinear(8)], (1, 4, 2)).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return flow


def test_each_layer_is_measured_on_the_image_it_sees() -> None:
    flow = mixed_flow()
    found = learned_inverse.inverse_errors(flow)
    for size, layer, shape in zip(found, learned_inverse.learned_layers(flow), ((4, 2), (2, 1), ()), strict=True):
        W, R = layer.get_parameter("weight").detach(), layer.get_parameter("inverse_weight").detach()
        if shape:
            W, R = (toeplitz.matrix(taps, *shape) for taps in (W, R))
        wanted = torch.linalg.svdvals(R @ W - torch.eye(8))[0]
        assert abs(size - float(wanted)) < 1e-11
    assert len(set(found)) == 3


@pytest.mark.equation("eq-ascent")
@pytest.mark.parametrize("features", [1, 2, 5])
def test_the_slope_is_that_of_the_log_determinant_and_never_below_its_floor(features: int) -> None:
    torch.manual_seed(features)
    W = torch.randn(500, features, features, dtype=torch.float64)
    E = torch.randn(500, features, features, dtype=torch.float64) * torch.rand(500, 1, 1, dtype=torch.float64)
    R = (torch.eye(features) + E) @ torch.linalg.inv(W)
    slope, floor = learned_inverse.ascent_bound(W, R)
    assert (slope >= floor - 1e-9 * floor.abs()).all()
    t = torch.zeros(500, dtype=torch.float64, requires_grad=True)
    risen = torch.linalg.slogdet(W + t[:, None, None] * R.mT).logabsdet
    (wanted,) = torch.autograd.grad(risen.sum(), t)
    assert torch.allclose(slope, wanted, rtol=1e-8)
    safe = torch.linalg.matrix_norm(E, ord=2) < 1
    assert (slope[safe] > 0).all() and (floor[safe] > 0).all() and (floor[~safe] <= 0).all()


@pytest.mark.equation("eq-ascent")
def test_the_worst_error_meets_the_floor() -> None:
    W = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for size in (0.3, 1.0, 1.7):
        slope, floor = learned_inverse.ascent_bound(W, (1 - size) * torch.linalg.inv(W))  # E = -size I
        assert abs(float(slope - floor)) < 1e-9
        assert abs(float(floor) - (1 - size) * float(torch.linalg.inv(W).square().sum())) < 1e-9


def by_hand(name: str) -> tuple[Tensor, Tensor, float]:
    """δ_z xᵀ + Rᵀ and δ_z xᵀ + W⁻ᵀ of a flow of one layer, a convolution's gathered into its taps, and their angle."""
    case, layer, W, R = drawn(name)
    x = case.events(7)
    rows, z = x.flatten(1), layer(x)[0].detach().flatten(1)
    taps = layer.get_parameter("weight").detach()

    def gathered(dense: Tensor) -> Tensor:
        if taps.dim() == 2:
            return dense
        w = taps.clone().requires_grad_()
        return torch.autograd.grad((toeplitz.matrix(w, *case.event_shape[1:]) * dense).sum(), w)[0]

    data = -z.T @ rows / len(x)
    ours, exact = gathered(data + R.T), gathered(data + torch.linalg.inv(W).T)
    cosine = float((ours * exact).sum() / (ours.norm() * exact.norm()))
    return ours, exact, math.degrees(math.acos(cosine))


@pytest.mark.equation("eq-angle")
@pytest.mark.parametrize("name", [*DENSE_LEARNED, *CONV_LEARNED])
def test_the_angle_is_that_between_the_two_formulas(name: str) -> None:
    case = CASES[name]
    layer, x = case.layer(), case.events(7)
    flow = snf.Flow([layer], case.event_shape)
    ours, exact, degrees = by_hand(name)
    ((learned, true),) = learned_inverse.weight_gradients(flow, x)
    assert (learned - ours).abs().max() < 1e-9 * ours.abs().max()
    assert (true - exact).abs().max() < 1e-9 * exact.abs().max()
    assert abs(learned_inverse.gradient_angles(flow, x)[0] - degrees) < 1e-4
    assert all(parameter.grad is None for parameter in flow.parameters())


def test_in_a_dense_layer_of_a_flow_the_two_gradients_differ_by_the_stand_ins_error() -> None:
    flow = mixed_flow()
    x = torch.randn(6, 1, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    pairs = learned_inverse.weight_gradients(flow, x)
    dense = flow.bijections[-1]
    ours, exact = pairs[-1]
    wanted = torch.linalg.inv(dense.weight).T @ learned_inverse.error_matrix(dense, (8,)).T
    assert (ours - exact - wanted).abs().max() < 1e-9 * wanted.abs().max()
    # the exact one, of every layer, against differences of the exact likelihood
    assert all(1 < turned < 179 for turned in learned_inverse.gradient_angles(flow, x))
    for layer, (_, gradient) in zip(learned_inverse.learned_layers(flow), pairs, strict=True):
        weight, nudge = layer.get_parameter("weight").data, 1e-6 * torch.randn_like(gradient)
        up = flow_mean(flow, weight, nudge, x) - flow_mean(flow, weight, -nudge, x)
        assert abs(up - 2 * float((gradient * nudge).sum())) < 1e-3 * abs(up)


def flow_mean(flow: snf.Flow, weight: Tensor, nudge: Tensor, x: Tensor) -> float:
    weight.add_(nudge)
    with torch.no_grad():
        found = float(flow.log_prob(x).mean())
    weight.sub_(nudge)
    return found


def test_with_the_true_inverse_the_angle_is_zero() -> None:
    layer = CASES["SelfNormLinear"].layer()
    with torch.no_grad():
        layer.inverse_weight.copy_(torch.linalg.inv(layer.weight))
    flow = snf.Flow([layer], (5,))
    assert learned_inverse.gradient_angles(flow, CASES["SelfNormLinear"].events())[0] < 1e-5


def test_both_gradients_see_the_same_noise_and_leave_the_generator_alone() -> None:
    torch.manual_seed(0)
    layers = [snf.Dequantize(17), snf.Logit(1e-3), snf.Flatten((1, 2, 2)), snf.SelfNormLinear(4)]
    flow = snf.Flow(layers, (1, 2, 2)).double()
    with torch.no_grad():
        layers[-1].inverse_weight.copy_(torch.linalg.inv(layers[-1].weight))
    pixels = torch.randint(17, (5, 1, 2, 2), dtype=torch.uint8)
    before = torch.get_rng_state()
    assert learned_inverse.gradient_angles(flow, pixels)[0] < 1e-5
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("degrees", "bound"), [(0, 0), (1e-6, 1e-14), (60, 1e-12), (90, 1e-12), (180, 1e-12)])
def test_angle_between_vectors(degrees: float, bound: float) -> None:
    turned = torch.tensor([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))], dtype=torch.float64)
    straight = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert abs(learned_inverse.angle(3 * straight, 0.2 * turned) - degrees) <= bound
    assert learned_inverse.angle(straight.reshape(2, 1), straight.reshape(2, 1)) == 0


@pytest.mark.parametrize("wrong", [torch.zeros(2), torch.tensor([math.nan, 1]), torch.tensor([math.inf, 1])])
def test_no_angle_without_a_direction(wrong: Tensor) -> None:
    with pytest.raises(ValueError, match="expected two vectors with a direction, got one of length"):
        learned_inverse.angle(torch.ones(2), wrong)
    with pytest.raises(ValueError, match=r"expected tensors of one shape, got \(3,\) and \(2,\)"):
        learned_inverse.angle(torch.ones(3), wrong)


def test_a_lost_inverse_is_refused_by_name_but_has_an_error() -> None:
    flow = snf.Flow([snf.SelfNormLinear(2)], (2,))
    with torch.no_grad():
        flow.bijections[0].get_parameter("weight")[1] = flow.bijections[0].get_parameter("weight")[0]
    assert learned_inverse.inverse_errors(flow)[0] >= 1 - 1e-6  # a direction that W loses, R cannot bring back
    with pytest.raises(snf.NotInvertibleError, match=r"layers\[0\] SelfNormLinear"):
        learned_inverse.gradient_angles(flow, torch.ones(3, 2))
    with pytest.raises(RuntimeError):
        learned_inverse.ascent_bound(torch.zeros(2, 2), torch.eye(2))


# -- what the exercises of the chapter state ---------------------------------------------------------------------------


def growth(mean_squares: Tensor, recon_weight: float) -> float:
    """The largest rate at which a small push of W and R grows, at their best for events of these mean squares."""
    features = len(mean_squares)
    layer = snf.SelfNormLinear(features, recon_weight).double()
    flow = snf.Flow([layer], (features,))
    events = torch.diag((features * mean_squares).sqrt())
    weights = [layer.weight, layer.inverse_weight]
    best = torch.stack([torch.diag(mean_squares**-0.5), torch.diag(mean_squares**0.5)])

    def uphill(W_and_R: Tensor) -> Tensor:
        for weight, value in zip(weights, W_and_R.reshape(best.shape), strict=True):
            weight.data.copy_(value)
        gradients = torch.autograd.grad(flow.loss(torch.cat([events, -events])), weights)
        return -torch.stack(gradients).flatten()

    assert uphill(best).abs().max() < 1e-12
    pushes = 1e-6 * torch.eye(best.numel(), dtype=torch.float64)
    answers = [uphill(best.flatten() + push) - uphill(best.flatten() - push) for push in pushes]
    return float(torch.linalg.eigvals(torch.stack(answers, 1) / 2e-6).real.max())


@pytest.mark.parametrize("mean_squares", [[1.0], [0.3], [0.5, 4.0], [2.0, 0.7, 5.0]])
def test_an_eighth_is_the_least_tie_that_holds_w_and_r_together(mean_squares: list[float]) -> None:
    """In every direction: turns of the code excepted, which change nothing and neither grow nor shrink."""
    m = torch.tensor(mean_squares, dtype=torch.float64)
    least = 1 / (8 * float(m.min()))
    assert growth(m, 0.98 * least) > 1e-3
    assert growth(m, 1.02 * least) < (-1e-3 if len(m) == 1 else 1e-7)
    assert two_dimensional_flows.check_two_dimensional_3(lambda mean_square: 1 / (8 * mean_square)).passed


def test_the_step_that_bisection_finds_is_where_the_error_reaches_one() -> None:
    W, G, direction = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    E = 0.4 * direction / torch.linalg.matrix_norm(direction, ord=2)
    R = (torch.eye(3) + E) @ torch.linalg.inv(W)
    step = two_dimensional_flows._largest_step(E, R @ G)
    assert abs(float(torch.linalg.matrix_norm(R @ (W + step * G) - torch.eye(3), ord=2)) - 1) < 1e-9
