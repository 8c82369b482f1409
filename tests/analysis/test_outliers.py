"""Nats by event, the alarm level, the area under the curve and typicality, each against a count by hand."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import snf_lite as snf
from snf_lite.analysis import outliers
from snf_lite.flow import standard_normal_log_prob


def drawn(n: int, seed: int, *shape: int) -> Tensor:
    return torch.randn(n, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_nats_by_event_are_those_whose_mean_evaluate_gives() -> None:
    torch.manual_seed(0)
    flow = snf.build("dense-selfnorm", (1, 8, 8), levels=17)
    test = snf.load("digits", "test")
    nats, result = outliers.nats_per_example(flow, test, seed=3), snf.evaluate(flow, test, seed=3)
    assert nats.shape == (300,) and nats.dtype == torch.float64
    assert float(nats.mean()) == pytest.approx(result.nats, abs=1e-9)
    assert torch.equal(outliers.nats_per_example(flow, "digits", seed=3), nats)
    assert not torch.equal(outliers.nats_per_example(flow, test, seed=4), nats)
    real = snf.build("dense-exact", (4,), levels=None).double()
    x = drawn(7, 0, 4)
    assert torch.allclose(outliers.nats_per_example(real, x, batch_size=2), -real.log_prob(x))


@pytest.mark.parametrize(("settings", "words"), [({"batch_size": 0}, "batch_size"), ({"seed": 1.5}, "seed")])
def test_bad_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"nats_per_example: expected {words}"):
        outliers.nats_per_example(snf.build("dense-exact", (1, 8, 8), levels=17), "digits", **settings)


@pytest.mark.equation("eq-alarm")
@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_the_alarm_level_is_exceeded_by_that_share(share: float) -> None:
    scores = drawn(2000, 1)
    level = outliers.detection_threshold(scores, share)
    assert float((scores > level).double().mean()) == pytest.approx(share, abs=1e-3)


@pytest.mark.equation("eq-auroc")
def test_the_area_is_the_share_of_pairs_in_order() -> None:
    known, foreign = drawn(40, 2).round(decimals=1), drawn(60, 3).round(decimals=1) + 0.5  # rounded: with ties
    above = (foreign[:, None] > known).double().mean() + 0.5 * (foreign[:, None] == known).double().mean()
    assert (foreign[:, None] == known).any()
    assert outliers.auroc(known, foreign) == pytest.approx(float(above), abs=1e-12)
    assert outliers.auroc(foreign, known) == pytest.approx(1 - float(above), abs=1e-12)
    assert outliers.auroc(known, known + 100) == 1.0 and outliers.auroc(known, known) == pytest.approx(0.5)


@pytest.mark.equation("eq-typical")
def test_typicality_is_the_distance_from_the_mean_of_the_reference() -> None:
    reference = torch.tensor([98.0, 100.0, 105.0])
    found = outliers.typicality(torch.tensor([101.0, 70.0, 141.0]), reference)
    assert found.tolist() == pytest.approx([0.0, 31.0, 40.0])


@pytest.mark.equation("eq-mode-gap")
@pytest.mark.parametrize("features", [1, 8, 64])
def test_the_mode_is_half_a_nat_a_number_above_the_mean(features: int) -> None:
    """In closed form and over draws, of which each number's energy has mean 1/2."""
    top = standard_normal_log_prob(torch.zeros(1, features, dtype=torch.float64))
    assert float(top) == pytest.approx(-0.5 * features * math.log(2 * math.pi))
    mean = standard_normal_log_prob(drawn(20_000, 4, features)).mean()
    assert float(top - mean) == pytest.approx(features / 2, rel=0.03)


def test_scores_may_be_an_array_or_a_list() -> None:
    scores = drawn(40, 5).double()
    for given in (scores.numpy(), scores.tolist()):
        assert outliers.detection_threshold(given) == outliers.detection_threshold(scores)
        assert outliers.auroc(scores, given) == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [torch.zeros(0), torch.tensor([1.0, math.nan]), torch.zeros(2, 2)])
def test_scores_that_cannot_be_ranked_are_refused(bad: Tensor) -> None:
    fine = torch.ones(3)
    for judge in (outliers.detection_threshold, lambda s: outliers.auroc(s, fine), lambda s: outliers.auroc(fine, s)):
        with pytest.raises(ValueError, match=r"expected finite scores of shape \(N,\), at least one, got"):
            judge(bad)
    with pytest.raises(ValueError, match="typicality: expected finite scores"):
        outliers.typicality(fine, bad)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, True])
def test_a_bad_share_is_refused(share: Any) -> None:
    with pytest.raises(ValueError, match="detection_threshold: expected share in"):
        outliers.detection_threshold(torch.ones(3), share)
