"""Own data of every kind that users have: taken as the tensor of the same numbers, or refused with what to type."""

import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import HELD_OUT, MOONS, Items, fresh, weights
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import snf_lite as snf
from snf_lite.analysis.outliers import nats_per_example

POINTS = MOONS[:100]
ARRAY = POINTS.numpy()


class Column:
    """A column of a frame, as pandas and polars have them."""

    def __init__(self, name: str, values: Any) -> None:
        self.name, self.values = name, np.asarray(values)
        self.dtype = self.values.dtype

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.values


class Frame:
    """What of a data frame is used, where pandas is not installed."""

    def __init__(self, **columns: Any) -> None:
        self.columns = list(columns)
        self.held = {name: Column(name, values) for name, values in columns.items()}

    def items(self) -> Iterator[tuple[str, Column]]:
        return iter(self.held.items())

    def to_numpy(self) -> Any:
        return np.stack([column.values for column in self.held.values()], 1)

    def __len__(self) -> int:
        return len(next(iter(self.held.values())).values)


class MapStyle:
    """A length and items, and no class of torch above it, as Hugging Face's data sets."""

    def __init__(self, items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def read_only(values: Any) -> Any:
    values = values.copy()
    values.flags.writeable = False
    return values


def trained_on(data: Any, **changes: Any) -> Tensor:
    flow = fresh()
    snf.fit(flow, data, 2, 50, 1e-2, validation=HELD_OUT, progress=False, **changes)
    return weights(flow)


@pytest.mark.parametrize(
    "data",
    [
        ARRAY, ARRAY.astype(np.float64), ARRAY.astype(">f4"), ARRAY.astype(np.longdouble), np.asfortranarray(ARRAY),
        ARRAY[::-1][::-1], ARRAY[:, ::-1][:, ::-1], read_only(ARRAY), np.ma.masked_array(ARRAY),
        POINTS.double(), POINTS.T.contiguous().T, POINTS.clone().requires_grad_(), torch.nn.Parameter(POINTS),
        ARRAY.tolist(), list(POINTS), list(ARRAY), [tuple(row) for row in ARRAY.tolist()], [(x, 1) for x in POINTS],
        Frame(a=ARRAY[:, 0], b=ARRAY[:, 1].astype(np.float64)), MapStyle(POINTS), MapStyle(ARRAY),
        MapStyle([{"x": x, "label": 3} for x in POINTS]), MapStyle([{"x": x.tolist(), "y": 1.0} for x in POINTS]),
        DataLoader(TensorDataset(POINTS), batch_size=50, shuffle=True),
    ],
    ids=lambda data: type(data).__name__,
)  # fmt: skip
def test_data_train_like_the_tensor_of_the_same_numbers(data: Any) -> None:
    assert torch.equal(trained_on(data), trained_on(POINTS))
    flow = fresh()
    assert snf.evaluate(flow, data).nats == pytest.approx(snf.evaluate(flow, POINTS).nats, rel=1e-12)


def test_frames_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ARRAY, columns=["a", "b"])
    for data in (frame, frame.astype("Float64"), frame[::-1][::-1]):
        assert torch.equal(trained_on(data), trained_on(POINTS))


def test_validation_data_have_the_columns_of_the_training_data() -> None:
    training, swapped = Frame(a=ARRAY[:, 0], b=ARRAY[:, 1]), Frame(b=ARRAY[:, 1], a=ARRAY[:, 0])
    assert snf.fit(fresh(), training, 1, validation=training, progress=False).epochs == [0, 1]
    with pytest.raises(ValueError, match="your validation data: expected the columns a, b, in this order, got b, a"):
        snf.fit(fresh(), training, 1, validation=swapped, progress=False)


def test_a_single_column_is_a_flow_of_one_number() -> None:
    nats = {snf.evaluate(snf.Flow([snf.SmoothLeakyReLU()], (1,)), data).nats
            for data in (ARRAY[:, 0], ARRAY[:, :1], ARRAY[:, 0].tolist(), Column("a", ARRAY[:, 0]))}  # fmt: skip
    assert len(nats) == 1


def test_whole_numbers_of_a_table_become_floats() -> None:
    flow = snf.Flow([snf.SmoothLeakyReLU()], (2,))
    table = (10 * ARRAY).astype(np.int32)
    assert snf.evaluate(flow, table).nats == pytest.approx(snf.evaluate(flow, torch.tensor(table).float()).nats)


def test_images_of_pillow_are_pixels() -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (20, 8, 8)).astype(np.uint8)
    flow = snf.build("dense-exact", (1, 8, 8), levels=256)
    expected = snf.evaluate(flow, pixels[:, None]).nats
    images = [Image.fromarray(one) for one in pixels]
    assert snf.evaluate(flow, images).nats == expected
    assert snf.evaluate(flow, MapStyle([{"image": image, "label": 1} for image in images])).nats == expected


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(POINTS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((x for x in POINTS), r"got generator, which has no index: list\(data\)"),
        (DataLoader(Stream()), r"got Stream, which has no index: list\(data\)"),
        ({"x": POINTS}, r"got a dict of 'x': give one entry, data\[name\]"),
        (POINTS.to_sparse(), r"sparse tensor: data\.to_dense\(\)"),
        (np.array([["a", "b"]] * 9), "expected numbers, got an array of <U1"),
        (ARRAY.astype(object), "expected numbers, got an array of object"),
        (ARRAY.astype(complex), "expected numbers, got an array of complex128"),
        (ARRAY > 0, r"expected torch\.float32, got torch\.bool"),
        ((10 * ARRAY).astype(np.uint8), r"got torch\.uint8: build the flow with levels=256"),
        (np.rec.fromarrays(ARRAY.T, names="a,b"), "records with the fields a, b"),
        (np.ma.masked_greater(ARRAY, 1), r"masked values: data\.filled"),
        (Frame(a=ARRAY[:, 0], b=["x"] * 100), r"column 'b' of <U1: data\.drop\(columns=\['b'\]\)"),
        (Frame(a=ARRAY[:, 0], b=ARRAY[:, 1] > 0), "column 'b' of bool"),
        ((POINTS, POINTS[:, 0]), r"a tuple of \(100, 2\), \(100,\): give data\[0\]"),
        ([[1.0, 2.0], [1.0]], "rows of several lengths"),
        (MapStyle([{"x": POINTS[0], "y": POINTS[0]}] * 9), r"got 2 in 'x', 'y': pick one, as in \[item\['x'\]"),
        (MapStyle([{"text": "a"}] * 9), "one entry that is a tensor or an array, got 0 in 'text'"),
        (DataLoader(TensorDataset(POINTS), collate_fn=list), "one with a collate_fn: give a Dataset"),
        (DataLoader(TensorDataset(POINTS), sampler=WeightedRandomSampler([1.0] * 100, 9)), "or weights="),
        (
            DataLoader(
                TensorDataset(POINTS), batch_sampler=BatchSampler(WeightedRandomSampler([1.0] * 100, 9), 3, False)
            ),
            "got a WeightedRandomSampler",
        ),
        (DataLoader(TensorDataset(POINTS), batch_sampler=[[0, 1], [2]]), "got a list: give a Subset"),
        (DataLoader(TensorDataset(POINTS), sampler=RandomSampler(POINTS, num_samples=30)), "got a RandomSampler"),
        (Path("points.npy"), "got (Posix|Windows)Path"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_taken_is_refused_with_what_to_type(data: Any, message: str) -> None:
    for use in (lambda: snf.fit(fresh(), data, 1), lambda: snf.evaluate(fresh(), data)):
        with pytest.raises(TypeError, match=message):
            use()


def test_integers_do_not_pass_for_pixels() -> None:
    flow = snf.build("dense-exact", (1, 8, 8), levels=17)
    with pytest.raises(TypeError, match=r"got torch\.int64: data\.to\(torch\.uint8\) if these are pixels"):
        snf.evaluate(flow, snf.load("digits").long())


def test_nan_is_named_by_row_and_column() -> None:
    """The row is that of the user's data, whatever is held out."""
    table = Frame(height=ARRAY[:, 0].copy(), age=ARRAY[:, 1].copy())
    table.held["age"].values[17] = np.nan
    for use in (lambda: snf.fit(fresh(), table, 1), lambda: snf.evaluate(fresh(), table)):
        with pytest.raises(ValueError, match=r"1 NaN or infinite of .* numbers, the first in row 17, column age"):
            use()


def test_another_batch_size_than_the_loaders_is_said() -> None:
    with pytest.warns(UserWarning, match="with batch_size=100, not with the DataLoader's 32"):
        snf.fit(fresh(), DataLoader(TensorDataset(POINTS), batch_size=32), 1)
    own = BatchSampler(RandomSampler(POINTS), 25, drop_last=False)
    with pytest.warns(UserWarning, match="not with the DataLoader's 25"):
        snf.fit(fresh(), DataLoader(TensorDataset(POINTS), batch_sampler=own), 1)


@pytest.mark.filterwarnings("error")
def test_a_loader_without_batches_has_no_batch_size_to_speak_of() -> None:
    snf.fit(fresh(), DataLoader(TensorDataset(POINTS), batch_size=None), 1)


def test_nothing_flows_to_what_computed_the_data() -> None:
    encoder = torch.nn.Linear(2, 2)

    class Latents(Items):
        def __getitem__(self, index: int) -> Tensor:
            latent: Tensor = encoder(self.items[index])
            return latent

    leaf = POINTS.clone().requires_grad_()
    for data in (encoder(POINTS), Latents(list(POINTS)), leaf):
        snf.fit(fresh(), data, 1)
    assert encoder.weight.grad is None and leaf.grad is None


def test_own_data_are_called_so_and_no_split() -> None:
    result = snf.evaluate(fresh(), POINTS)
    assert (result.data["name"], result.data["split"]) == ("your data", "all")
    assert str(result).endswith("nats (exact, 100 examples of your data)") and "bits" not in str(result)
    assert "bits/dim" in str(snf.evaluate(snf.build("dense-exact", (1, 8, 8), levels=17), "digits"))


# ---- what is held out ------------------------------------------------------------------------------------------------


def test_the_held_out_part_is_drawn_by_seed_from_everywhere() -> None:
    """Classes one after the other: report 14 got the untrained flow back, for the end is another class."""
    torch.manual_seed(0)
    left, right = torch.randn(900, 2) - torch.tensor([4.0, 0]), torch.randn(100, 2) + torch.tensor([4.0, 0])
    flow = fresh("dense-exact", depth=4)
    history = snf.fit(flow, torch.cat([left, right]), 30, lr=1e-2)
    assert history.best_epoch > 20 and snf.evaluate(flow, torch.cat([left, right])).nats < 5.0


def test_a_fraction_is_held_out_and_kept_in_the_settings() -> None:
    first, again, other = (snf.fit(fresh(), MOONS, 1, validation=0.2, seed=seed).settings for seed in (0, 0, 1))
    assert (first["data"]["count"], first["validation"]["count"]) == (320, 80)
    assert first["validation"]["split"] == "0.2 held out by seed 0"
    assert first["validation"]["sha256"] == again["validation"]["sha256"] != other["validation"]["sha256"]
    for fraction, message in ((0.0, r"in \(0, 1\), got 0\.0"), (1, "got 1"), (0.9999, "none to train on")):
        with pytest.raises(ValueError, match=message):
            snf.fit(fresh(), MOONS, 1, validation=fraction)


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_weighted_examples_count_as_often_as_they_are_repeated() -> None:
    counts = 5 * (POINTS[:, 0] > 0).long() + torch.arange(100) % 2
    flow = fresh()
    weighted, repeated = (
        snf.evaluate(flow, POINTS, weights=counts),
        snf.evaluate(flow, POINTS.repeat_interleave(counts, 0)),
    )
    assert weighted.nats == pytest.approx(repeated.nats, rel=1e-6)
    ends = []
    for data, given in ((POINTS, counts), (POINTS.repeat_interleave(counts, 0), None), (POINTS, None)):
        flow = fresh("dense-exact")
        snf.fit(flow, data, 3, 1000, 1e-2, validation=HELD_OUT, weights=given)
        ends.append(weights(flow))
    assert torch.allclose(ends[0], ends[1], atol=1e-4) and not torch.allclose(ends[0], ends[2], atol=1e-3)


def test_weights_are_split_with_their_examples() -> None:
    only = (POINTS[:, 0] > 0).double()  # the others, of weight 0, must not be seen
    flow = fresh()
    snf.fit(flow, Items(list(POINTS)), 1, weights=only)
    seen: list[Tensor] = []
    loss = flow.loss
    flow.loss = lambda x, **given: seen.append(x) or loss(x, **given)  # type: ignore[method-assign]
    history = snf.fit(flow, POINTS, 1, weights=only)
    assert bool((torch.cat(seen)[:, 0] > 0).all())
    assert history.settings["data"]["count"] + history.settings["validation"]["count"] == int(only.sum())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.ones(3), r"weights with an entry for each of 100 examples, got shape \(3,\)"),
        (np.full(100, -1.0), "none negative"),
        (np.zeros(100), "not all zero"),
        (np.full(100, np.nan), "weights: expected finite"),
        (np.ones((100, 1)), r"weights of shape \(100,\)"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(given: Any, message: str) -> None:
    for use in (snf.evaluate, lambda flow, data, weights: snf.fit(flow, data, 1, weights=weights)):
        with pytest.raises(ValueError, match=message):
            use(fresh(), POINTS, weights=given)


def conditioned() -> snf.Flow:
    torch.manual_seed(0)
    layers = [snf.ExactLinear(2, context_features=1), snf.SmoothLeakyReLU(), snf.ExactLinear(2)]
    return snf.Flow(layers, (2,))


def test_a_context_is_split_with_its_examples() -> None:
    """The flow learns where the points of each context lie only if the two stay together."""
    torch.manual_seed(0)
    kind = torch.arange(1000) % 2
    data = 0.3 * torch.randn(1000, 2) + torch.stack([4.0 * kind - 2, 2 - 4.0 * kind], 1)
    for given in (kind, kind[:, None].numpy(), kind.double().tolist()):
        flow = conditioned()
        snf.fit(flow, data.numpy(), 20, context=given, lr=2e-2)
        right, wrong = snf.evaluate(flow, data, context=given).nats, snf.evaluate(flow, data, context=1 - kind).nats
        assert right < 1.0 < wrong - 5
    assert float(nats_per_example(flow, data, context=kind).mean()) == pytest.approx(right)
    flow = conditioned()
    snf.fit(flow, Items(list(data)), 1, validation=(data, kind, kind), context=kind, weights=kind + 1)
    with pytest.raises(ValueError, match=r"expected validation=\(data, context, weights\).*got the data alone"):
        snf.fit(flow, data, 1, context=kind, validation=data)
    with pytest.raises(ValueError, match="the flow takes a context of 1 numbers for each example, got no context"):
        snf.fit(flow, data, 1)


def test_a_context_that_the_flow_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match="the flow takes no context, got a context of 3 numbers"):
        snf.fit(fresh(), POINTS, 1, context=np.ones((100, 3)))


# ---- data sets of the package on disk --------------------------------------------------------------------------------


def test_a_named_set_comes_back_from_torch_load(tmp_path: Path) -> None:
    digits = snf.load("digits")
    torch.save({"whole": digits, "part": digits[:10]}, tmp_path / "data.pt")
    back = torch.load(tmp_path / "data.pt")
    assert (
        type(back["whole"]) is Tensor and torch.equal(back["whole"], digits) and torch.equal(back["part"], digits[:10])
    )
    copied = pickle.loads(pickle.dumps(digits[:10]))
    assert (copied.levels, copied.name) == (17, "digits")


def test_a_slice_of_points_is_compiled() -> None:
    flow = snf.build("dense-exact", (2,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = torch.compile(flow.loss, backend="aot_eager")(snf.load("moons")[:200])
    assert torch.allclose(value, flow.loss(snf.load("moons")[:200]))
