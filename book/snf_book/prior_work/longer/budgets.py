"""Longer training of the systems in the plane: more steps, a rate for each, and a larger model for some."""

import time
from collections.abc import Callable
from typing import Any

from snf_book.prior_work import measures, record
from snf_book.prior_work.flows.bnaf import BlockAutoregressive
from snf_book.prior_work.model import Model
from snf_book.prior_work.systems import residual, system_named
from snf_book.prior_work.third_party import build_seeded
from snf_book.prior_work.training import TEST, TRAIN, Budget, fit, points

#: Cells along a side of the stored densities.
CELLS = 80
#: What most systems get, and what those get whose step takes three times as long.
MOST, SLOW = Budget(6000, 256, 5e-3), Budget(3000, 256, 5e-3)
#: B-NAF's rate is that of its authors' experiments in the plane, which take 15,000 steps.
BUDGETS: dict[str, Budget] = {
    "Glow": SLOW,
    "i-ResNet": SLOW,
    "emerging convolutions": SLOW,
    "Flow++": SLOW,
    "B-NAF": Budget(10_000, 256, 1e-2),
    "integer discrete flows": Budget(10_000, 256, 5e-3),
    "residual flows": SLOW,
    "convolution exponential": SLOW,
}
#: Systems whose model in the short comparison is too small for the density: what is larger, and the larger model.
LARGER: dict[str, tuple[str, Callable[[], Model]]] = {
    "i-ResNet": ("eight blocks in place of four", lambda: residual(blocks=8, n_power_series=5)),
    "residual flows": ("eight blocks in place of four", lambda: residual(blocks=8)),
    "B-NAF": ("fifty hidden units a number in place of 24", lambda: Model([BlockAutoregressive(2, 50, 2)])),
}


def budget_of(name: str) -> Budget:
    """Steps, batch size and initial learning rate of a system's longer training."""
    return BUDGETS.get(name, MOST)


def setting(name: str) -> dict[str, Any]:
    """The entries of a run that describe its training."""
    budget = budget_of(name)
    larger = LARGER[name][0] if name in LARGER else ""
    return {"steps": budget.steps, "batch": budget.batch, "lr": budget.lr, "larger": larger}


def build(name: str, seed: int) -> Model:
    """A fresh model for the longer training."""
    if name not in LARGER:
        return system_named(name).plane(seed)
    larger: Model = build_seeded(seed, LARGER[name][1])
    return larger


def train_and_measure(name: str, seed: int) -> dict[str, Any]:
    """The entry of a system in the record of longer runs: its training, and its density in float64."""
    model, started = build(name, seed), time.process_time()
    fit(model, model.loss, points(TRAIN, seed), seed, budget_of(name), model.after_step)
    seconds = time.process_time() - started
    model, test = model.double(), points(TEST, seed + 1).double()
    log_prob, density = model.log_prob(test).detach(), measures.density_grid(model, CELLS)
    return {
        **setting(name),
        "train_seconds": seconds,
        "parameters": measures.parameters(model),
        "log_prob": float(log_prob.mean()),
        "standard_error": float(log_prob.std() / len(test) ** 0.5),
        "integral": measures.integral(model),
        "brightest": float(density.max()),
        "density": record.encoded(density, float(density.max())),
    }
