"""From pixels to numbers on the real line: dequantisation, logit, and the reshaping layers."""

import math
from typing import Any

import torch
from torch import Tensor

from snf_lite.layer import FlowLayer
from snf_lite.runtime import checks


class Dequantize(FlowLayer):
    """Uniform dequantisation x → (x + u) / levels, u ~ U[0, 1), from pixels 0 … levels-1 to numbers in [0, 1).

    log|det| = -D log levels nats (eq-dequantise). uint8 pixels get fresh noise from torch's global generator. Floats
    are taken as points of the continuous density on [0, levels]^D, noise included already: they pass without any.
    The inverse gives pixels again, uint8.

    Args:
        levels: how many values a pixel takes: 256, or 17 for the digits; 2 … 256.
    """

    scale: Tensor

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        self.levels = checks.integer(levels, "levels", self.label, at_least=2, at_most=256, wanted="from 2 to 256")
        # A buffer only to follow .to(): noisy pixels take its dtype.
        self.register_buffer("scale", torch.tensor(1.0 / levels), persistent=False)

    def check_dtype(self, x: Tensor) -> None:
        if x.dtype != torch.uint8 and x.dtype != self.scale.dtype:
            raise TypeError(f"{self.label}: expected uint8 pixels, or {self.scale.dtype} points, got {x.dtype}.")

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        noisy = x + self._noise(x) if x.dtype == torch.uint8 else x
        self._check_range(x)
        log_det = -math.prod(x.shape[1:]) * math.log(self.levels)
        return noisy / self.levels, torch.full((len(x),), log_det, dtype=self.scale.dtype, device=x.device)

    def _noise(self, x: Tensor) -> Tensor:
        """u in [0, 1) so far below 1 that x + u cannot round up to the next pixel."""
        room = self.levels * torch.finfo(self.scale.dtype).eps
        return torch.rand_like(x, dtype=self.scale.dtype).clamp_max(1 - room)

    def _check_range(self, x: Tensor) -> None:
        top = self.levels - 1 if x.dtype == torch.uint8 else self.levels
        if x.numel() and checks.values_are_readable(x) and (x.max() > top or x.min() < 0):
            raise ValueError(f"{self.label}: expected pixels from 0 to {top}, got {x.min():g} to {x.max():g}.")

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return (z * self.levels).floor().clamp(0, self.levels - 1).to(torch.uint8)

    def settings(self) -> dict[str, Any]:
        return {"levels": self.levels}


class Logit(FlowLayer):
    """x → log(p / (1-p)), p = α + (1-2α) x: from [0, 1] to the real line, each number for itself (eq-logit).

    log|det| = Σ log(1-2α) - log p - log(1-p).

    Args:
        alpha: α in (0, ½): how far p stays from 0 and 1.
    """

    def __init__(self, alpha: float = 1e-6) -> None:
        super().__init__()
        self.alpha = checks.number_between(alpha, 0, 0.5, "alpha", self.label)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.numel() and checks.values_are_readable(x) and (x.max() > 1 or x.min() < 0):
            raise ValueError(f"{self.label}: expected numbers in [0, 1], got {float(x.min())} to {float(x.max())}.")
        squeeze = 1 - 2 * self.alpha
        # 1-p from 1-x, not from p: near x = 1 the difference of two rounded numbers would lose its digits
        log_p, log_q = (self.alpha + squeeze * x).log(), (self.alpha + squeeze * (1 - x)).log()
        return log_p - log_q, (math.log(squeeze) - log_p - log_q).flatten(1).sum(1)

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return ((torch.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)).clamp(0, 1)

    def settings(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


class Squeeze(FlowLayer):
    """(C, H, W) → (4C, H/2, W/2): each 2×2 square of pixels becomes four channels. A permutation: log|det| = 0."""

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) != 3 or event_shape[1] % 2 or event_shape[2] % 2 or 0 in event_shape:
            raise self.shape_error("(C, H, W) with even H and W", event_shape)
        channels, height, width = event_shape
        return (4 * channels, height // 2, width // 2)

    def input_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(z_shape) != 3 or z_shape[0] % 4 or 0 in z_shape:
            raise self.shape_error("(4C, H, W)", z_shape)
        channels, height, width = z_shape
        return (channels // 4, 2 * height, 2 * width)

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        batch, channels, height, width = x.shape  # not pixel_unshuffle: it leaves an empty batch as it is
        squares = x.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
        return squares.reshape(batch, 4 * channels, height // 2, width // 2), x.new_zeros(batch)

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        batch, channels, height, width = z.shape
        squares = z.reshape(batch, channels // 4, 2, 2, height, width).permute(0, 1, 4, 2, 5, 3)
        return squares.reshape(batch, channels // 4, 2 * height, 2 * width)


class Flatten(FlowLayer):
    """Any event → (D,), in memory order. log|det| = 0.

    Args:
        event_shape: the shape to come back to; a flow fills it in.
    """

    def __init__(self, event_shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.event_shape = None if event_shape is None else checks.shape_tuple(event_shape, "event_shape", self.label)

    def bind(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.event_shape = self.event_shape or event_shape
        return self.output_shape(event_shape)

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.event_shape is not None and event_shape != self.event_shape:
            raise self.shape_error(self.event_shape, event_shape)
        return (math.prod(event_shape),)

    def input_shape(self, z_shape: tuple[int, ...]) -> tuple[int, ...]:
        if self.event_shape is None:
            raise ValueError(f"{self.label}: has no shape to come back to; give event_shape, or put it in a Flow.")
        if z_shape != (math.prod(self.event_shape),):
            raise self.shape_error((math.prod(self.event_shape),), z_shape)
        return self.event_shape

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), x.new_zeros(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        return z.reshape(len(z), *self.input_shape(tuple(z.shape[1:])))

    def settings(self) -> dict[str, Any]:
        return {"event_shape": self.event_shape}
