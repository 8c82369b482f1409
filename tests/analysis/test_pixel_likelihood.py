"""The mass of a picture, and what its preprocessing adds: by pixel, by data set, and in a record."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import snf_lite as snf
from snf_lite.analysis import pixel_likelihood
from snf_lite.cli import main
from snf_lite.experiments import manifest, preprocessing
from snf_lite.experiments.archive import record_dir
from snf_lite.training.evaluation import bits_per_dim


def one_pixel(levels: int = 6, weight: float = 1.7, bias: float = 0.4) -> snf.Flow:
    """A density of one pixel, whose masses are known: the normal's distribution function at the levels' edges."""
    flow = snf.Flow([snf.Dequantize(levels), snf.Logit(0.02), snf.ExactLinear(1)], event_shape=(1,)).double()
    with torch.no_grad():
        flow.layers[2].weight.fill_(weight)
        flow.layers[2].bias.fill_(bias)
    return flow


def masses(flow: snf.Flow, levels: int = 6) -> torch.Tensor:
    edges = torch.arange(levels + 1, dtype=torch.float64)[:, None]
    return torch.special.ndtr(flow(edges)[0][:, 0]).diff()


@pytest.mark.equation("eq-mass")
def test_many_noises_give_the_mass_and_one_a_bound() -> None:
    flow, levels = one_pixel(weight=3.0), torch.arange(1, 5, dtype=torch.uint8)[:, None]
    exact = masses(flow)[1:5].log()
    found = pixel_likelihood.log_prob_pixels(flow, levels, draws=3000)
    assert found.dtype == torch.float64 and (found - exact).abs().max() < 0.1
    many = levels.repeat(4000, 1)
    bounds = [pixel_likelihood.log_prob_pixels(flow, many, draws).reshape(-1, 4).mean(0) for draws in (1, 4, 16)]
    assert (bounds[0] < bounds[1]).all() and (bounds[1] < bounds[2]).all() and (bounds[2] < exact + 0.02).all()
    assert (bounds[0] < exact - 0.1).any()


def test_the_mass_depends_on_its_seed_alone() -> None:
    flow, levels = one_pixel(), torch.arange(6, dtype=torch.uint8)[:, None]
    torch.manual_seed(3)
    first, state = pixel_likelihood.log_prob_pixels(flow, levels, 2), torch.get_rng_state()
    assert torch.equal(first, pixel_likelihood.log_prob_pixels(flow, levels, 2)) and torch.equal(
        state, torch.get_rng_state()
    )
    assert not torch.equal(first, pixel_likelihood.log_prob_pixels(flow, levels, 2, seed=1))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"draws": 0}, ValueError, "draws"),
        ({"seed": 0.5}, ValueError, "seed to be an integer"),
        ({"pixels": torch.zeros(1, 1, dtype=torch.float64)}, TypeError, "expected pixels as torch.uint8, got"),
    ],
)
def test_log_mass_refuses(change: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        pixel_likelihood.log_prob_pixels(
            **{"flow": one_pixel(), "pixels": torch.zeros(1, 1, dtype=torch.uint8), **change}
        )


@pytest.mark.equation("eq-dequantise")
@pytest.mark.parametrize("shape", [(5,), (3, 4, 2)])
def test_dequantisation_spreads_levels_and_scales(shape: tuple[int, ...]) -> None:
    x = torch.randint(0, 17, (7, *shape)).to(torch.uint8)
    y, log_det = snf.Dequantize(17).double()(x)
    assert ((17 * y).floor() == x).all() and (17 * y - x).min() >= 0 and (17 * y - x).std() > 0.2
    assert torch.allclose(log_det, torch.full((7,), -math.prod(shape) * math.log(17), dtype=torch.float64))


@pytest.mark.equation("eq-logit")
@pytest.mark.parametrize("alpha", [1e-6, 0.05])
def test_logit_is_the_inverse_of_the_sigmoid_with_the_slope_as_its_log_det(alpha: float) -> None:
    x = torch.rand(9, 4, dtype=torch.float64, requires_grad=True)
    z, log_det = snf.Logit(alpha).double()(x)
    assert torch.allclose(torch.sigmoid(z), alpha + (1 - 2 * alpha) * x, atol=1e-12)
    (slopes,) = torch.autograd.grad(z.sum(), x)
    assert torch.allclose(log_det, slopes.log().sum(1), atol=1e-10)


@pytest.mark.equation("eq-bits-per-dim")
def test_bits_are_nats_over_d_log_2() -> None:
    uniform = 784 * math.log(256)  # a density that is the same for every picture needs 8 bits a pixel
    assert bits_per_dim(uniform, 784) == pytest.approx(8.0, rel=1e-12)


@pytest.mark.parametrize(("levels", "alpha"), [(17, 1e-6), (256, 1e-6), (5, 0.1)])
def test_the_table_of_levels_is_the_mean_over_the_noise(levels: int, alpha: float) -> None:
    middle = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    points = (torch.arange(levels)[:, None] + middle).reshape(-1, 1)
    spread, scaled = snf.Dequantize(levels).double()(points)
    found = (scaled + snf.Logit(alpha).double()(spread)[1]).reshape(levels, -1).mean(1)
    assert (found - pixel_likelihood.level_log_dets(levels, alpha)).abs().max() < 2e-3


def test_a_black_pixel_adds_a_nat() -> None:
    """The mean of -log u is 1, and the logit undoes the scaling: which is why MNIST's sum comes out positive."""
    assert pixel_likelihood.level_log_dets(256, 1e-9)[0] == pytest.approx(1.0, abs=3e-3)


def test_levels_are_counted() -> None:
    x = torch.tensor([[0, 3], [3, 1]], dtype=torch.uint8)
    assert pixel_likelihood.level_counts(x, 5).tolist() == [1, 1, 0, 2, 0]


# ---- the record ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert main(["preprocessing", "--data", "digits", "--alpha", "0.01", "--seed", "3", "--out", str(tmp_path)]) == 0
    manifest.write_index(tmp_path)
    return tmp_path


def record_file(folder: Path) -> Path:
    return folder / "preprocessing-digits" / preprocessing.FILE


def test_a_record_says_what_its_levels_say(folder: Path, capsys: Any) -> None:
    record = preprocessing.read(record_file(folder))
    assert record.command == "python -m snf_lite preprocessing --data digits --alpha 0.01 --seed 3"
    assert record.data["test"]["sha256"] == snf.load("digits", "test").sha256
    for split in record.results:
        off = record.results[split]["total"] - preprocessing.expected_total(record, split)
        assert abs(off) < 5 * record.results[split]["noise_error"] < 2
    assert main(["results", "--check", "--runs", str(folder)]) == 0


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("dequantise", -100.0, "not -D log L"),
        ("logit", 100.0, "do not add up"),
        ("counts", [64 * 300] + 16 * [0], "does not match its level counts"),
        ("counts", 17 * [0], "it has 17 level counts for 17 levels, negative ones, or zeros alone"),
    ],
)
def test_an_altered_record_is_noticed_even_when_sealed(
    key: str, value: Any, words: str, folder: Path, capsys: Any
) -> None:
    stored = json.loads(record_file(folder).read_text("utf-8"))
    stored["results"]["test"][key] = value
    record_file(folder).write_text(json.dumps(stored), "utf-8")
    assert main(["results", "--check", "--runs", str(folder)]) == 1
    assert "preprocessing.json: has been altered" in capsys.readouterr().err
    assert main(["results", "--update-index", "--check", "--runs", str(folder)]) == 1
    assert f"test: its {words}" in (said := capsys.readouterr().err) or words in said


def test_the_record_of_mnist_is_that_of_its_pixels() -> None:
    """Of the very files that the package's own hashes name; the sum is about 272.5 nats."""
    record = preprocessing.read(record_dir("preprocessing-mnist") / preprocessing.FILE)
    assert (record.levels, record.features, record.alpha) == (256, 784, 1e-6)
    assert [record.data[split]["count"] for split in ("train", "validation", "test")] == [50_000, 10_000, 10_000]
    assert record.results["test"]["total"] == pytest.approx(272.5, abs=0.2)
    assert record.package["dirty"] is False
