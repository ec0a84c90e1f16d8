"""`compare_reducers` and `make_reconstruction_scorer` against formulas worked out beside them."""

import pickle
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA, KernelPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.manifold import TSNE, trustworthiness
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from skae import compare_reducers, make_reconstruction_scorer

TRAIN, TEST = np.arange(0, 150, 2), np.arange(1, 150, 2)
ONE_SPLIT = [(TRAIN, TEST)]


@pytest.fixture
def X():
    return load_iris().data


@pytest.fixture
def y():
    return load_iris().target


def scores_of(reducer, X, y=None, *, cv=ONE_SPLIT, **options):
    """Scores of a single reducer on a single split."""
    return compare_reducers({"it": reducer}, X, y, cv=cv, **options).folds["it"][0]


def fill_with_zero(inverse):
    """A reducer that takes NaN, for `SimpleImputer` has no inverse without indicators."""
    return FunctionTransformer(np.nan_to_num, inverse_func=inverse, check_inverse=False)


# --- what is measured ------------------------------------------------------------------------


def test_explained_variance_of_pca_is_the_share_of_the_projected_rows(X):
    centred = X[TEST] - X[TRAIN].mean(axis=0)
    axes = np.linalg.svd(X[TRAIN] - X[TRAIN].mean(axis=0))[2][:2]
    # By Pythagoras the residual of an orthogonal projection is what the projection lacks.
    expected = np.sum((centred @ axes.T) ** 2) / np.sum(centred**2)
    assert_allclose(scores_of(PCA(2), X).explained_variance, expected, rtol=1e-10)


def test_explained_variance_is_about_the_mean_of_the_training_rows():
    X = np.array([[0.0], [2.0], [3.0], [3.0], [5.0]])
    halve = FunctionTransformer(inverse_func=lambda codes: codes / 2)
    # Training rows 0 and 2 have mean 1; unseen 3, 3, 5 have squares about it 4 + 4 + 16 = 24; the
    # errors of halving them are 1.5, 1.5 and 2.5, of squares 2.25 + 2.25 + 6.25 = 10.75.
    scores = scores_of(halve, X, cv=[([0, 1], [2, 3, 4])], n_neighbors=1)
    assert scores.explained_variance == 1 - 10.75 / 24


def test_a_perfect_inverse_explains_everything_and_keeps_all_neighbours():
    X = np.random.RandomState(0).normal(size=(150, 4))  # no two distances are equal
    scores = scores_of(StandardScaler(with_std=False), X)
    assert_allclose(scores.explained_variance, 1, rtol=1e-14)
    assert scores.trustworthiness == 1
    assert scores.n_components == 4


def test_rows_without_spread_are_explained_fully_or_not_at_all():
    X = np.ones((20, 2))
    split = [(np.arange(10), np.arange(10, 20))]
    right = scores_of(FunctionTransformer(), X, cv=split, n_neighbors=1)
    zeros = FunctionTransformer(inverse_func=np.zeros_like)
    wrong = scores_of(zeros, X, cv=split, n_neighbors=1)
    assert (right.explained_variance, wrong.explained_variance) == (1, 0)


def test_measures_of_the_codes_are_scikit_learns(X, y):
    pca = PCA(2).fit(X[TRAIN])
    train, test = pca.transform(X[TRAIN]), pca.transform(X[TEST])
    svc = SVC().fit(train, y[TRAIN])
    knn = KNeighborsClassifier(3).fit(train, y[TRAIN])
    scores = scores_of(PCA(2), X, y, n_neighbors=3, downstream=SVC())
    assert scores.trustworthiness == trustworthiness(X[TEST], test, n_neighbors=3)
    assert scores.knn_score == knn.score(test, y[TEST])
    assert scores.downstream_score == svc.score(test, y[TEST])
    assert scores.n_components == 2
    assert scores.fit_seconds > 0
    assert scores.transform_seconds > 0


def test_numbers_in_y_are_regressed(X):
    pca, y = PCA(2).fit(X[TRAIN, :3]), X[:, 3] + 0.05
    knn = KNeighborsRegressor().fit(pca.transform(X[TRAIN, :3]), y[TRAIN])
    comparison = compare_reducers({"pca": PCA(2)}, X[:, :3], y, cv=ONE_SPLIT)
    expected = knn.score(pca.transform(X[TEST, :3]), y[TEST])
    assert comparison.folds["pca"][0].knn_score == expected
    assert "5-NN R2" in str(comparison)


def test_a_downstream_regressor_makes_whole_numbers_numbers(X, y):
    comparison = compare_reducers({"pca": PCA(2)}, X, y, downstream=LinearRegression())
    assert comparison.knn_label == "5-NN R2"


def test_several_targets_are_regressed_together(X):
    two = scores_of(PCA(2), X[:, :2], X[:, 2:] + 0.05).knn_score
    each = [scores_of(PCA(2), X[:, :2], X[:, [i]] + 0.05).knn_score for i in (2, 3)]
    assert_allclose(two, np.mean(each), rtol=1e-12)


def test_trustworthiness_is_capped_and_the_table_says_so(monkeypatch, X):
    assert "trustworthiness from" not in str(compare_reducers({"pca": PCA(1)}, X))
    for module in ("_compare", "_comparison"):  # what makes it, and what tells of it
        monkeypatch.setattr(f"skae.{module}.MAX_TRUSTWORTHINESS_ROWS", 38)
    kept = TEST[::2]  # 38 evenly spaced ones of 75
    codes = PCA(1).fit(X[TRAIN]).transform(X[kept])
    comparison = compare_reducers({"pca": PCA(1)}, X, cv=ONE_SPLIT)
    expected = trustworthiness(X[kept], codes, n_neighbors=5)
    assert comparison.folds["pca"][0].trustworthiness == expected
    assert "trustworthiness from 38 rows of a fold" in str(comparison)


# --- what can be compared --------------------------------------------------------------------


@pytest.mark.parametrize(
    "reducer",
    [
        KernelPCA(2),
        LinearDiscriminantAnalysis(),
        make_pipeline(StandardScaler(), KernelPCA(2)),
        make_pipeline(SimpleImputer(), PCA(2)),
    ],
    ids=["not fitted", "no method", "pipeline", "not without indicators"],
)
def test_without_an_inverse_there_is_no_explained_variance(reducer, X, y):
    comparison = compare_reducers({"it": reducer}, X, y, random_state=0)
    scores = comparison.mean()["it"]
    assert np.isnan(scores.explained_variance)
    assert scores.trustworthiness > 0.5
    assert scores.knn_score > 0.8
    assert " - " in str(comparison).splitlines()[1]


def test_a_pipeline_is_judged_in_the_units_of_X(X):
    direct = scores_of(PCA(2), X * [1, 10, 100, 1000])
    scaled = scores_of(make_pipeline(StandardScaler(), PCA(4)), X * [1, 10, 100, 1000])
    assert direct.explained_variance > 0.99
    assert_allclose(scaled.explained_variance, 1, rtol=1e-12)


@pytest.mark.parametrize("container", [np.asfortranarray, list, pd.DataFrame, pl.DataFrame])
def test_the_container_of_X_does_not_matter(container, X, y):
    reducers = {"pca": make_pipeline(StandardScaler(), PCA(2))}
    expected = compare_reducers(reducers, X, y, random_state=0).mean()["pca"]
    scores = compare_reducers(reducers, container(X), y, random_state=0).mean()["pca"]
    assert_allclose(scores[:4], expected[:4], rtol=1e-12)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.coo_matrix])
def test_sparse_rows_are_judged_as_dense_ones(container, X):
    svd = TruncatedSVD(2, random_state=0)
    expected = scores_of(svd, X)
    assert_allclose(scores_of(svd, container(X))[:3], expected[:3], rtol=1e-6)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_reducers_that_output_frames_have_the_same_scores(container, X, y):
    pipeline = make_pipeline(StandardScaler(), PCA(2))
    expected = scores_of(pipeline, X, y)
    frames = clone(pipeline).set_output(transform=container)
    frame = pd.DataFrame(X, columns=list("abcd"))
    assert_allclose(scores_of(frames, frame, y)[:4], expected[:4], rtol=1e-12)


def test_sparse_codes_are_judged_as_dense_ones(X):
    options = {"inverse_func": sparse.csr_array, "check_inverse": False}
    thin = FunctionTransformer(sparse.csr_array, **options)
    assert scores_of(thin, X)[:3] == scores_of(FunctionTransformer(), X)[:3]


def test_columns_that_are_not_numbers_leave_what_the_codes_predict(X, y):
    frame = pd.DataFrame(X, columns=list("abcd")).assign(kind=np.array(["u", "v", "w"])[y])
    parts = [("kind", OneHotEncoder(), ["kind"]), ("rest", PCA(2), list("abcd"))]
    encode = ColumnTransformer(parts)
    scores = scores_of(encode, frame, y)
    assert np.isnan(scores.explained_variance)
    assert np.isnan(scores.trustworthiness)
    assert scores.knn_score == 1  # the kind is the class


def test_missing_entries_are_not_charged(X):
    holes = X.copy()
    holes[::3, 0] = np.nan
    scores = scores_of(make_pipeline(fill_with_zero(np.array), PCA(4)), holes)
    assert_allclose(scores.explained_variance, 1, rtol=1e-12)
    assert scores.trustworthiness > 0.9


def test_a_column_without_training_values_is_compared_with_zero():
    X = np.column_stack([np.arange(20.0), np.full(20, np.nan)])
    X[10:, 1] = 1
    split = [(np.arange(10), np.arange(10, 20))]
    scores = scores_of(fill_with_zero(np.zeros_like), X, cv=split, n_neighbors=1)
    rows, mean = X[10:], np.array([4.5, 0])
    assert_allclose(scores.explained_variance, 1 - np.sum(rows**2) / np.sum((rows - mean) ** 2))


@pytest.mark.parametrize("container", [list, np.array, pd.Series, pl.Series])
def test_the_container_of_y_does_not_matter(container, X, y):
    words = np.array(["one", "two", "three"])[y]
    if container is pd.Series:  # rows count, not labels
        words = pd.Series(words, index=np.arange(150)[::-1])
    scores = compare_reducers({"pca": PCA(2)}, X, container(words), random_state=0).mean()["pca"]
    expected = compare_reducers({"pca": PCA(2)}, X, y, random_state=0).mean()["pca"]
    assert scores.knn_score == expected.knn_score


def test_a_column_of_classes_is_as_good_as_a_row(X, y):
    assert scores_of(PCA(2), X, y[:, None]).knn_score == scores_of(PCA(2), X, y).knn_score


# --- folds -----------------------------------------------------------------------------------


def test_scores_do_not_depend_on_the_company_or_the_order(X, y):
    reducers = {"one": PCA(1), "two": PCA(2), "kernel": KernelPCA(2)}
    backwards = dict(reversed(reducers.items()))
    first = compare_reducers(reducers, X, y, random_state=0)
    second = compare_reducers(backwards, X, y, random_state=0)
    assert list(first.folds) == list(reducers)
    assert list(second.folds) == list(backwards)
    for name in reducers:
        for mine, other in zip(first.folds[name], second.folds[name], strict=True):
            assert_array_equal(mine[:4], other[:4])


def test_reducers_are_cloned_and_keep_their_random_state(X, y):
    reducers = {"fresh": PCA(2), "fitted": TruncatedSVD(2, random_state=3).fit(X)}
    before = {name: pickle.dumps(reducer) for name, reducer in reducers.items()}
    compare_reducers(reducers, X, y, random_state=0)
    assert {name: pickle.dumps(reducer) for name, reducer in reducers.items()} == before


def test_data_is_not_changed(X, y):
    X.flags.writeable = y.flags.writeable = False
    compare_reducers({"scaled": make_pipeline(StandardScaler(copy=False), PCA(2))}, X, y)


class MeetsAllClassesEqually(TransformerMixin, BaseEstimator):
    def fit(self, X, y):
        assert_array_equal(np.bincount(y), [40, 40, 40])
        return self

    def transform(self, X):
        return X


def test_a_number_of_folds_is_stratified_by_classes(X, y):
    reducers = {"it": MeetsAllClassesEqually()}
    assert compare_reducers(reducers, X, y, cv=5).n_test_rows == (30,) * 5


def test_random_state_shuffles_the_folds(X):
    def folds(random_state):
        comparison = compare_reducers({"it": PCA(1)}, X, random_state=random_state)
        return [fold.explained_variance for fold in comparison.folds["it"]]

    assert folds(0) == folds(0) == folds(np.random.RandomState(0))
    assert folds(0) != folds(1)


@pytest.mark.parametrize(
    ("cv", "n_test_rows"),
    [
        (None, (30,) * 5),
        (2, (75, 75)),
        (ShuffleSplit(2, test_size=15, random_state=0), (15, 15)),
        (iter(ONE_SPLIT), (75,)),
    ],
)
def test_cv_is_what_scikit_learn_takes(cv, n_test_rows, X):
    assert compare_reducers({"it": PCA(1)}, X, cv=cv).n_test_rows == n_test_rows


# --- the result ------------------------------------------------------------------------------


def test_mean_std_and_frame_agree_with_the_folds(X, y):
    comparison = compare_reducers({"one": PCA(1), "two": PCA(2)}, X, y, random_state=0)
    folds = pd.DataFrame(comparison.folds["two"])
    frame = comparison.to_frame()
    assert list(frame.index) == ["one", "two"]
    assert frame.index.name == "reducer"
    assert_allclose(comparison.mean()["two"], folds.mean())
    assert_allclose(comparison.std()["two"], folds.std(ddof=0))
    assert_allclose(frame.loc["two"], folds.mean())
    assert list(frame.columns) == list(folds.columns)


def test_the_table_is_aligned_and_shows_the_means(X, y):
    reducers = {"a": PCA(1), "a longer name": KernelPCA(2)}
    comparison = compare_reducers(reducers, X, y, random_state=0, downstream=SVC())
    header, first, second, note = str(comparison).splitlines()
    mean, std = comparison.mean()["a"], comparison.std()["a"]
    assert len(header) == len(first) == len(second)
    assert header.split("  ")[0] == "reducer"
    assert f"{mean.explained_variance:.3f} ± {std.explained_variance:.3f}" in first
    assert "5-NN accuracy" in header
    assert "downstream" in header
    assert note == "mean ± std over 3 folds, 150 unseen rows"


def test_one_split_has_no_spread_and_no_y_no_column_for_it(X):
    text = str(compare_reducers({"pca": PCA(1)}, X, cv=ONE_SPLIT))
    assert "±" not in text
    assert "NN" not in text
    assert "downstream" not in text
    assert text.endswith("75 unseen rows")


def test_a_comparison_can_be_pickled(X):
    comparison = compare_reducers({"pca": PCA(1)}, X)
    assert str(pickle.loads(pickle.dumps(comparison))) == str(comparison)


def test_to_frame_says_that_it_needs_pandas(monkeypatch, X):
    comparison = compare_reducers({"pca": PCA(1)}, X)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="`to_frame` needs pandas"):
        comparison.to_frame()


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reducers", "error", "message"),
    [
        ([PCA(2)], TypeError, r"`reducers` must be a dict .* got \[PCA"),
        ({}, ValueError, "`reducers` must name at least one transformer, got an empty dict"),
        ({2: PCA(2)}, TypeError, "names in `reducers` must be strings, got 2"),
        ({"pca": PCA}, TypeError, r"`reducers\['pca'\]` must be an instance, got the class PCA"),
        ({"it": TSNE()}, TypeError, r"`reducers\['it'\]` must have `fit` and `transform` .* TSNE"),
        ({"it": None}, TypeError, r"`reducers\['it'\]` must have `fit` and `transform` .* None"),
    ],
)
def test_wrong_reducers_are_named(reducers, error, message, X):
    with pytest.raises(error, match=message):
        compare_reducers(reducers, X)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"y": [0, 1]}, ValueError, r"`y` must have one entry for each of the 150 rows .* \(2,\)"),
        ({"y": np.eye(150, dtype=int)}, ValueError, "`y` must be one of .* 'multilabel-indicator'"),
        ({"downstream": SVC()}, ValueError, "`downstream` is scored against `y`"),
        ({"n_neighbors": 2.5}, TypeError, "`n_neighbors` must be an int, got 2.5"),
        ({"n_neighbors": 0}, ValueError, "`n_neighbors` must be at least 1, got 0"),
        ({"n_neighbors": 25}, ValueError, "`n_neighbors` must be less than half .* 25 for 50 rows"),
    ],
)
def test_wrong_options_are_named(options, error, message, X):
    with pytest.raises(error, match=message):
        compare_reducers({"pca": PCA(2)}, X, **options)


def test_one_dimension_is_refused(X):
    with pytest.raises(ValueError, match=r"`X` must have two dimensions, .* got shape \(150,\)"):
        compare_reducers({"pca": PCA(2)}, X[:, 0])


def test_the_error_of_a_reducer_says_whose_it_is(X):
    with pytest.raises(ValueError, match="n_components") as caught:
        compare_reducers({"fine": PCA(2), "wide": PCA(9)}, X)
    assert caught.value.__notes__ == ["This came from `reducers['wide']`."]


def test_an_inverse_of_another_shape_is_refused(X):
    narrow = FunctionTransformer(inverse_func=lambda codes: codes[:, :1])
    with pytest.raises(ValueError, match=r"`inverse_transform` .* \(75, 4\), got \(75, 1\)"):
        scores_of(narrow, X)


# --- the scorer ------------------------------------------------------------------------------


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
def test_scores_worked_out_by_hand(metric, expected):
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
def test_the_scorer_does_not_charge_missing_entries(metric, expected):
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, np.nan]])
    halve = FunctionTransformer(inverse_func=lambda codes: codes / 2).fit(rows)
    assert_allclose(make_reconstruction_scorer(metric)(halve, rows), expected, rtol=1e-15)


@pytest.mark.parametrize(
    "metric", ["explained_variance", "neg_mean_squared_error", "neg_mean_absolute_error"]
)
def test_a_reconstruction_of_nan_has_no_score(metric):
    rows = np.eye(3)
    broken = FunctionTransformer(inverse_func=lambda codes: codes * np.nan).fit(rows)
    assert np.isnan(make_reconstruction_scorer(metric)(broken, rows))


def test_scorer_and_comparison_agree_where_the_means_do(X):
    everything = [(np.arange(150), np.arange(150))]
    score = make_reconstruction_scorer()(PCA(2).fit(X), X)
    assert_allclose(scores_of(PCA(2), X, cv=everything).explained_variance, score, rtol=1e-14)


@pytest.mark.parametrize(
    ("reducer", "parameter"),
    [
        (PCA(), "n_components"),
        (TruncatedSVD(random_state=0), "n_components"),
        (make_pipeline(StandardScaler(), PCA()), "pca__n_components"),
    ],
)
def test_a_grid_search_without_y_finds_that_more_components_restore_more(reducer, parameter, X):
    scorer = make_reconstruction_scorer()
    search = GridSearchCV(reducer, {parameter: [1, 3, 2]}, scoring=scorer, cv=3).fit(X)
    assert search.best_params_ == {parameter: 3}
    assert 0 < search.best_score_ < 1


def test_small_integers_do_not_wrap_around():
    rows = np.array([[1, 2], [3, 4]], dtype=np.uint8)
    more = FunctionTransformer(inverse_func=lambda codes: codes + np.uint8(20)).fit(rows)
    assert make_reconstruction_scorer("neg_mean_squared_error")(more, rows) == -400


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_the_scorer_takes_frames_and_reducers_that_output_them(container, X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    framed = PCA(2).set_output(transform=container).fit(frame)
    scorer = make_reconstruction_scorer()
    assert_allclose(scorer(framed, frame), scorer(PCA(2).fit(X), X), rtol=1e-14)


def test_the_scorer_takes_sparse_rows_and_ignores_y(X, y):
    svd, scorer = TruncatedSVD(2, random_state=0).fit(X), make_reconstruction_scorer()
    assert_allclose(scorer(svd, sparse.csr_array(X), y), scorer(svd, X), rtol=1e-12)


def test_a_scorer_can_be_pickled(X):
    scorer, pca = make_reconstruction_scorer("neg_mean_squared_error"), PCA(2).fit(X)
    assert pickle.loads(pickle.dumps(scorer))(pca, X) == scorer(pca, X)


def test_the_scorer_needs_an_inverse(X):
    lda = LinearDiscriminantAnalysis()
    with pytest.raises(TypeError, match=r"`estimator` must have .* got LinearDiscrim"):
        make_reconstruction_scorer()(lda, X)


@pytest.mark.parametrize("metric", ["r2", ["explained_variance"], None])
def test_an_unknown_metric_is_named(metric):
    with pytest.raises(ValueError, match=r"`metric` must be one of \['explained_variance', .* got"):
        make_reconstruction_scorer(metric)
