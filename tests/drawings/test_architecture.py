"""The boxes of a Glow."""

import pytest
import torch
from snf_book.architecture import Architecture, rows

import snf_lite as snf


def test_the_boxes_have_the_shapes_of_the_flow():
    flow = snf.build("glow-exact", (1, 8, 8), 17, steps=2, width=4)
    found = list(rows(flow))
    kinds = [kind for kind, _ in found]
    step = ["ActNorm", "ExactConv2d", "AffineCoupling"]
    assert kinds == ["Dequantize", "Logit", "Squeeze", *step, *step, "SplitPrior", "Squeeze", *step, *step]
    x = torch.rand(1, 1, 8, 8)
    for layer, (kind, shape) in zip(flow.bijections[:9], found, strict=False):
        assert kind == type(layer).__name__
        x = x.to(torch.uint8) if kind == "Dequantize" else x
        x = layer(x)[0]
        assert tuple(x.shape[1:]) == shape
    assert dict(found)["SplitPrior"] == (2, 4, 4)
    assert found[-1] == ("AffineCoupling", (8, 2, 2))


def test_steps_stand_in_one_box_with_their_number():
    page = Architecture(snf.build("glow-exact", (1, 8, 8), 17, steps=3, width=4), "one", "What to see.").html()
    assert page.count("<b>3 steps</b>") == 2
    assert page.count("1×1 convolution") == 2
    assert 'id="explore-one"' in page and "\n\n" not in page


def test_a_layer_without_a_box_is_refused():
    with pytest.raises(ValueError, match="SelfNormConv2d"):
        list(rows(snf.build("glow-selfnorm", (1, 8, 8), 17, steps=1, width=4)))
