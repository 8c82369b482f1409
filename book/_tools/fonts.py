"""The fonts of the pages, cut to the characters that they need: ``python book/_tools/fonts.py NODE_MODULES``.

Text is set in Arimo and code in Cousine, whose letters are as wide as those of Arial and Liberation Mono. The few signs
that neither has come from DejaVu, which matplotlib brings along; its cut has a name of its own, as its license asks.
Every page brings these files, so a line breaks in the same place whatever fonts a machine has. They have to be made
again when a page uses a character that none of them has (``tests/pages/test_fonts.py`` names it). In the book's folder:

    npm install --prefix /tmp/fonts @expo-google-fonts/arimo@0.4.3 @expo-google-fonts/cousine@0.4.3
    make book
    .venv/bin/pip install brotli
    .venv/bin/python book/_tools/fonts.py /tmp/fonts/node_modules

It does not depend on what else is in ``_build``: a character is kept if it is on a page or in ``ALWAYS``.
"""

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from bs4 import BeautifulSoup
from fontTools.subset import Options, Subsetter, load_font, save_font
from fontTools.ttLib import TTFont
from paths import ROOT

FONTS = ROOT / "book" / "_static" / "fonts"
FLAVOR: str | None = "woff2"
DEJAVU = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
#: The attributes whose text is seen, by script or by pointing at something.
SPOKEN = ("alt", "title", "placeholder", "value", "data-label", "aria-label", "aria-valuetext")
#: What a sentence or a formula written tomorrow may use: Latin 1, Greek, dashes, quotation marks and common signs.
RANGES = ((0x20, 0x7E), (0xA0, 0xFF), (0x391, 0x3A1), (0x3A3, 0x3C9))
ALWAYS = {chr(code) for first, last in RANGES for code in range(first, last + 1)}
ALWAYS |= set("–—‘’“”„†‡•…‰′″⁄€™←↑→↓⇒⇔↔↦∂∆∇∈∉∏∑−√∝∞∩∪∫≈≠≡≤≥⊂⊙⋆‖⌊⌋⌈⌉⟨⟩✓✗⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂₃₄₅₆₇₈₉ₖℝℤℓ")


@dataclass(frozen=True)
class Face:
    """One file of the pages and where it comes from; ``name`` is given to a cut that may not keep its own."""

    file: str
    source: str
    name: str = ""


TEXT = (
    Face("arimo.woff2", "arimo/400Regular/Arimo_400Regular.ttf"),
    Face("arimo-italic.woff2", "arimo/400Regular_Italic/Arimo_400Regular_Italic.ttf"),
    Face("arimo-bold.woff2", "arimo/700Bold/Arimo_700Bold.ttf"),
)
CODE = (
    Face("cousine.woff2", "cousine/400Regular/Cousine_400Regular.ttf"),
    Face("cousine-bold.woff2", "cousine/700Bold/Cousine_700Bold.ttf"),
)
SIGNS = {
    TEXT: Face("signs.woff2", "DejaVuSans.ttf", "Book Signs"),
    CODE: Face("signs-mono.woff2", "DejaVuSansMono.ttf", "Book Signs Mono"),
}
LICENSES = {"arimo/LICENSE_FONT": "LICENSE-Arimo.txt", "cousine/LICENSE_FONT": "LICENSE-Cousine.txt"}


def characters(html: str) -> set[str]:
    """All that a built page may show, folded, hidden or spoken text included."""
    soup = BeautifulSoup(html, "html.parser")
    for tag in soup(["script", "style"]):
        tag.decompose()
    spoken = [str(tag[name]) for tag in soup.find_all(True) for name in SPOKEN if name in tag.attrs]
    return {character for character in soup.get_text() + "".join(spoken) if character.isprintable()}


def used(built: Path) -> set[str]:
    """The characters of all built pages."""
    pages = list(built.rglob("*.html"))
    if not pages:
        raise FileNotFoundError(f"No page is in {built}. Build the book first: make book")
    return set[str]().union(*(characters(page.read_text("utf-8")) for page in pages))


def covered(font: TTFont) -> set[str]:
    return {chr(code) for code in font.getBestCmap()}


def options() -> Options:
    """A small file: no hints, no ligatures (a searched word has no ﬁ in it), the names that licenses and PDF need."""
    chosen = Options()
    chosen.flavor, chosen.hinting, chosen.notdef_outline = FLAVOR, False, True
    chosen.drop_tables += ["FFTM"]
    chosen.layout_features = ["kern", "mark", "mkmk", "ccmp", "locl"]
    chosen.name_IDs = [0, 1, 2, 6, 13, 14]
    return chosen


def rename(font: TTFont, name: str) -> None:
    for identity, value in ((1, name), (6, name.replace(" ", ""))):
        font["name"].setName(value, identity, 3, 1, 0x409)
        font["name"].removeNames(nameID=identity, platformID=1)


def cut(source: Path, face: Face, kept: set[str]) -> set[str]:
    """Write one file; return the characters of ``kept`` that its source has."""
    chosen = options()
    with load_font(str(source), chosen) as font:
        found = covered(font) & kept
        subsetter = Subsetter(chosen)
        subsetter.populate(text="".join(found))
        subsetter.subset(font)
        if face.name:
            rename(font, face.name)
        save_font(font, str(FONTS / face.file), chosen)
    return found


def make(packages: Path, kept: set[str]) -> set[str]:
    """Write all files; the characters that no source has are returned."""
    FONTS.mkdir(exist_ok=True)
    lost: set[str] = set()
    for faces, signs in SIGNS.items():
        found = set.intersection(*(cut(packages / face.source, face, kept) for face in faces))
        lost |= kept - found - cut(DEJAVU / signs.source, signs, kept - found)
    for source, target in LICENSES.items():
        shutil.copy(packages / source, FONTS / target)
    shutil.copy(DEJAVU / "LICENSE_DEJAVU", FONTS / "LICENSE-Signs.txt")
    return lost


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("packages", type=Path, metavar="NODE_MODULES", help="where npm put the fonts")
    asked.add_argument("--html", type=Path, default=ROOT / "_build" / "html", help="the built pages")
    args = asked.parse_args()
    on_pages = used(args.html)
    lost = make(args.packages / "@expo-google-fonts", ALWAYS | on_pages)
    for file in sorted(FONTS.glob("*.woff2")):
        print(f"{file.stat().st_size:7,} bytes  {file.name}")
    if lost:
        sys.exit(f"No source has {' '.join(f'{sign} (U+{ord(sign):04X})' for sign in sorted(lost))}.")


if __name__ == "__main__":
    main()
