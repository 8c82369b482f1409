"""Models for points and tables, and the choice of a model for data."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import snf_lite as snf
from snf_lite.models import MODELS, known_settings

#: Nats of the best single Gaussian on moons.
GAUSSIAN = 3.305
POINTS = [name for name, model in MODELS.items() if model.data == "points and tables"]


def moons(count: int = 3000, seed: int = 1) -> torch.Tensor:
    return snf.sample_density("moons", count, seed)


def test_the_models_of_the_paper_come_first() -> None:
    assert snf.model_names()[:10] == [
        "dense-selfnorm", "dense-exact", "dense-relative", "dense-lu",
        "conv-selfnorm", "conv-exact", "conv-emerging", "conv-exponential", "glow-selfnorm", "glow-exact",
    ]  # fmt: skip


@pytest.mark.parametrize("name", POINTS)
def test_a_model_of_points_fits_moons_in_seconds(name: str) -> None:
    torch.manual_seed(0)
    flow, x = snf.build(name, (2,)), moons()
    snf.fit(flow, x, epochs=15, lr=1e-2, decay="cosine", progress=False)
    # affine couplings learn more slowly than splines, and end between 2.6 and 2.9 by seed and processor
    bound = GAUSSIAN - (0.3 if name == "coupling-affine" else 0.7)
    assert snf.evaluate(flow, moons(seed=2)).nats <= bound


@pytest.mark.parametrize("name", POINTS)
def test_units_of_the_columns_change_the_density_by_their_scale_alone(name: str) -> None:
    """Columns in units a million times apart: 1e4 of one, 1e-3 of the other."""
    scale, shift = torch.tensor([1e4, 1e-3], dtype=torch.float64), torch.tensor([3e5, -2.0], dtype=torch.float64)
    x, nats = moons().double(), []
    for data in (x, x * scale + shift):
        torch.manual_seed(0)
        flow = snf.build_for(data, name)
        snf.fit(flow, data, epochs=1, lr=1e-2, progress=False)
        nats.append(snf.evaluate(flow, data).nats)
    assert nats[1] - nats[0] == pytest.approx(float(scale.log().sum()), abs=1e-5)


@pytest.mark.parametrize("name", POINTS)
def test_standardize_can_be_left_out(name: str) -> None:
    for standardize in (True, False):
        kinds = [type(layer) for layer in snf.build(name, (3,), standardize=standardize).layers]
        assert (snf.Standardize in kinds) is standardize


def test_a_constant_column_is_only_centered() -> None:
    x = torch.cat([moons(), torch.full((3000, 1), 7.0)], 1)
    layer = snf.Standardize((3,), floor=0.0)
    layer.initialise(x, whiten=False)
    assert layer.mean[2] == 7 and layer.deviation[2] == 1
    assert torch.allclose(layer(x)[0].std(0), torch.tensor([1.0, 1.0, 0.0]), atol=1e-5)


def test_pixels_keep_the_floor_of_a_thousandth() -> None:
    layer = snf.Standardize((2,))
    layer.initialise(torch.tensor([[0.0, 0.0], [2e4, 2.0]]), whiten=False)
    assert layer.deviation[1] == pytest.approx(1e-3 * float(layer.deviation[0]))


@pytest.mark.parametrize("name", POINTS)
def test_a_model_of_points_takes_a_context(name: str) -> None:
    """Two clusters, known by the context: with it their separation costs nothing."""
    label = torch.arange(400) % 2
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) + 8.0 * label[:, None]
    context = torch.nn.functional.one_hot(label, 2).float()
    torch.manual_seed(0)
    flow = snf.build(name, (2,), context_features=2)
    snf.fit(flow, x, epochs=20, lr=1e-2, context=context, progress=False)
    right, wrong = flow.log_prob(x, context).mean(), flow.log_prob(x, 1 - context).mean()
    assert right > wrong + 2


@pytest.mark.parametrize(
    ("mixing", "kind"), [("selfnorm", snf.SelfNormLinear), ("exact", snf.ExactLinear), (None, None)]
)
def test_couplings_are_mixed_by_dense_layers_of_a_kind(mixing: str | None, kind: type | None) -> None:
    layers = snf.build("coupling-spline", (4,), mixing=mixing, depth=6).layers
    couplings = [layer for layer in layers if type(layer) is snf.SplineVectorCoupling]
    assert [layer.flip for layer in couplings] == [False, True] * 3
    assert sum(type(layer) in (snf.SelfNormLinear, snf.ExactLinear) for layer in layers) == 2 * (kind is not None)
    assert all(type(layer) is kind for layer in layers if layer not in couplings and type(layer) is not snf.Standardize)


def test_another_mixing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected mixing to be 'selfnorm', 'exact' or None, got 'lu'"):
        snf.build("coupling-spline", (4,), mixing="lu")


# ---- the choice ------------------------------------------------------------------------------------------------------


def kinds(flow: snf.Flow) -> set[str]:
    return {type(layer).__name__ for layer, _ in flow.iter_layers(flow.event_shape)}


@pytest.mark.parametrize(
    ("data", "wanted", "shape", "levels"),
    [
        (torch.randn(40, 7), "ExactLinear", (7,), None),
        (torch.randn(40, 1), "ExactLinear", (1,), None),
        (torch.randn(699, 7), "ExactLinear", (7,), None),
        (torch.randn(700, 7), "SplineVectorCoupling", (7,), None),
        ("moons", "SplineVectorCoupling", (2,), None),
        ("digits", "SelfNormConv2d", (1, 8, 8), 17),
        (torch.randint(0, 256, (9, 3, 12, 20), dtype=torch.uint8), "SelfNormConv2d", (3, 12, 20), 256),
        (torch.randint(0, 256, (9, 1, 10, 14), dtype=torch.uint8), "SelfNormConv2d", (1, 10, 14), 256),
        (torch.randint(0, 256, (9, 1, 5, 7), dtype=torch.uint8), "SelfNormLinear", (1, 5, 7), 256),
    ],
)  # fmt: skip
def test_the_model_chosen_takes_the_data(
    data: str | torch.Tensor, wanted: str, shape: tuple[int, ...], levels: int | None
) -> None:
    flow = snf.build_for(data)
    assert (flow.event_shape, flow.levels) == (shape, levels)
    assert wanted in kinds(flow)
    x = snf.load(data)[:9] if isinstance(data, str) else data
    assert flow.log_prob(x).shape == (len(x),)


@pytest.mark.parametrize("make", [np.asarray, np.ndarray.tolist, torch.from_numpy])
def test_arrays_and_lists_get_a_flow_that_fits_them(make: Callable[[np.ndarray], Any]) -> None:
    data = make(moons(200).double().numpy())
    flow = snf.build_for(data)
    snf.fit(flow, data, epochs=1, progress=False)
    assert flow.event_shape == (2,) and snf.evaluate(flow, data).count == 200


def test_name_levels_settings_and_dtype_are_passed_on() -> None:
    x = torch.randn(40, 3, dtype=torch.float64)
    flow = snf.build_for(x, "spline-selfnorm", depth=2, bins=4, recon_weight=3.0)
    assert flow.dtype == torch.float64 and sum(type(layer) is snf.SelfNormLinear for layer in flow.layers) == 3
    pixels = torch.randint(0, 17, (9, 1, 8, 8), dtype=torch.uint8)
    assert snf.build_for(pixels, levels=17).levels == 17
    assert snf.build_for(x.half()).dtype == torch.float32
    assert snf.build_for(x[:, 0]).event_shape == (1,), "numbers are examples of one feature"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.rand(9, 1, 8, 8), r"rows \(N, D\).*uint8.*got .*\(1, 8, 8\).*Give name=, one of dense-selfnorm"),
        (torch.randn(9, 4, 5), r"shape \(4, 5\)"),
        (torch.zeros(9, 8, 8, dtype=torch.uint8), r"shape \(8, 8\): data\[:, None\] makes images of one channel"),
        (torch.zeros(9, 8, 8, 3, dtype=torch.uint8), r"\(8, 8, 3\): data\.transpose\(0, 3, 1, 2\).*the channels first"),
    ],
)
def test_data_without_a_model_are_refused(data: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        snf.build_for(data)


def test_every_model_says_which_data_it_takes_and_lists_its_settings() -> None:
    for name, model in MODELS.items():
        assert model.data and model.description
        assert known_settings(name)
    assert known_settings("spline-selfnorm")["standardize"] is True
