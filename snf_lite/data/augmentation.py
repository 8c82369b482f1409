"""Images that are mirrored and moved a little, each by chance: more training data than there is."""

import torch
from torch import Tensor

#: By how much of its side an image is moved at most, each way: the paper's 4 %, which is one pixel of 32.
MOST_MOVED = 0.04


def require_images(event_shape: tuple[int, ...], owner: str) -> None:
    """Refuse events that are no images, with ValueError."""
    if len(event_shape) != 3:
        raise ValueError(f"{owner}: expected images (C, H, W) to mirror and move, got events of shape {event_shape}.")


def augmented(images: Tensor) -> Tensor:
    """Each image mirrored left to right half the time, and moved by whole pixels, up to 4 % of each side.

    A move is uniform over the whole pixels from -⌊0.04 s⌋ to ⌊0.04 s⌋ of a side s, rows and columns each for itself.
    What comes in from beyond the border is the border's own pixel again: a choice, for what the paper fills in is not
    known here. A side below 25 pixels is not moved along. Chance comes from torch's global generator of the device.

    Args:
        images: (B, C, H, W), uint8 or float.

    Returns:
        (B, C, H, W), every number one of the same image's and channel's.

    Raises:
        ValueError: images is no such batch.

    Source: Keller et al., Self Normalizing Flows, ICML 2021 (https://arxiv.org/abs/2011.07248), for CIFAR-10.
    """
    require_images(tuple(images.shape[1:]), "augmented")
    rows, columns = _moved(images, images.shape[2]), _moved(images, images.shape[3])
    mirrored = torch.rand(len(images), device=images.device) < 0.5
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _moved(images: Tensor, side: int) -> Tensor:
    """(B, side): for each image, from which of its rows (or columns) each of the moved ones is taken."""
    most = int(MOST_MOVED * side)
    moves = torch.randint(-most, most + 1, (len(images), 1), device=images.device)
    return (torch.arange(side, device=images.device) + moves).clamp(0, side - 1)
