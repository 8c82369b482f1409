"""Checks of arguments: every message names the layer or function (its label), what was expected and what was got."""

import math
import operator
import sys
import warnings
from collections.abc import Iterable, Mapping, Set
from contextlib import AbstractContextManager, nullcontext
from difflib import get_close_matches
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor, nn


class NotInvertibleError(ValueError):
    """A layer's linear map has no inverse: its log-determinant is -inf.

    Example:
        >>> layer = snf.ExactLinear(2)
        >>> _ = layer.weight.data.zero_()
        >>> layer(torch.zeros(1, 2))
        Traceback (most recent call last):
        snf_lite.runtime.checks.NotInvertibleError: ExactLinear: the weight is singular: ...
    """


#: Largest integer of torch, which has 64 bits for one.
LARGEST = 2**63 - 1


def shown(value: Any) -> str:
    """A value in a message; of an array its shape; of an integer beyond 64 bits the number of bits.

    Python may not write such an integer.
    """
    if getattr(value, "shape", ()):
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    huge = isinstance(value, int) and abs(value) > LARGEST
    return f"an integer of {value.bit_length()} bits" if huge else repr(value)


def nearest(word: Any, known: Iterable[str]) -> str:
    """A question with the known word that begins with or is most like the given one; empty if none is."""
    names, given = list(known), str(word)
    begun = [name for name in names if len(given) > 2 and name.startswith(given)]
    found = begun or get_close_matches(given, names, n=1)
    return f". Did you mean {found[0]}?" if found else ""


def warn(text: str) -> None:
    """Give a UserWarning at the line outside of this package and of torch that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("snf_lite", "torch", "contextlib"):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, UserWarning, stacklevel=level)


def is_eager(x: Tensor) -> bool:
    """False while a compiler traces, a CUDA graph records or a transform of torch.func runs, and for x on ``meta``.

    A check on values would break each of them, and a tensor cached from inside one would be invalid later; tensors on
    torch's ``meta`` device have shapes and no values.
    """
    if torch.compiler.is_compiling() or under_functorch() or x.is_meta:
        return False
    return not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())


def under_functorch() -> bool:
    """Whether a transform of torch.func runs, such as vmap. torch has no public API for this."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None


def under_autocast(x: Tensor) -> bool:
    """Whether products with x may come out in half precision."""
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Within the block products with x keep its dtype."""
    return torch.autocast(x.device.type, enabled=False) if under_autocast(x) else nullcontext()


def described(value: Any) -> str:
    """A value in a message: a tensor by shape and dtype, a tuple by what it holds, all else by type."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}: {', '.join(map(described, value))}"
    return "None" if value is None else f"a {type(value).__name__}"


def all_finite(x: Tensor) -> bool:
    """Whether x holds neither NaN nor infinity; True where values cannot be read."""
    return not is_eager(x) or bool(torch.isfinite(x).all())


def require_finite_input(x: Tensor, label: str) -> None:
    if not all_finite(x):
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(f"{label}: expected finite input, got {bad} NaN or infinite of {x.numel()} numbers.")


def require_finite_output(y: Tensor, label: str, what: str) -> None:
    if not all_finite(y):
        bad = int((~torch.isfinite(y)).sum())
        raise FloatingPointError(
            f"{label}: {what} is not finite in {bad} of {y.numel()} numbers, from finite input: "
            "the layer has lost invertibility or overflowed."
        )


def require_tensor(x: Any, label: str, dtype: torch.dtype | None = None) -> None:
    """Refuse anything but a dense tensor; the message converts arrays and lists to ``dtype``."""
    if not isinstance(x, Tensor):
        as_dtype = "" if dtype is None else f", dtype={dtype}"
        way = f": type torch.as_tensor(x{as_dtype})" if hasattr(x, "__array__") or isinstance(x, list) else ""
        raise TypeError(f"{label}: expected a torch.Tensor, got {type(x).__name__}{way}.")
    if x.is_nested or x.layout != torch.strided:
        kind = "nested" if x.is_nested else str(x.layout)
        raise TypeError(f"{label}: expected a dense tensor, got a {kind} one: type x.to_dense().")


def require_on_device(x: Tensor, device: torch.device, label: str) -> None:
    """Refuse x on ``meta`` where the parameters have values, or on another device than they."""
    if x.device != device:
        way = "a tensor on meta has no values" if x.is_meta else f"move it by .to({str(device)!r})"
        raise ValueError(f"{label}: expected input on {device}, where the flow is, got it on {x.device}: {way}.")


def require_single_or_double(dtype: torch.dtype, label: str) -> None:
    """Refuse parameters of half precision, in which no log-determinant can be computed."""
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"{label}: expected parameters of torch.float32 or torch.float64, got {dtype}: type flow.float(); for "
            "training in half precision keep float32 and use torch.autocast, or fit(..., precision='bf16')."
        )


def require_points(x: Tensor, levels: int, label: str, whole: bool) -> None:
    """Refuse pixels given as floats: scaled to [0, 1], or as ``whole`` numbers if those are not meant.

    ``Dequantize`` adds no noise to floats, so a density that is fitted to whole numbers has no bound.
    """
    if not x.numel() or not is_eager(x):
        return
    x = x.detach()
    top = float(x.max())
    if 0 <= float(x.min()) and top <= 1:
        got = f"{x.dtype} up to {top:g}, as if scaled to [0, 1]: type (x * {levels - 1}).round().to(torch.uint8)"
    elif whole or not bool((x == x.round()).all()):
        return
    else:
        got = f"whole numbers as {x.dtype}: type x.to(torch.uint8)"
    raise TypeError(f"{label}: expected pixels as torch.uint8, or points from 0 to {levels}, got {got}.")


def require_batch(x: Any, label: str) -> None:
    """Refuse anything but a finite float tensor (B, ...) of at least one data point."""
    require_tensor(x, label)
    require_dtype(x, None, label)
    if x.dim() < 2 or len(x) == 0:
        raise ValueError(f"{label}: expected a batch of at least one data point, (B, ...), got shape {tuple(x.shape)}.")
    require_finite_input(x, label)


def require_dtype(x: Tensor, dtype: torch.dtype | None, label: str) -> None:
    """Refuse integers, and floats that differ from the parameters' dtype (None: any float)."""
    if not x.is_floating_point() or (dtype is not None and x.dtype != dtype):
        raise TypeError(f"{label}: expected {dtype or 'floating-point'} input, got {x.dtype}{_way_to(x, dtype)}.")


def _way_to(x: Tensor, dtype: torch.dtype | None) -> str:
    """What to type so that x has the dtype of the parameters."""
    if dtype not in (torch.float32, torch.float64) or x.is_complex() or x.dtype == dtype:
        return ""
    if x.dtype == torch.uint8:
        return ": for pixels build the flow with levels=256 (Dequantize(256) in front), for other numbers type x." + (
            "float()" if dtype == torch.float32 else "double()"
        )
    if dtype == torch.float32:
        return ": type x.float()" + (", or flow.double()" if x.dtype == torch.float64 else "")
    return ": type x.double()"


def require_batch_of(x: Tensor, event_shape: tuple[int, ...], label: str) -> None:
    """Refuse x unless its shape is (B, *event_shape)."""
    if tuple(x.shape[1:]) != event_shape or x.dim() == 0:
        wanted = ", ".join(["B", *map(str, event_shape)])
        raise ValueError(f"{label}: expected input of shape ({wanted}), got {tuple(x.shape)}.")


def context_of(context: Any, features: int | None, batch: int, dtype: torch.dtype | None, label: str) -> Tensor | None:
    """The context (B, K) of a batch from (B, K), or from (K,) for all data points; None where none is used.

    Args:
        context: What a caller gave; None: nothing.
        features: K; None: no context is used, and one that is given is refused.
    """
    if features is None:
        if context is not None:
            raise ValueError(f"{label}: takes no context, as none of its layers has context_features, but got one.")
        return None
    if context is None:
        raise ValueError(f"{label}: is conditioned, expected context= as a tensor (B, {features}), got none.")
    label = f"{label}, context"
    require_tensor(context, label, dtype)
    require_dtype(context, dtype, label)
    if tuple(context.shape) not in ((features,), (batch, features)):
        wanted = f"shape ({batch}, {features}), or ({features},) for all data points"
        raise ValueError(f"{label}: expected {wanted}, got {tuple(context.shape)}.")
    require_finite_input(context, label)
    return context.expand(batch, features)


def integer(
    value: Any, name: str, label: str, *, at_least: int, at_most: float = LARGEST, wanted: str
) -> int:  # fmt: skip
    """Refuse anything but an integer (numpy's too) within bounds; ``wanted`` describes them in the message."""
    integral = isinstance(value, SupportsIndex) and not isinstance(value, bool) and not getattr(value, "shape", ())
    if not integral or not at_least <= operator.index(value) <= at_most:
        raise ValueError(f"{label}: expected {name} {wanted}, got {shown(value)}.")
    return operator.index(value)


def positive_integer(value: Any, name: str, label: str) -> int:
    return integer(value, name, label, at_least=1, wanted="to be a positive integer")


def boolean(value: Any, name: str, label: str) -> bool:
    """Refuse anything but True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{label}: expected {name} to be True or False, got {value!r}.")
    return value


def shape_tuple(value: Any, name: str, label: str) -> tuple[int, ...]:
    """Refuse anything but a sequence of positive integers."""
    if isinstance(value, str | Mapping | Set) or not isinstance(value, Iterable):
        way = f": type ({value},)" if isinstance(value, int) else ""
        raise TypeError(f"{label}: expected {name} to be a tuple of sizes, got {value!r}{way}.")
    return tuple(positive_integer(size, f"each size in {name}", label) for size in value)


def modules(layers: Any, label: str) -> list[nn.Module]:
    """The layers as a list; refuses one alone, what is no module, and a module without torch's constructor."""
    if not isinstance(layers, Iterable):
        raise TypeError(f"{label}: expected layers to be a list, got {type(layers).__name__}: type [layer].")
    found = list(layers)
    for index, layer in enumerate(found):
        name = layer.__name__ if isinstance(layer, type) else type(layer).__name__
        if not isinstance(layer, nn.Module):
            got = f"the class {name}: type {name}(...)" if isinstance(layer, type) else name
            raise TypeError(f"{label}: expected layers[{index}] to be a FlowLayer, got {got}.")
        if "_modules" not in vars(layer):
            raise TypeError(f"layers[{index}] {name}: its __init__ has to begin with super().__init__().")
    return found


def odd_integer(value: Any, name: str, label: str) -> int:
    if positive_integer(value, name, label) % 2 == 0:
        raise ValueError(f"{label}: expected {name} to be odd (zero 'same' padding needs a center), got {value!r}.")
    return int(value)


def number_between(
    value: Any, low: float, high: float, name: str, label: str,
    *, low_included: bool = False, high_included: bool = False,
) -> float:  # fmt: skip
    """Refuse anything but a finite number between two bounds, each included or not."""
    value = float(value) if isinstance(value, (np.floating, np.integer)) else value
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    inside = numeric and (low <= value if low_included else low < value)
    inside = inside and (value <= high if high_included else value < high)
    if not inside:
        left, right = "[" if low_included else "(", "]" if high_included else ")"
        raise ValueError(f"{label}: expected {name} in {left}{low}, {high}{right}, got {shown(value)}.")
    return float(value)


def non_negative(value: Any, name: str, label: str) -> float:
    return number_between(value, 0, math.inf, name, label, low_included=True)
