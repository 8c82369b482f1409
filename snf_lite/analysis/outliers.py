"""Which events do not belong to the data that a flow has learned: nats by event, an alarm level, and how it fares."""

import torch
from torch import Tensor

from snf_lite.data.source import Data, as_source
from snf_lite.flow import Flow
from snf_lite.runtime import checks
from snf_lite.runtime.rng import require_seed
from snf_lite.training.evaluation import EVALUATION_BATCH, log_probs, require_fit


def nats_per_example(
    flow: Flow, data: Data, split: str = "test", batch_size: int = EVALUATION_BATCH, seed: int = 0
) -> Tensor:
    """-log p of each event, (N,) in nats, float64, exact; ``evaluate`` gives the mean of these.

    Args:
        flow: stays where it is.
        data, split, batch_size, seed: as for ``evaluate``.

    Raises:
        ValueError, TypeError, NotInvertibleError, FloatingPointError: as ``evaluate``.
    """
    checks.positive_integer(batch_size, "batch_size", "nats_per_example")
    events = as_source(data, split)
    require_fit(events, flow)
    return -log_probs(flow, events, batch_size, require_seed(seed, "nats_per_example"))


def detection_threshold(scores: Tensor, share: float = 0.05) -> float:
    """The level t that a share of the known events exceeds: P(s > t) = share on those given (eq-alarm).

    Args:
        scores: (N,), of held-out events; those trained on would put it too low.
        share: false alarms to expect, between 0 and 1.

    Raises:
        ValueError: share is out of range, or there are no scores or some that are not finite.
    """
    checks.number_between(share, 0, 1, "share", "detection_threshold")
    return float(torch.quantile(_scores(scores, "detection_threshold"), 1 - share))


def typicality(nats: Tensor, reference: Tensor) -> Tensor:
    """|nats − mean of the reference|, of the shape of ``nats``: how far from what known events get (eq-typical).

    Args:
        nats: of the events to judge.
        reference: (N,), of held-out events of the known kind.

    Raises:
        ValueError: the reference is empty or not finite.
    """
    return (nats - _scores(reference, "typicality").mean()).abs()


def auroc(known: Tensor, foreign: Tensor) -> float:
    """The probability that a foreign event scores above a known one, ties counted half (eq-auroc): scikit-learn's.

    1 where the scores part them, 1/2 where they say nothing, 0 where the foreign ones lie below without exception.

    Args:
        known, foreign: (N,) and (M,), scores of events.

    Raises:
        ValueError: one of them is empty or not finite.
    """
    from sklearn.metrics import roc_auc_score  # a second of import that only its users pay

    known, foreign = _scores(known, "auroc"), _scores(foreign, "auroc")
    labels = torch.cat([torch.zeros(len(known)), torch.ones(len(foreign))])
    return float(roc_auc_score(labels.numpy(), torch.cat([known, foreign]).numpy()))


def _scores(values: Tensor, owner: str) -> Tensor:
    if values.dim() != 1 or len(values) == 0 or not bool(values.isfinite().all()):
        finite = int(values.isfinite().sum())
        got = f"{finite} finite ones in shape {tuple(values.shape)}"
        raise ValueError(f"{owner}: expected finite scores of shape (N,), at least one, got {got}.")
    return values.detach().cpu().double()
