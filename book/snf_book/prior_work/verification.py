"""Published code held against its own claims: log-determinants, round trips and integrals at random parameters."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snf_book.prior_work.measures import in_parts, log_det_error
from snf_book.prior_work.model import Model
from snf_book.prior_work.third_party import NormflowsInvertible, NormflowsStep, PyroStep, library, zuko_steps
from snf_lite.runtime.rng import isolated_rng

#: Added to every parameter: near their start most mistakes are small.
NOISE = 0.3
#: A log-determinant is wrong from here on, in nats: float64, and some add 1e-8 on purpose.
WRONG = 1e-4
#: The grids of the integral: sinh of even steps from -REACH to REACH, so that long tails are on them.
REACH, CELLS = 7.0, (400, 640)
#: Integrals over two grids whose ratio is farther from 1 say that the density is too steep for them, and nothing else.
GRIDS_AGREE = 5e-3


@dataclass(frozen=True)
class Candidate:
    """Something that a library offers for one of the systems.

    Attributes:
        system: whose.
        library, code: where it comes from.
        build: fresh steps from event to code.
        shape: of an event.
    """

    system: str
    library: str
    code: str
    build: Callable[[], Sequence[nn.Module]]
    shape: tuple[int, ...] = (2,)


def _zuko(system: str, name: str, inverted: bool = False, **settings: Any) -> Candidate:
    described = "".join(f", {key} = {value}" for key, value in settings.items()) + ", inverted" * inverted
    return Candidate(
        system, "zuko", f"flows.{name}{described}",
        lambda: zuko_steps(getattr(library("zuko.flows"), name)(2, **settings), inverted),
    )  # fmt: skip


def _pyro(system: str, name: str, *arguments: Any, **settings: Any) -> Candidate:
    described = "".join(f", {key} = {value}" for key, value in settings.items())
    return Candidate(
        system, "pyro", f"{name}{described}",
        lambda: [
            PyroStep(getattr(library("pyro.distributions.transforms"), name)(2, *arguments, **settings))
            for _ in range(2)
        ],
    )  # fmt: skip


def _normflows(system: str, name: str, *arguments: Any, backward: bool = False, **settings: Any) -> Candidate:
    step = NormflowsInvertible if backward else NormflowsStep
    described = "".join(f", {key} = {value}" for key, value in settings.items())
    return Candidate(
        system, "normflows", f"{name}{described}",
        lambda: [
            step(getattr(library("normflows.flows"), name)(*arguments, **settings), backward) for _ in range(2)
        ],
    )  # fmt: skip


def _residual() -> list[nn.Module]:
    nets, flows = library("normflows.nets"), library("normflows.flows")
    net = nets.LipschitzMLP([2, 32, 32, 2], lipschitz_const=0.9, init_zeros=False)
    return [NormflowsInvertible(flows.Residual(net), backward=True, bounded=True)]


CANDIDATES: tuple[Candidate, ...] = (
    _zuko("NICE", "NICE", transforms=2),
    _zuko("Real NVP", "RealNVP", transforms=2),
    _zuko("MAF", "MAF", transforms=2),
    _zuko("IAF", "MAF", inverted=True, transforms=2),
    _pyro("IAF", "affine_autoregressive"),
    _zuko("NAF", "NAF", transforms=1),
    _zuko("NAF", "NAF", transforms=2),
    _pyro("NAF", "neural_autoregressive"),
    _pyro("NAF", "neural_autoregressive", activation="ELU"),
    _zuko("sum-of-squares polynomial", "SOSPF", transforms=1),
    _zuko("sum-of-squares polynomial", "SOSPF", transforms=2),
    _pyro("sum-of-squares polynomial", "polynomial"),
    _zuko("neural spline", "NSF", transforms=2),
    _normflows("neural spline", "AutoregressiveRationalQuadraticSpline", 2, 1, 16, backward=True),
    _normflows("planar", "Planar", (2,)),
    _pyro("planar", "Planar"),
    _normflows("radial", "Radial", (2,)),
    _pyro("radial", "Radial"),
    _pyro("Sylvester", "Sylvester", 2),
    _pyro("B-NAF", "BlockAutoregressive"),
    _pyro("B-NAF", "BlockAutoregressive", residual="gated"),
    Candidate("residual flows", "normflows", "Residual", _residual),
    Candidate(
        "Glow", "normflows", "GlowBlock",
        lambda: [NormflowsInvertible(library("normflows.flows").GlowBlock(4, 8), backward=True)], (4, 2, 2),
    ),
)  # fmt: skip


@contextmanager
def _float64() -> Iterator[None]:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


def examine(candidate: Candidate, seed: int = 0, cells: tuple[int, ...] = CELLS) -> dict[str, Any]:
    """What a candidate claims against what is so, at random parameters in float64.

    Returns:
        ``system``, ``library``, ``code``; ``log_det_error``, the largest difference of the claimed log|det| from the
        Jacobian's over 200 standard normal events, in nats; ``round_trip``, the largest distance of an event from where
        its own inverse brings its code, None where it has no inverse; ``integrals`` over a coarse and a fine grid that
        reach ±500, empty for pictures.
    """
    with _float64(), isolated_rng("cpu", seed, candidate.library, candidate.code):
        model = randomised(Model(candidate.build()))
        x = torch.randn(200, *candidate.shape)
        invertible = all(hasattr(step, "inverse") for step in model.steps)
        return {
            "system": candidate.system,
            "library": candidate.library,
            "code": candidate.code,
            "log_det_error": log_det_error(model, x),
            "round_trip": _round_trip(model, x) if invertible else None,
            "integrals": [warped_integral(model.log_prob, REACH, n) for n in cells if candidate.shape == (2,)],
        }


def randomised(model: Model) -> Model:
    """Noise on every parameter; the library's own bounds on the weights are restored, and nothing trains."""
    model(torch.randn(64, *_shape(model)))  # what starts from its first batch has started
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(NOISE * torch.randn_like(parameter))
    for _ in range(40):
        model.after_step()
    return model.eval()


def _shape(model: Model) -> tuple[int, ...]:
    return (4, 2, 2) if type(getattr(model.steps[0], "flow", None)).__name__ == "GlowBlock" else (2,)


def _round_trip(model: Model, x: Tensor) -> float:
    with torch.no_grad():
        return float((model.back(model.code(x)) - x).abs().max())


def warped_integral(log_prob: Callable[[Tensor], Tensor], reach: float, cells: int) -> float:
    """∫ p over the plane by x = sinh(t): even steps of t, fine around 0 and far out coarse."""
    centres = (torch.arange(cells) + 0.5) * (2 * reach / cells) - reach
    stretch = centres.cosh() * (2 * reach / cells)
    density = in_parts(log_prob, torch.cartesian_prod(centres.sinh(), centres.sinh()))
    return float((density.reshape(cells, cells) * torch.outer(stretch, stretch)).sum())


def fault(found: dict[str, Any]) -> str:
    """What is wrong with what ``examine`` found, in a few words; empty where nothing is."""
    faults = {
        f"its log|det| is off by up to {found['log_det_error']:.2f} nats": found["log_det_error"] > WRONG,
        f"its inverse misses by up to {found['round_trip'] or 0:.1f}": (found["round_trip"] or 0) > WRONG,
        f"it integrates to {(found['integrals'] or [1])[-1]:.3f}": mass_is_missing(found["integrals"]),
    }
    return "; ".join(words for words, wrong in faults.items() if wrong)


def mass_is_missing(integrals: Sequence[float]) -> bool:
    """Whether grids that agree with one another say that a density does not integrate to 1 within 2 %."""
    if not integrals or min(integrals) <= 0:
        return False
    return max(integrals) / min(integrals) - 1 < GRIDS_AGREE and abs(integrals[-1] - 1) > 0.02
