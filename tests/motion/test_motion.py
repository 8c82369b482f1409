"""A flow in motion: the figure holds every position, says what it shows, and refuses what does not fit together."""

import base64
import json

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup, Tag
from snf_book.motion import LARGEST, Motion, Stage, motion, positions, square_grid

import snf_lite as snf

TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
POINTS = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.5]])


def stage(steps: int = 2, **changes: object) -> Stage:
    layers = [snf.ExactLinear(2), snf.SmoothLeakyReLU()]
    layers[0].weight.data = TURN.clone()
    grid = square_grid(4, 3.0)
    moved = positions(layers, POINTS), positions(layers, grid.reshape(-1, 2)).reshape(-1, 4, 4, 2)
    options = {
        "points": torch.stack([moved[0] + step for step in range(steps)]),
        "grid": torch.stack([moved[1] + step for step in range(steps)]),
        "groups": torch.tensor([0, 1, 1]),
        "layers": ["data", "after the first", "latents"],
        "steps": [str(step) for step in range(steps)],
    }
    return Stage(**{**options, **changes})  # type: ignore[arg-type]


def shown() -> Motion:
    return motion(stage(), name="turn", alt="Three points that turn.", caption="They *turn*.")


def parsed() -> Tag:
    figure = BeautifulSoup(shown()._repr_mimebundle_()["text/html"], "html.parser").figure
    assert isinstance(figure, Tag)
    return figure


def test_positions_are_those_after_each_layer() -> None:
    flow = [snf.ExactLinear(2), snf.SmoothLeakyReLU()]
    flow[0].weight.data = TURN.clone()
    passed = positions(flow, POINTS)
    assert torch.equal(passed[0], POINTS) and passed.shape == (3, 3, 2)
    assert torch.allclose(passed[1], POINTS @ TURN.T) and torch.allclose(passed[2], flow[1](passed[1])[0])


def test_a_grid_has_its_rows_along_the_first_coordinate() -> None:
    grid = square_grid(3, 2.0)
    assert grid[0, :, 0].tolist() == [-2.0, 0.0, 2.0] and grid[:, 0, 1].tolist() == [-2.0, 0.0, 2.0]


def test_the_figure_holds_every_position() -> None:
    canvas, expected = parsed().canvas, stage()
    words = json.loads(str(canvas["data-stage"]))
    kind, _, data = str(canvas["data-positions"]).partition("base64,")
    assert kind == "data:application/x-positions;"  # what the comparison of notebooks leaves out
    numbers = np.frombuffer(base64.b64decode(data), "<i2").reshape(2, 3, 3 + 16, 2) / words["scale"]
    assert np.abs(numbers[:, :, :3] - expected.points.numpy()).max() < 1 / words["scale"]
    assert np.abs(numbers[:, :, 3:].reshape(2, 3, 4, 4, 2) - expected.grid.numpy()).max() < 1 / words["scale"]
    assert (words["layers"], words["steps"], words["side"]) == (expected.layers, expected.steps, 4)
    assert words["groups"][0] != words["groups"][1] == words["groups"][2]


def test_what_is_far_out_is_stored_at_the_edge() -> None:
    far = stage(points=1e9 * torch.ones(2, 3, 3, 2)).stored(100.0)
    assert np.frombuffer(base64.b64decode(far), "<i2").max() == LARGEST


def test_without_scripts_it_is_a_still_with_words() -> None:
    figure = parsed()
    assert figure["id"] == "explore-turn" and {"snf-figure", "snf-motion"} <= set(figure["class"])
    assert len(figure.select(".snf-frame img")) == 3 and figure.img["alt"] == "Three points that turn."
    assert "display:none" in str(figure.canvas["style"]) and not figure.select("input, button")
    assert figure.figcaption.decode_contents() == "They <em>turn</em>."
    assert figure.canvas["aria-label"] == "Three points that turn." and figure.canvas["role"] == "img"


def test_it_needs_nothing_from_outside_and_repeats() -> None:
    html = shown().html()
    assert html == shown().html()
    assert not [word for word in ("http://", "https://", "fetch(", "import(", ' src="/') if word in html]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": torch.zeros(2, 3, 4, 5, 2)}, r"expected a grid of shape \(2, 3, G, G, 2\), got \(2, 3, 4, 5, 2\)"),
        ({"layers": ["data", "latents"]}, "expected 3, 3 and 2, got 3 groups, 2 layers and 2 steps"),
        ({"groups": torch.zeros(2)}, "got 2 groups"),
    ],
)
def test_refuses_what_does_not_fit_together(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stage(**changes)


def test_refuses_a_figure_without_caption() -> None:
    with pytest.raises(ValueError, match="expected a caption"):
        motion(stage(), name="turn", alt="Three points that turn.", caption="")
