"""Emerging convolutions: two masked convolutions that together reach as far as a plain one, their determinant O(C)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from snf_lite.conv import ImageConv, as_channels_last, convolve, initial_noise
from snf_lite.linalg import dense_matrix


class EmergingConv2d(ImageConv):
    """z = w' ⋆ (w ⋆ x) + b, w looking up and left, w' down and right; log|det| = H·W·Σ_c (log|w_cc| + log|w'_cc|).

    In w an output sees the pixels above and to the left, and of its own pixel the channels up to its own: T(w) is lower
    triangular. w' is masked the other way over rows, columns and channels, and T(w') upper triangular. Each is
    (k+1)/2 wide, so that the two together reach k×k pixels. w_cc is the tap of w at the pixel itself. The determinant
    costs O(C), the inverse 2·H triangular solves of (C·W)² for a whole batch. Rows of images feed on one another in
    the inverse: where the other taps outweigh w_cc by far, rounding grows from row to row.

    Args:
        channels: C.
        kernel_size: k, odd.

    Attributes:
        weight: w (C, C, (k+1)/2, (k+1)/2); its last tap is the pixel itself. What is masked is zero and stays so.
        flipped_weight: w', of the same shape; its first tap is the pixel itself.
        bias: b (C,).

    Raises:
        NotInvertibleError: some w_cc or w'_cc is zero or not finite.

    Source: Hoogeboom, van den Berg and Welling, Emerging Convolutions for Generative Normalizing Flows, ICML 2019
    (https://arxiv.org/abs/1901.11137).
    """

    mask: Tensor

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__(channels, kernel_size)
        self.register_buffer("mask", causal_mask(channels, (kernel_size + 1) // 2), persistent=False)
        self.weight = nn.Parameter(self._fresh())
        self.flipped_weight = nn.Parameter(self._fresh().flip(0, 1, 2, 3))
        self.bias = nn.Parameter(torch.zeros(channels))

    def _fresh(self) -> Tensor:
        noise = initial_noise(self.channels, self.mask.shape[-1]) * self.mask
        noise[:, :, -1, -1] += torch.eye(self.channels)
        return noise

    def masked(self) -> tuple[Tensor, Tensor]:
        """w and w' without what is masked; ``where``, so that not even a NaN gets through."""
        flipped = self.mask.flip(0, 1, 2, 3)
        return torch.where(self.mask, self.weight, 0.0), torch.where(flipped, self.flipped_weight, 0.0)

    def kernels(self) -> tuple[Tensor, Tensor]:
        """w and w' as kernels (C, C, k, k) with the usual padding, zero where they do not look."""
        w, flipped = self.masked()
        p = self.padding
        return pad(w, (0, p, 0, p)), pad(flipped, (p, 0, p, 0))

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det, _ = self.surrogate(x)
        return z.contiguous(), log_det

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The same z and log-determinant as ``transform``, z laid out in memory as is fastest."""
        w, flipped = self.kernels()
        z = convolve(convolve(as_channels_last(x), w), flipped) + self.bias[:, None, None]
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
        code = solve_causal(flipped.flip(0, 1, 2, 3), turned).flip(1, 2, 3)
        return solve_causal(w, code).to(z.device, z.dtype)


def causal_mask(channels: int, size: int) -> Tensor:
    """Where a kernel (C, C, size, size) may look: everywhere, but at its last tap only to channels up to its own."""
    mask = torch.ones(channels, channels, size, size, dtype=torch.bool)
    mask[:, :, -1, -1].tril_()
    return mask


def solve_causal(kernel: Tensor, images: Tensor) -> Tensor:
    """x with kernel ⋆ x = images (B, C, H, W), zeros above and to the left: row by row, a triangular solve for each.

    The matrix of one row on itself is the same for every row, and so are those of the rows above it.

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
    """What the row a rows above adds to a row, for a = 0 … s-1: (W·C, W·C) each, pixel by pixel, channels inside."""
    size = kernel.shape[-1]
    column = torch.arange(width, device=kernel.device)
    distance = torch.arange(size, device=kernel.device)[:, None, None]
    apart = (column[:, None] - column == distance).to(kernel.dtype)
    matrices = torch.einsum("bjm,ocab->ajomc", apart, kernel.flip(2, 3))
    return matrices.reshape(size, width * len(kernel), width * len(kernel)).unbind()
