"""Wrong answers to the exercises of *The results*."""

from collections.abc import Callable
from typing import Any

from torch import Tensor


def gap(error: Callable[[Tensor, Tensor], Any]) -> Callable[[Tensor, Tensor], Any]:
    """The right gap with another error."""
    return lambda first, second: ((first - second).mean(), error(first, second))


WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "check_results_1": {
        "Still the stub": (lambda a, sa, b, sb, n: 0.0,),
        "deviations of single runs": (lambda a, sa, b, sb, n: (a - b) / (sa**2 + sb**2) ** 0.5,),
        "root of the number of seeds": (lambda a, sa, b, sb, n: (a - b) / ((sa**2 + sb**2) ** 0.5 / n),),
        "add as squares": (lambda a, sa, b, sb, n: (a - b) / ((sa + sb) / n**0.5),),
        "Only the first": (lambda a, sa, b, sb, n: (a - b) / (sa / n**0.5),),
        "Only the second": (lambda a, sa, b, sb, n: (a - b) / (sb / n**0.5),),
        "how often does it go": (lambda a, sa, b, sb, n: ((sa**2 + sb**2) / n) ** 0.5,),
        "which came first": (lambda a, sa, b, sb, n: (b - a) / ((sa**2 + sb**2) / n) ** 0.5,),
    },
    "check_results_2": {
        "Return two numbers": (lambda first, second: (first - second).mean(),),
        "still the stub": (lambda first, second: (0.0, 1.0),),
        "turned round": (lambda first, second: ((second - first).mean(), 1.0),),
        "this is a sum": (lambda first, second: ((first - second).sum(), 1.0),),
        "absolute values": (lambda first, second: ((first - second).abs().mean(), 1.0),),
        "first model's own": (gap(lambda first, second: first.std() / len(first) ** 0.5),),
        "different images": (gap(lambda first, second: ((first.var() + second.var()) / len(first)) ** 0.5),),
        "one image's difference": (gap(lambda first, second: (first - second).std()),),
        "not with N": (gap(lambda first, second: (first - second).std() / len(first)),),
    },
    "check_results_3": {
        "Return the names": (lambda learned, exact: None,),
        "Still the stub": (lambda learned, exact: [],),
        "averaged over": (lambda learned, exact: sorted(learned.keys() | exact.keys()),),
        "cannot have the same": (lambda learned, exact: ["lr", "recon_weight"],),
        "Equal in both": (lambda learned, exact: ["decay", "lr"],),
        "only one of the two": (
            lambda learned, exact: [key for key in learned if key in exact and learned[key] != exact[key] != 1],
        ),
        "Missing": (lambda learned, exact: ["clip_norm", "front"],),
        "not sorted": (lambda learned, exact: ["lr", "front", "clip_norm"],),
    },
}
