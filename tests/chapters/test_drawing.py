"""Figures as small pictures: what an SVG keeps of what matplotlib draws, and when dots take the place of lines."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from snf_book import drawing
from snf_book.drawing import Rendering, renderings
from snf_book.svg import slim

from snf_lite.analysis.figures import figure_png

SVG = "{http://www.w3.org/2000/svg}"
TOKEN = re.compile(r"[A-Za-z]|-?\d*\.?\d+")


def made(*size: float) -> Figure:
    return Figure(figsize=size or (3, 2), facecolor="white", layout="constrained")


def lines(figure: Figure | None = None, steps: int = 5) -> Figure:
    figure = figure or made()
    axes = figure.subplots()
    axes.semilogy(range(1, steps), [10.0**step for step in range(1, steps)], "o-", color="#0072B2", label="a ≤ b & c")
    axes.set(xlabel="step", title="growth")
    axes.legend()
    return figure


def root(picture: Rendering) -> ET.Element:
    assert picture.mime == "image/svg+xml"
    return ET.fromstring(picture.content)


def words(picture: Rendering) -> list[str]:
    return ["".join(text.itertext()) for text in root(picture).iter(f"{SVG}text")]


def test_text_stays_text_in_the_readers_own_font() -> None:
    (picture,) = renderings(lines())
    assert {"step", "growth", "a ≤ b & c", "1", "4", "101"} <= set(words(picture))
    assert root(picture).attrib["font-family"] == "sans-serif"
    assert not re.search(rb"DejaVu|Verdana", picture.content)


def test_a_drawing_depends_on_what_is_drawn_alone() -> None:
    assert renderings(lines()) == renderings(lines())
    (picture,) = renderings(lines())
    assert not re.search(rb"[mp][0-9a-f]{10}|<!--|metadata|20\d\d-", picture.content)


def test_a_picture_has_its_width_on_the_page() -> None:
    (picture,) = renderings(lines(made(7, 3)))
    assert picture.width == 784 and root(picture).attrib["width"] == "784" and root(picture).attrib["height"] == "336"


def points(path: str) -> Iterator[tuple[float, float]]:
    """The points of a path of M, l, h, v, c, q and z, in absolute numbers."""
    x = y = 0.0
    letter, numbers = "", iter(TOKEN.findall(path))
    start = (x, y)
    for token in numbers:
        if token.isalpha():
            letter = token
            if letter == "z":
                x, y = start
                continue
            token = next(numbers)
        if letter == "M":
            x, y = start = (float(token), float(next(numbers)))
        elif letter in "hv":
            x, y = (x + float(token), y) if letter == "h" else (x, y + float(token))
        else:
            more = {"l": 0, "q": 2, "c": 4}[letter]
            controls = [float(token), *(float(next(numbers)) for _ in range(more + 1))]
            x, y = x + controls[-2], y + controls[-1]
        yield x, y


def test_a_line_keeps_its_points_to_a_hundredth() -> None:
    """Relative steps that were rounded one by one would drift away."""
    t = np.linspace(0, 40, 2000)
    figure = made()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.plot(3 + t / 50 * np.cos(t), 2 + t / 50 * np.sin(t), color="#0072B2")
    axes.set(xlim=(0, 6), ylim=(0, 4))
    figure.set_layout_engine("none")
    drawn = [path for path in root(renderings(figure)[0]).iter(f"{SVG}path") if path.get("stroke") == "#0072b2"]
    (line,) = [list(points(path.attrib["d"])) for path in drawn]
    radius = [np.hypot(x / 36 - 3, (144 - y) / 36 - 2) for x, y in line]
    assert len(line) > 300 and abs(radius[-1] - 0.8) < 0.001
    angle = np.arctan2((144 - line[-1][1]) / 36 - 2, line[-1][0] / 36 - 3)
    assert abs((angle - 40 + np.pi) % (2 * np.pi) - np.pi) < 0.001


def test_a_drawing_looks_as_matplotlib_writes_it() -> None:
    """The same words at the same places, and every color: of lines, markers, bars and what is embedded."""
    figure = made(4, 3)
    axes = figure.subplots()
    axes.bar(range(4), [1, 3, 2, 4], color=["#009E73", "#009E73", "#D55E00", "#CC79A7"])
    axes.fill_between(range(4), 1, 2, color="#0072B2", alpha=0.3)
    axes.scatter(range(4), range(4), color="#8C6D00")
    figure.draw_without_rendering()
    file = io.StringIO()
    figure.savefig(file, format="svg")
    drawn = set(re.findall(r"#[0-9a-f]{6}", file.getvalue()))
    (picture,) = renderings(figure)
    kept = set(re.findall(r"#[0-9a-f]{6}(?=\")", picture.content.decode()))
    assert drawn - {"#ffffff", "#000000"} == kept
    assert len(picture.content) < len(file.getvalue()) / 2.5


def test_equal_shapes_are_joined_and_different_ones_are_not() -> None:
    def bars(alpha: float, colors: list[str]) -> int:
        figure = made()
        axes = figure.subplots()
        axes.bar(range(4), range(1, 5), color=colors, alpha=alpha)
        axes.set_axis_off()
        found = root(renderings(figure)[0]).iter(f"{SVG}path")
        return sum(path.get("fill", "").startswith("#0") for path in found)

    assert bars(1, ["#00f"] * 4) == 1
    assert bars(1, ["#00f", "#0f0", "#00f", "#0f0"]) == 4
    assert bars(0.5, ["#00f"] * 4) == 4  # where two of them overlap, both are seen


# -- panels ------------------------------------------------------------------------------------------------------------


def beside(count: int, width: float = 7, **changes: str) -> Figure:
    figure = made(width, 2.5)
    for number, axes in enumerate(figure.subplots(1, count)):
        axes.plot([0, 1], [0, number])
        axes.set(title=f"panel {number}", **changes)
    return figure


def test_panels_side_by_side_become_pictures_of_their_own() -> None:
    found = renderings(beside(3))
    titles = [[word for word in words(picture) if word.startswith("panel")] for picture in found]
    assert titles == [["panel 0"], ["panel 1"], ["panel 2"]]
    assert sum(picture.width for picture in found) == 784
    assert len({root(picture).attrib["height"] for picture in found}) == 1


def test_what_belongs_together_stays_in_one_picture() -> None:
    assert len(renderings(lines())) == len(renderings(beside(4))) == len(renderings(beside(3, width=4))) == 1
    titled = beside(2)
    titled.suptitle("of both")
    assert len(renderings(titled)) == 1
    stacked = made(5, 4)
    stacked.subplots(2, 1)
    assert len(renderings(stacked)) == 1


def test_a_color_bar_stays_with_its_panel() -> None:
    figure = made(7, 2.5)
    left, right = figure.subplots(1, 2)
    right.plot([0, 1], [0, 1])
    figure.colorbar(left.imshow([[0, 1], [2, 3]]), ax=left, label="size")
    first, second = renderings(figure)
    assert "size" in words(first) and "size" not in words(second)


def test_all_panels_are_seen_again_afterwards() -> None:
    figure = beside(2)
    renderings(figure)
    assert all(axes.get_visible() for axes in figure.axes)


# -- dots --------------------------------------------------------------------------------------------------------------


def cloud(count: int, color: str = "#0072B2") -> Figure:
    figure = made(3.5, 3)
    axes = figure.subplots()
    axes.scatter(*np.random.RandomState(0).randn(2, count), s=3, color=color)
    axes.set(xlabel="a cloud")
    return figure


def embedded(picture: Rendering) -> list[Image.Image]:
    links = [image.attrib["href"] for image in root(picture).iter(f"{SVG}image")]
    return [Image.open(io.BytesIO(base64.b64decode(link.partition("base64,")[2]))).convert("RGBA") for link in links]


def test_a_crowd_of_points_is_embedded_with_a_transparent_ground() -> None:
    (few,), (many,) = renderings(cloud(100)), renderings(cloud(2000))
    assert not embedded(few) and "a cloud" in words(few) and "a cloud" in words(many)
    (image,) = embedded(many)
    assert image.getchannel("A").getextrema() == (0, 255)
    seen = np.asarray(image).reshape(-1, 4)
    assert np.abs(seen[seen[:, 3] == 255][:, :3].astype(int) - (0, 0x72, 0xB2)).max() < 20
    assert image.width > 1.4 * 0.8 * many.width


def test_dots_are_stored_if_asked_for_or_far_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [picture.mime for picture in renderings(lines(), raster=True)] == ["image/png"]
    assert [picture.mime for picture in renderings(cloud(2000))] == ["image/svg+xml"]
    monkeypatch.setattr(drawing, "POINTS", 10_000)
    (picture,) = renderings(cloud(5000))
    assert picture.mime == "image/png" and picture.width == 392
    assert Image.open(io.BytesIO(picture.content)).width == 3.5 * drawing.DENSITY


def test_a_png_is_opaque_and_of_as_few_channels_as_it_needs() -> None:
    colored, grey = (Image.open(io.BytesIO(figure_png(cloud(9, color)))) for color in ("#0072B2", "black"))
    assert (colored.mode, grey.mode) == ("P", "L")
    assert colored.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_black_over_a_picture_is_told_from_that_over_the_page() -> None:
    figure = made()
    axes = figure.subplots()
    axes.imshow([[0, 1], [2, 3]])
    axes.text(0, 0, "over", color="black")
    axes.plot([0, 1], [0, 1], color="white")
    axes.scatter([0], [1], color="0.5", edgecolors="#0072B2")
    axes.set(xlabel="beside")
    (picture,) = renderings(figure)
    fills = {"".join(text.itertext()): text.get("fill") for text in root(picture).iter(f"{SVG}text")}
    assert (fills["over"], fills["beside"]) == ("#000001", None)
    assert b"#fffffe" in picture.content and b"#808081" in picture.content and b"#0072b2" in picture.content


def test_the_ground_is_left_to_the_page_unless_it_has_a_color() -> None:
    plain, tinted = lines(), lines()
    tinted.axes[0].set_facecolor("#d8e6f3")
    rectangles = [
        [path for path in root(renderings(figure)[0]).iter(f"{SVG}path") if path.get("fill") == fill]
        for figure, fill in ((plain, "#fff"), (tinted, "#d8e6f3"))
    ]
    assert [len(found) for found in rectangles] == [1, 1]  # the legend's of the first, its axes' of the second


def test_older_versions_write_fonts_in_short() -> None:
    text = '<text style="font: italic 700 8px \'DejaVu Sans\', sans-serif; text-anchor: middle" x="1.234">a</text>'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 5"><g id="a">{text}</g></svg>'
    (found,) = ET.fromstring(slim(svg, 20, lambda image: image))
    assert found.attrib == {
        "x": "1.23", "text-anchor": "middle", "font-size": "8", "font-style": "italic", "font-weight": "700"
    }  # fmt: skip


def test_an_empty_line_of_text_leaves_nothing() -> None:
    figure = made()
    figure.text(0.5, 0.5, "one\n\ntwo")
    assert words(*renderings(figure)) == ["one", "two"]


def test_marks_outside_of_the_axes_leave_nothing() -> None:
    """matplotlib writes paths without a course for lines that its clipping takes away whole."""
    figure = made()
    axes = figure.subplots()
    for height in (5.0, 6.0):
        axes.errorbar(0.5, height, xerr=0.1, color="#123456")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    left = [path for path in root(renderings(figure)[0]).iter(f"{SVG}path") if path.get("stroke") == "#123456"]
    assert not any(path.get("d") for path in left)
