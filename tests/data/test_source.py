"""The data that fit and evaluate take, in every form, and those that they refuse; exact evaluation."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import HELD_OUT, MOONS, Items, fresh, trained, weights
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import snf_lite as snf

# ---- where events come from ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dataset",
    [TensorDataset(MOONS), TensorDataset(MOONS, torch.arange(400)), Items(list(MOONS)), Items([[x, 1] for x in MOONS])],
    ids=["events", "labelled", "plain items", "lists"],
)
def test_a_dataset_trains_like_the_tensor_it_holds(dataset: Dataset[Any]) -> None:
    flow = fresh()
    history = snf.fit(flow, dataset, 3, 50, 1e-2, validation=TensorDataset(HELD_OUT))
    assert torch.equal(weights(flow), trained())
    assert history.settings["data"]["count"] == 400


@pytest.mark.parametrize("data", [MOONS[:95], TensorDataset(MOONS[:95])], ids=["tensor", "Dataset"])
def test_a_tenth_is_held_out(data: Any) -> None:
    seen: list[Tensor] = []
    flow = fresh()
    loss: Callable[[Tensor], Tensor] = flow.loss
    flow.loss = lambda x: seen.append(x) or loss(x)  # type: ignore[method-assign]
    history = snf.fit(flow, data, 1, 10)
    assert [history.settings[part]["count"] for part in ("data", "validation")] == [85, 10]
    trained_on = torch.isin(MOONS[:95, 0], torch.cat(seen)[:, 0])
    assert int(trained_on.sum()) == 85 and not bool(trained_on[:85].all()), "the end is not what is held out"
    assert snf.evaluate(flow, MOONS[:95][~trained_on]).nats == pytest.approx(history.best_nats, abs=1e-12)


def test_a_name_brings_its_own_validation_split() -> None:
    history = snf.fit(snf.build("dense-selfnorm", (2,)), "moons", 1, 5000)
    assert history.settings["validation"] == {
        "name": "moons", "split": "validation", "count": 2000, "sha256": snf.load("moons", "validation").sha256
    }  # fmt: skip


def test_double_precision_and_floats_as_pixels() -> None:
    flow = fresh().double()
    assert snf.fit(flow, MOONS.double(), 1).best_nats < 10
    images = snf.build("dense-selfnorm", (1, 8, 8), levels=17)
    assert math.isfinite(snf.fit(images, 17 * torch.rand(40, 1, 8, 8), 1).best_nats)


def test_a_part_of_a_data_set_still_knows_its_levels() -> None:
    with pytest.raises(ValueError, match="expected data of 256 levels, as the flow has, got 17"):
        snf.fit(snf.build("dense-selfnorm", (1, 8, 8), levels=256), snf.load("digits")[:100], 1)


def test_pixels_as_floats_are_refused() -> None:
    with pytest.raises(TypeError, match=r"expected pixels as torch\.uint8, got whole numbers as torch\.float32"):
        snf.fit(snf.build("dense-selfnorm", (1, 8, 8), levels=17), snf.load("digits").float(), 1)


def test_pixels_scaled_to_the_unit_interval_are_refused() -> None:
    """As other libraries hand them out; the likelihood of whole numbers in disguise would grow without bound."""
    scaled = torch.Tensor(snf.load("digits").float() / 16)
    words = r"points from 0 to 17, got torch\.float32 up to 1, as if scaled to \[0, 1\]"
    for data in (scaled, Items(list(scaled))):
        with pytest.raises(TypeError, match=words):
            snf.fit(snf.build("dense-selfnorm", (1, 8, 8), levels=17), data, 1)


def test_numpy_integers_as_settings_come_back_from_a_checkpoint(tmp_path: Path) -> None:
    settings = {"epochs": np.int64(1), "batch_size": np.int32(50)}
    history = snf.fit(fresh(), MOONS, **settings, checkpoint=tmp_path / "a.pt")
    again = snf.fit(fresh(), MOONS, **settings, checkpoint=tmp_path / "a.pt")
    assert type(history.settings["epochs"]) is int and again.validation_nats == history.validation_nats


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs to be a positive integer, got 0"),
        ({"epochs": 2.5}, r"epochs to be a positive integer, got 2\.5"),
        ({"batch_size": -1}, "batch_size to be a positive integer, got -1"),
        ({"lr": 0.0}, r"lr in \(0, inf\), got 0\.0"),
        ({"lr": math.nan}, "lr in .* got nan"),
        ({"lr": "fast"}, "lr in .* got 'fast'"),
        ({"warmup_epochs": -1}, "warmup_epochs in .* got -1"),
        ({"decay": "step"}, "decay to be 'constant' or 'cosine', got 'step'"),
        ({"clip_norm": 0}, "clip_norm in .* got 0"),
        ({"evaluate_every": 0}, "evaluate_every to be a positive integer, got 0"),
        ({"seed": "one"}, "seed to be an integer, got 'one'"),
        ({"device": "abacus"}, "a device out of cpu.*got 'abacus'"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        snf.fit(fresh(), **{"data": MOONS, "epochs": 1, **changes})


class Stream(IterableDataset[Tensor]):
    """Events without an index."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(MOONS)


class Unsized(Dataset[Tensor]):
    """A Dataset that does not know its length."""


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("mooons", ValueError, "mooons"),
        ([[0.0, 1.0]], ValueError, "your data: holding out 0.1 of the data needs at least 2 examples, got 1"),
        (None, TypeError, "got NoneType"),
        (Stream(), TypeError, "a map-style Dataset, got Stream"),
        (Unsized(), TypeError, "a length, got Unsized"),
        (MOONS[:0], ValueError, r"at least one example, got a Tensor of shape \(0, 2\)"),
        (torch.tensor(1.0), ValueError, r"at least one example, got a Tensor of shape \(\)"),
        (Items([]), ValueError, "at least one example, got a Items of length 0"),
        (MOONS[:1], ValueError, "at least 2 examples, got 1"),
        (MOONS[:, :1], ValueError, r"examples of shape \(2,\), got \(1,\)"),
        (MOONS.byte(), TypeError, r"expected torch\.float32, got torch\.uint8: build the flow with levels=256"),
        (torch.full((20, 2), math.nan), ValueError, "finite input, got 36 NaN"),
        ("digits", ValueError, r"digits train: expected examples of shape \(2,\), got \(1, 8, 8\)"),
        (Items([torch.zeros(3)] * 20), ValueError, r"examples of shape \(2,\), got \(3,\)"),
        (Items(["a", "b"]), TypeError, "item 0: expected items that are tensors.*got str"),
        (Items([torch.zeros(2)] * 19 + [torch.zeros(3)]), ValueError, r"examples of one shape.*got \(2,\), \(3,\)"),
        (Items([torch.zeros(2)] * 20, levels=17), ValueError, "data of None levels, as the flow has, got 17"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_data_that_do_not_fit_are_refused(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        snf.fit(fresh(), data, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.full((20, 1, 8, 8), 17, dtype=torch.uint8), r"pixels from 0 to 16 \(17 levels\), got 17 to 17"),
        (torch.full((20, 1, 8, 8), 17.5), r"pixels from 0 to 17 \(17 levels\), got 17\.5"),
        (Items([torch.zeros(1, 8, 8, dtype=torch.uint8)] * 9, levels=256), "data of 17 levels.*got 256"),
    ],
)
def test_pixels_of_other_levels_are_refused(data: Any, message: str) -> None:
    flow = snf.build("dense-exact", (1, 8, 8), levels=17)
    with pytest.raises(ValueError, match=message):
        snf.fit(flow, data, 1)


def test_named_data_of_other_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="digits train: expected data of 256 levels, as the flow has, got 17"):
        snf.fit(snf.build("dense-exact", (1, 8, 8), levels=256), "digits", 1)


def test_validation_data_are_checked_too() -> None:
    with pytest.raises(ValueError, match=r"digits validation: expected examples of shape \(2,\)"):
        snf.fit(fresh(), MOONS, 1, validation="digits")


# ---- exact evaluation ------------------------------------------------------------------------------------------------


@pytest.mark.equation("eq-standard-error")
def test_evaluate_is_the_exact_mean_in_float64() -> None:
    flow = fresh()
    exact = -flow.log_prob(MOONS).detach().double()
    result = snf.evaluate(flow, MOONS, batch_size=64)
    assert result.nats == pytest.approx(float(exact.mean()), abs=1e-6)
    assert result.bits_per_dim == pytest.approx(result.nats / (2 * math.log(2)))
    assert result.standard_error == pytest.approx(float(exact.std() / 20))
    assert (result.count, result.seed, result.data["count"]) == (400, 0, 400)
    assert snf.evaluate(flow, MOONS[:1]).standard_error is None


def test_evaluate_sums_in_float64() -> None:
    class Constant(snf.FlowLayer):
        def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, torch.full((len(x),), 16_777.217)

    flow = snf.Flow([Constant()], (1,))
    value = float(flow.log_prob(torch.zeros(1, 1)))
    assert snf.evaluate(flow, torch.zeros(100_000, 1), batch_size=50_000).nats == pytest.approx(-value, rel=1e-14)
    del snf.FlowLayer.registry[Constant.registered_name]


def test_evaluate_depends_on_its_seed_alone() -> None:
    flow = snf.build("dense-selfnorm", (1, 8, 8), levels=17)
    first = snf.evaluate(flow, "digits", "validation")
    torch.rand(1)
    assert snf.evaluate(flow, "digits", "validation") == first
    assert snf.evaluate(flow, "digits", "validation", seed=1).nats != first.nats
    assert str(first).endswith("(exact, 300 examples of digits validation)") and "nats" in str(first)


def test_evaluate_refuses_what_fit_refuses() -> None:
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(1, 8, 8\)"):
        snf.evaluate(fresh(), "digits")
    with pytest.raises(ValueError, match="batch_size to be a positive integer, got 0"):
        snf.evaluate(fresh(), MOONS, batch_size=0)
    with pytest.raises(ValueError, match="seed to be an integer, got None"):
        snf.evaluate(fresh(), MOONS, seed=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="out of train, validation, test"):
        snf.evaluate(fresh(), "moons", split="exam")
