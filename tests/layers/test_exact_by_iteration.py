"""Exact inverses of convolutions by an iteration with the learned inverse, against the elimination."""

import warnings

import pytest
import torch
from fixtures.round_trips import require_round_trip
from torch import Tensor
from torch.nn.functional import conv2d

import snf_lite as snf
from snf_lite.conv import LearnedInverseConv
from snf_lite.linalg import convolution, krylov, toeplitz


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Iterate for small images too, which tests can afford."""
    monkeypatch.setattr(convolution, "ITERATED_SIZE", {torch.float32: 1, torch.float64: 1})


def layer_at_random(
    channels: int = 3, kernel: int = 3, spread: float = 0.3, kind: type[LearnedInverseConv] = snf.SelfNormConv2d,
    dtype: torch.dtype = torch.float64,
) -> LearnedInverseConv:  # fmt: skip
    """A layer with random taps around the identity, and an r that is a rough inverse of it."""
    torch.manual_seed(0)
    layer = kind(channels, kernel).to(dtype)
    noise = torch.randn_like(layer.weight) * (spread / (channels**0.5 * kernel))
    identity = torch.nn.init.dirac_(torch.empty_like(noise))
    layer.weight.data, layer.inverse_weight.data = identity + noise, identity - noise
    layer.bias.data.normal_()
    return layer


def images(layer: LearnedInverseConv, count: int, height: int, width: int) -> Tensor:
    return torch.randn(count, layer.channels, height, width, dtype=layer.weight.dtype)


def eliminated(layer: LearnedInverseConv, z: Tensor) -> Tensor:
    """The exact inverse by elimination."""
    centered = (z - layer.bias[:, None, None]).double()
    return toeplitz.eliminate(layer.weight, z.shape[2], z.shape[3]).solve(centered)


@pytest.mark.parametrize("kind", [snf.SelfNormConv2d, snf.UnbiasedConv2d])
@pytest.mark.parametrize(("channels", "kernel", "height", "width"), [(1, 3, 7, 4), (3, 3, 5, 6), (2, 5, 6, 6)])
def test_the_iteration_gives_the_inverse_of_the_elimination(
    kind: type[LearnedInverseConv], channels: int, kernel: int, height: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = layer_at_random(channels, kernel, kind=kind)
    x = images(layer, 4, height, width)
    z = layer(x)[0].detach()
    wanted = eliminated(layer, z)
    monkeypatch.delattr(toeplitz, "eliminate")  # only the iteration is left
    back = layer.inverse(z)
    assert (back - wanted).abs().max() < 1e-10 * wanted.abs().max()
    centered = z - layer.bias[:, None, None]
    left = (centered - conv2d(back, layer.weight, padding=kernel // 2)).flatten(1).norm(dim=1)
    assert (left <= 1e-10 * centered.flatten(1).norm(dim=1)).all()
    monkeypatch.undo()
    require_round_trip(layer, x, back.detach())


def test_float32_reaches_a_residual_of_1e_5() -> None:
    layer = layer_at_random(4, dtype=torch.float32)
    z = images(layer, 20, 12, 12)
    back = layer.inverse(z).detach()
    centered = (z - layer.bias[:, None, None]).detach().double()
    left = (centered - conv2d(back.double(), layer.weight.double(), padding=1)).flatten(1).norm(dim=1)
    assert (left <= 1e-5 * centered.flatten(1).norm(dim=1)).all()
    assert (back - eliminated(layer, z)).abs().max() < 1e-5
    assert layer.missed_solves == 0


def test_gradients_are_those_of_the_elimination_twice_too(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_at_random(2)
    z, pull = images(layer, 3, 4, 5).requires_grad_(), images(layer, 3, 4, 5)
    leaves = (z, layer.weight, layer.bias)

    def gradients() -> tuple[Tensor, ...]:
        x = layer.inverse(z)
        first = torch.autograd.grad((x * pull).sum() + x.square().sum(), leaves, create_graph=True)
        return (*first, *torch.autograd.grad(sum(part.square().sum() for part in first), leaves))

    iterated = gradients()
    monkeypatch.setattr(convolution, "ITERATED_SIZE", {})
    for got, wanted in zip(iterated, gradients(), strict=True):
        assert (got - wanted).norm() < 1e-9 * wanted.norm()


def test_samples_have_the_density_and_the_gradient_of_the_elimination(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = snf.Flow([layer_at_random(1), layer_at_random(1, spread=0.2)], (1, 5, 4)).double()

    def drawn() -> tuple[Tensor, ...]:
        x, log_prob = flow.sample_and_log_prob(3, seed=0)
        weight = flow.layers[0].weight
        return x, log_prob, *torch.autograd.grad((x.sum() + log_prob.sum()), weight)

    iterated = drawn()
    assert torch.allclose(flow.log_prob(iterated[0]), iterated[1])
    monkeypatch.setattr(convolution, "ITERATED_SIZE", {})
    assert all(torch.allclose(got, wanted) for got, wanted in zip(iterated, drawn(), strict=True))


def test_a_bad_learned_inverse_is_reported_once_and_the_elimination_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer_at_random(3)
    layer.inverse_weight.data.normal_()
    monkeypatch.setattr(convolution, "LIMIT", 3)
    z = images(layer, 4, 6, 6)
    with pytest.warns(UserWarning, match=r"SelfNormConv2d: .* stopped at a residual of .* elimination takes over"):
        back = layer.inverse(z)
    assert (back - eliminated(layer, z)).abs().max() < 1e-10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monkeypatch.setattr(convolution, "solve", lambda *_: pytest.fail("tried again with the same weights"))
        assert torch.equal(layer.inverse(z), eliminated(layer, z))
        monkeypatch.undo()
        monkeypatch.setattr(convolution, "ITERATED_SIZE", {torch.float64: 1})
        monkeypatch.setattr(convolution, "LIMIT", 3)
        assert layer.missed_solves == 1
        layer.weight.data.mul_(1.01)
        assert (layer.inverse(z) - eliminated(layer, z)).abs().max() < 1e-10
    assert layer.missed_solves == 2


def test_a_singular_kernel_is_refused() -> None:
    layer = layer_at_random(2)
    layer.weight.data[1] = layer.weight.data[0]
    with pytest.warns(UserWarning, match="elimination takes over"), pytest.raises(snf.NotInvertibleError):
        layer.inverse(images(layer, 2, 5, 5))


def test_large_images_are_inverted_without_a_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the rule chooses
    layer = layer_at_random(48, dtype=torch.float32)
    monkeypatch.delattr(toeplitz, "eliminate")
    z = images(layer, 2, 64, 64).requires_grad_()
    back = layer.inverse(z)
    assert (conv2d(back, layer.weight, layer.bias, padding=1) - z).norm() < 1e-5 * z.norm()
    gradient = torch.autograd.grad((back * back.detach()).sum(), z)[0]
    u = conv2d(gradient, toeplitz.flip(layer.weight), padding=1)
    assert (u - back).norm() < 1e-5 * back.norm()


def test_the_rule_iterates_where_images_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    rule = {(16, 3, 7, 7): True, (1, 5, 28, 28): True, (1, 3, 8, 8): False, (16, 3, 2, 2): False, (512, 1, 9, 9): False}
    for (channels, kernel, height, width), iterates in rule.items():
        assert convolution.iterated(torch.empty(channels, channels, kernel, kernel), height, width) is iterates
    double = torch.empty(48, 48, 3, 3, dtype=torch.float64)
    assert convolution.iterated(double, 64, 64) and not convolution.iterated(double, 32, 32)
    assert not convolution.iterated(torch.empty(16, 16, 3, 3, device="meta"), 7, 7)


def test_traces_take_the_elimination() -> None:
    layer = layer_at_random(2).requires_grad_(False)
    z = images(layer, 3, 4, 4)
    each = torch.vmap(lambda one: layer.invert(one[None], True)[0])(z)
    assert (each - eliminated(layer, z)).abs().max() < 1e-10


@pytest.mark.equation("eq-preconditioned")
def test_refinement_hands_over_to_bicgstab_where_it_contracts_slowly() -> None:
    torch.manual_seed(0)
    A = torch.eye(40, dtype=torch.float64) + torch.randn(40, 40, dtype=torch.float64) * 0.06
    b = torch.randn(3, 40, dtype=torch.float64)
    b[1] = 0
    exact = torch.linalg.solve(A, b.T).T
    near, far = torch.linalg.inv(A + 1e-3 * torch.randn_like(A)), torch.eye(40, dtype=torch.float64)
    for precondition in (near, far, -far, 100 * far):
        found = krylov.solve(lambda x: x @ A.T, b, lambda x, P=precondition: x @ P.T)  # type: ignore[misc]
        assert found.residuals.max() <= 1e-10
        assert (found.x - exact).abs().max() < 1e-8
    few = krylov.solve(lambda x: x @ A.T, b, lambda x: x @ near.T)
    assert few.iterations <= 5
    assert krylov.solve(lambda x: x @ A.T, b[:0], lambda x: x).x.shape == (0, 40)
    assert krylov.solve(lambda x: x @ A.T, b, lambda x: x, limit=4).iterations == 4
