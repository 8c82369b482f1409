"""Own data by path: what each kind of file becomes, and the three parts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from snf_lite.data.image_files import DataError
from snf_lite.data.own_data import read_data, split_by_seed


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("array", "shape", "dtype", "levels"),
    [
        (np.zeros((5, 3)), (5, 3), torch.float32, None),
        (np.zeros((5, 3), np.int64), (5, 3), torch.float32, None),
        (np.zeros(5, np.float32), (5, 1), torch.float32, None),
        (np.zeros((5, 2, 2), np.uint8), (5, 1, 2, 2), torch.uint8, 256),
        (np.zeros((5, 3, 2, 4), np.uint8), (5, 3, 2, 4), torch.uint8, 256),
        (np.zeros((5, 2, 4, 3), np.uint8), (5, 3, 2, 4), torch.uint8, 256),
        (np.full((5, 1, 2, 4), 255), (5, 1, 2, 4), torch.uint8, 256),
        (np.full((5, 2, 2, 4), -3.5), (5, 2, 2, 4), torch.float32, None),
    ],
)
def test_arrays(array: np.ndarray, shape: tuple[int, ...], dtype: torch.dtype, levels: int | None) -> None:
    np.save("a.npy", array)
    data = read_data("a.npy")
    assert (tuple(data.shape), data.dtype, data.levels, data.name) == (shape, dtype, levels, "a.npy")
    np.savez("a.npz", array)
    assert torch.equal(read_data("a.npz").as_subclass(torch.Tensor), data.as_subclass(torch.Tensor))


@pytest.mark.parametrize(
    ("start", "step", "kept"), [(2**24, 2, True), (1.6e9, 1, False), (1e6, 1e-3, False), (1e6, 10.1, True)]
)
def test_numbers_that_float32_would_merge_are_refused(start: float, step: float, kept: bool) -> None:
    np.save("a.npy", start + step * np.arange(400.0))
    if kept:
        assert len(read_data("a.npy").unique()) == 400
    else:
        with pytest.raises(DataError, match="too narrow for the 7 digits of float32"):
            read_data("a.npy")


def test_a_constant_column_is_no_loss() -> None:
    np.save("a.npy", np.full((5, 2), 0.1))
    assert tuple(read_data("a.npy").shape) == (5, 2)


def test_channels_that_stand_last_are_moved_not_reshaped() -> None:
    array = np.arange(5 * 2 * 4 * 3).reshape(5, 2, 4, 3) % 256
    np.save("a.npy", array)
    assert np.array_equal(read_data("a.npy").numpy(), array.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("1,2\n3,4\n5,6\n", None),
        ("a,b\n1,2\n3,4\n\n5,6", ["a", "b"]),
        ("\ufeffa;b\r\n1;2\r\n3;4\r\n5;6\r\n", ["a", "b"]),
        ('"first, left"\tb\n1\t2\n3\t4\n5\t6\n', ["first, left", "b"]),
        ("a b\n1  2\n3 4.0\n 5 6e0\n", ["a", "b"]),
    ],
)
def test_text(text: str, columns: list[str] | None) -> None:
    Path("a.csv").write_text(text, "utf-8", newline="")
    data = read_data("a.csv")
    assert data.tolist() == [[1, 2], [3, 4], [5, 6]] and data.dtype == torch.float32
    assert data.origin.get("columns") == columns


def test_images_are_in_color_where_one_is_and_of_one_size() -> None:
    for name, mode in (("a.png", "L"), ("b.jpg", "L"), ("c.bmp", "L")):
        Image.new(mode, (4, 2)).save(name)
    assert tuple(read_data(".").shape) == (3, 1, 2, 4) and tuple(read_data(".", 3).shape) == (3, 3, 2, 4)
    Image.new("RGB", (4, 2)).save("c.bmp")
    assert tuple(read_data(".").shape) == (3, 3, 2, 4) and tuple(read_data(".", 1).shape) == (3, 1, 2, 4)
    Image.new("RGB", (4, 3)).save("d.gif")
    with pytest.raises(DataError, match=r"images of one size \(height×width\), got 2×4 \(.png\).*3×4 \(.gif\)"):
        read_data(".")


def test_the_digest_of_a_folder_follows_names_and_content() -> None:
    found = []
    for name, shade in (("a", 0), ("a", 9), ("b", 9)):
        for path in Path().glob("*.png"):
            path.unlink()
        for index in range(3):
            Image.new("L", (4, 2), shade).save(f"{name}{index}.png")
        found.append(read_data(".").origin["file_sha256"])
    assert len(set(found)) == 3


def test_the_parts_hold_each_example_once_in_an_order_by_the_seed() -> None:
    np.save("a.npy", np.arange(50.0))
    data = read_data("a.npy")
    parts = split_by_seed(data, 0)
    assert {split: len(part) for split, part in parts.items()} == {"train": 40, "validation": 5, "test": 5}
    assert sorted(torch.cat([part.flatten() for part in parts.values()]).tolist()) == list(range(50))
    assert parts["test"].tolist() == split_by_seed(data, 0)["test"].tolist() != split_by_seed(data, 1)["test"].tolist()
    assert parts["test"].flatten().tolist() != list(range(45, 50)), "the last ones, which may be of one kind"
    assert parts["test"].split_name == "test" and parts["test"].origin["split_seed"] == 0


def test_the_fewest_examples_give_one_to_each_part() -> None:
    np.save("a.npy", np.arange(3.0))
    assert [len(part) for part in split_by_seed(read_data("a.npy"), 0).values()] == [1, 1, 1]
