"""The comparison: train each system in the same way and measure it."""

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

#: Points for Jacobians and round trips, and for times; the same for images; digit samples to store.
CHECKED, TIMED = 300, 1000
CHECKED_IMAGES, TIMED_IMAGES, SAMPLES = 8, 100, 24
#: Element-wise preprocessing at the start of an image flow.
PREPROCESSING = (Dequantize, Logit, Standardize)
#: Powers of ten of the logarithmic scale on which Jacobians of images are stored.
DECADES = 3


def compare(names: Sequence[str], seed: int, report: Callable[[str], None]) -> dict[str, Any]:
    """All measurements of the record, for the systems of these names; ``report`` gets a line for each."""
    entries = {}
    for name in names:
        entries[name] = measure(system_named(name), seed)
        report(f"{name}: {summary(entries[name])}")
    for part in ("plane", "digits"):
        if any(entry[part] for entry in entries.values()):
            record.with_ratios(entries, part)
    report("published code at random parameters")
    test = points(TEST, seed + 1)
    return {
        "truth": float(true_log_prob(test).mean()),
        "systems": entries,
        "candidates": [examine(candidate, seed) for candidate in CANDIDATES],
        "impostor": impostor(seed),
        "series": series(seed),
    }


def summary(entry: dict[str, Any]) -> str:
    """One line for an entry."""
    plane = entry["plane"]
    return f"log p {plane['log_prob']:.3f}, integral {plane['integral']:.4f}, {plane['train_seconds']:.0f} s"


def measure(system: System, seed: int) -> dict[str, Any]:
    """An entry of the record without its ratios: the system in the plane and, for an image flow, on digits."""
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
    """A system's trained model of the plane, cached, and the training time in seconds."""
    return trained_in_plane(system_named(name).plane(seed), seed)


def trained_in_plane(model: Model, seed: int) -> tuple[Model, float]:
    """The model after training, and the training time in seconds."""
    started = time.perf_counter()
    fit(model, model.loss, points(TRAIN, seed), seed, PLANE, model.after_step)
    return model, time.perf_counter() - started


def plane_of(system: System, seed: int) -> dict[str, Any]:
    """Measurements of a system in the plane: values in float64, times in the float32 of its training."""
    model, seconds = trained_system(system.name, seed)
    with isolated_rng("cpu", seed, "prior work", "times"):
        times = _times(lambda: model.log_prob(points(TIMED, seed + 2)), lambda: model.sample(TIMED))
    exact, test = copy.deepcopy(model).double(), points(TEST, seed + 1).double()
    log_prob = exact.log_prob(test).detach()
    density = measures.density_grid(exact)
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
        error, back = None, float((model.flow.inverse(model.flow.code(cells)) - cells).abs().max())
        whole = measures.lattice_pattern(model.flow.code, cells)
        single = measures.lattice_pattern(lambda n: model.flow.couplings[0](n.double()), cells)
    else:
        step = model.steps[layer]
        whole = measures.pattern(model.code, x)
        single = measures.pattern(lambda h: step(h)[0], measures.inputs_of(model, layer, x))
        back = float((model.back(model.code(x).detach()) - x).detach().abs().max())
        error = measures.log_det_error(model, x)
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
    """Measurements of an image flow on the 8×8 digits."""
    assert system.digits is not None
    model, started = system.digits(seed), time.perf_counter()
    fit_digits(model, seed, DIGITS)
    seconds, test = time.perf_counter() - started, load("digits", "test").as_subclass(Tensor)
    with isolated_rng("cpu", seed, "prior work", "digits"), torch.no_grad():
        found = _digits_log_prob(model, test)
        times = _times(lambda: _digits_log_prob(model, test[:TIMED_IMAGES]), lambda: _sample(model, TIMED_IMAGES))
        samples = _sample(model, SAMPLES)
    with isolated_rng("cpu", seed, "prior work", "jacobian"):
        checks = _image_checks(copy.deepcopy(model).double(), test[:CHECKED_IMAGES], system.digits_layer)
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


def _image_checks(model: nn.Module, images: Tensor, layer: str) -> dict[str, Any]:
    if isinstance(model, IntegerFlow):
        whole = measures.lattice_pattern(model.code, images.long())
        single = measures.lattice_pattern(model.couplings[0], images.flatten(1).double())
        return {"log_det_error": None, "pattern": _shades(whole), "layer_pattern": _shades(single)}
    assert isinstance(model, Flow)
    steps = list(model.layers)
    x = steps[0](images)[0].double()  # dequantized pixels: differentiable from here on

    def rest(h: Tensor) -> tuple[Tensor, Tensor]:
        total = h.new_zeros(len(h))
        for step in steps[1:]:
            h, log_det = step(h)
            total = total + log_det
        return h, total

    number = next(i for i, step in enumerate(steps) if type(step).__name__ == layer)
    first = next(i for i, step in enumerate(steps) if not isinstance(step, PREPROCESSING))
    behind = through(steps[1:first], x)  # the slopes of the logit would dominate
    whole = measures.pattern(lambda h: through(steps[first:], h), behind)
    single = measures.pattern(lambda h: steps[number](h)[0], through(steps[first:number], behind))
    return {
        "log_det_error": measures.log_det_error(rest, x),
        "pattern": _shades(whole),
        "layer_pattern": _shades(single),
    }


def through(steps: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Output of the steps for the input x, without log-determinants."""
    for step in steps:
        x = step(x)[0]
    return x


def _shades(matrix: Tensor) -> str:
    """A Jacobian's entries on a logarithmic scale; 0 is ``DECADES`` powers of ten below the largest."""
    scaled = (matrix / matrix.max()).clamp_min(1e-30).log10() / DECADES + 1
    return record.encoded(scaled.clamp(0, 1), 1.0)


# ---- what breaks -----------------------------------------------------------------------------------------------------


def impostor(seed: int) -> dict[str, Any]:
    """pyro's Sylvester flow, trained like the others with the log-determinants that it reports."""
    layer = library("pyro.distributions.transforms").Sylvester
    fresh: Model = build_seeded(seed, lambda: Model(PyroStep(layer(2, 2)) for _ in range(MANY)))
    model, _ = trained_in_plane(fresh, seed)
    test = points(TEST, seed + 1)
    density = measures.density_grid(model)
    z, jacobian = latent_and_jacobian(model.code, test)
    found = -0.5 * z.square().sum(1) - math.log(2 * math.pi) + torch.linalg.slogdet(jacobian).logabsdet
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
    """Truncation error of a residual layer's power series by number of terms, and the spread of its random estimate.

    For the first layer of the trained i-ResNet: the largest norm of its Jacobian over the points; the mean and the
    largest error of the series' first n terms; the bound. For the trained residual flow: mean and standard deviation,
    over draws, of its estimate of one point's log|det|, and the exact value.
    """
    x = points(CHECKED, seed + 1).double()
    model = copy.deepcopy(trained_system("i-ResNet", seed)[0]).double()
    first = model.steps[0]
    _, whole = latent_and_jacobian(lambda h: first(h)[0], x)
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
    """One point's log|det| of the trained residual flow: exact, and estimated as in training."""
    model = copy.deepcopy(trained_system("residual flows", seed)[0])
    x = points(1, seed + 1)
    exact = float(model(x)[1].detach())
    model.train()
    with isolated_rng("cpu", seed, "prior work", "roulette"):
        each = torch.stack([model(x)[1].detach()[0] for _ in range(draws)])
    return {"exact": exact, "estimate": float(each.mean()), "deviation": float(each.std())}
