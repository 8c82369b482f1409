"""What the comparison says of a system: who, when, what it gives up, whose code."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from snf_book.prior_work.model import Model

#: How a system comes back from code to event.
INVERSES = {
    "closed": "in closed form, as fast as the code",
    "in turn": "number by number, in as many passes as an event has numbers",
    "bisection": "by bisection of increasing functions",
    "fixed point": "by iterating a contraction",
    "Newton": "by Newton's method, which works in a few dimensions",
    "series": "by the same power series",
    "solve": "by solving a linear system",
    "learned": "by the learned inverse in one pass, or exactly by solving a linear system",
}


@dataclass(frozen=True)
class System:
    """One published flow and how it is built here.

    Attributes:
        name: as the talk and this book call it.
        year: of the first version.
        authors, paper: who, and the address of the paper.
        library: "zuko", "normflows", "pyro", or "snf_lite" where the code is this package's.
        code: the class that is used.
        pattern: the shape of a layer's Jacobian, in a few words.
        gives_up: what buys the cheap determinant, in one sentence.
        inverse: a key of ``INVERSES``.
        plane: seed → a fresh ``Model`` of points in the plane.
        digits: seed → a fresh model of the 8×8 digits, for the systems of images; else None.
        layer: which step of the model of the plane shows the pattern.
        digits_layer: the class of the layer that shows it on the digits.
    """

    name: str
    year: int
    authors: str
    paper: str
    library: str
    code: str
    pattern: str
    gives_up: str
    inverse: str
    plane: Callable[[int], Model]
    digits: Callable[[int], nn.Module] | None = None
    layer: int = 0
    digits_layer: str = ""
