"""What a step costs by formula is what the counter finds when the real layer takes the step."""

import math
from itertools import pairwise

import pytest
import torch

from snf_lite.benchmarks import cost_model, layers
from snf_lite.benchmarks.operation_counts import Counts, count
from snf_lite.benchmarks.timing import Case
from snf_lite.beyond.unbiased import UnbiasedConv2d
from snf_lite.conv import ExactConv2d
from snf_lite.linalg import toeplitz

SIZES = [(8, 16), (32, 80), (3, 5), (64, 24)]


def counted(name: str, case: Case) -> Counts:
    table = layers.DENSE if case.kernel_size is None else layers.CONV
    step = table[name](case)
    return count(step.run, step.leaves)


@pytest.mark.equation("eq-product-cost")
@pytest.mark.parametrize(("batch", "features"), SIZES)
@pytest.mark.parametrize("name", list(cost_model.PRODUCTS))
def test_layers_without_elimination_cost_so_many_products(name: str, batch: int, features: int) -> None:
    found = counted(name, Case("dense", (features,), batch))
    assert found.multiply_adds == cost_model.product_cost(cost_model.PRODUCTS[name], batch, features)
    assert found.products == cost_model.PRODUCTS[name] and not found.solvers


@pytest.mark.equation("eq-exact-cost")
@pytest.mark.parametrize(("batch", "features"), SIZES)
def test_the_exact_step_adds_four_thirds_of_a_cube(batch: int, features: int) -> None:
    """Exactly, but for the solve with one vector that checks the factors of larger matrices, 2·D²."""
    found = counted("exact", Case("dense", (features,), batch))
    probed = 2 * features**2 if features >= 64 else 0
    wanted = cost_model.exact_cost(batch, features) + probed
    assert found.multiply_adds + found.solver_multiply_adds == pytest.approx(wanted, abs=1)


@pytest.mark.parametrize(("batch", "features"), SIZES)
@pytest.mark.equation("eq-exact-or-tracked")
def test_the_tracked_step_adds_two_cubes_once_in_ten_steps(batch: int, features: int) -> None:
    """The residual of R and its update, once in a call of ten steps; the counts are those of one step."""
    case = Case("dense", (features,), batch)
    step = layers.DENSE["tracked"](case)
    found = count(step.run, step.leaves).divided(step.steps)
    assert found.multiply_adds == round(cost_model.tracked_cost(batch, features, 10))
    assert (found.products, found.solvers) == (3.2, {})


@pytest.mark.parametrize("iterations", [0, 3])
@pytest.mark.parametrize("learn_from", ["noise", "batch"])
def test_an_unbiased_convolution_costs_its_batch_and_its_probes(learn_from: str, iterations: int) -> None:
    shape, layer = (2, 5, 7), UnbiasedConv2d(2, learn_from=learn_from, probes=5).double()
    with torch.no_grad():
        layer.weight.zero_()[:, :, 1, 1] = torch.eye(2)
        layer.inverse_weight.zero_()[:, :, 1, 1] = torch.eye(2)
        layer.weight += 0.01 * iterations * torch.randn(layer.weight.shape, generator=torch.manual_seed(0))
    step = layers.training_step(Case("conv", shape, 3, dtype=torch.float64), layer.surrogate, layer.parameters())
    found = count(step.run, step.leaves)
    taken = int(layer.iterations)
    assert (taken > 0) == (iterations > 0)
    wanted = cost_model.conv_unbiased_cost(3, shape, 3, taken, probes=5, learn_from=learn_from)
    assert found.multiply_adds == wanted and not found.solvers


@pytest.mark.equation("eq-exact-cost")
def test_of_the_cube_a_third_is_the_factorisation() -> None:
    factorise = count(lambda: torch.linalg.lu_factor_ex(torch.eye(30))).solver_multiply_adds
    assert factorise == 30**3 / 3
    assert cost_model.exact_cost(0, 30) - factorise == pytest.approx(30**3)


@pytest.mark.equation("eq-crossover")
@pytest.mark.parametrize("features", [9, 81, 900])
def test_at_the_crossover_both_steps_cost_the_same(features: int) -> None:
    batch = round(cost_model.crossover(features))
    assert batch == cost_model.crossover(features)
    six = cost_model.product_cost(6, batch, features)
    assert cost_model.exact_cost(batch, features) == pytest.approx(six)
    assert cost_model.exact_cost(batch - 1, features) > cost_model.product_cost(6, batch - 1, features)


@pytest.mark.equation("eq-crossover")
def test_a_slow_elimination_moves_the_crossover_up_in_proportion() -> None:
    D, B, rate, s = 90, 20, 1e-9, 3.5
    plain, six = (rate * cost_model.product_cost(n, B, D) for n in (3, 6))
    exact = plain + rate * s * cost_model.ELIMINATION * D**3
    assert cost_model.slowdown(plain, exact, B, D) == pytest.approx(s)
    crossing = cost_model.crossover(D, s)
    assert crossing == pytest.approx(s * cost_model.crossover(D))
    assert six / B * crossing == pytest.approx(plain / B * crossing + exact - plain)


CONVOLUTIONS = [
    (1, 8, 8, 3), (2, 4, 4, 3), (1, 7, 5, 3), (1, 28, 6, 3), (3, 4, 8, 3), (1, 12, 12, 5), (1, 3, 3, 3), (1, 2, 2, 3),
    (2, 6, 4, 7),
]  # fmt: skip


@pytest.mark.equation("eq-conv-cost")
@pytest.mark.parametrize(("channels", "height", "width", "kernel"), CONVOLUTIONS)
def test_an_exact_convolution_costs_its_blocks(channels: int, height: int, width: int, kernel: int) -> None:
    """Exactly, besides the solve with one vector that checks the factors, which is counted by itself."""
    shape, batch = (channels, height, width), 4 if channels > 1 else 1  # many images of one channel run as groups
    case = Case("conv", shape, batch, kernel_size=kernel, dtype=torch.float64)
    found, weight = counted("exact", case), case.fresh(lambda: ExactConv2d(channels, kernel)).weight.detach()
    factors, _ = toeplitz.factors_and_gradient(weight[None], height, width)
    probe = count(lambda: toeplitz.residual(factors, weight[None], height, width))
    wanted = cost_model.conv_exact_cost(batch, shape, kernel) + probe.multiply_adds
    assert found.multiply_adds + found.solver_multiply_adds == pytest.approx(wanted, abs=1)


@pytest.mark.equation("eq-conv-cost")
def test_the_reduction_grows_with_the_logarithm_of_the_rows() -> None:
    """So the dense elimination, 4/3·(H·C·W)³, is left behind as H³/log H."""
    steps = [cost_model.conv_exact_cost(0, (1, 2**n, 1), 3) for n in range(1, 12)]
    assert [later - former for former, later in pairwise(steps)] == pytest.approx([58 / 3] * 10)
    assert cost_model.conv_dense_cost(0, (1, 64, 64), 3) / cost_model.conv_exact_cost(0, (1, 64, 64), 3) > 1000


@pytest.mark.parametrize("kernel", [2, 1, 7])
def test_blocks_that_do_not_fit_are_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=f"divides 8, got k = {kernel}"):
        cost_model.conv_exact_cost(1, (1, 8, 8), kernel)


@pytest.mark.parametrize("name", ["conv2d", "selfnorm", "selfnorm-two-pass"])
def test_layers_without_elimination_cost_so_many_convolutions(name: str) -> None:
    found = counted(name, Case("conv", (2, 5, 7), 3, kernel_size=3))
    products = cost_model.PRODUCTS.get(name, 3)
    assert found.multiply_adds == cost_model.conv_product_cost(products, 3, (2, 5, 7), 3)


def test_the_dense_matrix_of_a_convolution_costs_its_cube() -> None:
    found = counted("exact-dense", Case("conv", (2, 5, 5), 3, kernel_size=3))
    assert found.solver_multiply_adds == pytest.approx(cost_model.conv_dense_cost(0, (2, 5, 5), 3), abs=1)


@pytest.mark.equation("eq-power-law")
def test_a_power_law_is_found_again_and_noise_is_averaged() -> None:
    sizes = (64, 100, 500, 4000)
    assert cost_model.power_law({D: 3e-9 * D**2.5 for D in sizes}) == pytest.approx((2.5, 3e-9))
    generator = torch.Generator().manual_seed(0)
    noise = (0.1 * torch.randn(400, generator=generator, dtype=torch.float64)).exp().tolist()
    power, factor = cost_model.power_law({D: 2.0 * D**3 * noise[D - 100] for D in range(100, 500)})
    assert abs(power - 3) < 0.05 and abs(math.log(factor / 2)) < 0.3
    # least squares in the logarithms: the residuals have mean 0 and no trend
    times = {1: 1.0, 2: 5.0, 4: 9.0}
    power, factor = cost_model.power_law(times)
    left = [math.log(t / (factor * D**power)) for D, t in times.items()]
    assert sum(left) == pytest.approx(0, abs=1e-12)
    assert sum(rest * math.log(D) for rest, D in zip(left, times, strict=True)) == pytest.approx(0, abs=1e-12)
