"""Description of a compared system: authors, year, restriction, implementation."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from snf_book.prior_work.model import Model

#: How a system computes x from z, in the words of the chapter's table.
INVERSES = {
    "closed": "closed form",
    "in turn": "in sequence",
    "bisection": "bisection",
    "fixed point": "iteration",
    "Newton": "Newton",
    "series": "series",
    "solve": "linear solve",
    "learned": "learned",
}


@dataclass(frozen=True)
class System:
    """A published flow and how it is built here.

    Attributes:
        name: name in the talk and in this book.
        year: year of the first version.
        authors, paper: authors, and address of the paper.
        library: "zuko", "normflows", "pyro" or "snf_lite".
        code: class of the implementation.
        pattern: structure of a layer's Jacobian, in a few words.
        gives_up: restriction that makes the determinant cheap, in one sentence.
        inverse: key of ``INVERSES``.
        plane: seed → a fresh ``Model`` of points in the plane.
        digits: seed → a fresh model of the 8×8 digits; None unless the system is an image flow.
        layer: index of the plane model's step that shows the pattern.
        digits_layer: class of the layer that shows it on the digits.
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
