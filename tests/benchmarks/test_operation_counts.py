"""Operation counts: products, multiply-adds, solvers, and saved bytes."""

import weakref

import pytest
import torch
from bench_cases import CONV, DENSE, method_of
from torch import Tensor

from snf_lite.benchmarks.operation_counts import count
from snf_lite.benchmarks.timing import Case


@pytest.mark.parametrize(
    ("name", "products"), [("linear", 3), ("selfnorm", 6), ("selfnorm-two-pass", 9), ("relative", 4), ("lu", 6)]
)
def test_the_products_of_a_dense_step_are_counted(name: str, products: int) -> None:
    case = Case("dense", (16,), 8)
    counts = count(method_of(DENSE, name)(case).run)
    assert (counts.products, counts.multiply_adds) == (products, products * 8 * 16**2)
    assert not counts.solvers and counts.peak_bytes is None


def test_the_exact_step_adds_one_factorization_and_one_solve() -> None:
    case = Case("dense", (12,), 8)
    counts = count(method_of(DENSE, "exact")(case).run)
    assert counts.products == 3 and counts.solvers == {"linalg_lu_factor_ex": 1, "linalg_lu_solve": 1}
    assert counts.solver_multiply_adds == 12**3 // 3 + 12**3


@pytest.mark.parametrize(("name", "products"), [("conv2d", 3), ("selfnorm", 6), ("selfnorm-two-pass", 9)])
def test_the_convolutions_of_a_step_are_counted(name: str, products: int) -> None:
    counts = count(method_of(CONV, name)(Case("conv", (2, 4, 4), 8, kernel_size=3)).run)
    assert (counts.products, counts.multiply_adds) == (products, products * 8 * 16 * 2 * 2 * 9)


def test_counts_do_not_depend_on_groups() -> None:
    """One channel, as the layer computes it (grouped by images) and as ``conv2d`` does: the same multiply-adds."""
    x, weight = torch.randn(5, 1, 6, 7, requires_grad=True), torch.randn(1, 1, 3, 3, requires_grad=True)

    def grouped() -> Tensor:
        each = weight.expand(5, -1, -1, -1)
        return torch.nn.functional.conv2d(x.transpose(0, 1), each, padding=1, groups=5)

    def plain() -> Tensor:
        return torch.nn.functional.conv2d(x, weight, padding=1)

    for form in (grouped, plain):
        counted = count(lambda form=form: form().sum().backward())
        assert (counted.products, counted.multiply_adds) == (3, 3 * 5 * 6 * 7 * 9)


def test_saved_bytes_are_those_between_forward_and_backward() -> None:
    x = torch.randn(10, requires_grad=True)

    def once() -> None:
        y = x.exp()  # keeps its result, 40 bytes
        y.square().sum().backward()  # keeps y again: one storage

    def twice() -> None:
        once()
        once()

    assert count(once, (x,)).saved_bytes == 40
    assert count(twice, (x,)).saved_bytes == 40  # the first pass lets go before the second
    assert count(lambda: (x * x).sum().backward(), (x,)).saved_bytes == 0  # the input stays anyway
    assert count(lambda: (x * x).sum().backward()).saved_bytes == 40


def test_counting_keeps_no_result_alive() -> None:
    x, results = torch.randn(10, requires_grad=True), []
    count(lambda: results.append(weakref.ref(x.exp())))  # a result that its own node keeps, and no backward pass
    assert results[0]() is None
