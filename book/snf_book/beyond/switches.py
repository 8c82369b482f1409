"""The three differences between self-normalizing and exact training as switches: their names, and a drawing of them."""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snf_book.beyond.study import VARIANTS
from snf_lite.analysis.figures import BLUE, GREY, ORANGE, panels

#: What the names of the variants say beside their switches.
ADDED = {"paper": " (the paper)", "alone-corrected": ", corrected", "tracked": ", R tracked"}


class Switches(NamedTuple):
    """Which differences are on (eq-between).

    ``substitution``: Rᵀ in place of W⁻ᵀ; ``pull``: the penalty acts on W too; ``likelihood``: R has a part from it.
    """

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
    variant = VARIANTS[name]
    return Switches(
        variant.log_det != "W⁻ᵀ", variant.acts_on == "W and R", variant.inverse_learns_from.startswith("likelihood")
    )


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
    _source(of_W, 7.2, "density of z")
    _line(of_W, [(3.7, 7.2), (7.9, 7.2), (7.9, 4.4), (8.5, 4.4)], "black")
    _choice(of_W, on.substitution)
    _source(of_W, 0.9, "penalty")
    _switch(of_W, 0.9, "2", "pull", on.pull)
    _line(of_W, [(6.4, 0.9), (7.9, 0.9), (7.9, 3.6), (8.5, 3.6)], *_live(on.pull))
    _source(of_R, 6.2, "likelihood")
    _switch(of_R, 6.2, "3", "R's likelihood", on.likelihood)
    _line(of_R, [(6.4, 6.2), (7.9, 6.2), (7.9, 4.4), (8.5, 4.4)], *_live(on.likelihood))
    _source(of_R, 1.9, "penalty")
    _line(of_R, [(3.7, 1.9), (7.9, 1.9), (7.9, 3.6), (8.5, 3.6)], "black")
    return figure


def _live(on: bool) -> tuple[str, str]:
    """Color and style of a line that a switch opens or closes."""
    return (BLUE, "-") if on else (GREY, ":")


def _line(axes: Axes, points: list[tuple[float, float]], color: str, style: str = "-") -> None:
    axes.plot(*zip(*points, strict=True), style, color=color, linewidth=1.8, solid_joinstyle="round")


def _box(axes: Axes, x: float, y: float, words: str, width: float) -> None:
    half = width / 2
    corners = [(x - half, y - 0.75), (x + half, y - 0.75), (x + half, y + 0.75), (x - half, y + 0.75)]
    _line(axes, [*corners, corners[0]], "black")
    axes.text(x, y, words, ha="center", va="center", fontsize=10)


def _source(axes: Axes, y: float, words: str) -> None:
    _box(axes, 1.9, y, words, 3.6)


def _switch(axes: Axes, y: float, digit: str, words: str, on: bool) -> None:
    """A line with a lever: flat and whole, or raised and open."""
    color, style = _live(on)
    _line(axes, [(3.7, y), (4.6, y)], color, style)
    _line(axes, [(4.6, y), (6.4, y) if on else (6.1, y + 0.9)], color)
    axes.plot([4.6, 6.4], [y, y], "o", color=color, markersize=4)
    axes.text(5.6, y + 1.1, f"{digit}: {words}", ha="center", va="bottom", fontsize=9)


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
