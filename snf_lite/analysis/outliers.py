"""Out-of-distribution detection by likelihood: scores, a detection threshold, and the AUROC."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snf_lite.data.source import Data, as_source
from snf_lite.flow import Flow
from snf_lite.runtime import checks
from snf_lite.runtime.rng import require_seed
from snf_lite.training.evaluation import EVALUATION_BATCH, fitted, log_probs


def nats_per_example(
    flow: Flow, data: Data, split: str = "test", batch_size: int = EVALUATION_BATCH, seed: int = 0,
    context: Any = None,
) -> Tensor:  # fmt: skip
    """Exact -log p of each example, (N,) in nats, float64; ``evaluate`` gives their mean.

    Args:
        flow: flow to evaluate, on its own device.
        data, split, batch_size, seed, context: as for ``evaluate``.

    Raises:
        ValueError, TypeError, NotInvertibleError, FloatingPointError: as ``evaluate``.
    """
    checks.positive_integer(batch_size, "batch_size", "nats_per_example")
    examples = fitted(as_source(data, split).with_extras(context, None), flow)
    return -log_probs(flow, examples, batch_size, require_seed(seed, "nats_per_example"))


def detection_threshold(scores: Tensor, share: float = 0.05) -> float:
    """Threshold t that a given share of in-distribution scores exceeds: P(s > t) = share (eq-alarm).

    Args:
        scores: (N,), of held-out examples; training examples would give too low a threshold.
        share: false-alarm rate, between 0 and 1.

    Raises:
        ValueError: share is out of range, or scores are empty or not finite.
    """
    checks.number_between(share, 0, 1, "share", "detection_threshold")
    return float(torch.quantile(_scores(scores, "detection_threshold"), 1 - share))


def typicality(nats: Tensor, reference: Tensor) -> Tensor:
    """|nats − mean of the reference|, of the shape of ``nats`` (eq-typical).

    Args:
        nats: -log p of the examples to judge.
        reference: (N,), -log p of held-out in-distribution examples.

    Raises:
        ValueError: the reference is empty or not finite.
    """
    return (nats - _scores(reference, "typicality").mean()).abs()


def auroc(known: Tensor, outliers: Tensor) -> float:
    """Probability that an outlier scores above a known example, equal scores counted half (eq-auroc), by scikit-learn.

    1 if the scores separate them, 1/2 if they are uninformative, 0 if all outliers score below all known examples.

    Args:
        known, outliers: scores, (N,) and (M,).

    Raises:
        ValueError: one of them is empty or not finite.
    """
    from sklearn.metrics import roc_auc_score  # imported here: it takes a second

    known, outliers = _scores(known, "auroc"), _scores(outliers, "auroc")
    labels = torch.cat([torch.zeros(len(known)), torch.ones(len(outliers))])
    return float(roc_auc_score(labels.numpy(), torch.cat([known, outliers]).numpy()))


def _scores(values: Any, owner: str) -> Tensor:
    values = values if isinstance(values, Tensor) else torch.from_numpy(np.array(values, dtype=np.float64))
    if values.dim() != 1 or len(values) == 0 or not bool(values.isfinite().all()):
        finite = int(values.isfinite().sum())
        got = f"{finite} finite ones in shape {tuple(values.shape)}"
        raise ValueError(f"{owner}: expected finite scores of shape (N,), at least one, got {got}.")
    return values.detach().cpu().double()
