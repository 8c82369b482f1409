"""Moving figures: every frame is there, described, and the live twin answers the same values."""

import base64
import io
import re

import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from PIL import Image
from snf_book.slider import explore

from snf_lite.analysis.figures import figure_png


def draw(value: int) -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, value], [0, value])  # so that the ticks differ, whatever matplotlib makes of them
    return figure


def frames(**changes: object) -> object:
    options = {"name": "lines", "control": "slope <k>", "label": lambda k: f"k = {k}"}
    options["alt"] = lambda k: f'A "line" of {k}.'
    return explore(draw, [1, 2, 5], **{**options, **changes})  # type: ignore[arg-type]


def test_frames_hold_a_picture_and_words_for_each_value() -> None:
    shown = frames()
    figure = BeautifulSoup(shown._repr_mimebundle_()["text/html"], "html.parser").figure
    images = figure.find_all("img")
    assert [image["alt"] for image in images] == ['A "line" of 1.', 'A "line" of 2.', 'A "line" of 5.']
    assert [image["data-label"] for image in images] == ["k = 1", "k = 2", "k = 5"]
    assert ["display:block" in image["style"] for image in images] == [True, False, False]
    pictures = [base64.b64decode(image["src"].partition("base64,")[2]) for image in images]
    assert len(set(pictures)) == 3
    slider = figure.input
    assert (slider["type"], slider["min"], slider["max"], slider["value"]) == ("range", "0", "2", "0")
    assert slider["aria-label"] == "slope <k>" and slider["aria-valuetext"] == figure.output.text == "k = 1"


def test_slider_has_a_label_and_begins_anew() -> None:
    """Each frame's words are said once, by the slider; and no browser puts the slider back where no picture follows."""
    figure = BeautifulSoup(frames().html(), "html.parser").figure
    assert figure.label.input is figure.input and figure.label.text == "slope <k>"
    assert figure.input["autocomplete"] == "off" and figure.output["aria-live"] == "off"
    assert {"background:white", "color:black", "color-scheme:light"} <= set(figure["style"].split(";"))


def test_frames_need_nothing_from_outside_and_repeat() -> None:
    html = frames().html()
    assert not re.search(r"https?://|<script|<link", html)
    assert html == frames().html()


def test_pictures_are_opaque_white_grounded() -> None:
    image = Image.open(io.BytesIO(figure_png(draw(1)))).convert("RGBA")
    assert image.getpixel((0, 0)) == (255, 255, 255, 255)
    assert image.getextrema()[3] == (255, 255)


def test_live_twin_redraws_on_a_move() -> None:
    pytest.importorskip("ipywidgets")
    box = frames(live=True)
    image, slider = box.children
    assert [label for label, _ in slider.options] == ["k = 1", "k = 2", "k = 5"]
    first = image.value
    slider.value = 2
    assert image.value != first and image.value == figure_png(draw(5))


def test_the_environment_asks_for_the_live_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.setenv("SNF_FULL", "1")
    assert len(frames().children) == 2
    assert len(frames(live=False)) == 3
    monkeypatch.delenv("SNF_FULL")
    assert len(frames()) == 3


def test_refuses_one_value_and_odd_names() -> None:
    with pytest.raises(ValueError, match="at least two values to move through, got 1"):
        explore(draw, [1], name="a", control="b", alt=str)
    with pytest.raises(ValueError, match="small letters, digits and hyphens, got 'A b'"):
        explore(draw, [1, 2], name="A b", control="b", alt=str)
