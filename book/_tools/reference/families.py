"""The pages that place flows among other models: ``why-densities.md`` with its figure, ``where-flows-stand.md``.

An author writes both; between their marks stand the figure and the numbers of the stored runs. ``make notebooks``
writes these.
"""

import itertools
import math

from paths import ROOT, write
from text.charts import drawing, line, marker, text
from text.pair_table import signed
from text.placeholders import fill

from snf_lite.analysis.figures import BLUE, GREY
from snf_lite.experiments.archive import records_root
from snf_lite.experiments.results import Comparison, Group, comparisons, grouped, read_all

PAGES = tuple(ROOT / "book" / f"{name}.md" for name in ("why-densities", "where-flows-stand"))
SIZE = (200, 120)
PIXELS, LEVELS = 784, 256

# ---- the figure ------------------------------------------------------------------------------------------------------


def node(x: float, y: float, words: str) -> list[str]:
    """A letter in a circle."""
    ring = f'<circle cx="{x:g}" cy="{y:g}" r="13" fill="none" stroke="currentColor"/>'
    return [ring, text(x, y, words, "middle")]


def arrow(start: tuple[float, float], end: tuple[float, float], dashes: str = "") -> list[str]:
    """A line that ends in a triangle."""
    length = math.dist(start, end)
    across, down = (end[0] - start[0]) / length, (end[1] - start[1]) / length
    corners = [end] + [(end[0] - 7 * across + side * down, end[1] - 7 * down - side * across) for side in (-3.5, 3.5)]
    head = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return [line([start, end], BLUE, dashes, 1.5), f'<polygon points="{head}" fill="{BLUE}"/>']


def pair(upper: str, lower: str, dashes: str = "") -> list[str]:
    """x and z, an arrow each way between them; dashed where it is random."""
    nodes = [*node(30, 60, "x"), *node(170, 60, "z")]
    ways = [*arrow((46, 50), (154, 50), dashes), *arrow((154, 70), (46, 70), dashes)]
    return [*nodes, *ways, text(100, 36, upper, "middle"), text(100, 86, lower, "middle")]


def adversarial() -> list[str]:
    """A generator from z to x, and a discriminator that looks at x."""
    nodes = [*node(30, 40, "x"), *node(170, 40, "z"), *arrow((154, 40), (46, 40)), text(100, 26, "generator", "middle")]
    return [*nodes, *arrow((30, 56), (30, 92), "3 3"), text(44, 98, "real or generated?")]


def autoregressive() -> list[str]:
    """Four numbers, each of which depends on all before it."""
    places = [28, 76, 124, 172]
    lines = [part for k, x in enumerate(places) for part in node(x, 60, "x" + "₁₂₃₄"[k])]
    for left, right in itertools.pairwise(places):
        lines += arrow((left + 14, 60), (right - 14, 60))
    for far, rise in ((2, 30), (3, 44)):
        path = f"M{places[0]},46 Q{(places[0] + places[far]) / 2},{46 - rise} {places[far]},46"
        lines.append(f'<path d="{path}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>')
        lines.append(marker("^", places[far], 44, BLUE, 3))
    return [*lines, text(100, 98, "one after the other", "middle")]


def diffusion() -> list[str]:
    """Many small steps between x and noise."""
    places = [30, 65, 100, 135, 170]
    lines = [*node(30, 60, "x"), *node(170, 60, "z")]
    lines += [marker("o", x, 60, GREY, 4) for x in places[1:-1]]
    for left, right in itertools.pairwise(places):
        near, far = (14 if left == 30 else 7), (14 if right == 170 else 7)
        lines += [*arrow((left + near, 52), (right - far, 52), "3 3"), *arrow((right - far, 68), (left + near, 68))]
    return [
        *lines,
        text(100, 36, "add a little noise", "middle"),
        text(100, 86, "remove it again", "middle"),
    ]


FAMILIES = {
    "Generative adversarial network": ("No density: two networks compete.", adversarial),
    "Variational autoencoder": ("Both ways are random: a bound on log p.", lambda: pair("encoder", "decoder", "3 3")),
    "Autoregressive model": ("An exact density, one number at a time.", autoregressive),
    "Diffusion model": ("Many small steps.", diffusion),
    "Normalizing flow": ("One invertible map: an exact density.", lambda: pair("f", "its inverse")),
}


def card(number: int, name: str) -> str:
    """One family: its drawing, its name and a sentence."""
    words, draw = FAMILIES[name]
    picture = drawing(f"family-{number}", SIZE, name, words, draw())
    return (
        f'<figure class="snf-panel">\n{picture}\n<figcaption><strong>{name}.</strong> {words}</figcaption>\n</figure>'
    )


def figure() -> str:
    """The five families, beside one another where they fit."""
    cards = "\n".join(card(number, name) for number, name in enumerate(FAMILIES, start=1))
    return f'<div class="snf-panels">\n{cards}\n</div>'


# ---- the numbers of the stored runs ----------------------------------------------------------------------------------


def best_on_mnist(groups: list[Group]) -> Group:
    """The runs on MNIST with the smallest mean negative log-likelihood."""
    return min((group for group in groups if group.data == "mnist"), key=lambda group: group.mean)


def compression(groups: list[Group]) -> dict[str, str]:
    """Bits for an image of MNIST: as its pixels are stored, and by the best of the stored flows."""
    bits = best_on_mnist(groups).mean / math.log(2)
    stored = PIXELS * math.log2(LEVELS)
    return {
        "bits": f"{bits / PIXELS:.2f}",
        "image_bits": f"{bits:.0f}",
        "stored_bits": f"{stored:,.0f}",
        "smaller": f"{stored / bits:.1f}",
    }


def _on_mnist(found: list[Comparison], family: str) -> list[Comparison]:
    return [one for one in found if (one.beyond.exact.row.family, one.beyond.exact.data) == (family, "mnist")]


def gaps(found: list[Comparison]) -> dict[str, str]:
    """What the paper's gradients cost on MNIST over the most seeds, and the exact ones beyond the paper."""
    values = {}
    for family in ("dense", "conv"):
        one = max(_on_mnist(found, family), key=lambda one: (len(one.beyond.gaps), one.beyond.exact.epochs))
        values[f"{family}_paper"] = signed(one.paper.mean) if one.paper else "not run"
        values[f"{family}_beyond"] = signed(one.beyond.mean)
        values[f"{family}_seeds"] = str(len(one.beyond.gaps))
        values[f"{family}_epochs"] = str(one.beyond.exact.epochs)
    longest = max(_on_mnist(found, "dense"), key=lambda one: one.beyond.exact.epochs)
    values["dense_longest"] = signed(longest.paper.mean) if longest.paper else "not run"
    values["dense_longest_beyond"] = signed(longest.beyond.mean)
    values["dense_longest_epochs"] = str(longest.beyond.exact.epochs)
    return values


def values() -> dict[str, str]:
    """Name of a mark of either page → what stands there."""
    groups = grouped(read_all(records_root()))
    return {"figure": f"\n\n{figure()}\n\n", **compression(groups), **gaps(comparisons(groups))}


def main() -> None:
    found = values()
    for page in PAGES:
        write(page, fill(page.read_text("utf-8"), found))
