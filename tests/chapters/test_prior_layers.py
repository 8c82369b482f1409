"""Prior work by hand: what the table of layers does not see of B-NAF and Flow++'s coupling; integer discrete flows."""

import math
from pathlib import Path

import pytest
import torch
from layer_table import CASES
from snf_book.prior_work.flows import root_finding
from snf_book.prior_work.flows.bnaf import BlockAutoregressive, BlockLinear, log_tanh_slope
from snf_book.prior_work.flows.mixture_coupling import Mixture, MixtureCoupling

import snf_lite as snf

DTYPES = pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])


def disturbed(module: torch.nn.Module, spread: float = 0.5, seed: int = 0) -> None:
    """Gaussian noise on all parameters, in place."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)


def integral(layer: snf.FlowLayer, reach: float, points: int) -> float:
    """Of the density that a layer and N(0, I) give, over a grid of the square [-reach, reach]²."""
    side = torch.linspace(-reach, reach, points, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = layer(torch.cartesian_prod(side, side))
    log_prob = log_det - 0.5 * z.square().sum(1) - math.log(2 * math.pi)
    return float(log_prob.exp().sum() * (side[1] - side[0]) ** 2)


# ---- bisection -------------------------------------------------------------------------------------------------------


@DTYPES
def test_bisection_ends_within_its_tolerance(dtype: torch.dtype, bound: float) -> None:
    wanted = torch.tensor([-1000.0, -1.0, 0.0, 1e-3, 8.0, 999.0], dtype=dtype)
    calls = []
    found = root_finding.bisect(
        lambda x: calls.append(0) or x**3, wanted, torch.full_like(wanted, -11), wanted * 0 + 10
    )
    assert len(calls) == {torch.float32: 35, torch.float64: 64}[dtype]
    assert (found - wanted.sign() * wanted.abs() ** (1 / 3)).abs().max() < 20 * torch.finfo(dtype).eps


def test_the_two_steps_carry_three_derivatives() -> None:
    """Of x = z^(1/3) at z = 8: 1/12, -1/144 and 5/3456."""
    z = torch.tensor(8.0, dtype=torch.float64, requires_grad=True)
    x = root_finding.with_gradient(torch.tensor(2.0, dtype=torch.float64), z, lambda x: (x**3, 3 * x**2))
    for wanted in (1 / 12, -1 / 144, 5 / 3456):
        (x,) = torch.autograd.grad(x, z, create_graph=True)
        assert x.item() == pytest.approx(wanted)


# ---- block neural autoregressive flow --------------------------------------------------------------------------------


def test_the_blocks_of_a_map() -> None:
    torch.manual_seed(0)
    blocks = BlockLinear(3, 2, 4).double()
    disturbed(blocks)
    weight, logarithms = blocks.weights()
    by_block = weight.detach().reshape(3, 4, 3, 2).transpose(1, 2)
    for row, column in torch.cartesian_prod(torch.arange(3), torch.arange(3)).tolist():
        block = by_block[row, column]
        if row == column:
            assert torch.allclose(block.log(), logarithms[row])
        else:
            assert bool((block != 0).all()) == (row > column) and (row > column or not block.any())
    assert torch.allclose(weight.norm(dim=1), blocks.log_scale.exp())


def test_what_is_masked_in_a_map_neither_matters_nor_learns() -> None:
    layer, x = CASES["BlockAutoregressive"].layer(), CASES["BlockAutoregressive"].events()
    before = layer(x)
    with torch.no_grad():
        for blocks in layer.maps:
            blocks.weight[~(blocks.below | blocks.diagonal)] = math.inf
    z, log_det = layer(x)
    assert torch.equal(z, before[0]) and torch.equal(log_det, before[1])
    (z.sin().sum() + log_det.sum()).backward()
    for blocks in layer.maps:
        masked = ~(blocks.below | blocks.diagonal)
        assert not blocks.weight.grad[masked].any() and blocks.weight.grad[~masked].any()


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("BlockAutoregressive")])
def test_the_jacobian_is_triangular_and_its_diagonal_is_the_product_of_blocks(name: str) -> None:
    layer, x = CASES[name].layer(), CASES[name].events()
    slopes = layer.value_and_log_slopes(x)[1].exp()
    for event, own in zip(x, slopes, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda e: layer(e[None])[0][0], event)
        assert not jacobian.triu(1).any() and jacobian.tril(-1).count_nonzero() == len(own) * (len(own) - 1) // 2
        assert torch.allclose(jacobian.diagonal(), own) and (own > 0).all()


@DTYPES
def test_the_slope_of_tanh_far_into_its_flat_parts(dtype: torch.dtype, bound: float) -> None:
    h = torch.tensor([-200.0, -30.0, -2.0, 0.0, 0.5, 30.0, 200.0], dtype=dtype)
    assert torch.allclose(log_tanh_slope(h)[2:5], (1 - h[2:5].tanh().square()).log(), atol=bound)
    assert torch.allclose(log_tanh_slope(h)[[0, 1, 5, 6]], 2 * math.log(2) - 2 * h[[0, 1, 5, 6]].abs(), rtol=1e-6)


@DTYPES
def test_the_gated_layer_takes_any_number_and_any_code(dtype: torch.dtype, bound: float) -> None:
    layer = CASES["BlockAutoregressive"].layer(dtype)
    far = torch.tensor([[0.0, 0.0, 0.0], [300.0, -300.0, 20.0], [-8.0, 1e3, -1e3]], dtype=dtype)
    for there, back in ((lambda x: layer(x)[0], layer.inverse), (layer.inverse, lambda z: layer(z)[0])):
        assert ((back(there(far)) - far).abs() <= bound * (1 + far.abs())).all()


def test_the_bracket_of_the_inverse_holds_the_shift_of_the_network() -> None:
    layer, x = CASES["BlockAutoregressive"].layer(), CASES["BlockAutoregressive"].events()
    with torch.no_grad():
        layer.maps[-1].bias.copy_(torch.tensor([90.0, -90.0, 90.0]))
    assert (layer.inverse(layer(x)[0]) - x).abs().max() < 1e-11


def test_the_gated_density_integrates_to_one() -> None:
    torch.manual_seed(0)
    layer = BlockAutoregressive(2, 4).double()
    disturbed(layer)
    assert integral(layer, 12, 400) == pytest.approx(1, abs=1e-3)


def test_without_a_gate_the_density_lacks_what_the_codes_do_not_reach() -> None:
    torch.manual_seed(0)
    layer = BlockAutoregressive(1, 5, gated=False).double()
    ends = layer(torch.tensor([[-1e3], [1e3]], dtype=torch.float64))[0].detach()
    reached = float(torch.special.ndtr(ends[1]) - torch.special.ndtr(ends[0]))
    x = torch.linspace(-60, 60, 20_001, dtype=torch.float64)[:, None]
    z, log_det = (part.detach() for part in layer(x))
    found = float((log_det - 0.5 * z[:, 0] ** 2).exp().sum() * (x[1] - x[0]) / math.sqrt(2 * math.pi))
    assert found == pytest.approx(reached, abs=1e-6)
    assert found < 0.98
    with pytest.raises(ValueError, match=r"expected latents that some x .* reaches, got 2 of 3 whose number 0"):
        layer.inverse(torch.stack([ends[0] - 0.1, ends.mean(0), ends[1] + 0.1]))


@pytest.mark.parametrize("name", ["BlockAutoregressive", "MixtureCoupling-vector"])
def test_flows_of_them_sample_and_come_back_from_a_file(name: str, tmp_path: Path) -> None:
    flow = snf.Flow([CASES[name].layer()], event_shape=CASES[name].event_shape)
    x = flow.sample(5, generator=torch.Generator().manual_seed(0))
    snf.save(flow, tmp_path / "flow.pt")
    again = snf.restore(tmp_path / "flow.pt")
    assert torch.equal(flow.log_prob(x), again.log_prob(x))


@pytest.mark.parametrize("settings", [{"dim": 0}, {"dim": 2, "hidden": 1.5}, {"dim": 2, "layers": 0}])
def test_bad_settings_of_a_block_autoregressive_flow(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"BlockAutoregressive: expected (dim|hidden|layers) to be a positive integer"):
        BlockAutoregressive(**settings)


# ---- Flow++'s coupling -----------------------------------------------------------------------------------------------


def mixture(dtype: torch.dtype = torch.float64) -> Mixture:
    parameters = torch.tensor([[0.1, 1.0, -0.5], [-3.0, 0.2, 2.0], [-1.0, 0.3, -0.2]], dtype=dtype)
    return Mixture(*parameters)


def test_the_logit_of_a_mixture_is_what_it_says() -> None:
    x = torch.linspace(-6, 6, 25, dtype=torch.float64, requires_grad=True)
    m = mixture()
    cdf = (m.log_weights.exp() * ((x[:, None] - m.means) / m.log_scales.exp()).sigmoid()).sum(-1)
    value, log_slope = m.logit(x)
    assert torch.allclose(value, cdf.logit())
    (slope,) = torch.autograd.grad(cdf.logit().sum(), x)
    assert torch.allclose(log_slope, slope.log())


@DTYPES
def test_far_out_the_widest_component_alone_is_left(dtype: torch.dtype, bound: float) -> None:
    x = torch.tensor([-1e4, 1e4], dtype=dtype)
    value, log_slope = mixture(dtype).logit(x)
    assert torch.allclose(log_slope, torch.full_like(x, -0.3), rtol=10 * bound)
    assert torch.allclose(value / x, torch.full_like(x, math.exp(-0.3)), rtol=1e-3)


@DTYPES
def test_the_logit_is_undone_everywhere(dtype: torch.dtype, bound: float) -> None:
    m, wanted = mixture(dtype), torch.linspace(-40, 40, 81, dtype=dtype)
    assert (m.logit(m.inverse_logit(wanted))[0] - wanted).abs().max() < 100 * bound


def test_a_fresh_coupling_of_one_component_is_the_identity() -> None:
    layer, x = MixtureCoupling(4, components=1, width=5).double(), torch.randn(3, 4, 2, 2, dtype=torch.float64)
    z, log_det = layer(x)
    assert torch.allclose(z, x) and log_det.abs().max() < 1e-12


def test_fresh_components_do_not_learn_the_same() -> None:
    torch.manual_seed(0)
    layer = MixtureCoupling(2, components=3, width=5, kernel_size=1)
    layer.transform(torch.randn(50, 2))[0].square().sum().backward()
    gradients = layer.network[-1].bias.grad[:9].reshape(3, 3)  # logits, means, scales of the three
    assert all(len(set(row.tolist())) == 3 for row in gradients)


def test_the_first_half_stays_and_the_other_depends_on_it_and_on_itself_alone() -> None:
    layer, x = CASES["MixtureCoupling"].layer(), CASES["MixtureCoupling"].events(1)
    jacobian = torch.autograd.functional.jacobian(lambda e: layer(e[None])[0][0], x[0]).reshape(24, 24)
    assert torch.equal(jacobian[:12, :12], torch.eye(12)) and not jacobian[:12, 12:].any()
    own = jacobian[12:, 12:]
    assert torch.equal(own, own.diagonal().diag()) and (own.diagonal() > 0).all()
    assert jacobian[12:, :12].all()  # two 3×3 convolutions reach all of this image


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_a_vector_is_an_image_of_one_pixel(kernel_size: int) -> None:
    layer, x = MixtureCoupling(5, 2, 6, kernel_size).double(), torch.randn(3, 5, dtype=torch.float64)
    disturbed(layer)
    z, log_det = layer(x)
    image, same = layer(x[:, :, None, None])
    assert torch.equal(z, image[:, :, 0, 0]) and torch.equal(log_det, same)


def test_pixels_of_an_image_keep_their_own_mixtures() -> None:
    """With 1×1 convolutions every pixel is an event of its own."""
    layer, x = MixtureCoupling(4, 2, 6, kernel_size=1).double(), torch.randn(2, 4, 3, 2, dtype=torch.float64)
    disturbed(layer)
    z, log_det = layer(x)
    rows, alone = layer(x.permute(0, 2, 3, 1).reshape(-1, 4))
    assert torch.allclose(z.permute(0, 2, 3, 1).reshape(-1, 4), rows, atol=1e-12)
    assert torch.allclose(log_det, alone.reshape(2, -1).sum(1), atol=1e-12)


def test_its_density_integrates_to_one() -> None:
    layer = MixtureCoupling(2, 3, 6, kernel_size=1).double()
    disturbed(layer, 0.3)
    assert integral(layer, 25, 500) == pytest.approx(1, abs=2e-3)


def test_what_a_mixture_coupling_refuses() -> None:
    with pytest.raises(ValueError, match=r"expected channels to be an integer ≥ 2, one for each half, got 1"):
        MixtureCoupling(1)
    with pytest.raises(ValueError, match=r"expected kernel_size to be odd"):
        MixtureCoupling(2, kernel_size=2)
    with pytest.raises(ValueError, match=r"expected components to be a positive integer, got 0"):
        MixtureCoupling(2, components=0)
    with pytest.raises(ValueError, match=r"expected event shape \(4,\) or \(4, H, W\), got \(5,\)"):
        MixtureCoupling(4)(torch.zeros(1, 5))
