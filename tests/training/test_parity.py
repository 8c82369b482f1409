"""The claim to reproduce: at equal settings the self-normalising model is as good as its exact twin.

Measured on one machine (exact test nats, mean of 5 seeds; the standard deviation over seeds is 0.07 or less):
whitened, 100 epochs, 100.14 against 99.06; from the identity, 60 epochs, 104.52 against 101.92.

So the gap of one seed varies by 0.1 about its mean, which lies 0.4 or more inside either bound: one seed decides as
five do, and five are for the nightly run.
"""

import statistics

import pytest
import torch

import snf_lite as snf


def test_nats(name: str, seed: int, epochs: int, whiten: bool) -> float:
    """Exact test nats of a dense 2-layer model on the digits, at the best validation epoch."""
    torch.manual_seed(seed)
    flow = snf.build(name, (1, 8, 8), levels=17)
    snf.fit(flow, "digits", epochs, seed=seed, whiten=whiten)
    return snf.evaluate(flow, "digits").nats


test_nats.__test__ = False  # type: ignore[attr-defined]


def mean_nats(name: str, seeds: range, epochs: int, whiten: bool) -> float:
    return statistics.mean(test_nats(name, seed, epochs, whiten) for seed in seeds)


SEEDS = pytest.mark.parametrize("seeds", [range(1), pytest.param(range(5), marks=pytest.mark.nightly)], ids=str)


@SEEDS
def test_whitened_the_two_agree_within_one_and_a_half_nats(seeds: range) -> None:
    learned, exact = (mean_nats(name, seeds, 100, whiten=True) for name in ("dense-selfnorm", "dense-exact"))
    assert abs(learned - exact) < 1.5
    assert max(learned, exact) < 101.85 - 1  # the whitened flow before training stands at 101.85 on validation


@SEEDS
def test_from_the_identity_a_gap_of_some_nats_remains(seeds: range) -> None:
    learned, exact = (mean_nats(name, seeds, 60, whiten=False) for name in ("dense-selfnorm", "dense-exact"))
    assert 0 < learned - exact < 4
