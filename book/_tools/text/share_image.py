"""The picture that a shared link shows, ``_static/share.png``, and the drawing as a file, ``_static/swap.svg``.

``make pages`` writes both. The picture is taken by Chromium, if one is installed, and only when it would show something
new: in which words and drawing it shows is its checksum, so other fonts alone are no reason to take it again.
"""

import base64
import hashlib
import io

from chromium import FLAGS, installed
from paths import ROOT, write
from PIL import Image, PngImagePlugin
from playwright.sync_api import sync_playwright
from snf_book.swap import file
from snf_book.swap.drawing import drawing
from snf_book.swap.layouts import WIDE

DRAWING = ROOT / "book" / "_static" / "swap.svg"
PICTURE = ROOT / "book" / "_static" / "share.png"
SIZE = (1200, 630)  # as the pages say it: ``_ext/identity.py``
#: Name of the text inside of the picture that holds the checksum of what it shows.
SOURCE = "source-sha256"
FONTS = {"": "arimo", "font-style:italic;": "arimo-italic", "font-weight:bold;": "arimo-bold"}
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; width: {0}px; height: {1}px; display: flex; flex-direction: column; align-items: center;
  justify-content: space-evenly; background: white; color: black; font-family: Book, sans-serif; }}
h1, p {{ margin: 0 }} h1 {{ font-size: 60px }} p {{ font-size: 30px }} svg {{ width: 1080px; height: auto }}
</style><h1>Self Normalizing Flows</h1>{2}<p>The book and the package, run and checked</p>"""


def source() -> str:
    """The page that the picture is taken of."""
    return PAGE.format(*SIZE, drawing(WIDE, moving=False))


def checksum() -> str:
    return hashlib.sha256(source().encode()).hexdigest()


def is_current() -> bool:
    """Whether the stored picture shows what it should."""
    if not PICTURE.exists():
        return False
    with Image.open(PICTURE) as image:
        return image.info.get(SOURCE) == checksum()


def fonts() -> str:
    """Style with the fonts of the pages, so that the picture does not depend on those of the machine."""
    rules = []
    for look, name in FONTS.items():
        font = base64.b64encode((PICTURE.parent / "fonts" / f"{name}.woff2").read_bytes()).decode("ascii")
        rules.append(f"@font-face{{font-family:Book;{look}src:url(data:font/woff2;base64,{font})}}")
    return f"<style>{''.join(rules)}</style>"


def taken(browser: str) -> bytes:
    """The picture as a small PNG with its checksum inside."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        page = running.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.set_content(source() + fonts())
        page.evaluate("() => document.fonts.ready.then(() => true)")
        shot = page.screenshot()
        running.close()
    note, out = PngImagePlugin.PngInfo(), io.BytesIO()
    note.add_text(SOURCE, checksum())
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(64).save(out, "PNG", optimize=True, pnginfo=note)
    return out.getvalue()


def main() -> None:
    write(DRAWING, file())
    browser = installed()
    if browser and not is_current():
        PICTURE.write_bytes(taken(browser))
