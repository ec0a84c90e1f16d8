import pickle
import re
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import NOT_YIELDED, parametrize_with_checks
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.decomposition import NMF, PCA
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PowerTransformer

from skae import AutoencoderImputer, AutoencoderTransformer, load, save
from skae._imputation.correction_networks import CorrectionConfig
from skae._imputation.stacked_correction import BLOCK_ROWS

IMPUTES_AS_FOR_USERS = True
SHORT = CorrectionConfig(
    max_width=(32, 32), max_steps=60, check_interval=20, max_training_entries=2**12
)


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    monkeypatch.setattr(AutoencoderImputer, "_config", SHORT)


@pytest.fixture(scope="module")
def iris():
    X = load_iris().data
    X.setflags(write=False)
    return X


@pytest.fixture(scope="module")
def gaps(iris, global_random_seed):
    return np.random.RandomState(global_random_seed).uniform(size=iris.shape) < 0.2


@pytest.fixture(scope="module")
def holed(iris, gaps):
    """Iris with a fifth of the cells missing."""
    return np.where(gaps, np.nan, iris)


@pytest.fixture
def imputer(global_random_seed):
    return AutoencoderImputer(random_state=global_random_seed)


# With an estimator it is in `test_common.py`.
@parametrize_with_checks([AutoencoderImputer(random_state=0)])
@pytest.mark.usefixtures("quick_imputer")
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", NOT_YIELDED, ids=lambda check: check.__name__)
@pytest.mark.filterwarnings("ignore:X .*feature names:UserWarning")
@pytest.mark.usefixtures("quick_imputer")
def test_checks_that_scikit_learn_does_not_yield(check):
    check("AutoencoderImputer", AutoencoderImputer(PCA(1)))


def test_every_parameter_and_attribute_is_documented(holed):
    for name in [*AutoencoderImputer().get_params(), *vars(AutoencoderImputer().fit(holed))]:
        if not name.startswith("_"):
            assert re.search(rf"^    {name} : ", AutoencoderImputer.__doc__, re.MULTILINE), name


# Filled cells.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("estimator", [None, PCA(2), AutoencoderTransformer(2, max_iter=5)])
def test_observed_cells_are_bitwise_unchanged(holed, gaps, imputer, estimator, dtype):
    X = holed.astype(dtype)
    filled = imputer.set_params(estimator=estimator).fit_transform(X)
    assert filled.dtype == dtype
    np.testing.assert_array_equal(filled[~gaps], X[~gaps])
    assert np.isfinite(filled).all()


def test_new_rows_and_columns_complete_in_fit_are_filled(iris, imputer):
    X = iris.copy()
    X[::3, 0] = np.nan
    imputer.fit(X[::2])
    new = iris[1::2].copy()
    new[:, 2] = np.nan
    error = imputer.transform(new)[:, 2] - iris[1::2, 2]
    assert np.std(error) < 0.35 * np.std(iris[:, 2])  # the mean leaves 1


@pytest.mark.filterwarnings("ignore:.*Early stopping criterion:UserWarning")
def test_gaussian_data_are_filled_as_well_as_by_bayesian_ridge(imputer, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 6)) + 0.3 * rng.normal(size=(300, 6))
    gaps = rng.uniform(size=X.shape) < 0.2
    holed = np.where(gaps, np.nan, X)
    errors = [
        np.sqrt(np.mean((candidate.fit_transform(holed) - X)[gaps] ** 2))
        for candidate in (imputer, IterativeImputer(random_state=global_random_seed))
    ]
    assert errors[0] < 1.1 * errors[1]  # 0.92 to 1.04 with twenty seeds


@pytest.mark.parametrize("estimator", [None, AutoencoderTransformer(1, max_iter=40)])
def test_a_nonlinear_dependence_is_learned(curve, imputer, estimator):
    # The height of a parabola is uncorrelated with the abscissa: a Gaussian fills with the mean.
    new = np.c_[curve[:200, 0], np.full(200, np.nan)]
    if estimator is not None:
        estimator.set_params(random_state=imputer.random_state)
    imputer.set_params(estimator=estimator).fit(curve[200:])
    error = imputer.transform(new)[:, 1] - curve[:200, 1]
    assert np.std(error) < 0.6 * np.std(curve[:200, 1])
    assert imputer.error_ratio_[1] < 0.7


def test_clusters_are_filled_from_neighbours(imputer, global_random_seed):
    # Forty small clusters at random centres: only rows of the same cluster predict a column.
    rng = np.random.RandomState(global_random_seed)
    centres = rng.normal(size=(40, 12))
    X = centres[rng.randint(40, size=500)] + 0.05 * rng.normal(size=(500, 12))
    gaps = rng.uniform(size=X.shape) < 0.1
    holed = np.where(gaps, np.nan, X)
    error = (imputer.fit(holed[:300]).transform(holed[300:]) - X[300:])[gaps[300:]]
    assert np.sqrt(np.mean(error**2)) < 0.3 * X.std()  # without neighbours 0.87


def bits(rng):
    return rng.randint(2, size=(60, 4)).astype(float)


def counts(rng):
    return rng.poisson(rng.uniform(0.2, 40, size=4), size=(60, 4)).astype(float)


def shares(rng):
    return rng.dirichlet([0.1, 0.5, 1, 5], size=60)


def positive_numbers(rng):
    return rng.lognormal(sigma=6, size=(60, 4))


def nearly_constant(rng):
    return 0.1 + 1e-17 * rng.randint(4, size=(60, 4))


@pytest.mark.parametrize(("inner", "dtype"), [(None, np.float64), (PCA(1), np.float32)])
@pytest.mark.parametrize("draw", [bits, counts, shares, positive_numbers, nearly_constant])
def test_filled_cells_are_exactly_within_the_observed_range(draw, inner, dtype, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = draw(rng).astype(dtype)
    X[rng.uniform(size=X.shape) < 0.3] = np.nan
    far = np.where(np.isnan(X), X, (X * rng.choice([-1e6, 1e6], size=X.shape)).astype(dtype))
    imputer = AutoencoderImputer(inner, random_state=global_random_seed).fit(X)
    low, high = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
    for rows in (X, far):
        filled = imputer.transform(rows)
        is_filled = np.isnan(rows)
        np.testing.assert_array_equal(filled[~is_filled], rows[~is_filled])
        assert ((low <= filled) & (filled <= high))[is_filled].all()


def test_rescaled_columns_are_filled_alike(holed, imputer):
    factors = np.array([1e-3, 1.0, 7.0, 1e4])
    expected = imputer.fit_transform(holed)
    rescaled = imputer.fit_transform(holed * factors) / factors
    # Rounding errors of the columns are amplified by training in float32.
    np.testing.assert_allclose(rescaled, expected, rtol=1e-3)


def test_rows_are_filled_one_by_one(holed, imputer):
    expected = imputer.fit(holed).transform(holed)
    one_by_one = np.vstack([imputer.transform(holed[[i]]) for i in range(20)])
    np.testing.assert_allclose(one_by_one, expected[:20], atol=1e-9)
    n_times = BLOCK_ROWS // len(holed) + 1
    np.testing.assert_allclose(
        imputer.transform(np.tile(holed, (n_times, 1))),
        np.tile(expected, (n_times, 1)),
        atol=1e-9,
    )


def test_few_rows_and_constant_columns_are_filled(iris):
    X = np.c_[iris[:5], np.full(5, 3.0)]
    X[0, 0] = X[1, 4] = np.nan
    filled = AutoencoderImputer().fit_transform(X)
    assert filled[1, 4] == 3
    assert iris[:5, 0].min() - 1 < filled[0, 0] < iris[:5, 0].max() + 1


def test_samples_have_the_conditional_variance(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=2000)
    holed = X.copy()
    holed[::2, 1] = np.nan
    imputer = AutoencoderImputer(PCA(1), random_state=global_random_seed).fit(holed)
    mean = imputer.transform(holed)[::2, 1]
    samples = imputer.set_params(sample_posterior=True).transform(holed)[::2, 1]
    # var(x_2 | x_1) = 1 - 0.8^2 = 0.36; the variance of 1000 samples has an error of 4.5 %.
    assert np.var(samples - mean) == pytest.approx(0.36, rel=0.2)
    np.testing.assert_array_equal(samples, imputer.transform(holed)[::2, 1])
    others = imputer.set_params(random_state=global_random_seed + 1).transform(holed)[::2, 1]
    assert not np.array_equal(samples, others)


# Parameters and data formats.


def test_another_missing_value_changes_nothing(holed, imputer):
    marked = np.where(np.isnan(holed), -1, holed)
    expected = imputer.fit_transform(holed)
    imputer.set_params(missing_values=-1)
    np.testing.assert_array_equal(imputer.fit_transform(marked), expected)
    with pytest.raises(ValueError, match="NaN"):
        imputer.fit(holed)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.filterwarnings("ignore:Skipping features:UserWarning")
@pytest.mark.filterwarnings("ignore:.*have no observed value:UserWarning")
@pytest.mark.filterwarnings("ignore:.*Early stopping criterion:UserWarning")
def test_empty_columns_and_indicators_equal_those_of_iterative_imputer(holed, keep):
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


def test_nested_parameters_are_tuned_in_a_pipeline(holed):
    y = load_iris().target
    pipeline = make_pipeline(
        AutoencoderImputer(PCA(), random_state=0), LogisticRegression(max_iter=1000)
    )
    grid = {"autoencoderimputer__estimator__n_components": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(holed, y)
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_are_accepted_and_returned(holed, library):
    frame = {"pandas": pd, "polars": pl}[library].DataFrame(dict(zip("abcd", holed.T, strict=True)))
    imputer = AutoencoderImputer(PCA(1), random_state=0).set_output(transform=library)
    filled = imputer.fit_transform(frame)
    assert type(filled) is type(frame)
    assert list(filled.columns) == list("abcd")


def test_global_generators_are_unchanged(holed, imputer):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second = (imputer.fit_transform(holed) for _ in range(2))
    np.testing.assert_array_equal(first, second)
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
def test_the_error_for_a_bad_parameter_names_it(holed, name, bad):
    imputer = AutoencoderImputer().set_params(**{name: bad})
    with pytest.raises((ValueError, TypeError), match=f"`{name}` must be .* got"):
        imputer.fit(holed)
    with pytest.raises(NotFittedError):
        imputer.transform(holed)
    assert set(vars(imputer)) == set(imputer.get_params(deep=False))


# Pickles and files.


@pytest.mark.parametrize("estimator", [None, PCA(2)])
def test_a_pickle_gives_the_same_results(holed, imputer, estimator):
    imputer.set_params(estimator=estimator).fit(holed)
    loaded = pickle.loads(pickle.dumps(imputer))
    np.testing.assert_array_equal(loaded.transform(holed), imputer.transform(holed))
    assert joblib.hash(loaded) == joblib.hash(imputer)


def test_a_file_gives_the_same_results(holed, imputer, tmp_path):
    save(imputer.fit(holed), tmp_path / "imputer.skae")
    loaded = load(tmp_path / "imputer.skae")
    np.testing.assert_array_equal(loaded.transform(holed), imputer.transform(holed))


def test_the_size_of_a_pickle_is_limited(imputer, global_random_seed, monkeypatch):
    monkeypatch.setattr(AutoencoderImputer, "_config", SHORT._replace(max_train_rows=50))
    rng = np.random.RandomState(global_random_seed)
    rows = rng.normal(size=(900, 1)) @ rng.normal(size=(1, 4)) + 0.3 * rng.normal(size=(900, 4))
    holed = np.where(rng.uniform(size=rows.shape) < 0.2, np.nan, rows)
    sizes = [len(pickle.dumps(imputer.fit(holed[:n]))) for n in (500, 900)]
    assert abs(sizes[1] - sizes[0]) < 200


def test_the_error_ratio_with_groups_is_that_of_rows_of_other_groups(imputer, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    # Each group is near a point far from the others: only rows of its own group help to fill a row.
    X = np.repeat(rng.normal(size=(30, 6)), 10, axis=0) + 0.01 * rng.normal(size=(300, 6))
    X[rng.uniform(size=X.shape) < 0.2] = np.nan
    assert imputer.fit(X).error_ratio_.mean() < 0.1
    assert imputer.fit(X, groups=np.arange(300) // 10).error_ratio_.mean() > 0.5


def test_too_few_groups_or_labels_are_an_error(holed, imputer):
    with pytest.raises(ValueError, match="`groups` must have at least 5 groups"):
        imputer.fit(holed, groups=np.arange(150) % 4)
    with pytest.raises(ValueError, match="`groups` must have a label for each"):
        imputer.fit(holed, groups=[1, 2])


@pytest.mark.parametrize("loss", ["poisson", "log_loss"])
def test_the_estimator_inside_gets_rows_in_its_domain(loss, small, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    rates = np.exp(rng.normal(size=(120, 2)) @ rng.normal(size=(2, 5)))
    X = rng.poisson(rates).astype(float)
    X = X if loss == "poisson" else (X > 0).astype(float)
    holed = np.where(rng.uniform(size=X.shape) < 0.2, np.nan, X)
    estimator = small(AutoencoderTransformer, 2, loss=loss)
    filled = AutoencoderImputer(estimator, random_state=0).fit_transform(holed)
    assert (filled >= np.nanmin(holed, 0)).all()
    assert (filled <= np.nanmax(holed, 0)).all()


@pytest.mark.parametrize("n_copies", [1, 8])
def test_columns_that_are_functions_of_each_other_can_be_filled(n_copies, global_random_seed):
    t = np.arange(150.0)
    X = np.tile(np.c_[t, 1e9 + 1000 * t, -3 * t], n_copies)
    gaps = np.random.RandomState(global_random_seed).uniform(size=X.shape) < 0.05
    gaps[gaps.all(1)] = False
    filled = AutoencoderImputer(random_state=0).fit_transform(np.where(gaps, np.nan, X))
    assert (np.abs(filled - X) / X.std(0)).max() < 0.3


@pytest.mark.parametrize("keep", [False, True])
def test_columns_without_an_observed_cell_are_named_once(keep, global_random_seed):
    X = np.random.RandomState(global_random_seed).randn(60, 4)
    X[:, 2], X[0, 1] = np.nan, np.nan
    frame = pd.DataFrame(X, columns=list("abcd"))
    imputer = AutoencoderImputer(random_state=global_random_seed, keep_empty_features=keep)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filled = imputer.fit(frame).transform(frame)
    assert [str(warning.message)[:17] for warning in caught] == ["The columns ['c']"] * (not keep)
    assert filled.shape == (60, 3 + keep)
    if keep:
        assert not filled[:, 2].any()
    with pytest.raises(ValueError, match="Every entry of X is missing"):
        clone(imputer).set_params(keep_empty_features=False).fit(frame[["c"]])


def test_sums_of_columns_do_not_overflow(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = rng.uniform(2e38, 3e38, size=(60, 4)).astype(np.float32)
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    filled = AutoencoderImputer(random_state=global_random_seed).fit_transform(X)
    assert filled.shape == X.shape
    assert np.isfinite(filled).all()


@pytest.mark.parametrize(
    "inner",
    [
        NMF(2, max_iter=300),
        make_pipeline(FunctionTransformer(np.log1p, np.expm1), PCA(2)),
        make_pipeline(FunctionTransformer(np.log, np.exp), PCA(2)),
        make_pipeline(PowerTransformer("box-cox"), PCA(2)),
        make_pipeline(FunctionTransformer(np.log, lambda z: z * np.nan), PCA(2)),
    ],
    ids=["NMF", "log1p", "log", "box-cox", "not finite"],
)
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Maximum number of iterations")
@pytest.mark.filterwarnings("ignore:The provided functions")
def test_estimators_with_a_domain_get_cells_of_their_domain(inner, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    shares = rng.dirichlet(np.full(6, 0.5), size=200).clip(1e-6, 1 - 1e-6)
    gaps = rng.uniform(size=shares.shape) < 0.2
    imputer = AutoencoderImputer(inner, random_state=global_random_seed)
    filled = imputer.fit_transform(np.where(gaps, np.nan, shares))
    assert (filled > 0).all()
    assert (filled < 1).all()


@pytest.mark.parametrize("inner", [None, PCA(2)], ids=["stacked", "estimator"])
def test_a_row_without_observed_cells_is_filled_within_the_range(inner, global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = rng.normal(size=(80, 2)) @ rng.normal(size=(2, 4)) + [0, 1, 1e3, -1e6]
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    X[:3] = np.nan
    imputer = AutoencoderImputer(inner, random_state=global_random_seed).fit(X)
    filled = imputer.transform(X[:3])
    assert (filled >= np.nanmin(X, axis=0)).all()
    assert (filled <= np.nanmax(X, axis=0)).all()
    np.testing.assert_array_equal(filled[1:], filled[:2])
    assert (np.abs(filled[0] - np.nanmean(X, axis=0)) < np.nanstd(X, axis=0)).all()


def test_sums_beyond_those_of_the_fit_are_filled_within_the_range(global_random_seed):
    rng = np.random.RandomState(global_random_seed)
    X = rng.uniform(-1, 1, size=(100, 3))
    X[:, 2] = X[:, 0] + X[:, 1]
    imputer = AutoencoderImputer(random_state=global_random_seed).fit(X)
    corners = np.array([[1.0, 1, np.nan], [-1, -1, np.nan]])
    filled, ends = imputer.transform(corners)[:, 2], [X[:, 2].max(), X[:, 2].min()]
    np.testing.assert_allclose(filled, ends, rtol=0.05)
    assert filled.max() <= ends[0]
    assert filled.min() >= ends[1]
