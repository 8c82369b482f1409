"""A density as a small image, without axes: twice as many pixels as it takes on the page, in few colors."""

import io

import matplotlib
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

#: Density of the lightest shade; higher peaks are clipped.
BRIGHTEST = 0.7
#: Pixels along a side, and colors.
SIDE, COLORS = 240, 48


def tile(density: Tensor) -> bytes:
    """A density (N, N) as a PNG, on the scale that all share."""
    smooth = interpolate(density[None, None], size=(SIDE, SIDE), mode="bicubic")[0, 0].clamp(0, BRIGHTEST) / BRIGHTEST
    steps = (smooth * (COLORS - 1)).round() / (COLORS - 1)
    shades = (255 * torch.from_numpy(matplotlib.colormaps["cividis"](steps.numpy())[..., :3])).round().to(torch.uint8)
    out = io.BytesIO()
    Image.fromarray(shades.numpy()).quantize(COLORS, dither=Image.Dither.NONE).save(out, "png", optimize=True)
    return out.getvalue()
