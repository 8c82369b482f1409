"""The comparison: train a system as all others are trained, and measure it."""

import copy
import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snf_book.prior_work import measures, record
from snf_book.prior_work.flows.integer_flow import IntegerFlow
from snf_book.prior_work.flows.integer_model import LatticeModel
from snf_book.prior_work.model import Model
from snf_book.prior_work.system import System
from snf_book.prior_work.systems import LEVELS, MANY, system_named
from snf_book.prior_work.third_party import PyroStep, build_seeded, library
from snf_book.prior_work.training import DIGITS, PLANE, TEST, TRAIN, fit, fit_digits, points, true_log_prob
from snf_book.prior_work.verification import CANDIDATES, examine
from snf_lite.analysis.jacobian import latent_and_jacobian
from snf_lite.data.datasets import load
from snf_lite.flow import Flow
from snf_lite.layers.preprocessing import Dequantize, Logit, Standardize
from snf_lite.runtime.rng import isolated_rng

#: Events that Jacobians, round trips and times are taken over; pictures, likewise; samples of digits that are kept.
CHECKED, TIMED = 300, 1000
CHECKED_PICTURES, TIMED_PICTURES, SAMPLES = 8, 100, 24
#: What stands in front of a flow of pictures and treats every pixel alone.
PREPROCESSING = (Dequantize, Logit, Standardize)
#: Jacobians of pictures are kept on a logarithmic scale of so many powers of ten.
DECADES = 3


def compare(names: Sequence[str], seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything that the record holds of its measurements, for the systems of these names."""
    entries = {}
    for name in names:
        entries[name] = measure(system_named(name), seed)
        say(f"{name}: {summary(entries[name])}")
    for part in ("plane", "digits"):
        if any(entry[part] for entry in entries.values()):
            record.with_ratios(entries, part)
    say("published code at random parameters")
    test = points(TEST, seed + 1)
    return {
        "truth": float(true_log_prob(test).mean()),
        "systems": entries,
        "candidates": [examine(candidate, seed) for candidate in CANDIDATES],
        "impostor": impostor(seed),
        "series": series(seed),
    }


def summary(entry: dict[str, Any]) -> str:
    """An entry in a line."""
    plane = entry["plane"]
    return f"log p {plane['log_prob']:.3f}, integral {plane['integral']:.4f}, {plane['train_seconds']:.0f} s"


def measure(system: System, seed: int) -> dict[str, Any]:
    """An entry of the record but for its ratios: the system in the plane and, where it is one of images, on digits."""
    digits = None if system.digits is None else digits_of(system, seed)
    return {
        "year": system.year,
        "library": system.library,
        "code": system.code,
        "plane": plane_of(system, seed),
        "digits": digits,
    }


# ---- in the plane ----------------------------------------------------------------------------------------------------


@functools.cache
def trained_system(name: str, seed: int) -> tuple[Model, float]:
    """A system's model of the plane after its training, which happens once, and the seconds it took."""
    return trained_in_plane(system_named(name).plane(seed), seed)


def trained_in_plane(model: Model, seed: int) -> tuple[Model, float]:
    """The model after its training, and the seconds it took."""
    started = time.perf_counter()
    fit(model, model.loss, points(TRAIN, seed), seed, PLANE, model.after_step)
    return model, time.perf_counter() - started


def plane_of(system: System, seed: int) -> dict[str, Any]:
    """What is measured of a system in the plane: exact figures in float64, times in the float32 it was trained in."""
    model, seconds = trained_system(system.name, seed)
    with isolated_rng("cpu", seed, "prior work", "times"):
        times = _times(lambda: model.log_prob(points(TIMED, seed + 2)), lambda: model.sample(TIMED))
    exact, test = copy.deepcopy(model).double(), points(TEST, seed + 1).double()
    log_prob = exact.log_prob(test).detach()
    density = measures.picture(exact)
    return {
        "steps": PLANE.steps,
        "train_seconds": seconds,
        "parameters": measures.parameters(model),
        "log_prob": float(log_prob.mean()),
        "standard_error": float(log_prob.std() / len(test) ** 0.5),
        "integral": measures.integral(exact),
        **_checks(exact, test[:CHECKED], system.layer),
        "seconds": times,
        "brightest": float(density.max()),
        "density": record.encoded(density, float(density.max())),
    }


def _checks(model: Model, x: Tensor, layer: int) -> dict[str, Any]:
    if isinstance(model, LatticeModel):
        cells = model.cells(x)
        found = measures.lattice_pattern(model.flow.code, cells)
        back = float((model.flow.inverse(model.flow.code(cells)) - cells).abs().max())
        first = measures.lattice_pattern(lambda events: model.flow.couplings[0](events.double()), cells)
        return _patterns(None, back, found, first)
    step = model.steps[layer]
    whole = measures.pattern(model.code, x)
    single = measures.pattern(lambda events: step(events)[0], measures.inputs_of(model, layer, x))
    back = float((model.back(model.code(x).detach()) - x).detach().abs().max())
    return _patterns(measures.log_det_error(model, x), back, whole, single)


def _patterns(error: float | None, back: float | None, whole: Tensor, single: Tensor) -> dict[str, Any]:
    return {
        "log_det_error": error,
        "round_trip": back,
        "pattern": whole.tolist(),
        "layer_pattern": single.tolist(),
    }


def _times(density: Callable[[], Any], sample: Callable[[], Any]) -> dict[str, float]:
    return {"density": measures.best_time(density), "sample": measures.best_time(sample)}


# ---- on the digits ---------------------------------------------------------------------------------------------------


def digits_of(system: System, seed: int) -> dict[str, Any]:
    """What is measured of a system of images on the 8×8 digits."""
    assert system.digits is not None
    model, started = system.digits(seed), time.perf_counter()
    fit_digits(model, seed, DIGITS)
    seconds, test = time.perf_counter() - started, load("digits", "test").as_subclass(Tensor)
    with isolated_rng("cpu", seed, "prior work", "digits"), torch.no_grad():
        found = _digits_log_prob(model, test)
        times = _times(lambda: _digits_log_prob(model, test[:TIMED_PICTURES]), lambda: _sample(model, TIMED_PICTURES))
        samples = _sample(model, SAMPLES)
    with isolated_rng("cpu", seed, "prior work", "jacobian"):
        checks = _picture_checks(copy.deepcopy(model).double(), test[:CHECKED_PICTURES], system.digits_layer)
    return {
        "steps": DIGITS.steps,
        "train_seconds": seconds,
        "parameters": measures.parameters(model),
        "nats": -float(found.mean()),
        "standard_error": float(found.std() / len(test) ** 0.5),
        **checks,
        "seconds": times,
        "samples": record.encoded(samples.clamp(0, LEVELS - 1).double(), LEVELS - 1),
    }


def _digits_log_prob(model: nn.Module, x: Tensor) -> Tensor:
    if isinstance(model, IntegerFlow):
        return model.log_prob(x.long())
    assert isinstance(model, Flow)
    return model.log_prob(x)


def _sample(model: nn.Module, n: int) -> Tensor:
    if isinstance(model, IntegerFlow):
        return model.sample(n)
    assert isinstance(model, Flow)
    return model.sample(n, exact=True)


def _picture_checks(model: nn.Module, pictures: Tensor, layer: str) -> dict[str, Any]:
    if isinstance(model, IntegerFlow):
        whole = measures.lattice_pattern(model.code, pictures.long())
        numbers = pictures.flatten(1).double()
        single = measures.lattice_pattern(model.couplings[0], numbers)
        return {"log_det_error": None, "pattern": _shades(whole), "layer_pattern": _shades(single)}
    assert isinstance(model, Flow)
    steps = list(model.layers)
    x = steps[0](pictures)[0].double()  # pixels with their noise: from here on there are derivatives

    def rest(event: Tensor) -> tuple[Tensor, Tensor]:
        total = event.new_zeros(len(event))
        for step in steps[1:]:
            event, log_det = step(event)
            total = total + log_det
        return event, total

    number = next(i for i, step in enumerate(steps) if type(step).__name__ == layer)
    first = next(i for i, step in enumerate(steps) if not isinstance(step, PREPROCESSING))
    behind = through(steps[1:first], x)  # the slopes of the logit would outshine all others
    whole = measures.pattern(lambda event: through(steps[first:], event), behind)
    single = measures.pattern(lambda event: steps[number](event)[0], through(steps[first:number], behind))
    return {
        "log_det_error": measures.log_det_error(rest, x),
        "pattern": _shades(whole),
        "layer_pattern": _shades(single),
    }


def through(steps: Sequence[nn.Module], x: Tensor) -> Tensor:
    """x after some steps, without their log-determinants."""
    for step in steps:
        x = step(x)[0]
    return x


def _shades(matrix: Tensor) -> str:
    """A Jacobian's entries on a logarithmic scale, 0 for what is ``DECADES`` powers of ten below the largest."""
    scaled = (matrix / matrix.max()).clamp_min(1e-30).log10() / DECADES + 1
    return record.encoded(scaled.clamp(0, 1), 1.0)


# ---- what breaks -----------------------------------------------------------------------------------------------------


def impostor(seed: int) -> dict[str, Any]:
    """pyro's Sylvester flow, trained like the others by the log-determinants that it claims."""
    layer = library("pyro.distributions.transforms").Sylvester

    def build() -> Model:
        return Model(PyroStep(layer(2, 2)) for _ in range(MANY))

    model, _ = trained_in_plane(build_seeded(seed, build), seed)
    test = points(TEST, seed + 1)
    density = measures.picture(model)
    code, jacobian = latent_and_jacobian(model.code, test)
    found = -0.5 * code.square().sum(1) - math.log(2 * math.pi) + torch.linalg.slogdet(jacobian).logabsdet
    return {
        "code": "pyro.distributions.transforms.Sylvester",
        "claimed": float(model.log_prob(test).detach().mean()),
        "true": float(found.mean()),
        "integral": measures.integral(model),
        "log_det_error": measures.log_det_error(model, test[:CHECKED]),
        "brightest": float(density.max()),
        "density": record.encoded(density, float(density.max())),
    }


def series(seed: int, terms: int = 10, draws: int = 100) -> dict[str, Any]:
    """What the power series of a residual layer leaves out, over the number of terms, and what chance adds to it.

    Of the first layer of the trained i-ResNet: the largest norm of its Jacobian over events; the mean and the largest
    error of the series' first n terms; the bound. Of the trained residual flow: the mean over draws of its estimate of
    one event's log|det|, its deviation, and the truth.
    """
    events = points(CHECKED, seed + 1).double()
    model = copy.deepcopy(trained_system("i-ResNet", seed)[0]).double()
    first = model.steps[0]
    _, whole = latent_and_jacobian(lambda x: first(x)[0], events)
    inner, exact = whole - torch.eye(2, dtype=torch.float64), torch.linalg.slogdet(whole).logabsdet
    norm = float(torch.linalg.matrix_norm(inner, ord=2).max())
    errors = [(measures.series_log_det(inner, n) - exact).abs() for n in range(1, terms + 1)]
    return {
        "norm": norm,
        "mean_error": [float(error.mean()) for error in errors],
        "largest_error": [float(error.max()) for error in errors],
        "bound": [measures.series_remainder(norm, n, 2) for n in range(1, terms + 1)],
        **_roulette(seed, draws),
    }


def _roulette(seed: int, draws: int) -> dict[str, float]:
    """One event's log|det| by a trained residual flow: exact, and estimated as in training."""
    model = copy.deepcopy(trained_system("residual flows", seed)[0])
    event = points(1, seed + 1)
    exact = float(model(event)[1].detach())
    model.train()
    with isolated_rng("cpu", seed, "prior work", "roulette"):
        each = torch.stack([model(event)[1].detach()[0] for _ in range(draws)])
    return {"exact": exact, "estimate": float(each.mean()), "deviation": float(each.std())}
