"""How exactly an inverse can be known: z comes back to rounding, x as far as the layer's conditioning lets it.

Where a layer is nearly flat, two inputs far apart have codes that agree in all their digits: an error of x says nothing
there, while the residual of z still does. So both are judged, x by the singular values of the Jacobian at that input.
"""

import torch
from torch import Tensor

from snf_lite import FlowLayer

#: Largest |f(x') - z|, relative to the largest |z| where that exceeds 1.
RESIDUAL = 1e-10
#: Largest |x' - x| of a well-conditioned layer, relative likewise.
DISTANCE = 1e-8
#: Some fifty roundings of a float64: what computing z may have added to it, relative likewise.
ROUNDING = 1e-14


def jacobian(layer: FlowLayer, event: Tensor) -> Tensor:
    """The Jacobian of one event by autograd, (D, D); it keeps the graph to the layer's parameters."""
    by_autograd = torch.autograd.functional.jacobian(
        lambda one: layer.transform(one[None])[0], event, create_graph=True
    )
    return by_autograd.reshape(event.numel(), event.numel())


def close(got: Tensor, wanted: Tensor, bound: float) -> None:
    """Largest difference within ``bound``, relative to the wanted numbers where they exceed 1."""
    scale, worst = size(wanted), float((got - wanted).detach().abs().max()) if wanted.numel() else 0.0
    assert worst <= bound * scale, f"differs by {worst:.2e} where numbers reach {scale:.2e}"


def size(numbers: Tensor) -> float:
    """The largest absolute value, or 1 where all are smaller."""
    return max(1.0, float(numbers.detach().abs().max()) if numbers.numel() else 1.0)


def require_round_trip(layer: FlowLayer, x: Tensor, back: Tensor) -> None:
    """AssertionError unless ``back`` (B, *event_shape) is f⁻¹(f(x)) as far as float64 can tell."""
    z = layer(x)[0]
    close(layer(back)[0], z, RESIDUAL)
    for event, code, returned in zip(x, z, back, strict=True):
        smallest = float(torch.linalg.svdvals(jacobian(layer, event).detach()).min())
        allowed = DISTANCE * size(event) + ROUNDING * size(code) / smallest
        distance = float((returned - event).detach().abs().max())
        judged = f"x differs by {distance:.2e}; a smallest slope of {smallest:.2e} allows {allowed:.2e}"
        assert distance <= allowed, judged
