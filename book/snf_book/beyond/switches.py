"""The three differences between self-normalizing and exact training as switches: their names, and a drawing of them."""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snf_book.beyond.study import VARIANTS
from snf_lite.analysis.figures import BLUE, GREY, ORANGE, panels

ADDED = {"paper": " (the paper)", "alone-corrected": ", corrected", "tracked": ", R tracked"}


class Switches(NamedTuple):
    """Which differences are on (eq-between): Rᵀ for W⁻ᵀ, the penalty in W's gradient, the likelihood in R's."""

    substitution: bool
    pull: bool
    likelihood: bool

    @property
    def words(self) -> str:
        """The differences that are on, as the chapter names them."""
        names = ("substitution", "pull", "R's likelihood")
        found = [name for name, on in zip(names, self, strict=True) if on]
        return "all three" if len(found) == len(names) else " + ".join(found) or "none"


def switches(name: str) -> Switches:
    """Those of a variant of the study."""
    one = VARIANTS[name]
    return Switches(one.log_det != "W⁻ᵀ", one.acts_on == "W and R", one.inverse_learns_from.startswith("likelihood"))


def title(name: str) -> str:
    """A variant of the study in words: the differences that are on."""
    return "exact twin" if name == "exact" else switches(name).words + ADDED.get(name, "")


def draw_switches(on: Switches) -> Figure:
    """Where the gradients of W (left) and of R (right) come from: each term a line, three of them with a switch."""
    figure, (of_W, of_R) = panels(height=3.0)
    figure.set_layout_engine("none")  # nothing moves with the levers
    for axes, matrix, left in ((of_W, "W", 0.005), (of_R, "R", 0.51)):
        axes.set_position((left, 0.01, 0.485, 0.89))
        axes.set(xlim=(0, 10), ylim=(0, 8.6), title=f"gradient of {matrix}")
        axes.axis("off")
        _box(axes, 9.2, 4.0, matrix, 1.4)
    _term(of_W, 7.2, "density of z", 4.4)
    _choice(of_W, on.substitution)
    _term(of_W, 0.9, "penalty", 3.6, "2: pull", on.pull)
    _term(of_R, 6.2, "likelihood", 4.4, "3: R's likelihood", on.likelihood)
    _term(of_R, 1.9, "penalty", 3.6)
    return figure


def _line(axes: Axes, points: list[tuple[float, float]], color: str, style: str = "-") -> None:
    axes.plot(*zip(*points, strict=True), style, color=color, linewidth=1.8, solid_joinstyle="round")


def _box(axes: Axes, x: float, y: float, words: str, width: float) -> None:
    half = width / 2
    corners = [(x - half, y - 0.75), (x + half, y - 0.75), (x + half, y + 0.75), (x - half, y + 0.75)]
    _line(axes, [*corners, corners[0]], "black")
    axes.text(x, y, words, ha="center", va="center", fontsize=10)


def _term(axes: Axes, y: float, words: str, end: float, switch: str = "", on: bool = True) -> None:
    """A box and its line to the matrix, whole or with a lever: flat, or raised and open."""
    color, style = (BLUE if on else GREY, "-" if on else ":") if switch else ("black", "-")
    _box(axes, 1.9, y, words, 3.6)
    if switch:
        _line(axes, [(3.7, y), (4.6, y)], color, style)
        _line(axes, [(4.6, y), (6.4, y) if on else (6.1, y + 0.9)], color)
        axes.plot([4.6, 6.4], [y, y], "o", color=color, markersize=4)
        axes.text(5.6, y + 1.1, switch, ha="center", va="bottom", fontsize=9)
    _line(axes, [(6.4 if switch else 3.7, y), (7.9, y), (7.9, end), (8.5, end)], color, style)


def _choice(axes: Axes, substituted: bool) -> None:
    """The lever of the substitution leads from one of two matrices."""
    contact = {True: 3.4, False: 5.0}
    for learned, words in ((False, "W⁻ᵀ"), (True, "Rᵀ")):
        chosen = learned is substituted
        color = (BLUE if learned else ORANGE) if chosen else GREY
        y = contact[learned]
        _box(axes, 3.0, y + (-0.15 if learned else 0.15), words, 1.4)
        _line(axes, [(3.7, y), (4.9, y)], color, "-" if chosen else ":")
        axes.plot([4.9], [y], "o", color=color, markersize=4)
    color = BLUE if substituted else ORANGE
    _line(axes, [(6.5, 4.2), (4.9, contact[substituted])], color)
    _line(axes, [(6.5, 4.2), (8.5, 4.0)], color)
    axes.plot([6.5], [4.2], "o", color=color, markersize=4)
    axes.text(1.1, 4.2, "log|det W|", ha="center", va="center", fontsize=9)
    axes.text(5.4, 5.5, "1: substitution", ha="center", va="bottom", fontsize=9)
