"""The measures and the folds of `compare_reducers`, against formulas and scikit-learn."""

import pickle

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
from sklearn.model_selection import GroupKFold, ShuffleSplit
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from skae import compare_reducers
from skae._data.table import make_table
from skae._inspection.comparison import MAX_TRUSTWORTHINESS_ROWS

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
    """A reducer that takes NaN; `SimpleImputer` has no inverse without indicators."""
    return FunctionTransformer(np.nan_to_num, inverse_func=inverse, check_inverse=False)


def test_explained_variance_of_pca_is_the_share_of_the_projected_rows(X):
    centred = X[TEST] - X[TRAIN].mean(axis=0)
    axes = np.linalg.svd(X[TRAIN] - X[TRAIN].mean(axis=0))[2][:2]
    # By Pythagoras, squares of an orthogonal projection and of its residual add up.
    expected = np.sum((centred @ axes.T) ** 2) / np.sum(centred**2)
    assert_allclose(scores_of(PCA(2), X).explained_variance, expected, rtol=1e-10)


def test_explained_variance_is_about_the_mean_of_the_training_rows():
    X = np.array([[0.0], [2.0], [3.0], [3.0], [5.0]])
    halve = FunctionTransformer(inverse_func=lambda codes: codes / 2)
    # The training rows 0 and 2 have mean 1. The test rows 3, 3, 5 have squares about 1 of
    # 4 + 4 + 16 = 24; halving leaves errors 1.5, 1.5, 2.5 with squares 2.25 + 2.25 + 6.25 = 10.75.
    scores = scores_of(halve, X, cv=[([0, 1], [2, 3, 4])], n_neighbors=1)
    assert scores.explained_variance == 1 - 10.75 / 24


def test_a_perfect_inverse_explains_all_variance_and_keeps_all_neighbours(global_random_seed):
    X = np.random.RandomState(global_random_seed).normal(
        size=(150, 4)
    )  # no two distances are equal
    scores = scores_of(StandardScaler(with_std=False), X)
    assert_allclose(scores.explained_variance, 1, rtol=1e-14)
    assert scores.trustworthiness == 1
    assert scores.n_components == 4


def test_constant_rows_are_explained_fully_or_not_at_all():
    X = np.ones((20, 2))
    split = [(np.arange(10), np.arange(10, 20))]
    right = scores_of(FunctionTransformer(), X, cv=split, n_neighbors=1)
    zeros = FunctionTransformer(inverse_func=np.zeros_like)
    wrong = scores_of(zeros, X, cv=split, n_neighbors=1)
    assert (right.explained_variance, wrong.explained_variance) == (1, 0)


def test_measures_of_the_codes_equal_those_of_scikit_learn(X, y):
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


def test_whole_numbers_are_regressed_if_downstream_is_a_regressor(X, y):
    comparison = compare_reducers({"pca": PCA(2)}, X, y, downstream=LinearRegression())
    assert comparison.knn_label == "5-NN R2"


def test_several_targets_are_regressed_together(X):
    two = scores_of(PCA(2), X[:, :2], X[:, 2:] + 0.05).knn_score
    each = [scores_of(PCA(2), X[:, :2], X[:, [i]] + 0.05).knn_score for i in (2, 3)]
    assert_allclose(two, np.mean(each), rtol=1e-12)


def test_trustworthiness_is_measured_on_a_sample_of_large_folds(X, global_random_seed):
    assert "trustworthiness from" not in str(compare_reducers({"pca": PCA(1)}, X))
    n_rows = 2 * MAX_TRUSTWORTHINESS_ROWS - 1  # a sample of every other row
    large = np.random.RandomState(global_random_seed).normal(size=(n_rows, 3))
    split = [(np.arange(100), np.arange(n_rows))]
    comparison = compare_reducers({"pca": PCA(1)}, large, cv=split)
    codes = PCA(1).fit(large[:100]).transform(large)
    expected = trustworthiness(large[::2], codes[::2], n_neighbors=5)
    assert comparison.folds["pca"][0].trustworthiness == expected
    assert f"trustworthiness from {MAX_TRUSTWORTHINESS_ROWS} rows of a fold" in str(comparison)


@pytest.mark.parametrize(
    "reducer",
    [
        KernelPCA(2),
        LinearDiscriminantAnalysis(),
        make_pipeline(StandardScaler(), KernelPCA(2)),
        make_pipeline(SimpleImputer(), PCA(2)),
    ],
    ids=["inverse not fitted", "no method", "pipeline", "imputer"],
)
def test_without_an_inverse_there_is_no_explained_variance(reducer, X, y):
    comparison = compare_reducers({"it": reducer}, X, y, random_state=0)
    scores = comparison.mean()["it"]
    assert np.isnan(scores.explained_variance)
    assert scores.trustworthiness > 0.5
    assert scores.knn_score > 0.8
    assert " - " in str(comparison).splitlines()[1]


def test_a_pipeline_is_scored_in_the_units_of_X(X):
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
def test_sparse_rows_have_the_scores_of_dense_rows(container, X):
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


def test_sparse_codes_have_the_scores_of_dense_codes(X):
    options = {"inverse_func": sparse.csr_array, "check_inverse": False}
    to_sparse = FunctionTransformer(sparse.csr_array, **options)
    assert scores_of(to_sparse, X)[:3] == scores_of(FunctionTransformer(), X)[:3]


@pytest.fixture
def mixed(X, y):
    return pd.DataFrame(X, columns=list("abcd")).assign(kind=np.array(["u", "v", "w"])[y])


def test_rows_of_strings_have_only_scores_of_the_codes(mixed, y):
    parts = [("kind", OneHotEncoder(), [4]), ("rest", PCA(2), [0, 1, 2, 3])]
    scores = scores_of(ColumnTransformer(parts), mixed.to_numpy(), y)
    assert np.isnan(scores.explained_variance)
    assert np.isnan(scores.trustworthiness)
    assert scores.knn_score == 1  # the kind is the class


def test_tables_are_compared_in_the_units_of_factor_analysis_of_mixed_data(mixed, y):
    table = make_table(mixed.iloc[TRAIN], "from_dtype", "squared_error")
    encoded = table.encode(mixed)

    def scores(inverse):
        reducer = FunctionTransformer(table.encode, inverse, check_inverse=False)
        return scores_of(reducer, mixed, y)

    exact = scores(table.decode)
    assert_allclose((exact.explained_variance, exact.trustworthiness), 1, atol=1e-9)
    constant = scores(lambda codes: table.decode(codes).assign(kind="u")).explained_variance
    error = encoded[TEST] - table.encode(mixed.iloc[TEST].assign(kind="u"))
    total = encoded[TEST] - encoded[TRAIN].mean(axis=0)
    assert_allclose(constant, 1 - np.sum(error**2) / np.sum(total**2))


def test_missing_entries_are_ignored(X):
    with_gaps = X.copy()
    with_gaps[::3, 0] = np.nan
    scores = scores_of(make_pipeline(fill_with_zero(np.array), PCA(4)), with_gaps)
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
    if container is pd.Series:  # positions are used, not the index
        words = pd.Series(words, index=np.arange(150)[::-1])
    scores = compare_reducers({"pca": PCA(2)}, X, container(words), random_state=0).mean()["pca"]
    expected = compare_reducers({"pca": PCA(2)}, X, y, random_state=0).mean()["pca"]
    assert scores.knn_score == expected.knn_score


def test_y_of_one_column_equals_y_of_one_dimension(X, y):
    assert scores_of(PCA(2), X, y[:, None]).knn_score == scores_of(PCA(2), X, y).knn_score


def test_scores_do_not_depend_on_the_other_reducers_or_their_order(X, y):
    reducers = {"one": PCA(1), "two": PCA(2), "kernel": KernelPCA(2)}
    backwards = dict(reversed(reducers.items()))
    first = compare_reducers(reducers, X, y, random_state=0)
    second = compare_reducers(backwards, X, y, random_state=0)
    assert list(first.folds) == list(reducers)
    assert list(second.folds) == list(backwards)
    for name in reducers:
        for one, other in zip(first.folds[name], second.folds[name], strict=True):
            assert_array_equal(one[:4], other[:4])


def test_reducers_are_cloned_and_keep_their_random_state(X, y):
    reducers = {"fresh": PCA(2), "fitted": TruncatedSVD(2, random_state=3).fit(X)}
    before = {name: pickle.dumps(reducer) for name, reducer in reducers.items()}
    compare_reducers(reducers, X, y, random_state=0)
    assert {name: pickle.dumps(reducer) for name, reducer in reducers.items()} == before


def test_data_is_not_changed(X, y):
    before = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    compare_reducers({"scaled": make_pipeline(StandardScaler(copy=False), PCA(2))}, X, y)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


class ExpectsEqualClasses(TransformerMixin, BaseEstimator):
    def fit(self, X, y):
        assert_array_equal(np.bincount(y), [40, 40, 40])
        return self

    def transform(self, X):
        return X


def test_a_number_of_folds_is_stratified_by_classes(X, y):
    reducers = {"it": ExpectsEqualClasses()}
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
def test_cv_takes_what_scikit_learn_takes(cv, n_test_rows, X):
    assert compare_reducers({"it": PCA(1)}, X, cv=cv).n_test_rows == n_test_rows


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
        ({"downstream": SVC}, TypeError, "`downstream` must be an estimator with fit and score"),
        ({"downstream": "svc"}, TypeError, "`downstream` must be an estimator with fit and score"),
        ({"n_neighbors": 2.5}, TypeError, "`n_neighbors` must be an integer >= 1, got 2.5"),
        ({"n_neighbors": 0}, ValueError, "`n_neighbors` must be an integer >= 1, got 0"),
        ({"n_neighbors": 25}, ValueError, "`n_neighbors` must be less than half .* 25 for 50 rows"),
    ],
)
def test_wrong_options_are_named(options, error, message, X):
    with pytest.raises(error, match=message):
        compare_reducers({"pca": PCA(2)}, X, **options)


def test_rows_of_one_dimension_are_an_error(X):
    with pytest.raises(ValueError, match=r"`X` must have two dimensions, .* got shape \(150,\)"):
        compare_reducers({"pca": PCA(2)}, X[:, 0])


def test_the_error_of_a_reducer_names_the_reducer(X):
    with pytest.raises(ValueError, match="n_components") as caught:
        compare_reducers({"fine": PCA(2), "wide": PCA(9)}, X)
    assert caught.value.__notes__ == ["Raised by `reducers['wide']`."]


def test_an_inverse_of_another_shape_is_an_error(X):
    narrow = FunctionTransformer(inverse_func=lambda codes: codes[:, :1])
    with pytest.raises(ValueError, match=r"`inverse_transform` .* \(75, 4\), got \(75, 1\)"):
        scores_of(narrow, X)


class GroupRecorder(PCA):
    """A reducer that keeps the groups of its fits."""

    fitted_groups = []  # noqa: RUF012

    def fit(self, X, y=None, *, groups=None):
        self.fitted_groups.append((X, groups))
        return super().fit(X)


@pytest.mark.parametrize("with_classes", [True, False])
@pytest.mark.parametrize("cv", [3, None, GroupKFold(4)])
def test_folds_keep_groups_whole_and_fits_get_their_groups(X, y, with_classes, cv, monkeypatch):
    monkeypatch.setattr(GroupRecorder, "fitted_groups", [])
    groups = np.arange(150) % 30
    X = np.c_[X, groups]
    reducers = {"with": GroupRecorder(2), "without": PCA(2)}
    names = [f"patient {group}" for group in groups]
    options = {"groups": names, "cv": cv, "random_state": 0}
    comparison = compare_reducers(reducers, X, y if with_classes else None, **options)
    n_folds = {3: 3, None: 5}.get(cv, 4)
    assert len(GroupRecorder.fitted_groups) == len(comparison.n_test_rows) == n_folds
    for X_train, groups_train in GroupRecorder.fitted_groups:
        assert_array_equal(groups_train, X_train[:, -1])
        # All 5 rows of a group, or none.
        assert set(np.bincount(groups_train)) <= {0, 5}
    assert_allclose(
        [fold.explained_variance for fold in comparison.folds["with"]],
        [fold.explained_variance for fold in comparison.folds["without"]],
    )


def test_groups_that_are_not_one_label_for_each_row_are_an_error(X):
    with pytest.raises(ValueError, match="`groups` must have a label for each of the 150 rows"):
        compare_reducers({"pca": PCA(2)}, X, groups=[1, 2])
