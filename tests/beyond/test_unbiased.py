"""``UnbiasedConv2d``: its gradients are the exact ones in the mean, its solves are counted, and misses fall back."""

import warnings

import pytest
import torch
from layer_table import CASES
from round_trips import close
from torch import Tensor

import snf_lite as snf
from snf_lite.linalg import toeplitz, unbiased_step

NAMES = [name for name in CASES if name.startswith("UnbiasedConv2d")]
SIZES = {name: CASES[name].event_shape[1:] for name in NAMES}


def made(name: str) -> snf.UnbiasedConv2d:
    layer = CASES[name].layer()
    assert isinstance(layer, snf.UnbiasedConv2d)
    layer.solve_tolerance, layer.limit = 1e-12, 200
    return layer


def exact_taps(layer: snf.UnbiasedConv2d, height: int, width: int) -> Tensor:
    """∂ log|det T(w)| / ∂w by autograd through the dense matrix."""
    w = layer.weight.detach().clone().requires_grad_()
    return torch.autograd.grad(torch.linalg.slogdet(toeplitz.matrix(w, height, width)).logabsdet, w)[0]


# ---- the estimate ----------------------------------------------------------------------------------------------------


@pytest.mark.equation("eq-unbiased-taps")
@pytest.mark.parametrize("name", NAMES)
def test_the_estimate_is_exact_in_the_mean_entry_by_entry(name: str) -> None:
    layer = made(name)
    layer.probes = 100
    torch.manual_seed(0)
    groups = torch.stack([layer.estimate(*SIZES[name])[0] for _ in range(100)])  # 10⁴ probes
    errors = groups.mean(0) - exact_taps(layer, *SIZES[name])
    spread = groups.std(0) / len(groups) ** 0.5
    assert int(layer.fallbacks) == 0
    assert (errors.abs() <= 4 * spread + 1e-9).all()
    uncorrected = toeplitz.flip(layer.inverse_weight) * layer.tap_counts(*SIZES[name])
    assert ((uncorrected - exact_taps(layer, *SIZES[name])).abs() > 8 * spread).any()  # a bias would have been seen


def test_the_learned_inverse_makes_the_estimate_precise() -> None:
    """Without the control variate the same probes estimate all of T(w)⁻ᵀ, with more noise."""
    layer, (height, width) = made("UnbiasedConv2d"), SIZES["UnbiasedConv2d"]
    with torch.no_grad():
        layer.inverse_weight.copy_(2 * torch.nn.init.dirac_(torch.empty_like(layer.weight)) - layer.weight)
    torch.manual_seed(0)
    ours = torch.stack([layer.estimate(height, width)[0] for _ in range(200)])
    solve = torch.linalg.inv(toeplitz.matrix(layer.weight.detach(), height, width)).T
    probes = torch.randint(0, 2, (200, 4, solve.shape[0])).double() * 2 - 1
    plain = torch.stack([toeplitz.tap_sums(solve @ v.T @ v / 4, 2, 3, height, width) for v in probes])
    assert ours.std(0).norm() < 0.5 * plain.std(0).norm()


@pytest.mark.equation("eq-control-variate")
def test_with_the_true_inverse_nothing_is_random() -> None:
    layer = made("UnbiasedConv2d-1x1")
    with torch.no_grad():
        layer.inverse_weight.copy_(torch.linalg.inv(layer.weight[:, :, 0, 0])[:, :, None, None])
    taps, recon = layer.estimate(3, 2)
    close(taps, exact_taps(layer, 3, 2), 1e-12)
    assert recon is not None and float(recon.detach()) < 1e-20 and int(layer.iterations) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_correction_solves_with_the_transposed_matrix(name: str) -> None:
    layer, size = made(name), SIZES[name]
    probes = unbiased_step.random_signs(5, layer.weight, *size)
    assert torch.equal(probes.abs(), torch.ones_like(probes)) and 0.3 < float((probes > 0).double().mean()) < 0.7
    found = unbiased_step.correction(layer.weight, layer.inverse_weight, probes, 1e-12, 200)
    T_w, T_r = (toeplitz.matrix(kernel.detach(), *size) for kernel in (layer.weight, layer.inverse_weight))
    v = probes.flatten(1).T
    close(found.images.flatten(1).T, torch.linalg.solve(T_w.T, v) - T_r.T @ v, 1e-9)
    close(found.defect.flatten(1).T, v - T_w.T @ T_r.T @ v, 1e-12)
    assert float(found.residual) <= 1e-12


def test_steps_of_minimal_residual_never_increase_a_residual() -> None:
    layer = made("UnbiasedConv2d")
    with torch.no_grad():
        layer.inverse_weight.add_(torch.randn_like(layer.weight), alpha=0.5)  # plain refinement diverges here
    probes = unbiased_step.random_signs(4, layer.weight, 4, 3)
    found = unbiased_step.correction(layer.weight, layer.inverse_weight, probes, 0.0, 1)
    start = found.defect.flatten(1).norm(dim=1).amax() / 24**0.5
    assert float(found.residual) < float(start)


# ---- the training pass -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_the_training_pass(name: str) -> None:
    """w takes the likelihood's gradient alone, r that of its reconstruction alone, by autograd through matrices."""
    case, layer = CASES[name], made(name)
    x = case.events().requires_grad_()
    pull, weights = torch.randn_like(x), torch.rand(len(x), dtype=x.dtype)
    torch.manual_seed(3)
    z, term, penalty = layer.surrogate(x)
    ((pull * z).sum() - (weights * term).sum() + (weights * penalty).sum()).backward()
    torch.manual_seed(3)
    taps = layer.estimate(*SIZES[name])[0]
    torch.manual_seed(3)
    v = unbiased_step.random_signs(layer.probes, layer.weight, *SIZES[name]).flatten(1).T
    w, r = (p.detach().clone().requires_grad_() for p in (layer.weight, layer.inverse_weight))
    T_w, T_r = toeplitz.matrix(w, *SIZES[name]), toeplitz.matrix(r, *SIZES[name])
    rows = x.detach().flatten(1)
    (by_data,) = torch.autograd.grad((pull.flatten(1) * (rows @ T_w.T)).sum(), w, retain_graph=True)
    close(layer.weight.grad, by_data - weights.sum() * taps, 1e-10)
    if layer.learn_from == "batch":
        recon = (rows @ T_w.T @ T_r.T - rows).square().sum(1)
    else:
        recon = (v - T_w.T @ T_r.T @ v).square().sum().expand(len(x)) / layer.probes
    close(penalty, layer.recon_weight * recon, 1e-10)
    (by_recon,) = torch.autograd.grad((weights * layer.recon_weight * recon).sum(), r)
    close(layer.inverse_weight.grad, by_recon, 1e-10)
    close(layer.bias.grad, pull.sum((0, 2, 3)), 1e-12)


@pytest.mark.equation("eq-noise-inverse")
def test_reconstructing_signs_measures_the_distance_of_the_matrices() -> None:
    layer, size = made("UnbiasedConv2d"), SIZES["UnbiasedConv2d"]
    probes = torch.eye(24, dtype=torch.float64).reshape(24, 2, *size) * 24**0.5  # as many signs have: mean of v vᵀ = I
    found = unbiased_step.correction(layer.weight, layer.inverse_weight, probes, 1.0, 1, solve=False)
    value = unbiased_step.recon_from_noise(layer.weight.detach(), layer.inverse_weight, found, probes)
    T_w, T_r = (toeplitz.matrix(kernel, *size) for kernel in (layer.weight.detach(), layer.inverse_weight))
    distance = (torch.eye(24, dtype=torch.float64) - T_r @ T_w).square().sum()
    close(value, distance, 1e-10)
    close(*(torch.autograd.grad(each, layer.inverse_weight)[0] for each in (value, distance)), 1e-10)


class TrainingPass(torch.nn.Module):
    def __init__(self, layer: snf.UnbiasedConv2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, event: Tensor) -> Tensor:
        z, term, penalty = self.layer.surrogate(event[None])
        return (z.sin().sum() + term + penalty).sum()


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's own: addcmul_ is batched by a loop
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_single_events_under_vmap(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unbiased_step, "STEPS", 100)  # under vmap no more are taken
    case, layer = CASES[name], made(name)
    with torch.no_grad():
        layer.inverse_weight.copy_(2 * torch.nn.init.dirac_(torch.empty_like(layer.weight)) - layer.weight)
    x, objective, parameters = case.events(), TrainingPass(layer), dict(layer.named_parameters())

    def value(weights: dict[str, Tensor], event: Tensor) -> Tensor:
        return torch.func.functional_call(objective, {f"layer.{key}": w for key, w in weights.items()}, (event,))

    torch.manual_seed(0)
    single = torch.func.vmap(torch.func.grad(value), in_dims=(None, 0), randomness="same")(parameters, x)
    layer.zero_grad()
    for event in x:
        torch.manual_seed(0)  # the same probes for each
        objective(event).backward()
    for key, weight in parameters.items():
        close(single[key].sum(0), weight.grad, 1e-8)


def test_nothing_is_solved_without_a_gradient() -> None:
    layer, x = made("UnbiasedConv2d"), CASES["UnbiasedConv2d"].events()
    with torch.no_grad():
        layer.surrogate(x)
    layer.log_abs_det(4, 3)
    layer.weight.requires_grad_(False)
    layer.surrogate(x)
    assert int(layer.passes) == 0
    layer.weight.requires_grad_(True)
    layer.surrogate(x)
    assert int(layer.passes) == 1 and int(layer.iterations) > 0


# ---- solves that do not converge -------------------------------------------------------------------------------------


def hopeless() -> snf.UnbiasedConv2d:
    """A layer that asks for a residual that no iteration reaches."""
    layer = made("UnbiasedConv2d")
    layer.solve_tolerance, layer.limit, layer.label = 1e-300, 2, "a layer"
    return layer


def test_a_pass_that_misses_takes_the_exact_gradient_and_says_so_once() -> None:
    layer, x = hopeless(), CASES["UnbiasedConv2d"].events()
    with pytest.warns(UserWarning, match="a layer: the probes of 1 of 1 training passes did not converge"):
        _, term, _ = layer.surrogate(x)
    term.sum().backward()
    close(layer.weight.grad, len(x) * exact_taps(layer, 4, 3), 1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer.surrogate(x)
        layer(x)
    assert int(layer.fallbacks) == int(layer.passes) == 2


def test_a_nan_is_a_miss() -> None:
    layer = made("UnbiasedConv2d")
    with torch.no_grad():
        layer.inverse_weight.fill_(float("nan"))
    with pytest.warns(UserWarning, match="left nan"):
        taps, _ = layer.estimate(4, 3)
    close(taps, exact_taps(layer, 4, 3), 1e-10)


@pytest.mark.filterwarnings("ignore:.*autograd.function.Function.*should not be instantiated")
def test_a_compiled_pass_that_misses_is_told_by_the_next_evaluation() -> None:
    layer, x = hopeless(), CASES["UnbiasedConv2d"].events()
    torch._dynamo.reset()
    torch.compile(layer.surrogate, fullgraph=True, backend="eager")(x)
    assert int(layer.fallbacks) == int(layer.passes) == 1 and int(layer.iterations) == unbiased_step.STEPS
    with pytest.warns(UserWarning, match="compiled"):
        layer(x)


# ---- a training ------------------------------------------------------------------------------------------------------


def test_counts_and_probes_are_part_of_a_resumed_run(tmp_path: object) -> None:
    x = torch.randint(0, 17, (40, 1, 8, 8), dtype=torch.uint8)

    def run(epochs: int, **asked: object) -> snf.Flow:
        torch.manual_seed(0)
        flow = snf.build("conv-unbiased", (1, 8, 8), 17, blocks=2, depth=1)
        snf.fit(flow, x, epochs=epochs, batch_size=20, lr=1e-2, seed=1, progress=False, **asked)
        return flow

    whole = run(3).state_dict()
    run(2, checkpoint=f"{tmp_path}/run.pt")
    resumed = run(3, checkpoint=f"{tmp_path}/run.pt").state_dict()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    assert [int(whole[key]) for key in whole if key.endswith("passes")] == [6, 6]


def test_refuses_what_it_cannot_learn_from() -> None:
    with pytest.raises(ValueError, match="UnbiasedConv2d: expected learn_from to be 'noise' or 'batch', got 'data'"):
        snf.UnbiasedConv2d(1, learn_from="data")
