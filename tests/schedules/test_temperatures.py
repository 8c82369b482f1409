"""The sheet of temperatures and of the way between two images: what its rows are, and that it is read as drawn."""

from pathlib import Path

import pytest
import torch
from snf_book.temperatures import __main__ as command
from snf_book.temperatures import sheet

import snf_lite as snf
from snf_lite.cli import main
from snf_lite.experiments import archive
from snf_lite.runtime.files import sha256, write_json


@pytest.fixture(scope="module")
def made() -> tuple[torch.Tensor, torch.Tensor]:
    """Eight digits, and the sheet of a Glow at its start from the data."""
    images = snf.load("digits", "test")[:8]
    torch.manual_seed(0)
    flow = snf.build("glow-exact", (1, 8, 8), 17, steps=1, width=4)
    flow.initialise(snf.load("digits", "train")[:100])
    return images, sheet.sheet(flow, images)


def test_samples_of_temperature_zero_are_one_image_and_others_differ(made: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples = made[1][0]
    assert samples.shape == (4, sheet.COLUMNS, 8, 8) and (samples[0] == samples[0, :1]).all()
    spread = [row.double().std(0).mean() for row in samples]
    assert spread == sorted(spread) and spread[1] > 0


def test_the_rows_between_two_images_begin_and_end_with_them(made: tuple[torch.Tensor, torch.Tensor]) -> None:
    images, (_, rows) = made
    assert torch.equal(rows[:, 0], torch.as_tensor(images[:4, 0])) and torch.equal(rows[:, -1], images[4:, 0])


def test_the_stored_sheet_is_the_one_that_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main(["train", "glow-exact", "--epochs=1", "--set=steps=1", "--set=width=4", f"--out={tmp_path}", "--name=a"])
    command.main([str(tmp_path / "a")])
    image = (tmp_path / "a" / sheet.FILE).read_bytes()
    assert b"python -m snf_book.temperatures a" in image
    write_json({"a": {sheet.FILE: sha256(image)}}, tmp_path / archive.INDEX)
    monkeypatch.setattr(archive, "records_root", lambda: tmp_path)
    wanted = sheet.sheet(snf.restore(tmp_path / "a" / "checkpoint.pt"), snf.load("digits", "test"))
    torch.testing.assert_close(16 * sheet.read("a"), wanted.float(), atol=16 / 255, rtol=0)


def test_a_sheet_is_drawn_with_its_temperatures(made: tuple[torch.Tensor, torch.Tensor]) -> None:
    samples, between = sheet.draw(made[1], 17).axes
    assert [tick.get_text() for tick in samples.get_yticklabels()] == ["T = 0", "T = 0.5", "T = 0.7", "T = 1"]
    assert [axes.images[0].get_array().shape for axes in (samples, between)] == [(36, 54), (36, 54)]
