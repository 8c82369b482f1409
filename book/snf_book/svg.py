"""An SVG of matplotlib in fewer bytes: the same drawing, its text as text in whatever font the reader has."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from itertools import groupby

from PIL import Image

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
NUMBER = re.compile(r"-?\d*\.?\d+(?:e[-+]?\d+)?")
REFERENCE = re.compile(r"url\(#([^)]+)\)")
EMBEDDED = "data:image/png;base64,"
#: Properties that matplotlib writes as a style and that are shorter as attributes. Families of fonts are left out.
KEPT = re.compile(r"fill|stroke|opacity|text-anchor|font-(size|style|weight)|clip|image-rendering|marker")
#: ``font: italic 700 10px 'DejaVu Sans', sans-serif``, as older versions write it.
SHORT = re.compile(r"(?P<style>italic|oblique)?\s*(?P<weight>bold|\d00)?\s*(?P<size>[\d.]+px)")
UNDERSTOOD = {("text-anchor", "start"), ("stroke-dashoffset", "0"), ("stroke-width", "1")}
COLOR = re.compile(r"^#(\w)\1(\w)\2(\w)\3$")
GEOMETRY = ("x", "y", "d", "href", "id", "transform", "width", "height", "points", "cx", "cy", "r", "clip-path")

FewerColors = Callable[[Image.Image], Image.Image]


def slim(text: str, width: int, fewer_colors: FewerColors) -> str:
    """The drawing with numbers of two decimals, and without names, groups and definitions that nothing needs.

    Args:
        text: What matplotlib writes with ``svg.fonttype`` "none".
        width: Width in pixels of a page.
        fewer_colors: Changes each embedded image before it is stored.
    """
    root = ET.fromstring(text)
    box = [float(number) for number in root.attrib["viewBox"].split()]
    height = str(round(width * box[3] / box[2]))
    viewed = " ".join(map(_number, box))
    root.attrib.clear()
    for element in list(root.iter()):
        _attributes(element, fewer_colors)
        _join(element)
    _rename(root)
    _prune(root)
    _drop_defined(root)
    _merge(root)
    _hoist(root)
    root.attrib = {"viewBox": viewed, "width": str(width), "height": height, "font-family": "sans-serif"}
    root.attrib["stroke-linejoin"] = "round"
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        words = element.tag in ("text", "tspan") and not len(element)
        element.text, element.tail = element.text if words else None, None
    return ET.tostring(root, "unicode").replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def _number(value: float | str) -> str:
    short = f"{float(value):.2f}".rstrip("0").rstrip(".")
    return "0" if short in ("", "-0") else short


def _numbers(text: str) -> str:
    return NUMBER.sub(lambda found: _number(found.group()), text)


def _attributes(element: ET.Element, fewer_colors: FewerColors) -> None:
    """Style as attributes, links without a namespace, numbers rounded."""
    for name, value in _style(element.attrib.pop("style", "")):
        if (name, value) not in UNDERSTOOD:
            element.set(name, COLOR.sub(r"#\1\2\3", value))
    if link := element.attrib.pop(LINK, ""):
        element.set("href", _image(link, fewer_colors) if link.startswith(EMBEDDED) else link)
    if "d" in element.attrib:
        element.set("d", _path(element.attrib["d"]))
    if "transform" in element.attrib:
        _transform(element)
    for name in ("x", "y", "width", "height", "stroke-width", "stroke-dasharray", "font-size"):
        if name in element.attrib:
            element.set(name, _numbers(element.attrib[name]).removesuffix("px"))


def _style(text: str) -> list[tuple[str, str]]:
    pairs = [(name.strip(), value.strip()) for name, _, value in (part.partition(":") for part in text.split(";"))]
    found = [(name, value) for name, value in pairs if KEPT.match(name)]
    for value in (value for name, value in pairs if name == "font"):
        short = SHORT.match(value)
        parts = short.groupdict() if short else {}
        found += [(f"font-{name}", part) for name, part in parts.items() if part]
    return found


def _path(text: str) -> str:
    """Each point relative to the one before, in hundredths so that rounding does not add up; few letters and blanks."""
    shown, before, at, start = "", "", (0, 0), (0, 0)
    for letter, digits in re.findall(r"([A-Za-z])([^A-Za-z]*)", text):
        values = [round(100 * float(number)) for number in NUMBER.findall(digits)]
        points = list(zip(values[::2], values[1::2], strict=True))
        if letter in "zZ":
            shown, before, at = f"{shown}z", "z", start
        elif letter == "M":
            at = start = points[0]
            shown, before = f"{shown}M{_joined(at)}", letter
        else:
            command, numbers = _relative(letter, [(x - at[0], y - at[1]) for x, y in points])
            shown += numbers if command == before else command + numbers.removeprefix(" ")
            before, at = command, points[-1]
    return shown


def _relative(letter: str, moves: list[tuple[int, int]]) -> tuple[str, str]:
    """A command and its numbers: level and upright lines have commands of their own."""
    across, up = moves[0]
    if letter == "L" and up == 0:
        return "h", _spaced(across)
    if letter == "L" and across == 0:
        return "v", _spaced(up)
    return letter.lower(), "".join(_spaced(value) for move in moves for value in move)


def _joined(point: tuple[int, int]) -> str:
    return "".join(map(_spaced, point)).removeprefix(" ")


def _spaced(hundredths: int) -> str:
    """A number with what separates it from the one before."""
    short = _number(hundredths / 100).replace("0.", ".", 1) if abs(hundredths) < 100 else _number(hundredths / 100)
    return short if short.startswith("-") else f" {short}"


def _transform(element: ET.Element) -> None:
    """A rotation by nothing is none; factors of a scale keep their digits, since they are small."""
    kept = [part for part in re.findall(r"\w+\([^)]*\)", element.attrib.pop("transform")) if "rotate(-0 " not in part]
    kept = [part if part.startswith(("scale", "matrix")) else _numbers(part) for part in kept]
    if kept:
        element.set("transform", " ".join(kept))


def _image(link: str, fewer_colors: FewerColors) -> str:
    content = base64.b64decode(link.removeprefix(EMBEDDED))
    image, file = Image.open(io.BytesIO(content)), io.BytesIO()
    opaque = image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255)
    fewer_colors(image.convert("RGB" if opaque else "RGBA")).save(file, "png", optimize=True)
    small = min(file.getvalue(), content, key=len)
    return EMBEDDED + base64.b64encode(small).decode("ascii")


def _join(text: ET.Element) -> None:
    """Letters of a formula that follow one another on a line as one piece, spaced as the reader's font has it."""
    for letters in list(text):
        if letters.tag == f"{SVG}tspan":
            _attributes(letters, lambda image: image)
    pieces = [child for child in text if child.tag == f"{SVG}tspan"]
    for _, run in groupby(pieces, key=lambda piece: {**piece.attrib, "x": ""}):
        first, *others = run
        first.set("x", first.attrib["x"].split()[0])
        first.text = "".join(piece.text or "" for piece in (first, *others))
        for piece in others:
            text.remove(piece)


def _rename(root: ET.Element) -> None:
    """Short names for what something refers to; the other names go."""
    used = {name for element in root.iter() for name in _names(element)}
    short: dict[str, str] = {}
    for element in root.iter():
        name = element.attrib.pop("id", "")
        if name in used:
            short[name] = f"n{len(short)}"
            element.set("id", short[name])
    for element in root.iter():
        for name in _names(element):
            for key in ("href", "clip-path", "fill"):
                if element.get(key) in (f"#{name}", f"url(#{name})"):
                    element.set(key, element.attrib[key].replace(f"#{name}", f"#{short[name]}"))


def _names(element: ET.Element) -> list[str]:
    """What an element refers to."""
    link = element.get("href", "")
    named = [found for value in element.attrib.values() for found in REFERENCE.findall(value)]
    return [*named, link[1:]] if link.startswith("#") else named


def _prune(parent: ET.Element) -> None:
    """Take away what draws nothing, and groups without attributes."""
    for child in list(parent):
        _prune(child)
        place = list(parent).index(child)
        kind = child.tag.removeprefix(SVG)
        unseen = kind == "path" and child.get("fill") == "none" and not child.get("stroke")
        unseen |= kind == "text" and not "".join(child.itertext()).strip()
        empty = unseen or kind in ("metadata", "style") or (kind in ("g", "defs") and not len(child))
        if empty or (kind == "g" and not child.attrib):
            parent.remove(child)
            for number, grandchild in enumerate([] if empty else list(child)):
                parent.insert(place + number, grandchild)


def _drop_defined(root: ET.Element) -> None:
    """An attribute of a definition holds wherever it is used."""
    defined = {f"#{name}": element for element in root.iter() if (name := element.get("id"))}
    for element in root.iter(f"{SVG}use"):
        for name in defined[element.attrib["href"]].attrib.keys() - set(GEOMETRY):
            element.attrib.pop(name, None)


def _merge(parent: ET.Element) -> None:
    """Opaque paths that follow one another and look alike, as one."""
    for child in parent:
        _merge(child)
    before: ET.Element | None = None
    for child in list(parent):
        looks = {**child.attrib, "d": ""}
        plain = child.tag == f"{SVG}path" and "id" not in looks and not any("opacity" in name for name in looks)
        if plain and before is not None and {**before.attrib, "d": ""} == looks:
            before.set("d", before.get("d", "") + child.get("d", ""))  # none of one that is clipped away whole
            parent.remove(child)
        else:
            before = child if plain else None


def _hoist(parent: ET.Element) -> None:
    """Attributes that all children of a group share are the group's."""
    for child in parent:
        _hoist(child)
    if parent.tag != f"{SVG}g" or len(parent) < 2:
        return
    for name, value in list(parent[0].attrib.items()):
        if name not in GEOMETRY and name not in parent.attrib and all(one.get(name) == value for one in parent):
            parent.set(name, value)
            for one in parent:
                del one.attrib[name]
