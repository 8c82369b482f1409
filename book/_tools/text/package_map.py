"""The packages as lists and as a drawing: the files to read in README, every module and the floors in CONTRIBUTING.

The order of the parts comes from the import contract in ``pyproject.toml``, what a module holds from the first sentence
of its docstring. ``make pages`` writes both documents and the drawing.
"""

import ast
import functools
import re
import tomllib
from pathlib import Path

from paths import ROOT, write

from text.charts import drawing, line, text
from text.placeholders import fill, marks

PICTURE = ROOT / "book" / "_static" / "package.svg"
#: The paper in ten files, in the order in which they explain each other.
READING = (
    "layer", "chain", "flow", "dense", "conv", "surrogate", "geco", "models/architectures", "linalg/dense_matrix",
    "training/fit",
)  # fmt: skip
PACKAGES = {"snf_lite": ROOT / "snf_lite", "snf_book": ROOT / "book" / "snf_book"}
#: Pixels: a box of the drawing, and the gaps between boxes side by side and above each other.
BOX, GAP = (120, 26), (12, 14)
WIDTH = 600


@functools.cache
def floors() -> list[list[str]]:
    """The parts of ``snf_lite`` from top to bottom, those on one floor side by side, as the contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (library,) = (contract for contract in contracts if contract["id"] == "library")
    return [re.split(r"\s*\|\s*", layer) for layer in library["layers"]]


def summary(path: Path) -> str:
    """The first sentence of a module's docstring, without the full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    first = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=[^.])\.(?:\s|$)", first)[0].replace("|", r"\|")


def reading_list() -> str:
    """The files of the theory as a numbered list with links."""
    paths = [ROOT / "snf_lite" / f"{name}.py" for name in READING]
    places = [path.relative_to(ROOT).as_posix() for path in paths]
    lines = [f"1. [{place}]({place}): {summary(path)}" for place, path in zip(places, paths, strict=True)]
    return "\n\n" + "\n".join(lines) + "\n\n"


def parts() -> str:
    """A table of the folders of both packages: what each holds, and its modules."""
    rows = []
    for package, root in PACKAGES.items():
        folders = [root, *sorted(path for path in root.iterdir() if (path / "__init__.py").exists())]
        for folder in folders:
            inside = folder.glob("*.py") if folder == root else folder.rglob("*.py")
            names = ", ".join(f"`{p.stem}`" for p in sorted(inside) if p.name not in ("__init__.py", "__main__.py"))
            place = f"{package}/" if folder == root else f"{package}/{folder.name}/"
            rows.append(f"| `{place}` | {summary(folder / '__init__.py')} | {names} |")
    return "\n\n" + "\n".join(["| folder | holds | modules |", "|---|---|---|", *rows]) + "\n\n"


def picture() -> str:
    """The floors of ``snf_lite`` as boxes, drawn on white: a part imports only from boxes below its own."""
    shapes = []
    shown = [floor for floor in floors() if floor not in (["__main__"], ["_version"])]
    height = len(shown) * (BOX[1] + GAP[1]) + GAP[1]
    shapes.append(f'<rect width="{WIDTH}" height="{height}" fill="white"/>')
    for row, floor in enumerate(shown):
        y, width = GAP[1] + row * (BOX[1] + GAP[1]), len(floor) * (BOX[0] + GAP[0]) - GAP[0]
        for column, part in enumerate(floor):
            x = (WIDTH - width) / 2 + column * (BOX[0] + GAP[0])
            frame = f'x="{x:.0f}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="4"'
            shapes.append(f'<rect {frame} fill="none" stroke="black"/>')
            shapes.append(text(x + BOX[0] / 2, y + BOX[1] / 2, part, "middle", "black"))
        if row:
            shapes.append(line([(WIDTH / 2, y - GAP[1] + 2), (WIDTH / 2, y - 2)], "black"))
    words = "From top to bottom: " + "; ".join(" and ".join(floor) for floor in shown) + "."
    svg = drawing("package", (WIDTH, height), "Who may import whom in snf_lite", words, shapes)
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="13" ', 1)


def documents() -> dict[Path, str]:
    """The files that this module writes, with the text that they should have."""
    readme, contributing = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
    found = {PICTURE: picture() + "\n"}
    for path, blocks in ((readme, {"reading": reading_list()}), (contributing, {"modules": parts()})):
        before = path.read_text("utf-8")
        found[path] = fill(before, {**dict(marks(before)), **blocks})
    return found


def main() -> None:
    for path, wanted in documents().items():
        write(path, wanted)
