"""Free-form layers: both recipes' gradients, exact inverses by Newton's method, and what a map that folds is told."""

import math
from typing import Any

import pytest
import torch
from layer_table import CASES
from round_trips import jacobian
from torch import Tensor, nn

import snf_lite as snf
from snf_lite import surrogate
from snf_lite.beyond import free_form


def drawn(features: int = 4, spread: float = 0.2, seed: int = 0, **settings: Any) -> tuple[Any, Tensor]:
    """A layer whose f and g are far from the identity and from each other's inverse, and data points."""
    torch.manual_seed(seed)
    layer = snf.ResidualFreeForm(features, 8, 2, **settings).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
    return layer, torch.randn(5, features, dtype=torch.float64)


def exact_gradients(layer: Any, x: Tensor) -> list[Tensor]:
    log_det = sum(torch.linalg.slogdet(jacobian(layer, event)).logabsdet for event in x)
    return list(torch.autograd.grad(log_det, [*layer.f.parameters()], allow_unused=True, materialize_grads=True))


def apart(ours: list[Tensor], wanted: list[Tensor]) -> float:
    scale = max(float(w.abs().max()) for w in wanted)
    return max(float((a - b).abs().max()) for a, b in zip(ours, wanted, strict=True)) / scale


@pytest.mark.parametrize(
    ("settings", "near"),
    [({"probes": None}, True), ({"probes": 4}, True), ({"probes": None, "correct": None}, False)],
)
def test_the_term_has_the_exact_gradient_unless_g_replaces_the_inverse(settings: dict[str, Any], near: bool) -> None:
    layer, x = drawn(**settings)
    term = layer.surrogate(x)[1]
    got = torch.autograd.grad(term.sum(), [*layer.f.parameters()], allow_unused=True, materialize_grads=True)
    assert (apart(list(got), exact_gradients(layer, x)) < 1e-10) is near
    assert torch.autograd.grad(
        layer.surrogate(x)[1].sum(), [*layer.g.parameters()], allow_unused=True
    ) == (None,) * len(list(layer.g.parameters()))  # fmt: skip


def test_with_few_probes_the_term_is_that_of_the_corrected_estimate() -> None:
    layer, x = drawn(probes=2, correct=1e-11)
    torch.manual_seed(3)
    got = torch.autograd.grad(layer.surrogate(x)[1].sum(), layer.f.blocks[0][0].weight)[0]
    torch.manual_seed(3)
    term = snf.self_norm_log_det(layer.f, lambda z: z, x, probes=2, correct=1e-11)
    wanted = torch.autograd.grad(term.sum(), layer.f.blocks[0][0].weight)[0]
    assert (got - wanted).abs().max() < 1e-8 * wanted.abs().max()  # another g, the same solution
    assert 1 < layer.iterations <= 20 and layer.unsolved == 0


@pytest.mark.parametrize("probes", [None, 2])
@pytest.mark.parametrize("tie", [False, True])
def test_the_penalty_trains_f_only_where_it_is_tied(tie: bool, probes: int | None) -> None:
    layer, x = drawn(probes=probes, tie=tie, recon_weight=0.7)
    x.requires_grad_()
    penalty = layer.surrogate(x)[2]
    f, g = [*layer.f.parameters()], [*layer.g.parameters()]
    got = torch.autograd.grad(penalty.sum(), [*f, *g, x], allow_unused=True)
    again = 0.7 * (layer.g(layer.f(x.detach())) - x.detach()).square().sum(1)
    assert torch.allclose(penalty, again, atol=1e-12)
    wanted = torch.autograd.grad(again.sum(), [*f, *g])
    assert apart(list(got[len(f) : -1]), list(wanted[len(f) :])) < 1e-12
    assert got[-1] is None  # a term of this layer alone
    assert apart(list(got[: len(f)]), list(wanted[: len(f)])) < 1e-12 if tie else got[: len(f)] == (None,) * len(f)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_the_exact_inverse_is_found_from_a_poor_guess(dtype: torch.dtype, bound: float) -> None:
    layer, _ = drawn(6)
    layer.to(dtype)
    z = torch.randn(50, 6, dtype=dtype)
    with torch.no_grad():
        x, guess = layer.inverse(z), layer.inverse(z, exact=False)
    assert (layer.f(x) - z).norm(dim=1).max() < bound * z.norm(dim=1).max()
    assert (layer.f(guess) - z).norm(dim=1).min() > 0.1


class Fold(nn.Module):
    """x ↦ (x₁² / 2 − 1, x₂): folds the plane along x₁ = 0; det J = x₁."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0].square() / 2 - 1, x[:, 1]], 1)


def test_a_latent_that_f_does_not_reach_is_refused() -> None:
    layer = snf.FreeForm(Fold(), nn.Identity())
    z = torch.tensor([[1.0, 0.3], [-2.0, 0.0]], dtype=torch.float64)
    assert torch.allclose(layer.inverse(z[:1]), torch.tensor([[2.0, 0.3]], dtype=torch.float64))
    with pytest.raises(snf.NotInvertibleError, match=r"FreeForm: no x with f\(x\) = z was found for 1 of 2 latents"):
        layer.inverse(z)


@pytest.mark.equation("eq-folds")
def test_a_map_that_folds_is_told_once_and_integrates_to_the_number_of_preimages() -> None:
    """All but the fold's own side of the plane is covered twice: the mass is 2 P(z₁ > −1)."""
    flow = snf.Flow([snf.FreeForm(Fold(), nn.Identity())], (2,)).double()
    axis = torch.linspace(-6, 6, 400, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad(), pytest.warns(UserWarning, match=r"det J_f is negative at 80000 of 160000 .* log_prob is too"):
        mass = flow.log_prob(points).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(float(mass) - (1 + math.erf(2**-0.5))) < 1e-2
    with torch.no_grad():
        flow.log_prob(points[:4]), flow.log_prob(points)


def test_above_a_thousand_features_no_jacobian_is_built() -> None:
    layer = snf.ResidualFreeForm(1025, 4, 1, probes=2)
    x = torch.randn(2, 1025)
    z, term, penalty = layer.surrogate(x)
    (z.sum() + term.sum() + penalty.sum()).backward()
    assert layer.invert(z.detach(), exact=False).shape == x.shape
    with pytest.raises(ValueError, match=r"at most 1024 features for an exact log-determinant, .* got 1025; train by"):
        layer(x)


def test_in_parts_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = drawn(context_features=3)
    context = torch.randn(5, 3, dtype=torch.float64)
    whole = layer(x, context)
    monkeypatch.setattr(free_form, "HELD", 2 * 4**2)
    with torch.no_grad():
        for ours, wanted in zip(layer(x, context), whole, strict=True):
            assert torch.allclose(ours, wanted, atol=1e-12)
    assert not torch.allclose(layer(x, -context)[0], whole[0])


def test_solves_that_do_not_converge_are_counted_and_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surrogate, "LIMIT", 1)
    layer, x = drawn(probes=2, correct=1e-9)
    with pytest.warns(UserWarning, match="ResidualFreeForm: g is far from the inverse of f: 1 iterations left") as told:
        for _ in range(3):
            layer.surrogate(x)
    assert layer.unsolved == 15 and len(told) == 1


def test_images_keep_their_shape() -> None:
    torch.manual_seed(0)
    f, g = (nn.Conv2d(2, 2, 3, padding=1) for _ in range(2))
    for convolution in (f, g):
        nn.init.dirac_(convolution.weight)
        convolution.weight.data += 0.1 * torch.randn_like(convolution.weight)
    layer = snf.FreeForm(f, g, probes=2, correct=1e-9).double()
    x = torch.randn(3, 2, 4, 3, dtype=torch.float64)
    exact = snf.ExactConv2d(2).double()
    exact.weight.data.copy_(f.weight.data), exact.bias.data.copy_(f.bias.data)
    for ours, wanted in zip(layer(x), exact(x), strict=True):
        assert torch.allclose(ours, wanted, atol=1e-10)
    assert torch.allclose(layer.inverse(layer(x)[0]), x, atol=1e-9)
    assert layer.surrogate(x)[0].shape == x.shape


def test_save_asks_a_layer_of_own_modules_for_its_settings(tmp_path: Any) -> None:
    flow = snf.Flow([snf.FreeForm(nn.Linear(2, 2), nn.Linear(2, 2))], (2,))
    with pytest.raises(TypeError, match="override settings"):
        snf.save(flow, tmp_path / "flow.pt")


def test_the_ready_made_one_is_saved_and_restored(tmp_path: Any) -> None:
    flow = snf.build("free-form", (3,), hidden=8, blocks=2, probes=2, context_features=2)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    snf.save(flow, tmp_path / "flow.pt")
    x, context = torch.randn(4, 3), torch.randn(4, 2)
    assert torch.equal(snf.restore(tmp_path / "flow.pt").log_prob(x, context), flow.log_prob(x, context))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"probes": 0}, "expected probes to be a positive integer, got 0"),
        ({"correct": 2}, r"expected correct in \(0, 1\), got 2"),
        ({"recon_weight": -1}, "expected recon_weight in"),
        ({"hidden": 0}, "expected hidden to be a positive integer, got 0"),
    ],
)
def test_refuses_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"ResidualFreeForm: {said}"):
        snf.ResidualFreeForm(3, **settings)


def test_refuses_what_is_no_module_or_changes_the_shape() -> None:
    with pytest.raises(TypeError, match="expected layers"):
        snf.FreeForm(torch.tanh, nn.Identity())  # type: ignore[arg-type]
    layer = snf.FreeForm(nn.Linear(3, 2), nn.Linear(2, 3))
    with pytest.raises(ValueError, match="FreeForm: expected f to keep the batch and the 3 features"):
        layer.surrogate(torch.randn(4, 3))


def test_half_precision_leaves_the_solve_alone() -> None:
    layer, x = drawn(probes=2)
    layer, x = layer.float(), x.float()
    results = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            term = layer.surrogate(x)[1].sum()
        results.append(torch.autograd.grad(term, layer.f.blocks[0][0].weight)[0])
    assert torch.equal(*results)


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*should not be instantiated")
@pytest.mark.parametrize("settings", [{"probes": None, "correct": None}, {"probes": 1, "correct": 1e-6}])
def test_both_recipes_are_captured_whole(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured, the solve takes all its iterations; fewer of them here, as the graph is long."""
    monkeypatch.setattr(surrogate, "LIMIT", 6)
    layer, x = drawn(**settings)
    torch._dynamo.reset()
    captured = torch.compile(layer.surrogate, fullgraph=True, backend="eager")
    gradients = []
    for run in (captured, layer.surrogate):
        torch.manual_seed(0)
        z, term, penalty = run(x)
        gradients.append(torch.autograd.grad((z.square().sum() - term.sum() + penalty.sum()), [*layer.parameters()]))
    assert apart(list(gradients[0]), list(gradients[1])) < 1e-5


def test_the_layer_of_the_table_bends() -> None:
    layer, x = CASES["ResidualFreeForm"].layer(), CASES["ResidualFreeForm"].events()
    bends = [jacobian(layer, event) for event in x]
    assert (bends[0] - bends[1]).abs().max() > 0.1
