"""Figures on the pages: captions and numbers, links that say the number, drawings in the colors of the theme.

A notebook holds a figure as HTML (``book/snf_book/slider.py``) whose drawings are images with a light ground. Here each
becomes a figure of Sphinx, so that those with a caption are counted through the chapter and can be linked to, and its
drawings become part of the page: their text has the page's font, and their black, white and grey are the colors of its
text, its ground and what lies between. Other colors stay as they are.
"""

import base64
import html
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

FIGURE = re.compile(
    r'<figure class="(?P<classes>snf-figure[^"]*)" id="(?P<name>[^"]+)"[^>]*>(?P<body>.*?)'
    r"(?:<figcaption[^>]*>(?P<caption>.*?)</figcaption>)?</figure>",
    re.DOTALL,
)
DRAWING = re.compile(
    r'<img class="snf-drawing" alt="(?P<alt>[^"]*)" style="(?P<style>[^"]*)"'
    r' src="data:image/svg\+xml;base64,(?P<data>[^"]*)">'
)
WIDTH = re.compile(r'class="snf-drawing"[^>]* style="flex:(\d+) ')
FRAME = re.compile(r'<div class="snf-frame[ "].*?</div>', re.DOTALL)
NAMES = re.compile(r'(?<=\bid=")(?=n\d)|(?<=href="#)(?=n\d)|(?<=url\(#)(?=n\d)')
NEUTRAL = re.compile(r'(?<==")#([0-9a-f]{1,2})\1\1(?=")')
COLORED_TEXT = re.compile(r'(<text\b[^>]*\bfill=")(#(?:[0-9a-f]{3}){1,2})(?=")')
GROUND = "var(--snf-ground)"
#: Black, white and grey over a picture: ``snf_book.drawing`` marks them by one unit of blue.
PINNED = re.compile(r"#(?!([0-9a-f]{2})\1\1)([0-9a-f]{2})\2([0-9a-f]{2})$")
#: An image by itself: dots. Pictures of ``imshow`` are clipped to their axes.
EMBEDDED = re.compile(r'(<g clip-path="[^"]*">)?<image\b(?=[^>]*href="data:image/png;base64,([^"]*)")')
#: How far the channels of grey may lie apart in a picture of few colors.
NEARLY = 8
#: Drawings wider than this (pixels) scroll on a narrow screen, where they keep this share of their width, for letters
#: that can be read.
BROAD, LEAST = 440, 0.62
#: Black dots are light in the dark theme.
INVERTED = ' class="snf-ink"'
PIECES = re.compile(r"\$(?P<maths>[^$]+)\$|<(?P<tag>em|strong|code)>(?P<inside>.*?)</(?P=tag)>|(?P<text>[^$<]+|.)")
KINDS = {"em": nodes.emphasis, "strong": nodes.strong, "code": nodes.literal}
#: Words of a link that already speak of a figure.
FIGURE_AT_END = re.compile(r"\b[Ff]igure(\s+\d+(\.\d+)*)?$")
#: Pixels of a page for an inch of a picture that has more dots than these in an inch.
SCALE, FINE = 112, 140


class Figures(SphinxTransform):
    """Replace the HTML of each figure by a figure of Sphinx, before names are collected."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        for raw in list(self.document.findall(nodes.raw)):
            found = FIGURE.fullmatch(raw.astext().strip()) if "html" in raw.get("format", "") else None
            if found:
                self.replace(raw, found)
        for figure in self.document.findall(nodes.figure):
            if not figure["ids"]:  # of a picture with a caption in its cell's metadata
                self.document.set_id(figure)
        for image in self.document.findall(nodes.image):
            self.size(image)

    def replace(self, raw: nodes.raw, found: re.Match[str]) -> None:
        name, classes = found["name"], found["classes"]
        body = inlined(found["body"], name)
        if found["caption"]:
            shown = nodes.raw("", body, format="html", classes=raw["classes"])
            caption = nodes.caption("", "", *inline(found["caption"]))
            figure = nodes.figure("", shown, caption, classes=classes.split(), names=[name])
            self.document.note_explicit_target(figure)
            raw.replace_self(figure)
            return
        target = nodes.target("", "", names=[name])
        self.document.note_explicit_target(target)
        whole = f'<figure class="{classes}">{body}</figure>'
        raw.replace_self([target, nodes.raw("", whole, format="html", classes=raw["classes"])])

    def size(self, image: nodes.image) -> None:
        """A stored picture with more dots than pixels is as large as it was drawn."""
        path = Path(self.env.relfn2path(image["uri"], self.env.docname)[1])
        if "width" in image or path.suffix != ".png" or not path.exists():
            return
        with Image.open(path) as picture:
            dots = float(picture.info.get("dpi", (0, 0))[0])
            if dots > FINE:
                image["width"] = f"{round(picture.width / dots * SCALE)}px"


def inlined(body: str, name: str) -> str:
    """The drawings of a figure as part of the page, the names inside of them told apart."""
    drawings = iter(range(body.count("<img")))

    def drawn(found: re.Match[str]) -> str:
        svg = base64.b64decode(found["data"]).decode("utf-8")
        words = f'role="img" aria-label="{found["alt"]}"' if found["alt"] else 'aria-hidden="true"'
        svg = NAMES.sub(f"{name}-{next(drawings)}-", themed(svg))
        return svg.replace("<svg ", f'<svg class="snf-drawing" {words} style="{found["style"]}" ', 1)

    return FRAME.sub(within_reach, WIDTH.sub(broad, DRAWING.sub(drawn, body)))


def broad(found: re.Match[str]) -> str:
    """A wide drawing, marked as such."""
    wide = int(found[1])
    least = f'style="--snf-least:{round(LEAST * wide)}px;flex'
    marked = found[0].replace("snf-drawing", "snf-drawing snf-broad").replace('style="flex', least)
    return marked if wide > BROAD else found[0]


def within_reach(found: re.Match[str]) -> str:
    """A frame that may scroll, and then has to by keyboard."""
    return found[0].replace("<div ", '<div tabindex="0" ', 1) if "snf-broad" in found[0] else found[0]


def themed(svg: str) -> str:
    """A drawing whose black, white and grey are mixtures of the page's text and ground."""

    def mixture(found: re.Match[str]) -> str:
        ink = round(100 * (1 - int((2 * found[1])[:2], 16) / 255))
        named = {100: "currentColor", 0: GROUND}
        return named.get(ink, f"color-mix(in srgb,currentColor {ink}%,{GROUND})")

    svg = EMBEDDED.sub(lambda found: found[0] + (INVERTED if not found[1] and is_ink(found[2]) else ""), svg)
    svg = COLORED_TEXT.sub(mixed, NEUTRAL.sub(mixture, svg))
    return svg.replace(' font-family="sans-serif"', ' fill="currentColor"', 1)


def mixed(found: re.Match[str]) -> str:
    """Text in the color of a series, mixed with that of other text: alone it is too pale on some grounds."""
    pinned = PINNED.match(found[2])
    kept = pinned is not None and abs(int(pinned[2], 16) - int(pinned[3], 16)) == 1
    return found[0] if kept else f"{found[1]}color-mix(in srgb,{found[2]} 60%,currentColor)"


def is_ink(data: str) -> bool:
    """Whether an embedded image is black or grey, with nothing in some places."""
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        pixels = np.asarray(image.convert("RGBA")).reshape(-1, 4).astype(int)
    seen = pixels[pixels[:, 3] > 0, :3]
    return len(seen) < len(pixels) and bool((seen.max(1) - seen.min(1) <= NEARLY).all())


def inline(caption: str) -> Iterator[nodes.Node]:
    """A caption's HTML, as ``snf_book.slider`` writes it, as nodes."""
    for piece in PIECES.finditer(caption):
        if piece["maths"]:
            yield nodes.math("", html.unescape(piece["maths"]))
        elif piece["tag"]:
            yield KINDS[piece["tag"]]("", "", *inline(piece["inside"]))
        else:
            yield nodes.Text(html.unescape(piece["text"]))


class LinksToFigures(SphinxPostTransform):
    """Let a link to a figure keep its words and say the number: "[figure](#explore-grid)" as "figure 1.2"."""

    default_priority = 20  # when links are resolved

    def run(self, **kwargs: Any) -> None:
        numbers = {
            name: ".".join(map(str, number))
            for kinds in self.env.toc_fignumbers.values()
            for name, number in kinds.get("figure", {}).items()
        }
        for link in self.document.findall(nodes.reference):
            name = link.get("refid") or link.get("refuri", "").partition("#")[2]
            local = "refid" in link or link.get("internal")
            if local and name in numbers and link.astext():
                self.say(link, numbers[name])

    @staticmethod
    def say(link: nodes.reference, number: str) -> None:
        words = link.astext()
        found = FIGURE_AT_END.search(words)
        last = list(link.findall(nodes.Text))[-1]
        if found:
            said = re.sub(FIGURE_AT_END, found.group().split()[0] + f" {number}", str(last))
        else:
            said = f"{last} (figure {number})"
        last.parent.replace(last, nodes.Text(said))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(Figures)
    app.add_post_transform(LinksToFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
