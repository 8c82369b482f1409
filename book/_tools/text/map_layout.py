"""Where the boxes of the map of chapters stand, and the lines between them, so that no line crosses a box.

A line that passes a row gets a narrow slot there, between the boxes, as if it were a box. Boxes and slots of a row are
ordered by the middle of what they are connected with, which leaves few crossings; rows are centered. All of it follows
from rows and connections alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]


@dataclass(frozen=True)
class Sizes:
    """Pixels: a box, the space between two boxes or rows, and the width that a line needs where it passes a row."""

    box: tuple[int, int]
    gap: tuple[int, int]
    slot: int


@dataclass(frozen=True)
class Placed:
    """Width and height of the map, the upper left corner of each box, and the points through which each line goes.

    The points come in pairs: where a line leaves a row, and where it enters the next one.
    """

    size: tuple[int, int]
    boxes: dict[str, Point]
    lines: list[list[Point]]


def lay_out(rows: Mapping[str, int], needs: Mapping[str, Sequence[str]], sizes: Sizes) -> Placed:
    """The places of boxes and lines.

    Args:
        rows: Row of each box by name.
        needs: For each name the boxes above that a line leads from.
        sizes: Measures.
    """
    chains = [_chain(needed, name, rows) for name in rows for needed in needs[name]]
    ordered = _ordered(rows, chains)
    widths = {item: sizes.box[0] if item in rows else sizes.slot for row in ordered for item in row}
    full = [sum(widths[item] for item in row) + sizes.gap[0] * (len(row) - 1) for row in ordered]
    middles: dict[str, Point] = {}
    for number, row in enumerate(ordered):
        x = (max(full) - full[number]) / 2 + 1
        for item in row:
            middles[item] = (x + widths[item] / 2, number * (sizes.box[1] + sizes.gap[1]) + 1)
            x += widths[item] + sizes.gap[0]
    boxes = {name: (middles[name][0] - sizes.box[0] / 2, middles[name][1]) for name in rows}
    height = len(ordered) * (sizes.box[1] + sizes.gap[1]) - sizes.gap[1] + 2
    return Placed((max(full) + 2, height), boxes, [_points(chain, middles, sizes.box[1]) for chain in chains])


def _chain(start: str, end: str, rows: Mapping[str, int]) -> list[str]:
    """What a line goes through, row by row: a box, slots named after the line, and a box."""
    return [start, *(f"{start} {end} {row}" for row in range(rows[start] + 1, rows[end])), end]


def _ordered(rows: Mapping[str, int], chains: list[list[str]], rounds: int = 12) -> list[list[str]]:
    """The boxes and slots of each row from left to right: of the orders tried, the one with the fewest crossings."""
    found: list[list[str]] = [[] for _ in range(max(rows.values()) + 1)]
    for name, row in rows.items():
        found[row].append(name)
    for chain in chains:
        for row, item in enumerate(chain[1:-1], start=rows[chain[0]] + 1):
            found[row].append(item)
    steps = [step for chain in chains for step in pairwise(chain)]
    best = found
    for number in range(rounds):
        found = _swept(found, steps, down=number % 2 == 0)
        best = min(best, found, key=lambda order: crossings(order, steps))
    return best


def _swept(order: list[list[str]], steps: Iterable[tuple[str, str]], down: bool) -> list[list[str]]:
    """Each row ordered by the middle of what its items are connected with in the row that was ordered before it."""
    steps, found = list(steps), [list(row) for row in order]
    numbers = range(1, len(found)) if down else range(len(found) - 2, -1, -1)
    for number in numbers:
        other = found[number - 1 if down else number + 1]
        place = {item: (index + 0.5) / len(other) for index, item in enumerate(other)}
        own = {item: (index + 0.5) / len(found[number]) for index, item in enumerate(found[number])}
        near: dict[str, list[float]] = {item: [] for item in found[number]}
        for above, below in steps:
            item, connected = (below, above) if down else (above, below)
            if item in near and connected in place:
                near[item].append(place[connected])
        middle = {item: sum(places) / len(places) if places else own[item] for item, places in near.items()}
        found[number].sort(key=middle.__getitem__)
    return found


def crossings(order: Sequence[Sequence[str]], steps: Iterable[tuple[str, str]]) -> int:
    """How many pairs of lines cross between two rows."""
    place = {item: (number, index) for number, row in enumerate(order) for index, item in enumerate(row)}
    between: dict[int, list[tuple[int, int]]] = {}
    for above, below in steps:
        between.setdefault(place[above][0], []).append((place[above][1], place[below][1]))
    pairs = [(one, other) for lines in between.values() for one in lines for other in lines]
    return sum(one[0] < other[0] and one[1] > other[1] for one, other in pairs)


def _points(chain: list[str], middles: Mapping[str, Point], height: float) -> list[Point]:
    """Where a line leaves the lower edge of a row and enters the upper edge of the next, for each step of it."""
    points = []
    for above, below in pairwise(chain):
        points += [(middles[above][0], middles[above][1] + height), middles[below]]
    return points
