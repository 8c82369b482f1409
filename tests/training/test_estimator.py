"""``FlowDensity`` under scikit-learn: its checks, pipelines, grid searches, pickles; and what is its own."""

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import snf_lite as snf

#: Settings with which a fit takes a fraction of a second.
QUICK: dict[str, Any] = {"epochs": 2, "settings": {"depth": 1, "bins": 4}, "random_state": 0}
#: Checks of scikit-learn that do not apply, and why.
EXCEPTIONS = {
    "check_sample_weight_equivalence_on_dense_data": "a row of weight 2 and two equal rows fall into other batches",
}


def moons(count: int = 300, seed: int = 1) -> np.ndarray:
    return snf.sample_density("moons", count, seed).double().numpy()


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_finds_nothing_to_object_to() -> None:
    results = check_estimator(
        snf.FlowDensity(**QUICK), expected_failed_checks=EXCEPTIONS, on_skip=None, on_fail="raise"
    )
    passed = [result["check_name"] for result in results if result["status"] == "passed"]
    assert len(passed) >= 40
    assert {"check_fit2d_1sample", "check_estimators_pickle", "check_methods_subset_invariance"} <= set(passed)


def test_the_package_is_imported_without_scikit_learn() -> None:
    code = (
        "import sys, snf_lite; print('sklearn' in sys.modules); snf_lite.FlowDensity; print('sklearn' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.split() == ["False", "True"]


def test_the_same_seed_gives_the_same_numbers() -> None:
    x = moons()
    first, second = (snf.FlowDensity(**QUICK).fit(x) for _ in range(2))
    other = snf.FlowDensity(**{**QUICK, "random_state": 1}).fit(x)
    assert np.array_equal(first.score_samples(x), second.score_samples(x))
    assert np.array_equal(first.sample(5, random_state=3), second.sample(5, random_state=3))
    assert not np.array_equal(first.score_samples(x), other.score_samples(x))
    assert not np.array_equal(first.sample(5, random_state=3), first.sample(5, random_state=4))


def test_scores_are_log_densities_of_the_rows_as_they_are() -> None:
    """Per unit of the columns: a column in thousandths has a density a thousand times lower."""
    x, scale = moons(), np.array([1000.0, 1.0])
    scores = [snf.FlowDensity(**QUICK).fit(rows).score(rows) for rows in (x, x * scale)]
    assert scores[0] - scores[1] == pytest.approx(np.log(1000), abs=1e-6)
    density = snf.FlowDensity(**QUICK).fit(x)
    assert density.score(x) == pytest.approx(-snf.evaluate(density.flow_, torch.from_numpy(x)).nats)


def test_large_offsets_keep_their_digits() -> None:
    """Times in seconds since 1970: float32 would round them to minutes."""
    x = moons()
    near, far = (snf.FlowDensity(**QUICK).fit(rows) for rows in (x, x + 1.7e9))
    assert far.score(x + 1.7e9) == pytest.approx(near.score(x), abs=1e-3)


def test_it_works_where_estimators_do() -> None:
    x = moons()
    pipeline = make_pipeline(StandardScaler(), snf.FlowDensity(**QUICK))
    again = pickle.loads(pickle.dumps(pipeline.fit(x)))
    assert np.array_equal(again.score_samples(x), pipeline.score_samples(x))
    search = GridSearchCV(snf.FlowDensity(**QUICK), {"lr": [1e-4, 1e-2]}, cv=2, n_jobs=1).fit(x)
    assert search.best_params_ == {"lr": 1e-2}
    assert clone(search.best_estimator_).get_params() == search.best_estimator_.get_params()


def test_a_tables_rows_are_sampled_in_its_units() -> None:
    rows = load_wine().data
    density = snf.FlowDensity(epochs=40, random_state=0).fit(rows)
    drawn = density.sample(500, random_state=0)
    assert drawn.shape == (500, 13) and density.n_features_in_ == 13
    assert np.all(np.abs(drawn.mean(0) - rows.mean(0)) < 0.5 * rows.std(0))


@pytest.mark.parametrize(
    ("settings", "rows", "message"),
    [
        ({}, np.zeros((2, 3)), "minimum of 3"),
        ({}, np.array([[0.0, np.nan]] * 9), "NaN"),
        ({"model": "splines"}, np.zeros((9, 2)), "expected a model among"),
        ({"settings": {"deep": 3}}, np.zeros((9, 2)), "no setting 'deep'"),
        ({"validation_fraction": 1.0}, np.eye(9), r"validation_fraction in \(0, 1\), got 1.0"),
        ({"batch_size": 0}, np.eye(9), "batch_size to be a positive integer, got 0"),
        ({"batch_size": "a"}, np.eye(9), "batch_size to be a positive integer, got 'a'"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], rows: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        snf.FlowDensity(**settings).fit(rows)
