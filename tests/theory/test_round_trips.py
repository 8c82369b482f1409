"""The judge of round trips: strict where a layer is well-conditioned, and nowhere blind."""

import pytest
import torch
from layer_table import CASES
from round_trips import require_round_trip
from torch import Tensor

from snf_lite import FlowLayer

X = torch.tensor([[0.3, -0.8]], dtype=torch.float64)


class Stretch(FlowLayer):
    """z = x * slopes: nothing but its conditioning."""

    def __init__(self, *slopes: float) -> None:
        super().__init__()
        self.slopes = torch.tensor(slopes, dtype=torch.float64)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * self.slopes, self.slopes.abs().log().sum().expand(len(x))


def moved(*by: float) -> Tensor:
    return X + torch.tensor(by, dtype=torch.float64)


def test_takes_an_error_of_x_that_no_digit_of_z_shows() -> None:
    require_round_trip(Stretch(1.0, 1.0), X, moved(0.0, 5e-11))
    require_round_trip(Stretch(1.0, 1e-8), X, moved(0.0, 5e-7))


@pytest.mark.parametrize(
    ("slopes", "by", "said"),
    [
        ((1.0, 1.0), (0.0, 2e-10), "^differs by 2.00e-10"),
        ((1.0, 1e-8), (5e-7, 0.0), "^differs by 5.00e-07"),  # flat in the other direction alone
        ((1.0, 1e-3), (0.0, 5e-8), "^x differs by 5.00e-08"),  # z agrees, and yet 1e-8 can be had
        ((1.0, 1e-8), (0.0, 5e-6), "^x differs by 5.00e-06"),
    ],
)
def test_refuses_what_rounding_does_not_explain(slopes: tuple[float, ...], by: tuple[float, ...], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        require_round_trip(Stretch(*slopes), X, moved(*by))


def test_the_flattest_layer_of_the_table_round_trips_at_forty_seeds() -> None:
    """On the flat between two logistics a slope of 2e-8 lets one rounding of z move x by more than 1e-8."""
    case, beyond = CASES["MixtureCoupling"], 0
    for seed in range(40):
        layer, x = case.layer(seed=seed), case.events(seed=seed + 1)
        with torch.no_grad():
            back = layer.inverse(layer(x)[0])
        require_round_trip(layer, x, back)
        beyond += float((back - x).abs().max()) > 1e-8
    assert beyond, "no draw is flat enough to need the judge"
