"""What the package refuses, and the words it uses: every message names the owner, what it got and what it wanted."""

import math
from typing import Any

import torch
from torch import Tensor


class NotInvertibleError(ValueError):
    """A layer's linear map has lost its inverse: its log-determinant is -inf and no exact inverse exists."""


def values_are_readable() -> bool:
    """False while a compiler traces or a CUDA graph records: a check on values would break either."""
    if torch.compiler.is_compiling():
        return False
    return not (torch.cuda.is_available() and torch.cuda.is_current_stream_capturing())


def all_finite(x: Tensor) -> bool:
    """Whether x holds neither NaN nor infinity; True where values cannot be read (compiling, capturing, under vmap)."""
    if not values_are_readable():
        return True
    try:
        return bool(torch.isfinite(x).all())
    except RuntimeError:  # torch.func.vmap has no single answer for a batch of batches
        return True


def require_finite_input(x: Tensor, owner: str) -> None:
    if not all_finite(x):
        bad = int((~torch.isfinite(x)).sum())
        raise ValueError(f"{owner}: expected finite input, got {bad} NaN or infinite of {x.numel()} numbers.")


def require_finite_output(y: Tensor, owner: str, what: str) -> None:
    if not all_finite(y):
        bad = int((~torch.isfinite(y)).sum())
        raise FloatingPointError(
            f"{owner}: {what} is not finite in {bad} of {y.numel()} numbers, from finite input: "
            "the layer has lost invertibility or overflowed."
        )


def require_tensor(x: Any, owner: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{owner}: expected a torch.Tensor, got {type(x).__name__}.")


def require_dtype(x: Tensor, dtype: torch.dtype | None, owner: str) -> None:
    """Refuse integers, and floats that differ from the parameters' dtype (None: any float)."""
    if not x.is_floating_point() or (dtype is not None and x.dtype != dtype):
        raise TypeError(f"{owner}: expected {dtype or 'floating-point'} input, got {x.dtype}.")


def require_batch_of(x: Tensor, event_shape: tuple[int, ...] | str, owner: str) -> None:
    """Refuse x unless its shape is (B, *event_shape); a string describes shapes that a tuple cannot."""
    if isinstance(event_shape, str) or tuple(x.shape[1:]) != event_shape or x.dim() == 0:
        wanted = event_shape if isinstance(event_shape, str) else ", ".join(["B", *map(str, event_shape)])
        raise ValueError(f"{owner}: expected input of shape ({wanted}), got {tuple(x.shape)}.")


def positive_integer(value: Any, name: str, owner: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{owner}: expected {name} to be a positive integer, got {value!r}.")
    return value


def odd_integer(value: Any, name: str, owner: str) -> int:
    if positive_integer(value, name, owner) % 2 == 0:
        raise ValueError(f"{owner}: expected {name} to be odd (zero 'same' padding needs a centre), got {value!r}.")
    return int(value)


def number_between(
    value: Any, low: float, high: float, name: str, owner: str,
    *, low_included: bool = False, high_included: bool = False,
) -> float:  # fmt: skip
    """Refuse anything but a finite number between two bounds, each included or not."""
    numeric = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    inside = numeric and (low <= value if low_included else low < value)
    inside = inside and (value <= high if high_included else value < high)
    if not inside:
        left, right = "[" if low_included else "(", "]" if high_included else ")"
        raise ValueError(f"{owner}: expected {name} in {left}{low}, {high}{right}, got {value!r}.")
    return float(value)


def non_negative(value: Any, name: str, owner: str) -> float:
    return number_between(value, 0, math.inf, name, owner, low_included=True)
