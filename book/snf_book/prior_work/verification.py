"""Verification of published flows: log-determinants, round trips and integrals at random parameters."""

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

#: Standard deviation of the noise on every parameter: near the initialization most errors are small.
NOISE = 0.3
#: Largest accepted error of a log-determinant in nats, in float64; some libraries add 1e-8 on purpose.
WRONG = 1e-4
#: Grids of the integral: sinh of even steps from -REACH to REACH, which covers long tails.
REACH, CELLS = 7.0, (400, 640)
#: If the ratio of the integrals over two grids differs more from 1, the density is too steep for a conclusion.
GRIDS_AGREE = 5e-3


@dataclass(frozen=True)
class Candidate:
    """A library's implementation of one of the systems.

    Attributes:
        system: name of the system.
        library, code: library and class.
        build: function that returns fresh steps x → z.
        shape: event shape.
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
    network = library("normflows.nets").LipschitzMLP([2, 32, 32, 2], lipschitz_const=0.9, init_zeros=False)
    return [NormflowsInvertible(library("normflows.flows").Residual(network), backward=True, bounded=True)]


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
    """Compare a candidate's claims with the truth, at random parameters in float64.

    Returns:
        ``system``, ``library``, ``code``; ``log_det_error``, the largest difference of the reported log|det| from the
        Jacobian's over 200 standard normal points, in nats; ``round_trip``, the largest error of its own inverse, None
        if it has none; ``integrals`` over a coarse and a fine grid that reach ±500, empty for images.
    """
    with _float64(), isolated_rng("cpu", seed, candidate.library, candidate.code):
        model = randomized(Model(candidate.build()), candidate.shape)
        x = torch.randn(200, *candidate.shape)
        round_trip = None
        if all(hasattr(step, "inverse") for step in model.steps):
            with torch.no_grad():
                round_trip = float((model.back(model.code(x)) - x).abs().max())
        return {
            "system": candidate.system,
            "library": candidate.library,
            "code": candidate.code,
            "log_det_error": log_det_error(model, x),
            "round_trip": round_trip,
            "integrals": [warped_integral(model.log_prob, REACH, n) for n in cells if candidate.shape == (2,)],
        }


def randomized(model: Model, shape: tuple[int, ...]) -> Model:
    """Add noise to every parameter and restore the library's bounds on the weights; the model is in eval mode."""
    model(torch.randn(64, *shape))  # for layers that are initialized by their first batch
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(NOISE * torch.randn_like(parameter))
    for _ in range(40):
        model.after_step()
    return model.eval()


def warped_integral(log_prob: Callable[[Tensor], Tensor], reach: float, cells: int) -> float:
    """∫ p over the plane by x = sinh(t), with even steps of t: fine near 0, coarse far out."""
    centers = (torch.arange(cells) + 0.5) * (2 * reach / cells) - reach
    stretch = centers.cosh() * (2 * reach / cells)
    density = in_parts(log_prob, torch.cartesian_prod(centers.sinh(), centers.sinh()))
    return float((density.reshape(cells, cells) * torch.outer(stretch, stretch)).sum())


def fault(found: dict[str, Any]) -> str:
    """Description of the errors that ``examine`` found; empty if there are none."""
    faults = {
        f"its log|det| is off by up to {found['log_det_error']:.2f} nats": found["log_det_error"] > WRONG,
        f"its inverse misses by up to {found['round_trip'] or 0:.1f}": (found["round_trip"] or 0) > WRONG,
        f"it integrates to {(found['integrals'] or [1])[-1]:.3f}": mass_is_missing(found["integrals"]),
    }
    return "; ".join(words for words, wrong in faults.items() if wrong)


def mass_is_missing(integrals: Sequence[float]) -> bool:
    """Whether the grids agree with each other that the density does not integrate to 1 within 2 %."""
    if not integrals or min(integrals) <= 0:
        return False
    return max(integrals) / min(integrals) - 1 < GRIDS_AGREE and abs(integrals[-1] - 1) > 0.02
