"""Two-dimensional densities: toy data that a flow learns in seconds.

`sample_density` draws from any of them by name. Coordinates lie within about ±4. The density of `mixture` has a closed
form, `mixture_log_prob`, with which a flow's likelihood can be compared.
"""

import math
from collections.abc import Callable
from numbers import Integral

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import NDArray
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from snf_lite.runtime import checks

__all__ = ["density_names", "mixture_log_prob", "sample_density"]

Points = NDArray[np.float64]

MIXTURE_RADIUS = 2.8
MIXTURE_STD = 0.35
_MIXTURE_ANGLES = np.arange(8) * math.pi / 4
MIXTURE_MEANS: Points = MIXTURE_RADIUS * np.stack([np.cos(_MIXTURE_ANGLES), np.sin(_MIXTURE_ANGLES)], axis=1)


def density_names() -> list[str]:
    """Names of the 2-D densities, in the order of the gallery in the book.

    Example:
        >>> "moons" in snf.density_names()
        True
    """
    return list(_DENSITIES)


def sample_density(name: str, n: int, seed: int = 0) -> torch.Tensor:
    """Draw `n` points of the density `name`: a float32 tensor (n, 2).

    The points depend on `name`, `n` and `seed` alone; the global generators of torch and numpy are neither read nor
    changed. `moons` and `circles` space their points evenly along the curve and then add the noise.

    Raises:
        ValueError: unknown name, negative n, seed outside [0, 2³²).
        TypeError: n or seed is no integer.

    Example:
        >>> snf.sample_density("moons", 100, seed=1).shape
        torch.Size([100, 2])
    """
    if name not in _DENSITIES:
        raise ValueError(f"Expected a density out of {', '.join(_DENSITIES)}; got {name!r}.")
    count = _whole_number(n, "n", math.inf)
    # RandomState, because numpy guarantees its numbers for all versions; those of default_rng may change.
    random = RandomState(_whole_number(seed, "seed", 2**32))
    # scikit-learn refuses n = 0 and draws a single point always from the same moon: draw two and cut.
    points = _DENSITIES[name](random, max(count, 2))[:count]
    return torch.from_numpy(points.astype(np.float32))


def mixture_log_prob(x: torch.Tensor) -> torch.Tensor:
    """Exact log-density of `mixture` in nats: floating-point x (B, 2) → (B,), in x's dtype.

    log p(x) = log ⅛ Σₖ N(x; mₖ, σ² I), with mₖ = 2.8 (cos kπ/4, sin kπ/4), k = 0…7, and σ = 0.35.

    Raises:
        TypeError: x is no floating-point tensor.
        ValueError: another shape, NaN or infinity.

    Example:
        >>> snf.mixture_log_prob(torch.tensor([[2.8, 0.0], [0.0, 0.0]])).argmax()  # a mean, and the empty center
        tensor(0)
    """
    checks.require_tensor(x, "mixture_log_prob")
    checks.require_dtype(x, None, "mixture_log_prob")
    checks.require_batch_of(x, (2,), "mixture_log_prob")
    checks.require_finite_input(x, "mixture_log_prob")
    means = torch.as_tensor(MIXTURE_MEANS, dtype=x.dtype, device=x.device)
    # x is checked above; torch's own checks fail on an empty batch.
    components = MultivariateNormal(means, MIXTURE_STD**2 * torch.eye(2).to(means), validate_args=False)
    weights = Categorical(torch.ones(8).to(means))
    log_prob: torch.Tensor = MixtureSameFamily(weights, components, validate_args=False).log_prob(x)
    return log_prob


def _whole_number(value: object, what: str, limit: float) -> int:
    if not isinstance(value, Integral):
        raise TypeError(f"Expected {what} to be an integer, got {value!r}.")
    number = int(value)
    if not 0 <= number < limit:
        raise ValueError(f"Expected {what} in [0, {limit}), got {number}.")
    return number


def _polar(radius: Points, angle: Points) -> Points:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _moons(random: RandomState, n: int) -> Points:
    """Two interleaved half circles (scikit-learn), centered and doubled."""
    from sklearn.datasets import make_moons  # imported here and below: it takes a second

    points: Points = make_moons(n, noise=0.1, random_state=random)[0]
    return 2 * (points - [0.5, 0.25])


def _circles(random: RandomState, n: int) -> Points:
    """Two concentric circles of radius 1.5 and 3 (scikit-learn)."""
    from sklearn.datasets import make_circles

    points: Points = make_circles(n, noise=0.05, factor=0.5, random_state=random)[0]
    return 3 * points


def _swissroll(random: RandomState, n: int) -> Points:
    """A spiral of one and a half turns: the rolled-up plane of scikit-learn, seen from its end."""
    from sklearn.datasets import make_swiss_roll

    points: Points = make_swiss_roll(n, noise=0.5, random_state=random)[0]
    return points[:, [0, 2]] / 4


def _rings(random: RandomState, n: int) -> Points:
    """Four rings of radius 0.8, 1.6, 2.4 and 3.2, equally probable."""
    radius = 0.8 * random.randint(1, 5, size=n) + 0.08 * random.standard_normal(n)
    return _polar(radius, random.uniform(0, 2 * math.pi, size=n))


def _spirals(random: RandomState, n: int) -> Points:
    """Two Archimedean spirals of one and a half turns, the second rotated by half a turn."""
    angle = 3 * math.pi * np.sqrt(random.uniform(size=n))  # the root spaces the points evenly along the curve
    arm = math.pi * random.randint(0, 2, size=n)
    return _polar(angle / 3, angle + arm) + 0.1 * random.standard_normal((n, 2))


def _checkerboard(random: RandomState, n: int) -> Points:
    """Uniform on the eight squares of one color on a 4 × 4 board over [-4, 4]²."""
    row = random.randint(0, 4, size=n)
    column = 2 * random.randint(0, 2, size=n) + row % 2
    return 2 * (np.stack([column, row], axis=1) + random.uniform(size=(n, 2))) - 4


def _pinwheel(random: RandomState, n: int) -> Points:
    """Five bent arms: Gaussians stretched along the radius, twisted more at a larger radius (Johnson et al. 2016)."""
    arm = 2 * math.pi / 5 * random.randint(0, 5, size=n)
    along, across = 1 + 0.3 * random.standard_normal(n), 0.1 * random.standard_normal(n)
    return 1.8 * _polar(np.hypot(along, across), np.arctan2(across, along) + arm + 0.25 * np.exp(along))


def _sine(random: RandomState, n: int) -> Points:
    """A noisy sine wave: x uniform on [-3.5, 3.5], y = 2 sin(1.5 x) + 0.2 ε."""
    x = random.uniform(-3.5, 3.5, size=n)
    return np.stack([x, 2 * np.sin(1.5 * x) + 0.2 * random.standard_normal(n)], axis=1)


def _banana(random: RandomState, n: int) -> Points:
    """A bent Gaussian: x = ε₁, y = 0.25 x² - 1 + 0.3 ε₂."""
    x, noise = random.standard_normal((2, n))
    return np.stack([x, 0.25 * x**2 - 1 + 0.3 * noise], axis=1)


def _mixture(random: RandomState, n: int) -> Points:
    """Eight Gaussians on a circle; `mixture_log_prob` is their density."""
    return MIXTURE_MEANS[random.randint(0, 8, size=n)] + MIXTURE_STD * random.standard_normal((n, 2))


_DENSITIES: dict[str, Callable[[RandomState, int], Points]] = {
    "moons": _moons,
    "circles": _circles,
    "rings": _rings,
    "spirals": _spirals,
    "checkerboard": _checkerboard,
    "pinwheel": _pinwheel,
    "swissroll": _swissroll,
    "sine": _sine,
    "banana": _banana,
    "mixture": _mixture,
}
