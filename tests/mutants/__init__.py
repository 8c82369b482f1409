"""Wrong lines that the tests have to find, by what they are in: a name tells the mistake one would make there."""

from . import (
    ablation,
    algebra,
    convolutions,
    elementwise,
    free_form,
    gap,
    glow,
    gradients,
    prior_work,
    tracked,
    unbiased,
)

PARTS = (ablation, algebra, convolutions, elementwise, free_form, gap, glow, gradients, prior_work, tracked, unbiased)
MUTANTS = {name: mutant for part in PARTS for name, mutant in part.MUTANTS.items()}
assert len(MUTANTS) == sum(len(part.MUTANTS) for part in PARTS), "two mutants have one name"
