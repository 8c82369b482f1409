"""The densities of the plane: functions of their seed alone, of unit scale, and true to their names."""

from typing import Any

import numpy as np
import pytest
import torch

from snf_lite.data.datasets import density_names, load, mixture_log_prob, sample_density
from snf_lite.data.densities import MIXTURE_MEANS
from snf_lite.data.registry import SPLITS

pytestmark = pytest.mark.usefixtures("bare_environment")


@pytest.mark.parametrize("name", density_names())
def test_density_splits(name: str) -> None:
    splits = [load(name, split) for split in SPLITS]
    assert [tuple(data.shape) for data in splits] == [(10_000, 2), (2_000, 2), (2_000, 2)]
    for data, split in zip(splits, SPLITS, strict=True):
        assert data.dtype == torch.float32 and data.levels is None and (data.name, data.split_name) == (name, split)
        assert torch.isfinite(data).all() and data.abs().max() < 4.5
        assert data.std(0).min() > 0.4, "not of unit scale"
        assert torch.equal(data, load(name, split)) and data.sha256 == load(name, split).sha256
    rows = torch.cat([*splits, sample_density(name, 2_000)])
    assert len(torch.unique(rows, dim=0)) > 0.999 * len(rows), "splits share points"


def global_generators() -> tuple[list[int], str]:
    return torch.get_rng_state().tolist(), str(np.random.get_state(legacy=False))


@pytest.mark.parametrize("name", density_names())
def test_density_is_a_function_of_its_seed_alone(name: str) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    first = sample_density(name, 50, seed=7)
    torch.manual_seed(2)
    np.random.seed(2)
    before = global_generators()
    again = sample_density(name, 50, seed=7)
    assert global_generators() == before
    assert torch.equal(first, again) and not torch.equal(first, sample_density(name, 50, seed=8))


@pytest.mark.parametrize("name", density_names())
def test_density_of_any_size(name: str) -> None:
    sizes: list[Any] = [0, 1, 2, 5, np.int64(3)]
    for n in sizes:
        points = sample_density(name, n)
        assert points.shape == (n, 2) and points.dtype == torch.float32 and type(points) is torch.Tensor


def test_a_single_point_comes_from_either_moon() -> None:
    right = [bool(sample_density("moons", 1, seed=seed)[0, 0] > 0) for seed in range(40)]
    assert 10 <= sum(right) <= 30


def test_density_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ValueError, match=r"moons.*mixture; got 'moon'"):
        sample_density("moon", 5)
    wrong: Any
    for wrong in (-1, -10_000):
        with pytest.raises(ValueError, match=rf"n in .*got {wrong}"):
            sample_density("moons", wrong)
    for wrong in (2.0, "5", None, torch.tensor(5)):
        with pytest.raises(TypeError, match="n to be an integer"):
            sample_density("moons", wrong)
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=f"seed in .*got {seed}"):
            sample_density("moons", 5, seed=seed)
    wrong = None
    with pytest.raises(TypeError, match="seed to be an integer, got None"):
        sample_density("moons", 5, seed=wrong)  # numpy would take the clock


def test_shapes_are_what_their_names_say() -> None:
    radius = sample_density("rings", 4_000).norm(dim=1) / 0.8
    ring = radius.round()
    assert ring.unique().tolist() == [1, 2, 3, 4] and (radius - ring).abs().mean() < 0.1
    circle = sample_density("circles", 4_000).norm(dim=1)
    assert torch.minimum((circle - 1.5).abs(), (circle - 3).abs()).mean() < 0.2
    cell = ((sample_density("checkerboard", 4_000) + 4) / 2).floor()
    assert (cell.sum(1) % 2 == 0).all() and len(cell.unique(dim=0)) == 8
    x, y = sample_density("sine", 4_000).T
    assert (y - 2 * torch.sin(1.5 * x)).std().item() == pytest.approx(0.2, rel=0.1)
    x, y = sample_density("banana", 4_000).T
    assert (y - 0.25 * x**2 + 1).std().item() == pytest.approx(0.3, rel=0.1)
    x, y = sample_density("spirals", 4_000).double().T
    angle = torch.atan2(y, x) - 3 * torch.hypot(x, y)  # on the two arms a multiple of π
    outer = torch.hypot(x, y) > 1  # where the arms are farther apart than the noise
    assert torch.cos(2 * angle)[outer].mean() > 0.8
    assert 0.4 < (torch.cos(angle)[outer] > 0).double().mean() < 0.6
    pinwheel = sample_density("pinwheel", 4_000).double() / 1.8
    along = pinwheel.norm(dim=1)
    twisted = torch.atan2(pinwheel[:, 1], pinwheel[:, 0]) - 0.25 * along.exp()
    assert torch.cos(5 * twisted).mean() > 0.7


# ---------------------------------------------------------------- the mixture's density


@pytest.fixture(scope="module")
def grid() -> torch.Tensor:
    axis = torch.linspace(-6, 6, 241, dtype=torch.float64)[:-1] + 0.025
    return torch.cartesian_prod(axis, axis)


CELL = (12 / 240) ** 2


def test_mixture_density_integrates_to_one(grid: torch.Tensor) -> None:
    assert (mixture_log_prob(grid).exp().sum() * CELL).item() == pytest.approx(1, abs=1e-9)


def test_mixture_log_prob_is_the_formula() -> None:
    x = sample_density("mixture", 100, seed=3).double()
    squared = ((x[:, None] - torch.from_numpy(MIXTURE_MEANS)) ** 2).sum(-1)
    density = (torch.exp(-squared / (2 * 0.35**2)) / (2 * torch.pi * 0.35**2)).mean(1)
    assert torch.allclose(mixture_log_prob(x), density.log(), rtol=1e-12)
    single = mixture_log_prob(x.float())
    assert single.dtype == torch.float32 and torch.allclose(single.double(), density.log(), atol=1e-4)


def test_mixture_samples_follow_the_density(grid: torch.Tensor) -> None:
    n = 40_000
    samples = sample_density("mixture", n, seed=11)
    log_prob = mixture_log_prob(grid)
    entropy = -(log_prob.exp() * log_prob).sum() * CELL
    observed = -mixture_log_prob(samples)
    assert abs(observed.mean() - entropy) < 4 * observed.std() / n**0.5
    # Bin by bin too: the entropy alone would not see a mixture turned about the origin.
    expected = n * CELL * torch.histogramdd(grid, bins=[24, 24], range=[-6, 6, -6, 6], weight=log_prob.exp()).hist
    counts = torch.histogramdd(samples.double(), bins=[24, 24], range=[-6, 6, -6, 6]).hist
    assert ((counts - expected).abs() < 5 * expected.sqrt() + 3).all()


def test_mixture_log_prob_refuses_what_is_no_point() -> None:
    for shape in [(2,), (3, 3), (1, 2, 2)]:
        with pytest.raises(ValueError, match=r"mixture_log_prob: expected .*shape \(B, 2\), got"):
            mixture_log_prob(torch.zeros(shape))
    with pytest.raises(TypeError, match=r"mixture_log_prob: expected floating-point .*got torch\.int64"):
        mixture_log_prob(torch.zeros(3, 2, dtype=torch.int64))
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="mixture_log_prob: expected finite input, got 1"):
            mixture_log_prob(torch.tensor([[value, 0.0]]))
    assert mixture_log_prob(torch.zeros(0, 2)).shape == (0,)
