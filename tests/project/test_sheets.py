"""Sampled digits are cut out of the figures of the stored runs as they were drawn there."""

import io

import pytest
import torch
from PIL import Image
from snf_book.sheets import cut_samples, digit_sheet

from snf_lite.analysis.figures import sample_figure
from snf_lite.analysis.sampling import SamplePair
from snf_lite.experiments.archive import record_image


def test_the_images_cut_out_are_those_drawn() -> None:
    torch.manual_seed(0)
    learned, exact = (torch.randint(0, 240, (8, 1, 28, 28)).double() for _ in range(2))
    found = cut_samples(sample_figure(SamplePair(learned, exact, 0.0, 0.0), 256).png())
    for cut, drawn in zip(found, (learned, exact), strict=True):
        assert cut.shape == (8, 28, 28)
        assert torch.allclose(cut, drawn[:, 0], atol=1.5)


def test_a_stored_run_has_digits_on_black_that_both_inverses_share() -> None:
    learned, exact = cut_samples(record_image("fast-dense-selfnorm-mnist-seed0"))
    assert exact[:, 0].max() < 10 and exact.max() > 240
    assert 0 < (learned - exact).norm() / exact.norm() < 0.2


def test_the_sheet_shows_both_inverses_and_their_difference_magnified() -> None:
    learned, exact = cut_samples(record_image("fast-dense-selfnorm-mnist-seed0"))
    shown = torch.as_tensor(digit_sheet("fast-dense-selfnorm-mnist-seed0").axes[0].images[0].get_array().filled(-1))
    padded = torch.nn.functional.pad(shown, (0, 1))
    bands = [padded[top : top + 28].reshape(28, 8, 29)[:, :, :28].transpose(0, 1) for top in (10, 48, 86)]
    wanted = exact, learned, (5 * (learned - exact).abs()).clamp(max=255)
    for band, images in zip(bands, wanted, strict=True):
        assert torch.equal(band, images)


def test_a_figure_without_two_strips_is_refused() -> None:
    white = io.BytesIO()
    Image.new("L", (50, 50), 255).save(white, "png")
    with pytest.raises(ValueError, match="expected two strips of images, found 0"):
        cut_samples(white.getvalue())
