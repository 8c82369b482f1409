"""Mirrored and moved images: only their own pixels, by chance, within bounds, and the same for twins."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import MOONS, fresh
from torch import Tensor

import snf_lite as snf
from snf_lite.data.augmentation import augmented
from snf_lite.experiments import results
from snf_lite.experiments.archive import records_root
from snf_lite.experiments.paper_tables import ROWS
from snf_lite.experiments.run import RunConfig
from snf_lite.training import checkpoints
from snf_lite.training.settings import TrainingConfig

PIXELS = torch.randint(0, 17, (40, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def numbered(count: int, height: int, width: int, channels: int = 3) -> Tensor:
    """Images of which no pixel is like another: channel, row and column can be read off."""
    channel, row, column = torch.meshgrid(*map(torch.arange, (channels, height, width)), indexing="ij")
    return (10_000 * channel + 100 * row + column).double().expand(count, -1, -1, -1)


@pytest.fixture
def moved() -> Tensor:
    torch.manual_seed(0)
    return augmented(numbered(2000, 32, 75))


def test_each_image_is_moved_and_mirrored_as_a_whole(moved: Tensor) -> None:
    """The rows from r + i, the columns from c + j or from W-1-c-j, those beyond the border the border's."""
    rows, columns = moved[:, 0, :, 0] // 100, moved[:, 0, 0, :] % 100
    channels = 10_000 * torch.arange(3)[:, None, None]
    assert torch.equal(moved, channels + 100 * rows[:, None, :, None] + columns[:, None, None])
    mirrored = columns[:, 30] > columns[:, 31]
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    for read, side in ((rows, 32), (columns, 75)):
        away = read[:, side // 2] - side // 2
        assert torch.equal(read, (torch.arange(side) + away[:, None]).clamp(0, side - 1))


def test_how_often_and_how_far(moved: Tensor) -> None:
    rows, columns = moved[:, 0, 16, 0] // 100 - 16, moved[:, 0, 0] % 100
    mirrored = columns[:, 30] > columns[:, 31]
    assert mirrored.double().mean() == pytest.approx(0.5, abs=0.05)
    right = torch.where(mirrored, columns.flip(1)[:, 37], columns[:, 37]) - 37
    for found, most in ((rows, 1), (right, 3)):  # 4 % of 32 and of 75
        shares = [(found == away).double().mean() for away in range(-most, most + 1)]
        assert shares == pytest.approx([1 / len(shares)] * len(shares), abs=0.05)
    together = torch.stack([mirrored.double(), rows, right])
    assert torch.corrcoef(together).fill_diagonal_(0).abs().max() < 0.1, "each by its own chance"


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (0, 3, 32, 32), (3, 2, 26, 1)])
def test_shape_and_dtype_stay(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    images = (200 * torch.rand(shape)).to(dtype)
    found = augmented(images)
    assert found.shape == images.shape and found.dtype == dtype and found.is_contiguous()
    for one, other in zip(images, found, strict=True):
        assert set(other.flatten().tolist()) <= set(one.flatten().tolist())


def test_a_small_image_is_only_mirrored() -> None:
    torch.manual_seed(1)
    images = numbered(50, 8, 24)
    found = augmented(images)
    same, mirrored = ((found == wanted).flatten(1).all(1) for wanted in (images, images.flip(3)))
    assert (same ^ mirrored).all() and same.any() and mirrored.any()


def test_chance_comes_from_the_global_generator() -> None:
    images, found = torch.rand(20, 1, 30, 30), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(augmented(images))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


# ---- in training -----------------------------------------------------------------------------------------------------


def batches(name: str, **asked: Any) -> list[Tensor]:
    """What the loss is given in two epochs."""
    torch.manual_seed(0)
    flow, seen = snf.build(name, (1, 4, 4), 17), []
    loss = flow.loss
    flow.loss = lambda x: seen.append(x) or loss(x)  # type: ignore[method-assign]
    snf.fit(flow, PIXELS, 2, 10, device="cpu", validation=PIXELS[:5], **asked)
    return seen


def test_twins_are_given_the_same_images_again_and_again() -> None:
    learned, exact = (torch.cat(batches(name, augment=True)) for name in ("dense-selfnorm", "dense-exact"))
    assert torch.equal(learned, exact)
    plain = torch.cat(batches("dense-selfnorm"))
    assert torch.equal(plain.sum((1, 2, 3)), learned.sum((1, 2, 3))), "the order is that of a run without"
    mirrored = (learned == plain.flip(3)).flatten(1).all(1)
    assert mirrored.double().mean() == pytest.approx(0.5, abs=0.2)
    assert torch.equal(learned[~mirrored], plain[~mirrored])
    assert not torch.equal(learned[:40].unique(dim=0), learned[40:].unique(dim=0)), "each epoch by its own chance"


def test_a_killed_run_goes_on_with_the_same_images(tmp_path: Path) -> None:
    ends = []
    for name, stops in (("whole", [3]), ("cut", [1, 3])):
        for stop in stops:
            torch.manual_seed(0)
            flow = snf.build("dense-selfnorm", (1, 4, 4), 17)
            asked = {"validation": PIXELS[:5], "checkpoint": tmp_path / name, "augment": True}
            history = snf.fit(flow, PIXELS, stop, 10, 1e-2, device="cpu", **asked)
        ends.append((history.validation_nats, history.settings["augment"]))
    assert ends[0] == ends[1] and ends[0][1] is True


def test_points_cannot_be_mirrored() -> None:
    with pytest.raises(ValueError, match=r"your data, augment=True: expected images \(C, H, W\).* shape \(2,\)"):
        snf.fit(fresh(), MOONS, 1, augment=True)
    with pytest.raises(ValueError, match=r"augmented: expected images"):
        augmented(MOONS)


# ---- what is on disk -------------------------------------------------------------------------------------------------


def without_augment(path: Path) -> None:
    """Make of a checkpoint one of before there was the setting."""
    stored = checkpoints.read(path)
    del stored["training"]["history"]["settings"]["augment"]
    checkpoints.write(path, snf.restore(path), stored["weights"], stored["training"])


def test_a_run_of_before_is_taken_up_without_and_refused_with(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    torch.manual_seed(0)
    flow = snf.build("dense-selfnorm", (1, 4, 4), 17)
    snf.fit(flow, PIXELS, 1, checkpoint=path)
    without_augment(path)
    again = snf.fit(flow, PIXELS, 1, checkpoint=path)
    assert "augment" not in again.settings, "a finished run's history is given back as it is"
    with pytest.raises(snf.CheckpointError, match="augment is False in the checkpoint, True here"):
        snf.fit(flow, PIXELS, 2, checkpoint=path, augment=True)
    assert snf.fit(flow, PIXELS, 2, checkpoint=path).settings["augment"] is False


def test_a_record_of_before_did_without() -> None:
    records = results.read_all(records_root())
    groups = results.grouped(records)
    assert groups and all(group.configuration["augment"] is False for group in groups)
    without = [group for group in groups if not group.row.training.augment]
    assert len(without) > 10 and not any("augment" in said for group in without for said in group.differences())
    record = next(record for record in records.values() if "augment" not in record.history["settings"])
    cifar10 = {split: {**told, "name": "cifar10"} for split, told in record.data.items()}
    glow = replace(record, data=cifar10, model={**record.model, "name": "glow-exact"})
    assert "augment False, not True" in results.grouped({"one": glow})[0].differences()


def test_the_command_says_it() -> None:
    assert RunConfig("dense-exact", training=TrainingConfig(augment=True)).command.endswith(" --augment")
    assert "augment" not in RunConfig("dense-exact").command


def test_the_papers_recipe_augments_cifar10_alone_and_both_twins() -> None:
    asked = {name for name, row in ROWS.items() if row.run_config("paper", row.data, 0, 1).training.augment}
    assert asked == {"cifar10-glow-exact", "cifar10-glow-selfnorm"}
    assert not any(row.run_config("fast", row.data, 0, 1).training.augment for row in ROWS.values())
