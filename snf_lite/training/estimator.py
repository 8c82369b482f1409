"""A flow as an estimator of scikit-learn: fit, score_samples, sample, in pipelines and grid searches."""

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from snf_lite.data.source import as_source
from snf_lite.flow import Flow
from snf_lite.models import build_for
from snf_lite.runtime import checks
from snf_lite.runtime.rng import isolated_rng
from snf_lite.training.evaluation import EVALUATION_BATCH, log_probs
from snf_lite.training.fit import fit
from snf_lite.training.history import History

Array = NDArray[np.float64]

#: Steps of a training whose number of epochs is not given, and the bounds of that number.
STEPS, EPOCHS = 2000, (20, 300)


class FlowDensity(DensityMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Density of points or of the rows of a table by a normalizing flow, with the interface of scikit-learn.

    Everything is computed in float64, on the CPU. ``fit`` holds out a part of the rows, and keeps the weights with the
    best exact likelihood of that part. The log-density is that of the data as they are: the flow standardizes inside,
    and its log-determinant counts.

    Args:
        model: Name of a model, as ``build`` takes it; None: ``build_for`` chooses.
        settings: Settings of the model, as for ``build``.
        epochs: Number of epochs; None: as many as make about 2000 steps, from 20 to 300.
        batch_size: Rows per step.
        lr: Highest learning rate; a half cosine takes it down to 0.
        validation_fraction: Fraction of the rows that is held out.
        random_state: Seed of initial weights, of the rows held out and of their order: an integer, numpy's RandomState,
            or None for another one each time.

    Attributes:
        flow_: The flow, a ``Flow`` in float64.
        history_: The ``History`` of its training.
        n_features_in_: D, the number of features.
        feature_names_in_: Their names, if the rows came with names.

    Raises:
        ValueError: as ``build`` for the settings, ``fit`` for the training, and scikit-learn for the rows: fewer than
            three, or numbers that are not finite.

    Example:
        >>> from sklearn.datasets import load_wine
        >>> rows = load_wine().data
        >>> density = snf.FlowDensity(epochs=2, random_state=0).fit(rows)
        >>> density.score_samples(rows).shape, density.sample(5, random_state=0).shape
        ((178,), (5, 13))
    """

    def __init__(
        self, model: str | None = None, *, settings: Mapping[str, Any] | None = None, epochs: int | None = None,
        batch_size: int = 100, lr: float = 3e-3, validation_fraction: float = 0.1, random_state: Any = None,
    ) -> None:  # fmt: skip
        self.model = model
        self.settings = settings
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    flow_: Flow
    history_: History

    def fit(self, X: ArrayLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Train a fresh flow on the rows X (N, D).

        Args:
            X: Rows, N ≥ 3.
            y: Ignored.
            sample_weight: Weight (N,) of each row in the loss and in the likelihood of the part held out.
        """
        rows = validate_data(self, X, dtype=np.float64, ensure_min_samples=3)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        data = torch.from_numpy(np.array(rows))  # a copy: the rows may be read-only
        with isolated_rng("cpu", seed, "estimator"):
            self.flow_ = build_for(data, self.model, **(self.settings or {}))
        weights = None if sample_weight is None else torch.from_numpy(np.array(sample_weight, dtype=np.float64))
        if weights is not None and not weights.any():
            raise ValueError("FlowDensity: expected a positive sample_weight, got weights that are all zero.")
        self.history_ = fit(
            self.flow_, data, self.epochs_for(len(rows)), self.batch_size, self.lr, "cpu", seed, decay="cosine",
            validation=self.validation_fraction, weights=weights, progress=False,
        )  # fmt: skip
        return self

    def epochs_for(self, count: int) -> int:
        """Number of epochs for ``count`` rows."""
        if self.epochs is not None:
            return self.epochs
        size = checks.positive_integer(self.batch_size, "batch_size", "FlowDensity")
        held_out = checks.number_between(self.validation_fraction, 0, 1, "validation_fraction", "FlowDensity")
        steps_per_epoch = math.ceil((1 - held_out) * count / size)
        return min(max(STEPS // steps_per_epoch, EPOCHS[0]), EPOCHS[1])

    def score_samples(self, X: ArrayLike) -> Array:
        """Exact log-density of each row of X (N, D), (N,) in nats."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        source = as_source(torch.from_numpy(np.array(rows)), "test")
        found: Array = log_probs(self.flow_, source, EVALUATION_BATCH, seed=0).numpy()
        return found

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Mean log-density of the rows of X, in nats, which a grid search maximizes; y is ignored."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw rows by the exact inverse, (n_samples, D); ``random_state`` as in the class."""
        check_is_fitted(self)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        drawn: Array = self.flow_.sample(n_samples, exact=True, seed=seed).numpy()
        return drawn
