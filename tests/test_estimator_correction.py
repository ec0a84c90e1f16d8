import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from skae import AutoencoderImputer, AutoencoderTransformer
from skae._imputation.column_scaling import ColumnScaling
from skae._imputation.estimator_correction import (
    N_RECONSTRUCTIONS,
    fit_estimator_correction,
    reconstruct_missing,
)
from skae._imputation.gaussian import fit_gaussian
from skae._imputation.masking import IncompleteRows

IMPUTES_AS_FOR_USERS = True


class Scaled(TransformerMixin, BaseEstimator):
    """Reconstructs every row as a multiple of itself."""

    def __init__(self, factor=0.5):
        self.factor = factor

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X

    def inverse_transform(self, X):
        return self.factor * X


class WarningTransformer(Scaled):
    """`fit` and `inverse_transform` warn; with `is_partial`, entries above 1 become NaN."""

    def __init__(self, is_partial=False):
        super().__init__()
        self.is_partial = is_partial

    def fit(self, X, y=None):
        warnings.warn("in fit", RuntimeWarning, stacklevel=1)
        return self

    def inverse_transform(self, X):
        warnings.warn("in inverse_transform", UserWarning, stacklevel=1)
        return np.where(self.is_partial & (X > 1), np.nan, X)


@pytest.fixture
def rng(global_random_seed):
    return torch.Generator().manual_seed(global_random_seed)


@pytest.fixture
def x(rng):
    return torch.randn(100, 4, generator=rng, dtype=torch.float64)


@pytest.fixture
def missing(rng):
    return torch.rand(100, 4, generator=rng) < 0.2


NO_LIMIT = np.array([[-np.inf] * 4, [np.inf] * 4])
STANDARD = ColumnScaling(np.zeros(4), np.ones(4), NO_LIMIT)


def test_missing_cells_are_reconstructed_repeatedly(x, missing):
    reconstructed = reconstruct_missing(Scaled(), x, missing, STANDARD)
    expected = torch.where(missing, 0.5**N_RECONSTRUCTIONS * x, x)
    torch.testing.assert_close(reconstructed, expected)


def test_the_estimator_is_fitted_to_all_rows_in_data_units(x, missing, rng):
    scaling = ColumnScaling(np.full(4, 100.0), np.full(4, 3.0), NO_LIMIT)
    gaussian = fit_gaussian(x, missing)
    rows = IncompleteRows(x, missing)
    correction, *_ = fit_estimator_correction(PCA(2), rows, gaussian, scaling, rng)
    expected = PCA(2).fit(100 + 3 * gaussian.fill(x, missing).numpy())
    np.testing.assert_allclose(correction.estimator.mean_, expected.mean_)
    np.testing.assert_allclose(
        correction.estimator.explained_variance_, expected.explained_variance_
    )


@pytest.mark.parametrize("estimator", [Scaled(100.0), PCA(4)], ids=["harmful", "identity"])
def test_an_estimator_that_does_not_reduce_the_error_changes_nothing(x, missing, rng, estimator):
    gaussian = fit_gaussian(x, missing)
    rows = IncompleteRows(x, missing)
    correction, error_ratio, _ = fit_estimator_correction(estimator, rows, gaussian, STANDARD, rng)
    filled = gaussian.fill(x, missing)
    torch.testing.assert_close(correction.correct(filled, missing, STANDARD), filled)
    np.testing.assert_array_equal(error_ratio, 1)


class WithinRange(Scaled):
    """Reconstructs rows as themselves, and refuses those beyond the rows that it was fitted to."""

    def fit(self, X, y=None):
        self.low_, self.high_ = X.min(axis=0), X.max(axis=0)
        return self

    def transform(self, X):
        assert (self.low_ <= X).all()
        assert (self.high_ >= X).all()
        return X


def test_an_estimator_gets_no_row_beyond_those_that_it_was_fitted_to(x, missing, rng):
    observed = 100 + 3 * np.where(missing, np.nan, x)
    ends = np.stack([np.nanmin(observed, axis=0), np.nanmax(observed, axis=0)])
    scaling = ColumnScaling(np.full(4, 100.0), np.full(4, 3.0), ends)
    gaussian = fit_gaussian(x, missing)
    estimator = WithinRange(factor=1.0)
    rows = IncompleteRows(x, missing)
    correction, *_ = fit_estimator_correction(estimator, rows, gaussian, scaling, rng)
    corrected = correction.correct(gaussian.fill(5 * x, missing), missing, scaling)
    assert corrected.isfinite().all()


def test_a_frozen_estimator_is_used_as_it_is(digits_with_gaps, digits, global_random_seed):
    frozen = FrozenEstimator(PCA(8, random_state=0).fit(digits))
    imputer = AutoencoderImputer(frozen, random_state=global_random_seed).fit(digits_with_gaps)
    assert imputer.estimator_.estimator is frozen.estimator
    assert imputer.error_ratio_.min() < 0.9
    assert np.isfinite(imputer.transform(digits_with_gaps)).all()


@pytest.mark.parametrize(
    "parameters", [{"loss": {"b": "log_loss"}}, {"categorical_features": np.array(["b"])}], ids=list
)
def test_names_of_columns_are_refused_as_the_estimator_gets_an_array(parameters):
    estimator = AutoencoderTransformer(1, **parameters)
    X = pd.DataFrame(np.eye(4), columns=list("abcd"))
    for inner in (estimator, make_pipeline(PCA(3), estimator)):
        with pytest.raises(ValueError, match="`estimator` must have numbers of columns in"):
            AutoencoderImputer(inner).fit(X)


@pytest.mark.parametrize("is_partial", [False, True])
def test_warnings_are_issued_once_and_not_about_cells_that_stay(x, is_partial, global_random_seed):
    X = x.numpy().copy()
    X[np.random.RandomState(global_random_seed).uniform(size=X.shape) < 0.2] = np.nan
    imputer = AutoencoderImputer(WarningTransformer(is_partial), random_state=0)
    about_cells = [] if is_partial else ["in inverse_transform"]
    with warnings.catch_warnings(record=True) as of_fit:
        warnings.simplefilter("always")
        imputer.fit(X)
    assert [str(w.message) for w in of_fit] == ["in fit", *about_cells]
    with warnings.catch_warnings(record=True) as of_transform:
        warnings.simplefilter("always")
        assert np.isfinite(imputer.transform(X)).all()
    assert [str(w.message) for w in of_transform] == about_cells
    assert all(w.filename == __file__ for w in [*of_fit, *of_transform])


@pytest.mark.parametrize(
    "estimator",
    [
        PCA(-1),
        PCA(5),
        make_pipeline(PCA(2), PCA(svd_solver="other")),
        AutoencoderTransformer(-1),
        AutoencoderTransformer(activation="other"),
    ],
    ids=str,
)
def test_wrong_parameters_of_the_estimator_are_its_own_errors(x, missing, estimator):
    with pytest.raises((TypeError, ValueError)) as expected:
        estimator.fit(x.numpy())
    with pytest.raises(type(expected.value), match=f"^{re.escape(str(expected.value))}$"):
        AutoencoderImputer(estimator).fit(np.where(missing, np.nan, x))
