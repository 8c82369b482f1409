"""Figures of the chapters: every frame is there and described, still ones too, and the live one answers the same."""

import base64
import re
from collections.abc import Sequence

import pytest
from bs4 import BeautifulSoup, Tag
from matplotlib.figure import Figure
from snf_book.slider import Frames, explore, still

from snf_lite.analysis.figures import panels


def draw(value: int) -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, value], [0, value])  # so that the ticks differ, whatever matplotlib makes of them
    return figure


def frames(**changes: object) -> Frames:
    options = {
        "draw": draw,
        "values": [1, 2, 5],
        "name": "lines",
        "control": "slope <k>",
        "label": lambda k: f"k = {k}",
    }
    options["alt"] = lambda k: f'A "line" of {k}.'
    return explore(**{**options, **changes})  # type: ignore[arg-type]


def parsed(shown: Frames) -> Tag:
    figure = BeautifulSoup(shown._repr_mimebundle_()["text/html"], "html.parser").figure
    assert isinstance(figure, Tag)
    return figure


def shown_first(figure: Tag) -> list[bool]:
    return ["display:flex" in str(frame["style"]) for frame in figure.select(".snf-frame")]


def content(image: Tag) -> bytes:
    return base64.b64decode(str(image["src"]).partition("base64,")[2])


def test_frames_hold_a_picture_and_words_for_each_value() -> None:
    figure = parsed(frames())
    images = figure.find_all("img")
    assert [image["alt"] for image in images] == ['A "line" of 1.', 'A "line" of 2.', 'A "line" of 5.']
    assert [frame["data-label"] for frame in figure.select(".snf-frame")] == ["k = 1", "k = 2", "k = 5"]
    assert shown_first(figure) == [True, False, False]
    assert len({content(image) for image in images}) == 3
    slider = figure.input
    assert (slider["type"], slider["min"], slider["max"], slider["value"]) == ("range", "0", "2", "0")
    assert slider["aria-label"] == "slope <k>" and slider["aria-valuetext"] == figure.output.text == "k = 1"


def test_slider_has_a_label_and_begins_anew() -> None:
    """Each frame's words are said once, by the slider; and no browser puts the slider back where no picture follows."""
    figure = parsed(frames())
    assert figure.label.input is figure.input and figure.label.text == "slope <k>"
    assert figure.input["autocomplete"] == "off" and figure.output["aria-live"] == "off"
    assert {"background:white", "color:black", "color-scheme:light"} <= set(figure["style"].split(";"))


@pytest.mark.parametrize(
    ("start", "at", "printed"),
    [(0, 0, [0, 1, 2]), (5, 2, [0, 1, 2]), (2, 1, [0, 1, 2]), (-1, 2, [0, 1, 2])],  # 5 and 2 are values, -1 is none
)
def test_it_starts_with_a_value_or_an_index(start: int, at: int, printed: list[int]) -> None:
    figure = parsed(frames(start=start))
    assert shown_first(figure) == [index == at for index in range(3)]
    words = ["k = 1", "k = 2", "k = 5"][at]
    assert figure.input["value"] == str(at) and figure.input["aria-valuetext"] == figure.output.text == words
    assert [index for index, one in enumerate(figure.select(".snf-frame")) if "snf-print" in one["class"]] == printed


@pytest.mark.parametrize(("count", "start", "printed"), [(9, 0, {0, 4, 8}), (9, 6, {0, 6, 8}), (2, 1, {0, 1})])
def test_on_paper_stand_the_first_frame_the_last_and_one_between(count: int, start: int, printed: set[int]) -> None:
    assert Frames("a", "b", frames().frames[:1] * count, start).printed == printed


def test_frames_need_nothing_from_outside_and_repeat() -> None:
    html = frames(caption="Lines.").html()
    assert not re.search(r"https?://|<script|<link", html)
    assert html == frames(caption="Lines.").html()


def test_a_caption_stands_below_and_says_maths_as_it_is_written() -> None:
    caption = parsed(frames(caption="A **bold** *line* `x<y` & $a<b*c*d$.")).figcaption
    assert caption.decode_contents() == (
        "A <strong>bold</strong> <em>line</em> <code>x&lt;y</code> &amp; $a&lt;b*c*d$."
    )
    assert parsed(frames()).figcaption is None


def two_panels(value: int) -> Figure:
    figure, both = panels()
    for end, axes in enumerate(both):
        axes.plot([0, value], [0, end])
    return figure


@pytest.mark.parametrize("drawn", [two_panels, lambda value: [draw(value), draw(value + 1)]])
def test_a_frame_of_two_pictures_has_one_description(drawn: object) -> None:
    first, second, *_ = parsed(frames(draw=drawn)).select(".snf-frame")[1].find_all("img")
    assert [first["alt"], second["alt"]] == ['A "line" of 2.', ""]
    assert content(first) != content(second)


def test_pictures_stand_below_one_another_where_neither_keeps_its_width() -> None:
    figure = parsed(frames(draw=two_panels))
    styles = [re.search(r"flex:(\d+) 1 (\d+)px", str(image["style"])) for image in figure.find_all("img")[:2]]
    wide, least = zip(*[(int(style[1]), int(style[2])) for style in styles if style], strict=True)
    assert sum(wide) == 784 and 500 < sum(least) < 600  # on one line in the column, and not on a phone
    assert "flex-wrap:wrap" in str(figure.select_one(".snf-frame")["style"])


def test_a_still_figure_has_no_slider() -> None:
    figure = parsed(still(draw(1), name="one", alt="A line upwards.", caption="It rises."))
    assert figure["id"] == "explore-one" and figure.input is None and figure.output is None
    assert figure.img["alt"] == "A line upwards." and figure.figcaption.text == "It rises."
    assert repr(still(draw(1), name="one", alt="A line upwards.")) == "one"


def test_dots_are_drawn_if_asked_for() -> None:
    kinds: Sequence[str] = [str(parsed(frames(raster=raster)).img["src"])[:14] for raster in (False, True)]
    assert kinds == ["data:image/svg", "data:image/png"]


def test_live_figure_redraws_on_a_move() -> None:
    pytest.importorskip("ipywidgets")
    box = frames(live=True, start=2)
    shown, slider = box.children
    assert [label for label, _ in slider.options] == ["k = 1", "k = 2", "k = 5"] and slider.value == 1
    first = shown.value
    slider.value = 2
    assert shown.value != first and "A &quot;line&quot; of 5." in shown.value


def test_the_environment_asks_for_the_live_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    monkeypatch.setenv("SNF_FULL", "1")
    assert len(frames().children) == 2
    assert len(frames(live=False)) == 3
    monkeypatch.delenv("SNF_FULL")
    assert len(frames()) == 3


def test_refuses_one_value_and_odd_names_and_starts() -> None:
    with pytest.raises(ValueError, match="at least two values to move through, got 1"):
        frames(values=[1])
    with pytest.raises(ValueError, match="explore: expected a name of small letters, digits and hyphens, got 'A b'"):
        frames(name="A b")
    with pytest.raises(ValueError, match="still: expected a name"):
        still(draw(1), name="A b", alt="A line upwards.")
    with pytest.raises(ValueError, match="start to be a value of the slider or an index, got 7"):
        frames(start=7)
