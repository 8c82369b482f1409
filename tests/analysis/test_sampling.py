"""How far g(z) lies from f⁻¹(z): the identity behind it, its parts by layer, the bound, and how to make it vanish."""

import math
from typing import Any

import pytest
import torch
from small_models import small
from torch import Tensor

import snf_lite as snf
from snf_lite.analysis import learned_inverse, sampling


def drawn_flow(depth: int = 3, features: int = 5, off: float = 0.3) -> snf.Flow:
    """Dense layers far from the identity, each with a learned inverse that is wrong by ``off`` and more."""
    torch.manual_seed(depth)
    flow = snf.build("dense-selfnorm", (features,), levels=None, depth=depth).double()
    with torch.no_grad():
        for layer in learned_inverse.learned_layers(flow):
            W, R = layer.get_parameter("weight"), layer.get_parameter("inverse_weight")
            W.add_(0.4 * torch.randn_like(W))
            R.copy_(torch.linalg.inv(W) + off * torch.randn_like(W) / features)
            layer.get_parameter("bias").normal_()
    return flow.requires_grad_(False)


def codes(n: int, *shape: int) -> Tensor:
    return torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))


@pytest.mark.equation("eq-sample-distance")
def test_the_distance_is_in_units_of_the_reference() -> None:
    x, y = codes(2, 6, 4)
    by_hand = math.sqrt(sum(float(v) ** 2 for v in (x - y).flatten()) / sum(float(v) ** 2 for v in y.flatten()))
    assert sampling.relative_distance(x, y) == pytest.approx(by_hand, rel=1e-12)
    assert sampling.relative_distance(3 * x, 3 * y) == pytest.approx(by_hand, rel=1e-12)
    pixels = torch.tensor([[0, 200]], dtype=torch.uint8), torch.tensor([[150, 200]], dtype=torch.uint8)
    assert sampling.relative_distance(*pixels) == pytest.approx(0.6)  # bytes that neither wrap nor round


@pytest.mark.parametrize(("x", "words"), [((2, 3), "of one shape"), ((2, 2), "of positive length, got 0.0")])
def test_a_distance_without_a_unit_is_refused(x: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sampling.relative_distance(torch.ones(x), torch.zeros(2, 2))


@pytest.mark.equation("eq-sample-gap")
@pytest.mark.parametrize("depth", [1, 3])
def test_the_two_samples_are_as_far_apart_as_the_exact_one_from_its_reconstruction(depth: int) -> None:
    flow, z = drawn_flow(depth), codes(20, 5)
    exact = flow.inverse(z)
    gap = flow.inverse(z, exact=False) - exact
    assert gap.norm() > 0.01 * exact.norm()
    assert (gap - (flow.reconstruct(exact) - exact)).norm() < 1e-9 * exact.norm()


@pytest.mark.equation("eq-sample-gap")
def test_of_a_dense_layer_that_is_the_error_matrix_at_the_sample() -> None:
    flow, z = drawn_flow(1), codes(20, 5)
    exact, E = flow.inverse(z), learned_inverse.error_matrix(learned_inverse.learned_layers(flow)[0], (5,))
    assert torch.allclose(flow.reconstruct(exact) - exact, exact @ E.T, atol=1e-10)


@pytest.mark.equation("eq-error-directions")
def test_the_mean_squared_error_is_a_sum_over_directions() -> None:
    E, x = codes(5, 5), codes(40, 5) * torch.tensor([5.0, 1.0, 1.0, 0.2, 0.1])
    sizes, lengths, directions = learned_inverse.error_directions(E, x)
    assert (sizes.square() * lengths).sum() == pytest.approx(float((x @ E.T).square().sum(1).mean()), rel=1e-12)
    assert torch.allclose((E @ directions.T).norm(dim=0), sizes)  # E stretches direction i by σ_i
    assert torch.allclose(directions @ directions.T, torch.eye(5).double(), atol=1e-12)
    assert float(sizes[0]) == pytest.approx(float(torch.linalg.matrix_norm(E, ord=2)))
    with pytest.raises(ValueError, match=r"got \(5, 5\) and \(40, 4\)"):
        learned_inverse.error_directions(E, x[:, :4])


def test_the_layers_add_up_to_the_gap() -> None:
    flow, z = drawn_flow(), codes(9, 5)
    gaps = sampling.layer_gaps(flow, z)
    assert [gap.layer for gap in gaps] == [layer.label for layer in reversed(flow.bijections)]
    apart = (flow.inverse(z, exact=False) - flow.inverse(z)).norm(dim=1)
    assert torch.allclose(gaps[-1].gap, apart) and gaps[-1].relative == pytest.approx(
        sampling.relative_distance(flow.inverse(z, exact=False), flow.inverse(z))
    )
    for gap, layer in zip(gaps, reversed(flow.bijections), strict=True):
        assert (gap.gap <= gap.own + gap.carried + 1e-12).all()
        assert (gap.own > 1e-3).all() if layer.learned_inverse else (gap.own == 0).all()
    assert (gaps[0].carried == 0).all() and (gaps[0].stretch == 1).all()


def test_an_own_error_of_a_dense_layer_is_the_error_matrix_at_its_exact_result() -> None:
    flow, z = drawn_flow(2), codes(9, 5)
    last = flow.bijections[-1]
    E, exact = learned_inverse.error_matrix(last, (5,)), last.inverse(z)
    gap = sampling.layer_gaps(flow, z)[0]
    assert torch.allclose(gap.own, (exact @ E.T).norm(dim=1)) and torch.allclose(gap.size, exact.norm(dim=1))


@pytest.mark.equation("eq-compound")
def test_errors_compound_as_the_sum_says() -> None:
    own, stretch = codes(4, 6).abs(), codes(4, 6).exp()
    by_hand = sum(own[k] * math.prod(stretch[j] for j in range(k + 1, 4)) for k in range(4))  # code side first
    assert torch.allclose(sampling.error_bound(list(own), list(stretch)), by_hand)


@pytest.mark.equation("eq-compound")
def test_the_bound_holds_with_the_stretches_of_the_run_and_with_the_worst_there_are() -> None:
    flow, z = drawn_flow(), codes(30, 5)
    gaps = sampling.layer_gaps(flow, z)
    own = [gap.own for gap in gaps]
    seen = sampling.error_bound(own, [gap.stretch for gap in gaps])
    worst = sampling.error_bound(own, [worst_stretch(layer) for layer in reversed(flow.bijections)])
    assert (gaps[-1].gap <= seen + 1e-10).all() and (seen <= worst + 1e-10).all()


def worst_stretch(layer: Any) -> float:
    if not layer.learned_inverse:
        return 1 / getattr(layer, "alpha", 1.0)
    return float(torch.linalg.matrix_norm(layer.inverse_weight, ord=2))


@pytest.mark.equation("eq-compound")
def test_on_the_line_errors_of_one_sign_reach_the_bound() -> None:
    layers = [snf.SelfNormLinear(1).double() for _ in range(3)]
    with torch.no_grad():
        for layer, (w, r) in zip(layers, [(2.0, 0.6), (0.5, 2.5), (1.5, 0.7)], strict=True):
            layer.weight.fill_(w)
            layer.inverse_weight.fill_(r)
    gaps = sampling.layer_gaps(snf.Flow(layers, (1,)), torch.tensor([[1.0], [3.0]], dtype=torch.float64))
    bound = sampling.error_bound([gap.own for gap in gaps], [0.7, 2.5, 0.6])
    assert torch.allclose(gaps[-1].gap, bound) and (bound > 0).all()


def test_errors_without_their_stretches_are_refused() -> None:
    for own, stretch in (([], []), ([torch.ones(2)], [])):
        with pytest.raises(ValueError, match="expected one stretch for each"):
            sampling.error_bound(own, stretch)


@pytest.mark.equation("eq-refine")
def test_each_pass_multiplies_the_distance_by_minus_the_error() -> None:
    flow, z = drawn_flow(1), codes(12, 5)
    E, exact = learned_inverse.error_matrix(learned_inverse.learned_layers(flow)[0], (5,)), flow.inverse(z)
    left = flow.inverse(z, exact=False) - exact
    assert torch.equal(sampling.refine(flow, z, 0), flow.inverse(z, exact=False))
    for passes in range(1, 4):
        left = left @ -E.T
        assert (sampling.refine(flow, z, passes) - exact - left).norm() < 1e-9 * exact.norm()


@pytest.mark.equation("eq-refine")
@pytest.mark.parametrize("name", ["dense-selfnorm", "conv-selfnorm", "glow-selfnorm"])
def test_passes_lead_to_the_exact_sample(name: str) -> None:
    torch.manual_seed(0)
    flow = small(name, (1, 8, 8), levels=None).double().requires_grad_(False)
    flow.initialise(codes(300, 1, 8, 8))
    for layer in learned_inverse.learned_layers(flow):
        R = layer.get_parameter("inverse_weight")
        R.add_(0.15 * torch.randn_like(R) / (R[0].numel() ** 0.5))
    z = flow.sample_base(6, torch.Generator().manual_seed(1))
    exact = flow.inverse(z)
    apart = [sampling.relative_distance(sampling.refine(flow, z, passes), exact) for passes in (0, 4, 60)]
    assert apart[0] > 0.01 and apart[1] < 0.1 * apart[0] and apart[2] < 1e-9


@pytest.mark.equation("eq-refine")
def test_passes_lead_away_where_the_error_is_larger_than_one() -> None:
    flow, z = drawn_flow(1, off=0.0), codes(12, 5)
    with torch.no_grad():
        learned_inverse.learned_layers(flow)[0].get_parameter("inverse_weight").mul_(2.5)  # E = 1.5 I
    exact = flow.inverse(z)
    apart = [sampling.relative_distance(sampling.refine(flow, z, passes), exact) for passes in range(4)]
    assert apart == pytest.approx([1.5, 1.5**2, 1.5**3, 1.5**4])


@pytest.mark.parametrize("passes", [-1, 1.5, "two"])
def test_a_bad_number_of_passes_is_refused(passes: Any) -> None:
    with pytest.raises(ValueError, match="number of passes ≥ 0, got"):
        sampling.refine(drawn_flow(1), codes(2, 5), passes)
