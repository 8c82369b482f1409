"""Random horizontal flips and small shifts of training images."""

import torch
from torch import Tensor

#: Largest shift in each direction, as a fraction of the side: the paper's 4 %, which is one pixel of 32.
MAX_SHIFT = 0.04


def require_images(event_shape: tuple[int, ...], owner: str) -> None:
    """Raise ValueError unless the examples are images (C, H, W)."""
    if len(event_shape) != 3:
        raise ValueError(f"{owner}: expected images (C, H, W) to flip and shift, got event shape {event_shape}.")


def augmented(images: Tensor) -> Tensor:
    """Flip each image horizontally with probability ½ and shift it by whole pixels, up to 4 % of each side.

    The shift is uniform over the integers from -⌊0.04 s⌋ to ⌊0.04 s⌋ for a side s, independently for rows and columns.
    Border pixels are repeated where the shift uncovers an edge; the paper does not specify its padding. A side below 25
    pixels is not shifted. Random numbers come from torch's global generator of the device.

    Args:
        images: (B, C, H, W), uint8 or float.

    Returns:
        (B, C, H, W), with values of the same image and channel.

    Raises:
        ValueError: images has another number of dimensions.

    Source: Keller et al., Self Normalizing Flows, ICML 2021 (https://arxiv.org/abs/2011.07248), for CIFAR-10.
    """
    require_images(tuple(images.shape[1:]), "augmented")
    rows, columns = _shifted_indices(images, images.shape[2]), _shifted_indices(images, images.shape[3])
    flipped = torch.rand(len(images), device=images.device) < 0.5
    columns = torch.where(flipped[:, None], columns.flip(1), columns)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _shifted_indices(images: Tensor, side: int) -> Tensor:
    """Source row (or column) of each output row, (B, side)."""
    limit = int(MAX_SHIFT * side)
    shifts = torch.randint(-limit, limit + 1, (len(images), 1), device=images.device)
    return (torch.arange(side, device=images.device) + shifts).clamp(0, side - 1)
