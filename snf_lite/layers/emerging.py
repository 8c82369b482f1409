"""Emerging convolutions: two masked convolutions with the receptive field of an ordinary one, determinant O(C)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from snf_lite.conv import ImageConv, initial_noise
from snf_lite.linalg import dense_matrix
from snf_lite.linalg.convolution import as_channels_last, convolve
from snf_lite.runtime import checks


class EmergingConv2d(ImageConv):
    """z = w' ⋆ (w ⋆ x) + b with T(w), T(w') triangular; log|det| = H·W·Σ_c (log|w_cc| + log|w'_cc|) nats (eq-emerging).

    With w an output depends on the pixels above and to the left, and at its own pixel on the channels up to its own:
    T(w) is lower triangular. w' is masked the other way, and T(w') upper triangular. Each is (k+1)/2 wide, so that the
    two together reach k×k pixels. w_cc is the tap of w at the pixel itself. The determinant costs O(C), the inverse 2·H
    triangular solves of (C·W)² for the batch. In the inverse each row of an image depends on the rows before: where
    the other taps are much larger than w_cc, rounding grows from row to row.

    Args:
        channels: C, the number of channels.
        kernel_size: k, odd.

    Attributes:
        weight: w (C, C, (k+1)/2, (k+1)/2); its last tap is the pixel itself. Masked entries stay zero.
        flipped_weight: w', of the same shape; its first tap is the pixel itself.
        bias: b (C,).

    Raises:
        NotInvertibleError: some w_cc or w'_cc is zero or not finite.

    Example:
        >>> layer = snf.EmergingConv2d(2)
        >>> x = torch.randn(5, 2, 4, 4)
        >>> torch.allclose(layer.inverse(layer(x)[0]), x, atol=1e-4)
        True

    References:
        Hoogeboom et al., Emerging convolutions for generative normalizing flows, ICML 2019, section 3
        (https://arxiv.org/abs/1901.11137).
    """

    mask: Tensor

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__(channels, kernel_size)
        self.register_buffer("mask", causal_mask(channels, (kernel_size + 1) // 2), persistent=False)
        self.weight = nn.Parameter(self._fresh())
        self.flipped_weight = nn.Parameter(self._fresh().flip(0, 1, 2, 3))
        self.bias = nn.Parameter(torch.zeros(channels))

    def restore_constants(self, like: Tensor) -> None:
        self.mask = causal_mask(self.channels, self.mask.shape[-1]).to(like.device)

    def _fresh(self) -> Tensor:
        noise = initial_noise(self.channels, self.mask.shape[-1]) * self.mask
        noise[:, :, -1, -1] += torch.eye(self.channels)
        return noise

    def masked(self) -> tuple[Tensor, Tensor]:
        """w and w' with masked entries zero; by ``where``, so that not even a masked NaN has an effect."""
        flipped = self.mask.flip(0, 1, 2, 3)
        return torch.where(self.mask, self.weight, 0.0), torch.where(flipped, self.flipped_weight, 0.0)

    def kernels(self) -> tuple[Tensor, Tensor]:
        """w and w' as kernels (C, C, k, k) with the usual padding, zero at the pixels that they do not reach."""
        w, flipped = self.masked()
        p = self.padding
        return pad(w, (0, p, 0, p)), pad(flipped, (p, 0, p, 0))

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det, _ = self.surrogate(x)
        return z.contiguous(), log_det

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The same z and log-determinant as ``transform``, z in the memory layout that is fastest."""
        functorch = checks.under_functorch()
        w, flipped = self.kernels()
        wx = convolve(as_channels_last(x, functorch), w, functorch)
        z = convolve(wx, flipped, functorch) + self.bias[:, None, None]
        return z, self.log_abs_det(*x.shape[2:]).expand(len(x)), None

    def log_abs_det(self, height: int, width: int) -> Tensor:
        """H·W·Σ_c (log|w_cc| + log|w'_cc|) in nats, a scalar, O(C) (eq-emerging).

        Raises:
            NotInvertibleError: one of them is zero or not finite.
        """
        own = torch.stack([self.weight[:, :, -1, -1], self.flipped_weight[:, :, 0, 0]])
        diagonals = own.diagonal(dim1=1, dim2=2).abs()
        dense_matrix.require_diagonal(diagonals, self.label)
        return height * width * diagonals.log().sum()

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        self.log_abs_det(1, 1)  # refuses a singular weight by name
        w, flipped = (dense_matrix.precise(kernel) for kernel in self.masked())
        turned = dense_matrix.precise(z - self.bias[:, None, None]).flip(1, 2, 3)
        wx = solve_causal(flipped.flip(0, 1, 2, 3), turned).flip(1, 2, 3)
        return solve_causal(w, wx).to(z.device, z.dtype)


def causal_mask(channels: int, size: int) -> Tensor:
    """The entries of a kernel (C, C, size, size) that are not masked: at its last tap only channels up to its own."""
    mask = torch.ones(channels, channels, size, size, dtype=torch.bool)
    mask[:, :, -1, -1].tril_()
    return mask


def solve_causal(kernel: Tensor, images: Tensor) -> Tensor:
    """x with kernel ⋆ x = images (B, C, H, W), zeros above and to the left: row by row, a triangular solve for each.

    The matrix from one row to itself is the same for every row, and so are those from the rows above it.

    kernel: (C, C, s, s), masked by ``causal_mask``; its last tap is the pixel itself.
    """
    batch, channels, height, width = images.shape
    own, *above = row_matrices(kernel, width)
    found: list[Tensor] = []
    for row in images.permute(2, 0, 3, 1).reshape(height, batch, width * channels).unbind():
        for matrix, earlier in zip(above, reversed(found), strict=False):  # the first rows have fewer above them
            row = row - earlier @ matrix.mT
        found.append(torch.linalg.solve_triangular(own.mT, row, upper=True, left=False))
    return torch.stack(found).reshape(height, batch, width, channels).permute(1, 3, 0, 2)


def row_matrices(kernel: Tensor, width: int) -> tuple[Tensor, ...]:
    """The matrices from the row a rows above to a row, a = 0 … s-1: (W·C, W·C) each, by pixel, then channel."""
    size = kernel.shape[-1]
    column = torch.arange(width, device=kernel.device)
    distance = torch.arange(size, device=kernel.device)[:, None, None]
    apart = (column[:, None] - column == distance).to(kernel.dtype)
    matrices = torch.einsum("bjm,ocab->ajomc", apart, kernel.flip(2, 3))
    return matrices.reshape(size, width * len(kernel), width * len(kernel)).unbind()
