import pickle
import re

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import NOT_YIELDED
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skae import AutoencoderImputer, AutoencoderTransformer, load, save
from skae._imputation import stacked_correction


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    monkeypatch.setattr(stacked_correction, "MAX_STEPS", 60)
    monkeypatch.setattr(stacked_correction, "STEPS_BETWEEN_CHECKS", 20)
    monkeypatch.setattr(stacked_correction, "WIDTHS", (32, 32))
    monkeypatch.setattr(stacked_correction, "POOL_ENTRIES", 2**12)


@pytest.fixture(scope="module")
def iris():
    X = load_iris().data
    X.setflags(write=False)
    return X


@pytest.fixture(scope="module")
def gaps(iris):
    return np.random.RandomState(0).uniform(size=iris.shape) < 0.2


@pytest.fixture(scope="module")
def holed(iris, gaps):
    return np.where(gaps, np.nan, iris)


HOLDERS = [AutoencoderImputer(random_state=0), AutoencoderImputer(PCA(1), random_state=0)]


@parametrize_with_checks(HOLDERS)
def test_sklearn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", NOT_YIELDED, ids=lambda check: check.__name__)
@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
def test_the_rest_of_the_sklearn_contract(check):
    check("AutoencoderImputer", AutoencoderImputer(PCA(1)))


def test_every_parameter_and_attribute_is_documented(holed):
    for name in [*AutoencoderImputer().get_params(), *vars(AutoencoderImputer().fit(holed))]:
        if not name.startswith("_"):
            assert re.search(rf"^    {name} : ", AutoencoderImputer.__doc__, re.MULTILINE), name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("held", [None, PCA(2), AutoencoderTransformer(2, max_iter=5)])
def test_observed_cells_come_back_to_the_bit(holed, gaps, held, dtype):
    X = holed.astype(dtype)
    filled = AutoencoderImputer(held, random_state=0).fit_transform(X)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(filled[~gaps], X[~gaps])
    assert np.isfinite(filled).all()


def test_unseen_rows_and_columns_complete_in_fit_are_filled(iris):
    X = iris.copy()
    X[::3, 0] = np.nan
    imputer = AutoencoderImputer(random_state=0).fit(X[::2])
    unseen = iris[1::2].copy()
    unseen[:, 2] = np.nan
    error = imputer.transform(unseen)[:, 2] - iris[1::2, 2]
    assert np.std(error) < 0.35 * np.std(iris[:, 2])  # by the mean it would be all of it


@pytest.mark.filterwarnings("ignore:.*Early stopping criterion:UserWarning")
def test_a_gaussian_is_filled_no_worse_than_by_bayesian_ridge():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 6)) + 0.3 * rng.normal(size=(300, 6))
    gaps = rng.uniform(size=X.shape) < 0.2
    holed = np.where(gaps, np.nan, X)
    errors = [
        np.sqrt(np.mean((imputer.fit_transform(holed) - X)[gaps] ** 2))
        for imputer in (AutoencoderImputer(random_state=0), IterativeImputer(random_state=0))
    ]
    assert errors[0] < 1.02 * errors[1]


@pytest.mark.parametrize("held", [None, AutoencoderTransformer(1, max_iter=40, random_state=0)])
def test_what_is_not_linear_is_found(curve, held):
    # The height of a parabola says nothing linear of the place: a Gaussian fills with the mean.
    unseen = np.c_[curve[:200, 0], np.full(200, np.nan)]
    imputer = AutoencoderImputer(held, random_state=0).fit(curve[200:])
    error = imputer.transform(unseen)[:, 1] - curve[:200, 1]
    assert np.std(error) < 0.6 * np.std(curve[:200, 1])
    assert imputer.error_ratio_[1] < 0.7


def test_what_only_rows_like_it_know_is_recalled():
    # Forty kinds of rows, each met a few times: nothing but the kind connects the columns.
    rng = np.random.RandomState(0)
    kinds = rng.normal(size=(40, 12))
    X = kinds[rng.randint(40, size=500)] + 0.05 * rng.normal(size=(500, 12))
    gaps = rng.uniform(size=X.shape) < 0.1
    holed = np.where(gaps, np.nan, X)
    imputer = AutoencoderImputer(random_state=0).fit(holed[:300])
    error = (imputer.transform(holed[300:]) - X[300:])[gaps[300:]]
    assert np.sqrt(np.mean(error**2)) < 0.2 * X.std()  # all else leaves 0.87


def test_what_is_recalled_of_many_rows_is_what_is_recalled_of_each(holed, monkeypatch):
    imputer = AutoencoderImputer(random_state=0).fit(holed)
    whole = imputer.transform(holed)
    monkeypatch.setattr(stacked_correction, "BLOCK_ROWS", 7)
    np.testing.assert_allclose(imputer.transform(holed), whole, atol=1e-9)


def test_the_imputer_does_not_grow_with_the_rows(monkeypatch):
    monkeypatch.setattr(stacked_correction, "MAX_ROWS", 50)
    rng = np.random.RandomState(0)
    rows = rng.normal(size=(2000, 1)) @ rng.normal(size=(1, 4)) + 0.3 * rng.normal(size=(2000, 4))
    holed = np.where(rng.uniform(size=rows.shape) < 0.2, np.nan, rows)
    # From a thousand rows on the networks are wider.
    sizes = [
        len(pickle.dumps(AutoencoderImputer(random_state=0).fit(holed[:n]))) for n in (500, 900)
    ]
    assert abs(sizes[1] - sizes[0]) < 200


class Nonsense(TransformerMixin, BaseEstimator):
    """Restores every row as a hundred times itself."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X

    def inverse_transform(self, X):
        return 100 * X


def test_an_estimator_that_does_not_help_changes_nothing(holed):
    helpless = AutoencoderImputer(Nonsense(), random_state=0).fit(holed)
    # At full rank PCA restores all it is given, so nothing is what it can add.
    silent = AutoencoderImputer(PCA(4), random_state=0).fit(holed)
    np.testing.assert_allclose(helpless.transform(holed), silent.transform(holed), atol=1e-9)
    np.testing.assert_array_equal(helpless.error_ratio_, 1)


def test_units_of_columns_do_not_matter(holed):
    factors = np.array([1e-3, 1.0, 7.0, 1e4])
    one = AutoencoderImputer(random_state=0).fit_transform(holed)
    other = AutoencoderImputer(random_state=0).fit_transform(holed * factors)
    np.testing.assert_allclose(other / factors, one, rtol=1e-3)


def test_what_is_filled_is_within_what_was_observed(holed):
    imputer = AutoencoderImputer(random_state=0).fit(holed)
    far = np.array([[1e6, np.nan, -1e6, np.nan]])
    filled = imputer.transform(far)[0]
    assert (np.nanmin(holed, axis=0)[[1, 3]] - 1e-9 <= filled[[1, 3]]).all()
    assert (filled[[1, 3]] <= np.nanmax(holed, axis=0)[[1, 3]] + 1e-9).all()
    np.testing.assert_array_equal(filled[[0, 2]], far[0, [0, 2]])


def test_a_row_alone_is_filled_as_among_others(holed):
    imputer = AutoencoderImputer(random_state=0).fit(holed)
    alone = np.vstack([imputer.transform(holed[[i]]) for i in range(20)])
    np.testing.assert_allclose(alone, imputer.transform(holed)[:20], atol=1e-9)


def test_another_mark_for_missing_cells_is_the_same(holed):
    marked = np.where(np.isnan(holed), -1, holed)
    expected = AutoencoderImputer(random_state=0).fit_transform(holed)
    imputer = AutoencoderImputer(missing_values=-1, random_state=0)
    np.testing.assert_array_equal(imputer.fit_transform(marked), expected)
    with pytest.raises(ValueError, match="NaN"):
        imputer.fit(holed)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.filterwarnings("ignore:Skipping features:UserWarning")
@pytest.mark.filterwarnings("ignore:.*Early stopping criterion:UserWarning")
def test_empty_columns_and_indicators_are_as_in_iterative_imputer(holed, keep):
    frame = pd.DataFrame(holed, columns=list("abcd"))
    frame["b"] = np.nan
    parameters = {"keep_empty_features": keep, "add_indicator": True, "random_state": 0}
    ours, theirs = AutoencoderImputer(**parameters), IterativeImputer(**parameters)
    filled, expected = ours.fit_transform(frame), theirs.fit_transform(frame)
    assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())
    assert filled.shape == expected.shape
    n_kept = 4 if keep else 3
    np.testing.assert_array_equal(filled[:, n_kept:], expected[:, n_kept:])
    if keep:
        assert not filled[:, 1].any()


def test_draws_are_as_far_from_the_truth_as_the_truth_is_uncertain():
    rng = np.random.RandomState(0)
    X = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=2000)
    holed = X.copy()
    holed[::2, 1] = np.nan
    imputer = AutoencoderImputer(PCA(1), random_state=0).fit(holed)
    mean = imputer.transform(holed)[::2, 1]
    drawn = imputer.set_params(sample_posterior=True).transform(holed)[::2, 1]
    # var(x_2 | x_1) = 1 - 0.8^2 = 0.36; a variance of 1000 draws is known to 4.5 %.
    assert np.var(drawn - mean) == pytest.approx(0.36, rel=0.2)
    np.testing.assert_array_equal(drawn, imputer.transform(holed)[::2, 1])
    other = imputer.set_params(random_state=1).transform(holed)[::2, 1]
    assert not np.array_equal(drawn, other)


@pytest.mark.parametrize("held", [None, PCA(2)])
def test_a_pickle_fills_alike(holed, held):
    imputer = AutoencoderImputer(held, random_state=0).fit(holed)
    again = pickle.loads(pickle.dumps(imputer))
    np.testing.assert_array_equal(again.transform(holed), imputer.transform(holed))
    assert joblib.hash(again) == joblib.hash(imputer)


def test_a_file_fills_alike(holed, tmp_path):
    imputer = AutoencoderImputer(random_state=0).fit(holed)
    save(imputer, tmp_path / "imputer.skae")
    again = load(tmp_path / "imputer.skae")
    np.testing.assert_array_equal(again.transform(holed), imputer.transform(holed))


def test_nested_parameters_are_tuned_in_a_pipeline(holed):
    y = load_iris().target
    pipeline = make_pipeline(
        AutoencoderImputer(PCA(), random_state=0), LogisticRegression(max_iter=1000)
    )
    grid = {"autoencoderimputer__estimator__n_components": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(holed, y)
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_go_in_and_come_out(holed, library):
    frame = {"pandas": pd, "polars": pl}[library].DataFrame(dict(zip("abcd", holed.T, strict=True)))
    imputer = AutoencoderImputer(PCA(1), random_state=0).set_output(transform=library)
    filled = imputer.fit_transform(frame)
    assert type(filled) is type(frame)
    assert list(filled.columns) == list("abcd")


def test_few_rows_and_constant_columns_are_filled(iris):
    X = np.c_[iris[:5], np.full(5, 3.0)]
    X[0, 0] = X[1, 4] = np.nan
    filled = AutoencoderImputer().fit_transform(X)
    assert filled[1, 4] == 3
    assert iris[:5, 0].min() - 1 < filled[0, 0] < iris[:5, 0].max() + 1


def test_chance_is_its_own(holed):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    one, other = (AutoencoderImputer(random_state=0).fit_transform(holed) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("estimator", LogisticRegression()),
        ("estimator", PCA),
        ("missing_values", "none"),
        ("sample_posterior", "yes"),
        ("keep_empty_features", 1),
        ("add_indicator", None),
        ("random_state", -1),
    ],
)
def test_a_bad_parameter_is_refused_by_name(holed, name, bad):
    imputer = AutoencoderImputer().set_params(**{name: bad})
    with pytest.raises((ValueError, TypeError), match=f"`{name}` must be .* got"):
        imputer.fit(holed)
    with pytest.raises(NotFittedError):
        imputer.transform(holed)
    assert set(vars(imputer)) == set(imputer.get_params(deep=False))
