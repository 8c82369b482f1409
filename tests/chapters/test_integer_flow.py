"""Integer discrete flow: probabilities over the lattice, exact inverses, and refused input."""

import math

import pytest
import torch
from snf_book.prior_work.flows.integer_flow import IntegerFlow, discretized_logistic, places
from torch import Tensor

DTYPES = pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.float64, 1e-11)])


def integer_flow(
    event_shape: tuple[int, ...] = (2,), levels: int = 6, dtype: torch.dtype = torch.float64, spread: float = 0.3
) -> IntegerFlow:
    torch.manual_seed(0)
    flow = IntegerFlow(event_shape, levels, couplings=3, width=8, components=2).to(dtype)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=spread)
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
