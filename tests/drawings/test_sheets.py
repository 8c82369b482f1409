"""The stored images of samples, cut into their tiles and arranged in a sheet."""

import numpy as np
import pytest
import torch
from snf_book import sheets
from snf_book.sheets import digit_sheet, tiles

from snf_lite.analysis.figures import panels, sample_figure
from snf_lite.analysis.sampling import SamplePair
from snf_lite.experiments.archive import record_image, records_root
from snf_lite.experiments.results import read_all

#: Pixels along each side of an image, by data set.
SIDES = {"digits": 8, "mnist": sheets.DIGIT, "fashion_mnist": sheets.DIGIT, "cifar10": sheets.COLOR}


def digits(seed: int) -> torch.Tensor:
    """Eight images of 28 by 28 pixels; a column of each is dark, as in digits, none is white throughout."""
    images = torch.randint(0, 256, (8, 1, 28, 28), generator=torch.Generator().manual_seed(seed))
    images[..., 0, :] = 0
    return images


def test_tiles_are_the_images_that_the_figure_was_made_of():
    learned, exact = digits(0), digits(1)
    png = sample_figure(SamplePair(learned, exact, 0.0, 0.0), 256).png()
    for row, images in zip(tiles(png, 28), (learned, exact), strict=True):
        assert len(row) == 8
        assert np.abs(np.stack(row) * 255 - images[:, 0].numpy()).max() <= 1


def test_a_stored_run_has_two_rows_of_eight():
    rows = tiles(record_image("fast-dense-selfnorm-mnist-seed0"), 28)
    assert [len(row) for row in rows] == [8, 8]
    assert 0 < np.abs(np.stack(rows[0]) - np.stack(rows[1])).mean() < 0.1


def test_the_figure_of_each_stored_run_is_cut_into_two_rows() -> None:
    """Those of runs with strokes so bold that much of a line is white, too."""
    for name, record in read_all(records_root()).items():
        side = SIDES[record.data["train"]["name"]]
        rows = tiles(record_image(name), side, color=side == sheets.COLOR)
        assert [len(row) for row in rows] == [8, 8], name


def test_a_figure_without_images_has_no_tiles():
    empty, axes = panels(1)
    axes.axis("off")
    with pytest.raises(ValueError, match="rows of as many images"):
        tiles(empty._repr_png_()[0], 28)


def test_the_sheet_shows_both_inverses_and_their_difference_magnified():
    name = "fast-dense-selfnorm-mnist-seed0"
    learned, exact = (torch.as_tensor(np.stack(row)) for row in tiles(record_image(name), 28))
    shown = torch.as_tensor(digit_sheet(name).axes[0].images[0].get_array().filled(-1))
    padded = torch.nn.functional.pad(shown, (0, 1))
    bands = [padded[top : top + 28].reshape(28, 8, 29)[:, :, :28].transpose(0, 1) for top in (10, 48, 86)]
    wanted = exact, learned, (5 * (learned - exact).abs()).clamp(max=1)
    for band, images in zip(bands, wanted, strict=True):
        assert torch.equal(band, images)


def test_colors_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    learned, exact = (
        torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(seed)) for seed in (2, 3)
    )
    png = sample_figure(SamplePair(learned, exact, 0.0, 0.0), 256).png()
    rows = [np.stack(row) for row in tiles(png, 32, color=True)]
    for row, images in zip(rows, (learned, exact), strict=True):
        assert np.abs(row * 255 - images.permute(0, 2, 3, 1).numpy()).max() <= 1
    monkeypatch.setattr(sheets, "record_image", lambda name: png)
    shown = np.asarray(sheets.color_sheet("any").axes[0].images[0].get_array())
    assert shown.shape == (3 * 42, 8 * 33 - 1, 3)
    assert np.allclose(shown[10:42, 33:65], rows[1][1]) and (shown[10:42, 32] == 1).all()
    assert np.allclose(shown[94:126, :32], np.clip(5 * np.abs(rows[0][0] - rows[1][0]), 0, 1), atol=1e-6)
