"""What a new user tries first: each wrong first try ends with a message that says what to type."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

import snf_lite as snf
from snf_lite.runtime import checks

RING = np.random.default_rng(0).normal([10.0, 5.0], size=(60, 2))
LABELS = np.arange(60) % 3


class Frame:
    """The part of a pandas frame that is read: columns by name."""

    def __init__(self, **columns: Any) -> None:
        self.given = {name: np.asarray(values) for name, values in columns.items()}
        self.columns = list(columns)

    def items(self) -> Any:
        return self.given.items()

    def to_numpy(self) -> Any:
        raise AssertionError

    def __len__(self) -> int:
        return 60


class Doubled(snf.FlowLayer):
    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * x, x.new_full((len(x),), 1.3863)


class Unmade(snf.FlowLayer):
    def __init__(self) -> None:  # without super().__init__()
        self.scale = 2.0


def flow(**settings: Any) -> snf.Flow:
    return snf.build("spline-exact", (2,), depth=1, **settings)


def pixels(*shape: int) -> Any:
    return np.random.default_rng(1).integers(1, 256, (5, *shape), dtype=np.uint8)


def with_nan() -> Any:
    values = RING.copy()
    values[7, 1] = np.nan
    return values


TRIES: dict[str, tuple[Callable[[], Any], str]] = {
    "an integer as event shape": (lambda: snf.build("spline-exact", 2), "got 2: type (2,)"),
    "a model misspelled": (lambda: snf.build("spline-exat", (2,)), "Did you mean spline-exact?"),
    "the first half of a model's name": (lambda: snf.build("spline", (2,)), "Did you mean spline-selfnorm?"),
    "a setting misspelled": (lambda: flow(bin=3), "context_features. Did you mean bins?"),
    "a data set misspelled": (lambda: snf.fit(flow(), "mons", 1), "got 'mons'. Did you mean moons?"),
    "data and labels": (lambda: snf.fit(flow(), RING, LABELS, 3), "epochs to be a positive integer, got ndarray"),
    "one layer without a list": (lambda: snf.Flow(Doubled(), (2,)), "layers to be a list, got Doubled: type [layer]"),
    "a class for a layer": (
        lambda: snf.Flow([Doubled], (2,)),
        "layers[0] to be a FlowLayer, got the class Doubled: type Doubled(...)",
    ),
    "a number for a layer": (lambda: snf.Flow([Doubled(), 3], (2,)), "layers[1] to be a FlowLayer, got int"),
    "a layer without super().__init__()": (
        lambda: snf.Flow([Unmade()], (2,)),
        "layers[0] Unmade: its __init__ has to begin with super().__init__()",
    ),
    "a layer without invert": (
        lambda: snf.Flow([Doubled()], (2,)).sample(2),
        "Doubled has no invert: define invert(self, z, exact) -> x",
    ),
    "an averaged model to evaluate": (
        lambda: snf.evaluate(AveragedModel(flow()), RING),
        "got AveragedModel: give its .module",
    ),
    "an averaged model to save": (
        lambda: snf.save(AveragedModel(flow()), "a.pt"),
        "got a AveragedModel: give its .module",
    ),
    "numbers that are none": (
        lambda: snf.fit(flow(), with_nan(), 1),
        "in row 7, column 1: data[np.isfinite(data).all(1)] leaves such rows out",
    ),
    "a column that misses numbers": (
        lambda: snf.fit(flow(), Frame(a=with_nan()[:, 1], b=LABELS), 1),
        "in row 7, column a: data.dropna() leaves",
    ),
    "a column of words": (
        lambda: snf.build_for(Frame(a=RING[:, 0], b=["x", "y"] * 30)),
        "it can condition the flow, context=pd.get_dummies(data[['b']], dtype=float)",
    ),
    "a column of booleans": (
        lambda: snf.build_for(Frame(a=RING[:, 0], b=LABELS > 1)),
        "it can condition the flow, context=data[['b']].astype(float)",
    ),
    "a context for a flow without": (
        lambda: snf.fit(flow(), RING, 1, context=RING),
        "build the flow with context_features=2",
    ),
    "labels for a context": (
        lambda: snf.fit(flow(context_features=3), RING, 1, context=LABELS),
        "for labels from 0 to 2 torch.nn.functional.one_hot(labels, 3)",
    ),
    "an array for a context": (
        lambda: flow(context_features=3).sample(2, context=np.eye(3)[0]),
        "type torch.as_tensor(x, dtype=torch.float32)",
    ),
    "the mean of a flow": (lambda: flow().distribution().mean, "estimate it by d.sample((10_000,)).mean(0)"),
    "the deviation of a flow": (lambda: flow().distribution().stddev, "estimate it by d.sample((10_000,)).var(0)"),
    "images without channels": (lambda: snf.build_for(pixels(8, 8)), "data[:, None] makes images of one channel"),
    "images with channels last": (lambda: snf.build_for(pixels(8, 8, 3)), "data.transpose(0, 3, 1, 2)"),
    "scaled images": (lambda: snf.build_for(pixels(1, 8, 8) / 255), "(data * 255).round() as uint8"),
    "videos": (lambda: snf.build_for(pixels(16, 3, 8, 8)), "data.reshape(len(data), -1) makes rows of them"),
    "channels last for a flow": (
        lambda: snf.fit(snf.build("dense-exact", (3, 4, 6), 256), pixels(4, 6, 3), 1),
        "got (4, 6, 3), channels last: data.transpose(0, 3, 1, 2)",
    ),
    "scaled images for a flow": (
        lambda: snf.fit(snf.build("dense-exact", (1, 4, 6), 256), pixels(1, 4, 6) / 255, 1),
        "as if scaled to [0, 1]: (data * 255).round() as uint8",
    ),
    "points for a model of images": (
        lambda: snf.build("conv-exact", (2,)),
        "for points build a dense, spline or coupling model",
    ),
}


@pytest.mark.parametrize("name", TRIES)
def test_a_wrong_first_try_says_what_to_type(name: str) -> None:
    attempt, words = TRIES[name]
    with pytest.raises((TypeError, ValueError, NotImplementedError), match=re.escape(words)):
        attempt()


# ---- folders of images -----------------------------------------------------------------------------------------------


def test_the_path_of_data_is_no_data(tmp_path: Path) -> None:
    np.save(tmp_path / "points.npy", RING)
    with pytest.raises(ValueError, match=r"Give the numbers in the file: np\.load\(\.\.\.\)"):
        snf.fit(flow(), str(tmp_path / "points.npy"), 1)
    with pytest.raises(ValueError, match=r"Give the images of the folder: snf\.read_folder\(\.\.\.\)"):
        snf.fit(flow(), str(tmp_path), 1)


def test_colors_of_a_folder_are_kept(tmp_path: Path) -> None:
    for index, mode in enumerate(("L", "L", "RGB")):
        Image.new(mode, (4, 2)).save(tmp_path / f"{index}.png")
    assert snf.read_folder(tmp_path)[0].shape == (3, 3, 2, 4), "also where the first image is gray"
    assert snf.read_folder(tmp_path, channels=1)[0].shape == (3, 1, 2, 4)
    (tmp_path / "2.png").unlink()
    assert snf.read_folder(tmp_path)[0].shape == (2, 1, 2, 4)


def test_images_of_other_endings_are_named(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    for index in range(2):
        Image.new("L", (4, 2)).save(tmp_path / "cats" / f"{index}.jpg")
    with pytest.raises(snf.DataError, match=r"end with \.png, got none, and 2 \.jpg: ending=\('\.jpg',\) reads these"):
        snf.read_folder(tmp_path)
    Image.new("L", (4, 2)).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match=r"leaves out 2 \.jpg: ending=\('\.png', '\.jpg'\) reads all"):
        snf.read_folder(tmp_path)
    assert len(snf.read_folder(tmp_path, ending=(".png", ".jpg"))[1]) == 3
    with pytest.raises(snf.DataError, match="a folder of images, got a file"):
        snf.read_folder(tmp_path / "a.png")


def test_images_with_their_names_are_not_the_images(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for take in (snf.build_for, lambda data: snf.fit(flow(), data, 1), lambda data: snf.evaluate(flow(), data)):
        with pytest.raises(TypeError, match=r"images, names = read_folder\(\.\.\.\)"):
            take(snf.read_folder(tmp_path))


# ---- warnings and what is printed ------------------------------------------------------------------------------------


def test_a_warning_points_at_the_line_of_the_user(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for epochs in (1, 2):
            trained = flow()
            snf.fit(trained, RING, epochs, decay="cosine", checkpoint=tmp_path / "run.pt", progress=False)
        snf.fit(snf.build("dense-exact", (2,)), 1000 * RING, 1, progress=False)
        snf.fit(trained, torch.utils.data.DataLoader(RING, batch_size=7), 1, progress=False)  # type: ignore[arg-type]
        checks.warn("here")
    assert [Path(warning.filename).name for warning in caught] == [Path(__file__).name] * 4
    assert "decay_epochs=2 stretches it (--decay-epochs 2)" in str(caught[0].message)


def test_a_checkpoint_of_another_model_names_the_first_differences(tmp_path: Path) -> None:
    snf.fit(snf.build("spline-exact", (2,)), RING, 1, checkpoint=tmp_path / "run.pt", progress=False)
    with pytest.raises(snf.CheckpointError, match=r"layers\[1\] is .*layers\[3\] is .*; and \d more\. resume=False"):
        snf.fit(snf.build("spline-selfnorm", (2,)), RING, 1, checkpoint=tmp_path / "run.pt", progress=False)


def test_an_evaluation_is_shown_as_a_sentence() -> None:
    result = snf.evaluate(flow(), RING)
    assert repr(result) == f"Evaluation({result})" and str(result).endswith("(exact, 60 examples of your data)")
    assert result._repr_html_() == f"<code>{result}</code>"


def test_a_distribution_is_shown_with_its_shapes() -> None:
    assert repr(flow().distribution()) == "FlowDistribution(batch_shape=(), event_shape=(2,))"


def test_a_call_that_has_nothing_to_train_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    for epochs, words in ((2, ""), (2, "holds 2 epochs; more epochs extend the run"), (3, "going on from epoch 2")):
        snf.fit(flow(), RING, epochs, checkpoint=tmp_path / "run.pt")
        said = capfd.readouterr().err
        assert words in said and (words or not said)
