"""What a training step costs, by formula: multiply-adds, where two layers cost the same, how measured times grow.

A multiply-add is one multiplication and the addition that takes up its result. The room ``counts`` counts them while a
step runs; the formulas here say in advance what it finds. Learned biases, activations and norms are of lower order.
"""

import math

import numpy as np

#: Products of B·D² (convolutions: of B·H·W·C²·k²) in one training step of each layer, its three plain ones included.
PRODUCTS = {"linear": 3, "relative": 4, "selfnorm": 6, "lu": 6, "selfnorm-two-pass": 9}

#: Multiply-adds over D³ of what the exact layer adds: a third for the factorisation, the rest for the inverse.
ELIMINATION = 4 / 3


def product_cost(products: int, batch: int, features: int) -> int:
    """Multiply-adds of so many products of a batch (B, D) with a matrix (D, D): n·B·D² (eq-product-cost).

    Args:
        products: n; those of each layer stand in ``PRODUCTS``.
        batch: B.
        features: D.
    """
    return products * batch * features**2


def exact_cost(batch: int, features: int) -> float:
    """Multiply-adds of a training step with the exact log|det W|: 3·B·D² + 4/3·D³, to leading order (eq-exact-cost).

    A third of D³ is the LU factorisation, D³ the solve with the identity that makes W⁻ᵀ of it.
    """
    return product_cost(PRODUCTS["linear"], batch, features) + ELIMINATION * features**3


def crossover(features: int, slowdown: float = 1.0) -> float:
    """The batch B* at which six products cost as much as an exact step: 4/9·s·D (eq-crossover).

    Below it the self-normalising layer costs less, above it the exact one.

    Args:
        features: D.
        slowdown: s, how many times longer a multiply-add takes in the elimination than in a product.
    """
    return slowdown * ELIMINATION * features / (PRODUCTS["selfnorm"] - PRODUCTS["linear"])


def slowdown(plain_seconds: float, exact_seconds: float, batch: int, features: int) -> float:
    """s of eq-crossover from two measured times of a step, of a plain layer and of the exact one, with B and D."""
    product = plain_seconds / product_cost(PRODUCTS["linear"], batch, features)
    elimination = (exact_seconds - plain_seconds) / (ELIMINATION * features**3)
    return elimination / product


# ---- convolutions ----------------------------------------------------------------------------------------------------


def conv_product_cost(products: int, batch: int, shape: tuple[int, int, int], kernel_size: int) -> int:
    """Multiply-adds of so many convolutions: n·B·H·W·C²·k², padding counted as if it were pixels.

    shape: (C, H, W).
    """
    channels, height, width = shape
    return products * batch * height * width * channels**2 * kernel_size**2


def conv_exact_cost(batch: int, shape: tuple[int, int, int], kernel_size: int) -> float:
    """Multiply-adds of a step of ``ExactConv2d``: 3·B·H·W·C²·k² + c(H/p)·(p·C·W)³ to leading order (eq-conv-cost).

    Args:
        batch: B.
        shape: (C, H, W); where W > H the two change places.
        kernel_size: k = 2p + 1 ≥ 3.

    Raises:
        ValueError: k is even or below 3, or p does not divide the image into whole blocks.
    """
    channels, short, long = shape[0], *sorted(shape[1:])
    reach = kernel_size // 2
    if kernel_size % 2 == 0 or reach == 0 or long % reach:
        raise ValueError(
            f"conv_exact_cost: expected an odd kernel k ≥ 3 whose (k-1)/2 divides {long}, got k = {kernel_size}."
        )
    blocks = reduction_cost(long // reach) * (reach * channels * short) ** 3
    return conv_product_cost(PRODUCTS["linear"], batch, shape, kernel_size) + blocks


def conv_dense_cost(batch: int, shape: tuple[int, int, int], kernel_size: int) -> float:
    """The same with the whole matrix T(w) eliminated: 3·B·H·W·C²·k² + 4/3·(C·H·W)³, without making T(w)."""
    plain = conv_product_cost(PRODUCTS["linear"], batch, shape, kernel_size)
    return plain + ELIMINATION * math.prod(shape) ** 3


def reduction_cost(rows: int) -> float:
    """c(n): multiply-adds over m³ of the cyclic reduction of n ≥ 1 block rows of m numbers, gradient included.

    4/3 for one row; 22/3 more for one row eliminated singly, as the first of two and the last of an odd number are;
    58/3 more, whatever n, for every other of an even number at once.
    """
    if rows < 3:
        return ELIMINATION + (rows - 1) * 22 / 3
    return 22 / 3 + reduction_cost(rows - 1) if rows % 2 else 58 / 3 + reduction_cost(rows // 2)


# ---- measured times --------------------------------------------------------------------------------------------------


def power_law(times: dict[int, float]) -> tuple[float, float]:
    """p and a of the time a·D^p that fits best: least squares in the logarithms (eq-power-law).

    times: D → seconds, two at least.
    """
    sizes, seconds = (np.log(np.array(list(values), dtype=float)) for values in (times.keys(), times.values()))
    power, offset = np.polyfit(sizes, seconds, 1)
    return float(power), math.exp(offset)
