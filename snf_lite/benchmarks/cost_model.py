"""Cost model of a training step: multiply-adds by formula, the crossover of two layers, and the growth of times.

A multiply-add is one multiplication and the addition of its result. ``operation_counts`` counts them while a step runs;
the formulas here predict its counts. Biases, activations and norms are of lower order.
"""

import math

import numpy as np

#: Products of B·D² (convolutions: of B·H·W·C²·k²) in one training step of each layer, including three for z = Wx.
PRODUCTS = {"linear": 3, "relative": 4, "selfnorm": 6, "lu": 6, "selfnorm-two-pass": 9}

#: Additional multiply-adds of the exact layer over D³: a third for the factorization, the rest for the inverse.
ELIMINATION = 4 / 3


def product_cost(products: int, batch: int, features: int) -> int:
    """Multiply-adds of n products of a batch (B, D) with a matrix (D, D): n·B·D² (eq-product-cost).

    Args:
        products: n; ``PRODUCTS`` has that of each layer.
        batch: B.
        features: D.
    """
    return products * batch * features**2


def exact_cost(batch: int, features: int) -> float:
    """Multiply-adds of a training step with the exact log|det W|: 3·B·D² + 4/3·D³, to leading order (eq-exact-cost).

    The LU factorization costs a third of D³, and W⁻ᵀ, a solve with the identity, D³.
    """
    return product_cost(PRODUCTS["linear"], batch, features) + ELIMINATION * features**3


def tracked_cost(batch: int, features: int, every: int) -> float:
    """Multiply-adds of a step of ``TrackedLinear``, mean over m: 3·B·D² + 2·D³/m, below in eq-exact-or-tracked.

    Args:
        batch: B.
        features: D.
        every: m.
    """
    return product_cost(PRODUCTS["linear"], batch, features) + 2 * features**3 / every


def crossover(features: int, slowdown: float = 1.0) -> float:
    """The batch size B* at which six products cost as much as an exact step: 4/9·s·D (eq-crossover).

    Below it the self-normalizing layer costs less, above it the exact one.

    Args:
        features: D.
        slowdown: s, the time of a multiply-add in the elimination over that in a product.
    """
    return slowdown * ELIMINATION * features / (PRODUCTS["selfnorm"] - PRODUCTS["linear"])


def slowdown(plain_seconds: float, exact_seconds: float, batch: int, features: int) -> float:
    """s of eq-crossover, from the measured times of a step of a plain layer and of an exact one at B and D."""
    product = plain_seconds / product_cost(PRODUCTS["linear"], batch, features)
    elimination = (exact_seconds - plain_seconds) / (ELIMINATION * features**3)
    return elimination / product


# ---- convolutions ----------------------------------------------------------------------------------------------------


def conv_product_cost(products: int, batch: int, shape: tuple[int, int, int], kernel_size: int) -> int:
    """Multiply-adds of n convolutions: n·B·H·W·C²·k², with padding counted as pixels.

    Args:
        products: n.
        batch: B.
        shape: (C, H, W).
        kernel_size: k.
    """
    channels, height, width = shape
    return products * batch * height * width * channels**2 * kernel_size**2


def conv_exact_cost(batch: int, shape: tuple[int, int, int], kernel_size: int) -> float:
    """Multiply-adds of a step of ``ExactConv2d``: 3·B·H·W·C²·k² + c(H/p)·(p·C·W)³ to leading order (eq-conv-cost).

    Args:
        batch: B.
        shape: (C, H, W); H and W are swapped if W > H.
        kernel_size: k = 2p + 1 ≥ 3.

    Raises:
        ValueError: k is even or below 3, or p does not divide the longer side.
    """
    channels, short, long = shape[0], *sorted(shape[1:])
    reach = kernel_size // 2
    if kernel_size % 2 == 0 or reach == 0 or long % reach:
        raise ValueError(
            f"conv_exact_cost: expected an odd kernel k ≥ 3 whose (k-1)/2 divides {long}, got k = {kernel_size}."
        )
    blocks = reduction_cost(long // reach) * (reach * channels * short) ** 3
    return conv_product_cost(PRODUCTS["linear"], batch, shape, kernel_size) + blocks


def conv_unbiased_cost(
    batch: int, shape: tuple[int, int, int], kernel_size: int, iterations: int, probes: int = 4,
    learn_from: str = "noise",
) -> int:  # fmt: skip
    """Multiply-adds of a step of ``UnbiasedConv2d`` whose solves take j iterations: (3·B + (5 + 2j)·n)·H·W·C²·k².

    With ``learn_from="batch"`` the reconstruction is of the batch: (5·B + (3 + 2j)·n)·H·W·C²·k².

    Args:
        batch: B.
        shape: (C, H, W).
        kernel_size: k.
        iterations: j, steps of minimal residual.
        probes: n.
        learn_from: "noise" or "batch".
    """
    of_batch, of_probes = {"noise": (3, 5), "batch": (5, 3)}[learn_from]
    images = of_batch * batch + (of_probes + 2 * iterations) * probes
    return conv_product_cost(1, images, shape, kernel_size)


def conv_dense_cost(batch: int, shape: tuple[int, int, int], kernel_size: int) -> float:
    """The same with elimination of the dense matrix T(w): 3·B·H·W·C²·k² + 4/3·(C·H·W)³, without building T(w)."""
    plain = conv_product_cost(PRODUCTS["linear"], batch, shape, kernel_size)
    return plain + ELIMINATION * math.prod(shape) ** 3


def reduction_cost(rows: int) -> float:
    """c(n): multiply-adds over m³ of the cyclic reduction of n ≥ 1 block rows of size m, including the gradient.

    4/3 for one row; 22/3 more for a row that is eliminated alone: the first of two, or the last of an odd number; 58/3
    more, for any even n, for the elimination of every other row.
    """
    if rows < 3:
        return ELIMINATION + (rows - 1) * 22 / 3
    return 22 / 3 + reduction_cost(rows - 1) if rows % 2 else 58 / 3 + reduction_cost(rows // 2)


# ---- measured times --------------------------------------------------------------------------------------------------


def power_law(times: dict[int, float]) -> tuple[float, float]:
    """p and a of the best fit a·D^p of a time: least squares in the logarithms (eq-power-law).

    Args:
        times: Seconds by D, for at least two D.
    """
    sizes, seconds = (np.log(np.array(list(values), dtype=float)) for values in (times.keys(), times.values()))
    power, offset = np.polyfit(sizes, seconds, 1)
    return float(power), math.exp(offset)
