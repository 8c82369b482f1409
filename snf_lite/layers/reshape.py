"""Layers that only rearrange the numbers of a data point: Squeeze and Flatten."""

import math

from torch import Tensor

from snf_lite.layer import FlowLayer
from snf_lite.runtime import checks


class Squeeze(FlowLayer):
    """(C, H, W) → (4C, H/2, W/2): each 2×2 square of pixels becomes four channels. A permutation: log|det| = 0 nats.

    Raises:
        ValueError: H or W is odd.

    Example:
        >>> z, log_det = snf.Squeeze()(torch.zeros(5, 1, 8, 8))
        >>> z.shape
        torch.Size([5, 4, 4, 4])

    References:
        Dinh et al., Density estimation using Real NVP, ICLR 2017, section 3.6 (https://arxiv.org/abs/1605.08803).
    """

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(event_shape) != 3 or event_shape[1] % 2 or event_shape[2] % 2 or 0 in event_shape:
            error = self.shape_error("(C, H, W) with even H and W", event_shape)
            if len(event_shape) != 3:
                raise ValueError(f"{error} It takes images alone: for points build a dense, spline or coupling model.")
            raise ValueError(f"{error} Fewer squeezes: build conv-... with blocks=2 or 1, glow-... with scales=1.")
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
    """Any event shape → (D,), in memory order. log|det| = 0 nats.

    Args:
        event_shape: The event shape of x, needed by ``inverse``; a flow sets it.

    Raises:
        ValueError: ``inverse`` outside of a flow, without ``event_shape``.

    Example:
        >>> snf.Flatten((1, 8, 8)).inverse(torch.zeros(5, 64)).shape
        torch.Size([5, 1, 8, 8])
    """

    def __init__(self, event_shape: tuple[int, ...] | None = None) -> None:
        super().__init__()
        self.event_shape = None if event_shape is None else checks.shape_tuple(event_shape, "event_shape", self.label)
        self.accepted_shape = self.event_shape

    def bind(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.event_shape = self.accepted_shape = self.event_shape or event_shape
        return self.output_shape(event_shape)

    def output_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(super().output_shape(event_shape)),)

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
