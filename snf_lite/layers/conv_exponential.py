"""The convolution exponential: the matrix exponential of a convolution, whose log-determinant is a trace."""

import math

import torch
from torch import Tensor, nn

from snf_lite.conv import ImageConv, initial_noise
from snf_lite.linalg import dense_matrix, toeplitz
from snf_lite.linalg.convolution import as_channels_last, convolve, tap_gradient
from snf_lite.runtime import checks

#: Largest remainder of the exact series relative to its result.
REMAINDER = 1e-12
#: Number of power iterations of ``initialise``.
INITIAL_STEPS = 100


class ConvExponential2d(ImageConv):
    """z = exp(T(w̃)) x + b = Σ_n T(w̃)ⁿ x / n! + b; log|det| = tr T(w̃) = H·W·Σ_c w̃_cc nats (eq-exponential).

    Always invertible, by exp(−T(w̃)). w̃ = w·min(1, coefficient / σ) keeps the largest singular value of T(w̃) below
    about ``coefficient``. σ = uᵀ T(w) v is the power iteration's estimate of that of T(w), with u and v constant while
    w is differentiated (Miyato et al. 2018); ``after_step`` runs one iteration, ``initialise`` a hundred. After writing
    w call one of them; with an old estimate, z, log|det| and inverse are still consistent.

    The series of ``forward`` and ``inverse`` has a relative remainder below ``REMAINDER`` (eq-remainder). The training
    pass alone stops after ``terms``: for a norm β its remainder is below β^(terms+1) / (terms+1)! · e^β of x.

    Args:
        channels: C, the number of channels.
        kernel_size: k, odd.
        coefficient: Bound for the largest singular value, in (0, 2].
        terms: Number of terms of the series in the training pass, each a convolution.
        image_size: Size (H, W) of the images for which σ is estimated; a flow sets it.

    Attributes:
        weight: w (C, C, k, k), at first a little noise.
        bias: b (C,).
        left: u (1, C, H, W), a buffer.
        norm_gradient: ∂σ/∂w (C, C, k, k), a buffer, which makes σ a sum over the taps for every pass.

    Raises:
        FloatingPointError: the norm of T(w̃) is so large that the series would lose half of its digits or more.

    Example:
        >>> layer = snf.ConvExponential2d(2)
        >>> x = torch.randn(5, 2, 4, 4)
        >>> torch.allclose(layer.inverse(layer(x)[0]), x, atol=1e-4)
        True

    References:
        Hoogeboom et al., The convolution exponential and generalized Sylvester flows, NeurIPS 2020, section 3
        (https://arxiv.org/abs/2006.01910).
    """

    left: Tensor
    norm_gradient: Tensor

    def __init__(
        self, channels: int, kernel_size: int = 3, coefficient: float = 0.9, terms: int = 6,
        image_size: tuple[int, ...] = (16, 16),
    ) -> None:  # fmt: skip
        super().__init__(channels, kernel_size)
        self.coefficient = checks.number_between(coefficient, 0, 2, "coefficient", self.label, high_included=True)
        self.terms = checks.positive_integer(terms, "terms", self.label)
        self.image_size = checks.shape_tuple(image_size, "image_size", self.label)
        if len(self.image_size) != 2:
            raise ValueError(f"{self.label}: expected image_size to be (H, W), got {image_size!r}.")
        self.weight = nn.Parameter(initial_noise(channels, kernel_size))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("left", torch.empty(0))
        self.register_buffer("norm_gradient", torch.zeros_like(self.weight))
        self._restart()
        self._bound: dense_matrix.WeightCache[float] = dense_matrix.WeightCache()

    # ---- w̃ -----------------------------------------------------------------------------------------------------------

    def bind(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        z_shape = super().bind(event_shape)
        if event_shape[1:] != self.image_size:
            self.image_size = event_shape[1:]
            self._restart()
        return z_shape

    def _restart(self) -> None:
        """Restart the power iteration from numbers that favor no direction and need no random generator."""
        count = self.channels * math.prod(self.image_size)
        start = torch.arange(count, dtype=self.weight.dtype, device=self.weight.device).square().cos()
        self.left = start.reshape(1, self.channels, *self.image_size) / start.norm()
        self.after_step()

    @torch.no_grad()
    def after_step(self) -> None:
        """One step of the power iteration, v ∝ T(w)ᵀ u, u ∝ T(w) v; and ∂(uᵀ T(w) v)/∂w."""
        functorch = checks.under_functorch()
        right = _unit(convolve(self.left, toeplitz.flip(self.weight), functorch), torch.zeros_like(self.left))
        self.left.copy_(_unit(convolve(right, self.weight, functorch), self.left))
        self.norm_gradient.copy_(tap_gradient(right, self.left, self.weight, functorch))

    def initialise(self, x: Tensor, whiten: bool) -> None:
        """Repeat the power iteration until the estimate is that of the current weight."""
        for _ in range(INITIAL_STEPS):
            self.after_step()

    def spectral_norm(self) -> Tensor:
        """σ, the estimate of the largest singular value of T(w) for images of ``image_size``; a scalar."""
        return (self.norm_gradient * self.weight).sum()

    def kernel(self) -> Tensor:
        """w̃ = w·min(1, coefficient / σ), (C, C, k, k)."""
        return self.weight * (self.coefficient / self.spectral_norm().clamp_min(self.coefficient))

    # ---- the map -----------------------------------------------------------------------------------------------------

    def transform(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kernel = self.kernel()
        z, log_det = self._map(x, kernel, self.terms_needed(kernel))
        return z.contiguous(), log_det

    def surrogate(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """z by ``terms`` terms of the series, in the memory layout that is fastest, and the exact log-determinant."""
        return *self._map(x, self.kernel(), self.terms), None

    def _map(self, x: Tensor, kernel: Tensor, terms: int) -> tuple[Tensor, Tensor]:
        z = apply_exponential(x, kernel, terms) + self.bias[:, None, None]
        return z, log_det_of_exponential(kernel, *x.shape[2:]).expand(len(x))

    def invert(self, z: Tensor, exact: bool) -> Tensor:
        kernel = self.kernel()
        return apply_exponential(z - self.bias[:, None, None], -kernel, self.terms_needed(kernel)).contiguous()

    @torch.no_grad()
    def terms_needed(self, kernel: Tensor) -> int:
        """The number of terms for a remainder below ``REMAINDER``; for twice ``coefficient`` if values cannot be read.

        Raises:
            FloatingPointError: w̃ is not finite, or the series would lose half of its digits.
        """
        if not checks.is_eager(kernel):
            return terms_for(2 * self.coefficient)
        checks.require_finite_output(kernel, self.label, "the scaled weight")
        bound = self._bound.get(kernel, lambda: norm_bound(kernel))
        if bound > largest_norm(kernel.dtype):
            raise FloatingPointError(
                f"{self.label}: expected T(w̃) of norm {largest_norm(kernel.dtype):.1f} at most, where its series in "
                f"{kernel.dtype} keeps half of its digits, got {bound:.3g}; after writing the weight call after_step()."
            )
        return terms_for(bound)

    def clear_cache(self) -> None:
        self._bound.clear()


def apply_exponential(x: Tensor, kernel: Tensor, terms: int) -> Tensor:
    """Σ_{n ≤ terms} T(kernel)ⁿ x / n! for images (B, C, H, W)."""
    functorch = checks.under_functorch()
    total = power = as_channels_last(x, functorch)
    for n in range(1, terms + 1):
        power = convolve(power, kernel / n, functorch)
        total = total + power
    return total


def log_det_of_exponential(kernel: Tensor, height: int, width: int) -> Tensor:
    """log|det exp T(w̃)| = tr T(w̃) = H·W·Σ_c w̃_cc in nats, a scalar, O(C) (eq-exponential)."""
    center = kernel.shape[-1] // 2
    return height * width * kernel[:, :, center, center].diagonal().sum()


def norm_bound(kernel: Tensor) -> float:
    """A bound for the largest singular value of T(w) for every size of images, from a few frequencies.

    T(w) is part of the convolution over an infinite plane, whose norm is that of the C×C matrix Σ_ab w_ab e^{i(aθ+bφ)}
    at the worst (θ, φ). Its entries are trigonometric polynomials of degree p = (k-1)/2, which fall from their peak no
    faster than cos(pθ) (M. Riesz, 1914): of N equispaced angles one is within π/N of the peak and reaches cos(πp/N)
    of it. N = 8p here, on each axis.
    """
    degree = kernel.shape[-1] // 2
    angles = max(1, 8 * degree)
    symbols = torch.fft.rfft2(dense_matrix.precise(kernel), s=(angles, angles)).permute(2, 3, 0, 1)
    largest = float(torch.linalg.matrix_norm(symbols, ord=2).max())
    return largest / math.cos(math.pi * degree / angles) ** 2


def remainder_bound(norm: float, terms: int) -> float:
    """A bound for the remainder Σ_{n > N} Tⁿ/n! of exp(T): β^(N+1)/(N+1)! · 1/(1 − β/(N+2)) (eq-remainder).

    The first term left out, times a geometric series; infinite unless β < N + 2.

    Args:
        norm: Norm β ≥ 0 of T.
        terms: Number of terms N ≥ 0.
    """
    if norm >= terms + 2:
        return math.inf
    first = math.exp((terms + 1) * math.log(norm) - math.lgamma(terms + 2)) if norm else 0.0
    return first / (1 - norm / (terms + 2))


def terms_for(norm: float) -> int:
    """The least N ≥ 1 with Σ_{n > N} βⁿ/n! ≤ ``REMAINDER``·e^{-β} by eq-remainder, for a norm β of T.

    The factor e^{-β} makes the remainder relative, because |exp(T) x| ≥ e^{-β}|x|.
    """
    terms = 1
    while remainder_bound(norm, terms) > REMAINDER * math.exp(-norm):
        terms += 1
    return terms


def largest_norm(dtype: torch.dtype) -> float:
    """The norm β at which terms of size e^β may cancel to e^{-β}: e^{2β} roundings make half of the digits."""
    return -0.25 * math.log(torch.finfo(dtype).eps)


def _unit(vector: Tensor, otherwise: Tensor) -> Tensor:
    """The vector at length 1, or ``otherwise`` where it has no direction."""
    length = vector.norm()
    return torch.where((length > 0) & length.isfinite(), vector / length, otherwise)
