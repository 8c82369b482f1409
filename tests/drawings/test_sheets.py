"""The stored images of samples, cut into their tiles."""

import numpy as np
import pytest
import torch
from snf_book.sheets import tiles

from snf_lite.analysis.figures import panels, sample_figure
from snf_lite.analysis.sampling import SamplePair
from snf_lite.experiments.archive import record_image


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


def test_a_figure_without_images_has_no_tiles():
    empty, axes = panels(1)
    axes.axis("off")
    with pytest.raises(ValueError, match="rows of as many images"):
        tiles(empty._repr_png_()[0], 28)
