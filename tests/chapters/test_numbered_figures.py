"""Figures on the pages: what becomes of a figure of a notebook, its number, links to it, the colors of a drawing."""

import base64
import functools
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from _ext.numbered_figures import inline, inlined, is_ink, themed
from bs4 import BeautifulSoup, Tag
from docutils import nodes
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from paths import ROOT
from PIL import Image
from snf_book.slider import Frames, explore, still

from snf_lite.analysis.figures import BLUE, panels


def draw(value: int) -> Figure:
    figure, (left, right) = panels()
    left.plot([0, value], [0, 1], "o-", color=BLUE, label="a line")
    left.legend()
    right.imshow([[0, value], [1, 2]], cmap="Greys")
    right.text(0, 0, "over")
    return figure


@functools.cache
def moving() -> Frames:
    options = {"control": "k", "alt": lambda k: f"A line up to {k}.", "start": 3}
    return explore(draw, [1, 2, 3], name="one", caption="A *line* & $x^k<1$.", **options)  # type: ignore[arg-type]


# -- a drawing ---------------------------------------------------------------------------------------------------------


def test_black_white_and_grey_are_the_pages_own() -> None:
    svg = '<svg font-family="sans-serif"><path stroke="#000" fill="#fff"/><path stroke="#707070" fill="#0072b2"/></svg>'
    assert themed(svg) == (
        '<svg fill="currentColor"><path stroke="currentColor" fill="var(--snf-ground)"/>'
        '<path stroke="color-mix(in srgb,currentColor 56%,var(--snf-ground))" fill="#0072b2"/></svg>'
    )


@pytest.mark.parametrize(
    ("color", "shown"),
    [
        ("#0072b2", "color-mix(in srgb,#0072b2 60%,currentColor)"),
        ("#f00", "color-mix(in srgb,#f00 60%,currentColor)"),
        ("#000001", "#000001"),  # over a picture
        ("#fffffe", "#fffffe"),
    ],
)
def test_colored_text_can_be_read_on_either_ground(color: str, shown: str) -> None:
    assert themed(f'<text x="1" fill="{color}">a</text>') == f'<text x="1" fill="{shown}">a</text>'


def png(*pixels: tuple[int, ...]) -> str:
    image, file = Image.new("RGBA", (len(pixels), 1)), io.BytesIO()
    image.putdata(pixels)
    image.save(file, "png")
    return base64.b64encode(file.getvalue()).decode("ascii")


@pytest.mark.parametrize(
    ("pixels", "ink"),
    [
        ([(0, 0, 0, 255), (0, 0, 0, 0)], True),
        ([(0, 114, 178, 255), (0, 0, 0, 0)], False),  # blue dots
        ([(0, 0, 0, 255), (255, 255, 255, 255)], False),  # a grey picture
    ],
)
def test_black_dots_are_told_from_pictures(pixels: list[tuple[int, ...]], ink: bool) -> None:
    assert is_ink(png(*pixels)) == ink
    image = f'<image width="2" href="data:image/png;base64,{png(*pixels)}"/>'
    assert ('class="snf-ink"' in themed(image)) == ink
    assert "snf-ink" not in themed(f'<g clip-path="url(#n0)">{image}</g>')  # of imshow, with a transparent rim


def test_what_imshow_draws_is_clipped_and_a_crowd_is_not() -> None:
    figure, (left, right) = panels()
    left.imshow([[0, 1], [1, float("nan")]], cmap="Greys")
    right.plot(range(999), range(999), "o", color="black")
    shown = still(figure, name="dots", alt="A picture, and a line of dots.")
    picture, dots = BeautifulSoup(inlined(shown.html(), "explore-dots"), "html.parser").select("svg.snf-drawing")
    assert not picture.select(".snf-ink") and picture.find("image") and dots.select("image.snf-ink")


def test_drawings_of_a_figure_become_part_of_the_page() -> None:
    body = inlined(moving().html(), "explore-one")
    page = BeautifulSoup(body, "html.parser")
    drawings = page.select("svg.snf-drawing")
    assert len(drawings) == 6 and not page.find_all("img")
    described = [drawing.get("aria-label") for drawing in drawings]
    assert described == ["A line up to 1.", None, "A line up to 2.", None, "A line up to 3.", None]
    assert [drawing.get("aria-hidden") for drawing in drawings] == [None, "true"] * 3
    names = [str(tag["id"]) for drawing in drawings for tag in drawing.find_all(id=True)]
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', body)
    assert len(set(names)) == len(names) and set(used) == set(names)


def test_a_wide_drawing_may_scroll_and_panels_do_not() -> None:
    wide = still(panels(1)[0], name="wide", alt="An empty plot.").html()
    for html, reached in ((wide, True), (moving().html(), False)):
        body = inlined(html, "explore-any")
        assert ("snf-broad" in body, '<div tabindex="0" class="snf-frame' in body) == (reached, reached)


def test_a_caption_is_text_and_maths() -> None:
    found = list(inline("A <em>line <strong>b</strong></em> &amp; $x&lt;1$ < <code>c</code>"))
    kinds = [type(node) for node in found]
    assert kinds[:4] == [nodes.Text, nodes.emphasis, nodes.Text, nodes.math] and kinds[-1] is nodes.literal
    assert [node.astext() for node in found[:4]] == ["A ", "line b", " & ", "x<1"]


# -- a book of two chapters --------------------------------------------------------------------------------------------

TEXT = """# Second

[figure](#explore-one), [Figure](#explore-two), [figure 9.9](#explore-two), [two *lines*](#explore-one),
[no number](#explore-three), $x$
"""
CONTENTS = """format: jb-book
root: start
parts:
- caption: Part
  numbered: true
  chapters:
  - file: first
  - file: second
"""


def cell(shown: Frames) -> nbformat.NotebookNode:
    output = new_output("execute_result", {"text/html": shown.html(), "text/plain": repr(shown)}, execution_count=1)
    return new_code_cell("1", outputs=[output], execution_count=1)


def picture(caption: str) -> nbformat.NotebookNode:
    """A picture with words in its cell's metadata, and twice as many dots as the page has pixels."""
    data, _ = draw(1)._repr_png_()  # type: ignore[operator]
    output = new_output("display_data", {"image/png": base64.b64encode(data).decode("ascii")})
    metadata = {"mystnb": {"image": {"alt": "A line and a picture."}, "figure": {"caption": caption}}}
    return new_code_cell("1", outputs=[output], execution_count=1, metadata=metadata)


@pytest.fixture(scope="module")
def chapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BeautifulSoup]:
    """The pages of a small book with this extension and the settings of the book."""
    folder = tmp_path_factory.mktemp("book")
    settings = (ROOT / "_config.yml").read_text("utf-8")
    settings = re.sub(r"^ *- (public_names|build_stamp).*\n", "", settings, flags=re.MULTILINE)
    (folder / "_config.yml").write_text(settings, "utf-8")
    (folder / "_toc.yml").write_text(CONTENTS, "utf-8")
    (folder / "start.md").write_text("# Start\n\n[Look](#explore-two) at [figure](#explore-one).\n", "utf-8")
    (folder / "first.md").write_text("# First\n\n$x$\n", "utf-8")
    figures = [moving(), still(draw(2), name="two", alt="A line upwards.", caption="A still one.")]
    figures.append(still(draw(3), name="three", alt="A line upwards."))
    cells = [new_markdown_cell(TEXT), *map(cell, figures), picture("From metadata.")]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(new_notebook(cells=cells, metadata=kernel), folder / "second.ipynb")
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / "book" / name, folder / "book" / name)
    shutil.copy(ROOT / "book" / "references.bib", folder / "book")
    builder = Path(sys.executable).parent / "jupyter-book"
    command = [str(builder), "build", str(folder), "-n", "-W", "--keep-going"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    html = folder / "_build" / "html"
    return {path.stem: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in html.glob("*.html")}


def links(page: BeautifulSoup) -> list[str]:
    return [a.get_text() for a in page.select("article p a.internal[href*='#explore-']")]


def test_figures_of_a_chapter_are_counted_whatever_they_are_made_of(chapters: dict[str, BeautifulSoup]) -> None:
    captions = [caption.get_text().strip() for caption in chapters["second"].select("article figcaption")]
    numbers = [" ".join(caption.split()[:2]) for caption in captions]
    assert numbers == ["Figure 2.1", "Figure 2.2", "Figure 2.3"]
    assert "A line & " in captions[0] and "A still one." in captions[1] and "From metadata." in captions[2]
    assert chapters["second"].select_one("article figcaption span.math").get_text() == r"\(x^k<1\)"


def test_a_link_keeps_its_words_and_says_the_number(chapters: dict[str, BeautifulSoup]) -> None:
    said = ["figure 2.1", "Figure 2.2", "figure 2.2", "two lines (figure 2.1)", "no number"]
    assert links(chapters["second"]) == said
    assert links(chapters["start"]) == ["Look (figure 2.2)", "figure 2.1"]


def test_each_figure_has_an_address(chapters: dict[str, BeautifulSoup]) -> None:
    for name in ("one", "two", "three"):
        assert len(chapters["second"].find_all(id=f"explore-{name}")) == 1


def test_a_slider_stands_in_the_figure_it_moves(chapters: dict[str, BeautifulSoup]) -> None:
    (slider,) = chapters["second"].select("input[type=range]")
    figure = slider.find_parent("figure")
    assert isinstance(figure, Tag) and figure["id"] == "explore-one" and len(figure.select(".snf-frame")) == 3
    assert "snf-explore" in figure["class"] and figure.find("figure") is None


def test_a_fine_picture_is_as_large_as_it_was_drawn(chapters: dict[str, BeautifulSoup]) -> None:
    (image,) = chapters["second"].select("article img")
    assert "width: 784px" in str(image["style"]) and image["alt"] == "A line and a picture."
