"""Prior work by hand: what the table of layers does not see of B-NAF and Flow++'s coupling; integer discrete flows."""

import math
from pathlib import Path

import pytest
import torch
from layer_table import CASES
from snf_book.prior_work.flows import root_finding
from snf_book.prior_work.flows.bnaf import BlockAutoregressive, BlockLinear, log_tanh_slope
from snf_book.prior_work.flows.integer_flow import IntegerFlow, discretized_logistic, places
from snf_book.prior_work.flows.mixture_coupling import Mixture, MixtureCoupling
from torch import Tensor

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
    with pytest.raises(ValueError, match=r"expected events of shape \(4,\) or \(4, H, W\), got \(5,\)"):
        MixtureCoupling(4)(torch.zeros(1, 5))


# ---- integer discrete flow -------------------------------------------------------------------------------------------


def integer_flow(
    event_shape: tuple[int, ...] = (2,), levels: int = 6, dtype: torch.dtype = torch.float64, spread: float = 0.3
) -> IntegerFlow:
    torch.manual_seed(0)
    flow = IntegerFlow(event_shape, levels, couplings=3, width=8, components=2).to(dtype)
    disturbed(flow, spread)
    return flow


def lattice(low: int, high: int) -> Tensor:
    side = torch.arange(low, high)
    return torch.cartesian_prod(side, side)


def test_probabilities_sum_to_one_on_the_lattice_and_to_less_on_the_levels() -> None:
    """What the levels lack lies beyond them, and a count of samples says how much."""
    flow = integer_flow()
    everywhere = flow.log_prob(lattice(-120, 126)).exp().sum()
    assert everywhere.item() == pytest.approx(1, abs=1e-9)
    inside = flow.log_prob(lattice(0, 6)).exp().sum().item()
    assert 0.2 < inside < 0.95
    outside = flow.mass_outside(40_000, torch.Generator().manual_seed(0))
    assert outside == pytest.approx(1 - inside, abs=4 * math.sqrt(0.25 / 40_000))


def test_samples_come_as_often_as_their_probabilities_say() -> None:
    flow, count = integer_flow(), 60_000
    x = flow.sample(count, torch.Generator().manual_seed(0))
    pairs, counts = x.unique(dim=0, return_counts=True)
    expected = count * flow.log_prob(pairs).exp()
    often = expected > 20
    assert expected[often].sum() > 0.9 * count
    chi_square = ((counts - expected).square() / expected)[often].sum().item()
    cells = int(often.sum())
    assert chi_square < cells + 5 * math.sqrt(2 * cells)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("event_shape", [(2,), (5,), (1, 4, 4)])
def test_the_inverse_is_exact(event_shape: tuple[int, ...], dtype: torch.dtype) -> None:
    flow = integer_flow(event_shape, 17, dtype)
    x = torch.randint(-20, 40, (200, *event_shape))
    z = flow.code(x)
    assert z.dtype == torch.int64 and z.shape == x.shape
    assert (z != x).flatten(1).any(1).double().mean() > 0.5
    assert torch.equal(flow.inverse(z), x)
    assert torch.equal(flow.code(flow.inverse(x)), x)
    assert torch.equal(flow.code(x.clamp(0, 16).to(torch.uint8)), flow.code(x.clamp(0, 16)))


def test_log_prob_is_the_priors_at_the_code() -> None:
    flow, x = integer_flow((3,)), torch.randint(0, 6, (20, 3))
    z, scale = flow.code(x)[..., None].double(), flow.log_scales.exp()
    bins = ((z + 0.5 - flow.means) / scale).sigmoid() - ((z - 0.5 - flow.means) / scale).sigmoid()
    wanted = (flow.logits.softmax(-1) * bins).sum(-1).log().sum(-1)
    assert torch.allclose(flow.log_prob(x), wanted)


@DTYPES
def test_the_mass_of_a_bin_far_into_the_tails(dtype: torch.dtype, bound: float) -> None:
    """e^{-(n - ½ - μ)/s} (1 - e^{-1/s}) to the right, and the mirror image to the left."""
    mean, log_scale = torch.tensor(0.25, dtype=dtype), torch.tensor(0.7, dtype=dtype)
    n, s = torch.tensor([5000.0, -5000.0], dtype=dtype), math.exp(0.7)
    wanted = torch.tensor([-(4999.5 - 0.25) / s, -(4999.5 + 0.25) / s], dtype=dtype) + math.log(1 - math.exp(-1 / s))
    assert torch.allclose(discretized_logistic(n, mean, log_scale), wanted, rtol=1e-5)
    near = torch.arange(-300.0, 301.0, dtype=dtype)
    assert discretized_logistic(near, mean, log_scale).exp().sum().item() == pytest.approx(1, abs=bound)


def test_rounding_passes_the_gradient_on() -> None:
    """∂ log P/∂t of the last coupling's translation is that of the prior by z, as if nothing were rounded."""
    flow, x = integer_flow((4,)), torch.randint(0, 6, (9, 4))
    last = flow.couplings[-1]
    flow.log_prob(x).sum().backward()
    z = flow.code(x).double().requires_grad_()
    (pull,) = torch.autograd.grad(flow.log_prior(z).sum(), z)
    assert torch.allclose(last.network[-1].bias.grad, last.reach * pull[:, last.changed].sum(0))
    assert all(parameter.grad.any() for parameter in flow.parameters())


def test_a_pair_of_couplings_changes_every_place() -> None:
    first, second, third = places(6, 3)
    assert set(first[3:].tolist()) | set(second[3:].tolist()) == set(range(6)) == set(third.tolist())
    assert not torch.equal(first, third)
    assert all(torch.equal(*pair) for pair in zip(places(6, 3), [first, second, third], strict=True))


def test_it_learns_what_independent_numbers_cannot_say() -> None:
    """The second number is three more than the first; told independently, the two cost 2 log 8 nats at least."""
    torch.manual_seed(0)
    first = torch.randint(0, 8, (400, 1))
    x = torch.cat([first, first + 3], 1)
    flow = IntegerFlow((2,), 11, couplings=2, width=16)
    optimiser = torch.optim.Adam(flow.parameters(), lr=0.02)
    for _ in range(80):
        optimiser.zero_grad()
        loss = -flow.log_prob(x).mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 2 * math.log(8) - 0.5
    assert torch.equal(flow.inverse(flow.code(x)), x)


def test_float32_follows_float64_and_a_compiler_captures_it_whole() -> None:
    flow, x = integer_flow((1, 4, 4), 17), torch.randint(0, 17, (6, 1, 4, 4))
    wanted = flow.log_prob(x)
    captured = torch.compile(flow.log_prob, fullgraph=True, backend="eager")
    assert torch.allclose(captured(x), wanted)
    single = integer_flow((1, 4, 4), 17, torch.float32)
    single.load_state_dict(flow.state_dict())
    assert single.log_prob(x).dtype == torch.float32
    assert torch.allclose(single.log_prob(x).double(), wanted, rtol=1e-5)


def test_settings_and_state_make_the_flow_again() -> None:
    flow, x = integer_flow((1, 2, 2)), torch.randint(0, 6, (5, 1, 2, 2))
    again = IntegerFlow(**flow.settings()).double()
    again.load_state_dict(flow.state_dict())
    assert torch.equal(again.log_prob(x), flow.log_prob(x)) and torch.equal(again.code(x), flow.code(x))


def test_batches_of_none_and_samples_of_one_seed() -> None:
    flow = integer_flow((1, 2, 2))
    assert flow.log_prob(torch.zeros(0, 1, 2, 2, dtype=torch.long)).shape == (0,)
    assert flow.sample(0).shape == (0, 1, 2, 2)
    first, second = (flow.sample(7, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.dtype == torch.int64 and torch.equal(first, second)


def test_what_an_integer_flow_refuses() -> None:
    flow = integer_flow()
    for attempt in (flow.log_prob, flow.code, flow.inverse):
        for wrong in (torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool), [0, 1]):
            name = str(getattr(wrong, "dtype", "list"))
            with pytest.raises(TypeError, match=rf"IntegerFlow: expected .* got {name}"):
                attempt(wrong)
        with pytest.raises(ValueError, match=r"IntegerFlow: expected input of shape \(B, 2\), got \(1, 3\)"):
            attempt(torch.zeros(1, 3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"±2097152, where torch.float32 is exact, got numbers from 0 to 3000000"):
        integer_flow(dtype=torch.float32).log_prob(torch.tensor([[0, 3_000_000]]))
    with pytest.raises(ValueError, match=r"expected n to be an integer ≥ 0, got -1"):
        flow.sample(-1)
    with torch.no_grad():
        flow.means[0, 0] = math.nan
    with pytest.raises(FloatingPointError, match=r"IntegerFlow: log_prob is not finite in 1 of 1"):
        flow.log_prob(torch.zeros(1, 2, dtype=torch.long))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"event_shape": (1,), "levels": 6}, r"expected an event shape of two numbers or more, got \(1,\)"),
        ({"event_shape": (2,), "levels": 1}, "expected levels to be an integer ≥ 2, got 1"),
        ({"event_shape": (2,), "levels": 6, "couplings": -1}, "expected couplings to be an integer ≥ 0, got -1"),
        ({"event_shape": (2,), "levels": 6, "components": 0}, "expected components to be a positive integer, got 0"),
    ],
)
def test_bad_settings_of_an_integer_flow(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=f"IntegerFlow: {words}"):
        IntegerFlow(**settings)
