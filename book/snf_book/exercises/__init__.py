"""Checkers of the book's exercises: each takes the reader's answer and explains what is wrong with it.

One module per chapter, in a folder for the part of the book. A checker never raises for a reader's answer: it returns a
``Verdict``, and a notebook shows its message.
"""

from collections.abc import Callable

from snf_book.exercises.beyond import (
    exact_for_free,
    free_form_flows,
    tracked_inverse,
    where_it_ends,
    where_the_gap,
)
from snf_book.exercises.images import (
    convolutions,
    from_densities_to_images,
    glow,
    mnist_convolutional,
    mnist_dense,
    sampling,
)
from snf_book.exercises.the_idea import (
    densities_that_move,
    gradient_of_log_det,
    learned_inverse,
    two_dimensional_flows,
    what_it_costs,
)
from snf_book.exercises.the_record import prior_work, results, your_own_data
from snf_book.exercises.verdict import Verdict

_CHAPTERS = (
    densities_that_move, gradient_of_log_det, learned_inverse, two_dimensional_flows, what_it_costs,
    from_densities_to_images, mnist_dense, convolutions, mnist_convolutional, glow, sampling,
    where_the_gap, tracked_inverse, exact_for_free, free_form_flows, where_it_ends,
    results, your_own_data, prior_work,
)  # fmt: skip
#: Every ``check_…`` function by name; each is also an attribute of this package.
CHECKERS: dict[str, Callable[..., Verdict]] = {
    name: value for module in _CHAPTERS for name, value in vars(module).items() if name.startswith("check_")
}
globals().update(CHECKERS)
__all__ = ["Verdict", *CHECKERS]
