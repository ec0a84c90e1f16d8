"""Laws of every estimator about rows and columns without any value."""

import re

import numpy as np
import pytest
from conftest import AUTOENCODERS, LEARNING, all_results, covering, make_small
from scipy import sparse
from sklearn.frozen import FrozenEstimator

from skae import AutoencoderClassifier, AutoencoderOutlierDetector, DenoisingEnsemble

Y = np.arange(40) % 2
NOTHING = np.full((40, 5), np.nan)


@pytest.fixture(scope="module")
def X(global_random_seed):
    return np.random.RandomState(global_random_seed).normal(size=(40, 5))


def small(cls, **parameters):
    return make_small(cls, 2, max_iter=1, **parameters)


def with_empty_rows(X):
    """The same rows, and as many without any value."""
    return np.vstack([X, NOTHING])


@pytest.mark.parametrize("cls", LEARNING, ids=lambda cls: cls.__name__)
def test_rows_without_any_value_cannot_be_fitted(cls, X):
    kinds = [NOTHING, sparse.csr_array(NOTHING)]
    for rows in kinds if small(cls).__sklearn_tags__().input_tags.sparse else kinds[:1]:
        with pytest.raises(ValueError, match="Every entry of X is missing"):
            small(cls).fit(rows, Y)


@pytest.mark.parametrize("cls", AUTOENCODERS, ids=lambda cls: cls.__name__)
def test_no_fit_continues_or_stops_with_rows_without_any_value(cls, X):
    fits = [
        lambda: small(cls, warm_start=True).fit(X).fit(NOTHING),
        lambda: small(cls).partial_fit(NOTHING),
        lambda: small(cls).partial_fit(X).partial_fit(NOTHING),
        lambda: AutoencoderClassifier(FrozenEstimator(small(cls).fit(X))).fit(NOTHING, Y),
    ]
    for fit in fits:
        with pytest.raises(ValueError, match="Every entry of X is missing"):
            fit()
    for val in (NOTHING, sparse.csr_array(NOTHING)):
        with pytest.raises(ValueError, match="Every entry of X_val is missing"):
            small(cls).fit(X, X_val=val)


@pytest.mark.parametrize("cls", LEARNING, ids=lambda cls: cls.__name__)
def test_a_row_without_any_value_has_the_results_of_all_such_rows(cls, X):
    fitted = small(cls).fit(X, Y)
    rows = np.vstack([X[:2], NOTHING[:2]])
    for name, results in all_results(fitted, rows).items():
        if name in ("inverse_transform", "sample", "score"):
            continue
        assert np.isfinite(results.astype(float)).all(), name
        np.testing.assert_allclose(results[2], results[3], atol=1e-12)
        if name in ("score_features", "feature_contributions"):
            np.testing.assert_array_equal(results[2:], 0)
        if name == "score_samples" and not hasattr(cls, "sample"):
            np.testing.assert_array_equal(results[2:], 0)


@pytest.mark.parametrize("cls", AUTOENCODERS, ids=lambda cls: cls.__name__)
def test_the_encoder_reads_the_mean_in_a_row_without_any_value(cls, X):
    fitted = small(cls, transform_max_iter=0).fit(X)
    codes = [fitted.transform(rows) for rows in (NOTHING[:1], fitted.mean_[None])]
    np.testing.assert_allclose(codes[0], codes[1], atol=1e-12)


@pytest.mark.parametrize(
    ("cls", "novelty"), covering([DenoisingEnsemble, *AUTOENCODERS], [False, True])
)
def test_a_detector_is_not_fitted_to_rows_without_any_value(cls, X, novelty):
    for rows in (with_empty_rows(X), sparse.csr_array(with_empty_rows(X))):
        one, other = (
            AutoencoderOutlierDetector(small(cls), novelty=novelty).fit(part)
            for part in (rows[:40], rows)
        )
        assert one.offset_ == other.offset_
        np.testing.assert_array_equal(one.score_samples(X), other.score_samples(X))
    groups = np.arange(80) // 2
    AutoencoderOutlierDetector(small(cls), novelty=novelty).fit(with_empty_rows(X), groups=groups)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("cls", AUTOENCODERS, ids=lambda cls: cls.__name__)
def test_a_first_batch_names_the_columns_that_a_fit_names(cls, kind, X):
    rows = np.c_[X, np.full(40, 3.0), NOTHING[:, 0]]
    rows[3, 5] = np.nan
    named = [text for text in small(cls).fit(rows).diagnosis_ if re.search(r"of 7 columns", text)]
    assert [re.search(r"\((\d)\) (are|have)", text).groups() for text in named] == [
        ("6", "have"),
        ("5", "are"),
    ]
    stream = small(cls).partial_fit(kind(rows))
    assert list(stream.diagnosis_) == named
    rows[:, 5:] = X[:, :2]
    assert list(stream.partial_fit(kind(rows)).diagnosis_) == named  # the units stay
