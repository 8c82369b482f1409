"""Prior work: the rules by which a log-determinant is cheap, and the Sylvester layer that is built on one of them.

Apart from the systems and their record, which are slow to make, so that mutants meet these tests alone.
"""

import math

import pytest
import torch
from snf_book.prior_work import measures
from snf_book.prior_work.flows.sylvester import Sylvester
from torch import Tensor


@pytest.mark.equation("eq-diagonal")
def test_of_a_triangular_jacobian_the_diagonal_is_enough() -> None:
    torch.manual_seed(0)
    lower = torch.randn(7, 5, 5, dtype=torch.float64).tril()
    for matrices in (lower, lower.mT):
        found = measures.diagonal_log_det(matrices)
        assert torch.allclose(found, torch.linalg.slogdet(matrices).logabsdet, atol=1e-12)
    with pytest.raises(ValueError, match="expected triangular matrices, got 7 of 7 others"):
        measures.diagonal_log_det(lower + lower.mT)


@pytest.mark.equation("eq-low-rank")
@pytest.mark.parametrize("rank", [1, 3])
def test_a_low_rank_change_of_the_identity_needs_a_small_determinant(rank: int) -> None:
    torch.manual_seed(rank)
    u, v = torch.randn(2, 6, 5, rank, dtype=torch.float64)
    whole = torch.linalg.slogdet(torch.eye(5, dtype=torch.float64) + u @ v.mT).logabsdet
    assert torch.allclose(measures.low_rank_log_det(u, v), whole, atol=1e-10)


@pytest.mark.equation("eq-low-rank")
def test_sylvesters_layer_is_such_a_change() -> None:
    torch.manual_seed(2)
    layer, x = Sylvester(4, 2).double(), torch.randn(9, 4, dtype=torch.float64)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter))
    outer, inner = layer.factors()
    slope = 1 - torch.tanh(x @ inner.T + layer.bias).square()
    found = measures.low_rank_log_det(outer * slope[:, None], inner.T.expand(9, 4, 2))
    assert torch.allclose(found, layer(x)[1], atol=1e-10)
    assert measures.log_det_error(layer, x) < 1e-12


@pytest.mark.equation("eq-series")
def test_the_series_leaves_out_less_than_its_bound() -> None:
    torch.manual_seed(3)
    jacobian = torch.randn(8, 4, 4, dtype=torch.float64)
    jacobian = 0.7 * jacobian / torch.linalg.matrix_norm(jacobian, ord=2)[:, None, None]
    exact = torch.linalg.slogdet(torch.eye(4, dtype=torch.float64) + jacobian).logabsdet
    for terms in (1, 2, 5, 20):
        off = (measures.series_log_det(jacobian, terms) - exact).abs().max()
        assert 0 < off <= measures.series_remainder(0.7, terms, 4) + 1e-12
    with pytest.raises(ValueError, match=r"norm in \[0, 1\), got 1.2"):
        measures.series_remainder(1.2, 3, 4)


def test_the_bound_of_the_series_is_no_looser_than_it_says() -> None:
    """Of −L·I all terms have one sign: what is left out is at least the first of them, (1−L) of the bound."""
    for norm, terms in ((0.3, 1), (0.9, 4)):
        jacobian = -norm * torch.eye(3, dtype=torch.float64)[None]
        off = float((measures.series_log_det(jacobian, terms) - 3 * math.log(1 - norm)).abs())
        bound = measures.series_remainder(norm, terms, 3)
        assert (1 - norm) * bound <= off <= bound


def test_a_claim_is_held_against_the_jacobian_whatever_its_sign() -> None:
    def claiming(nats: float) -> float:
        x = torch.ones(3, 2, dtype=torch.float64)
        return measures.log_det_error(lambda x: (2 * x, x.new_full((len(x),), nats)), x)

    true = 2 * math.log(2)
    assert claiming(true) < 1e-12
    assert [claiming(true + off) for off in (-1.5, 0.5)] == pytest.approx([1.5, 0.5])


def test_the_largest_error_counts() -> None:
    def claimed(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.clone(), torch.tensor([0.0, -0.25, 0.125], dtype=torch.float64)

    assert measures.log_det_error(claimed, torch.randn(3, 2, dtype=torch.float64)) == 0.25
