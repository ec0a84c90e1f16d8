"""The scorer of reconstructions, against scores computed by hand."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skae import compare_reducers, make_reconstruction_scorer


@pytest.fixture
def X():
    return load_iris().data


@pytest.fixture
def y():
    return load_iris().target


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # Rows (1, 2), (3, 4), (5, 9) have means 3 and 5: squares 8 + (9 + 1 + 16) = 34. Halving
        # leaves errors of half the rows: squares (1 + 4 + 9 + 16 + 25 + 81) / 4 = 34.
        ("explained_variance", 1 - 34 / 34),
        ("neg_mean_squared_error", -34 / 6),
        ("neg_mean_absolute_error", -(1 + 2 + 3 + 4 + 5 + 9) / 2 / 6),
    ],
)
def test_scores_equal_those_computed_by_hand(metric, expected):
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 9.0]])
    halve = FunctionTransformer(inverse_func=lambda codes: codes / 2).fit(rows)
    assert_allclose(make_reconstruction_scorer(metric)(halve, rows), expected, atol=1e-15)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # Without the 9 the second column has mean 3: squares 8 + 2 = 10, errors 55 / 4.
        ("explained_variance", 1 - 13.75 / 10),
        ("neg_mean_squared_error", -13.75 / 5),
        ("neg_mean_absolute_error", -(1 + 2 + 3 + 4 + 5) / 2 / 5),
    ],
)
def test_missing_entries_are_ignored(metric, expected):
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, np.nan]])
    halve = FunctionTransformer(inverse_func=lambda codes: codes / 2).fit(rows)
    assert_allclose(make_reconstruction_scorer(metric)(halve, rows), expected, rtol=1e-15)


@pytest.mark.parametrize(
    "metric", ["explained_variance", "neg_mean_squared_error", "neg_mean_absolute_error"]
)
def test_a_reconstruction_of_nan_has_score_nan(metric):
    rows = np.eye(3)
    broken = FunctionTransformer(inverse_func=lambda codes: codes * np.nan).fit(rows)
    assert np.isnan(make_reconstruction_scorer(metric)(broken, rows))


def test_scorer_and_comparison_agree_if_train_and_test_rows_are_the_same(X):
    same_rows = [(np.arange(150), np.arange(150))]
    comparison = compare_reducers({"pca": PCA(2)}, X, cv=same_rows)
    score = make_reconstruction_scorer()(PCA(2).fit(X), X)
    assert_allclose(comparison.mean()["pca"].explained_variance, score, rtol=1e-14)


@pytest.mark.parametrize(
    ("reducer", "parameter"),
    [
        (PCA(), "n_components"),
        (TruncatedSVD(random_state=0), "n_components"),
        (make_pipeline(StandardScaler(), PCA()), "pca__n_components"),
    ],
)
def test_a_grid_search_without_y_selects_the_largest_number_of_components(reducer, parameter, X):
    scorer = make_reconstruction_scorer()
    search = GridSearchCV(reducer, {parameter: [1, 3, 2]}, scoring=scorer, cv=3).fit(X)
    assert search.best_params_ == {parameter: 3}
    assert 0 < search.best_score_ < 1


def test_small_integers_do_not_overflow():
    rows = np.array([[1, 2], [3, 4]], dtype=np.uint8)
    more = FunctionTransformer(inverse_func=lambda codes: codes + np.uint8(20)).fit(rows)
    assert make_reconstruction_scorer("neg_mean_squared_error")(more, rows) == -400


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_frames_and_reducers_that_output_frames_have_the_same_score(container, X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    framed = PCA(2).set_output(transform=container).fit(frame)
    scorer = make_reconstruction_scorer()
    assert_allclose(scorer(framed, frame), scorer(PCA(2).fit(X), X), rtol=1e-14)


def test_sparse_rows_have_the_score_of_dense_rows_and_y_is_ignored(X, y):
    svd, scorer = TruncatedSVD(2, random_state=0).fit(X), make_reconstruction_scorer()
    assert_allclose(scorer(svd, sparse.csr_array(X), y), scorer(svd, X), rtol=1e-12)


def test_a_scorer_can_be_pickled(X):
    scorer, pca = make_reconstruction_scorer("neg_mean_squared_error"), PCA(2).fit(X)
    assert pickle.loads(pickle.dumps(scorer))(pca, X) == scorer(pca, X)


def test_an_estimator_without_inverse_is_an_error(X):
    lda = LinearDiscriminantAnalysis()
    with pytest.raises(TypeError, match=r"`estimator` must have .* got LinearDiscrim"):
        make_reconstruction_scorer()(lda, X)


@pytest.mark.parametrize("metric", ["r2", ["explained_variance"], None])
def test_an_unknown_metric_is_an_error(metric):
    message = "`metric` must be one of 'explained_variance', .* got"
    with pytest.raises((TypeError, ValueError), match=message):
        make_reconstruction_scorer(metric)
