"""The images: samples of the same latents at several temperatures, and rows from one image to another."""

import io

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread, imsave
from torch import Tensor

from snf_lite.analysis.figures import panels
from snf_lite.experiments.archive import record_image
from snf_lite.flow import Flow
from snf_lite.runtime.rng import isolated_rng

#: Factors of the latents, and images in a row.
TEMPERATURES, COLUMNS = (0.0, 0.5, 0.7, 1.0), 6
#: Name of the stored sheet, in the folder of its run.
FILE = "temperatures.png"


@torch.no_grad()
def sheet(flow: Flow, images: Tensor, seed: int = 0) -> Tensor:
    """Samples by the exact inverse, and images on the straight line between the latents of two.

    Args:
        flow: Flow on images of one channel.
        images: At least eight images (N, 1, H, W): the first four are the starts of the rows, the next four the ends.
        seed: Seed of the latents of the samples, and of the noise in those of the images.

    Returns:
        Images (2, 4, COLUMNS, H, W): a row of samples for each temperature, then the rows between two images.
    """
    with isolated_rng("cpu", seed, "temperatures"):  # gray levels become continuous by noise
        ends = flow(images[:8])[0]
    noise = flow.sample_base(COLUMNS, seed=seed)
    weights = torch.linspace(0, 1, COLUMNS, dtype=noise.dtype)[:, None]
    rows = [temperature * noise for temperature in TEMPERATURES]
    rows += [(1 - weights) * start + weights * end for start, end in zip(ends[:4], ends[4:], strict=True)]
    return torch.stack([flow.inverse(latents)[:, 0] for latents in rows]).unflatten(0, (2, 4))


def png(images: Tensor, levels: int, command: str) -> bytes:
    """A sheet as PNG, a dot for each pixel, with the command that made it."""
    rows = images.permute(0, 1, 3, 2, 4).flatten(3, 4).flatten(0, 2)
    content = io.BytesIO()
    imsave(content, rows.double() / (levels - 1), cmap="gray", vmin=0, vmax=1, metadata={"Command": command})
    return content.getvalue()


def read(name: str) -> Tensor:
    """The stored sheet of a run, (2, 4, COLUMNS, H, W) from 0 to 1; raises as ``record_image``."""
    dots = torch.as_tensor(np.array(imread(io.BytesIO(record_image(name, FILE)), format="png"))[..., 0])
    side = dots.shape[1] // COLUMNS
    return dots.reshape(2, 4, -1, COLUMNS, side).transpose(2, 3)


def draw(images: Tensor, levels: int = 2) -> Figure:
    """The two halves of a sheet side by side, in gray levels from 0 to ``levels`` − 1."""
    figure, both = panels(2, height=2.7)
    for axes, rows, title in zip(both, images.double(), ("temperatures", "between two digits"), strict=True):
        framed = torch.nn.functional.pad(rows, (1, 0, 1, 0), value=(levels - 1) / 2)
        axes.imshow(framed.transpose(1, 2).flatten(2, 3).flatten(0, 1), cmap="gray", vmin=0, vmax=levels - 1)
        axes.set(title=title, xticks=[], yticks=[])
    side = images.shape[-1] + 1
    ticks = [side * (row + 0.5) for row in range(len(TEMPERATURES))]
    both[0].set_yticks(ticks, [f"T = {temperature:g}" for temperature in TEMPERATURES])
    both[1].set_xticks([0.5 * side, (COLUMNS - 0.5) * side], ["digit", "digit"])
    return figure
