"""Scores of reconstructions, for any reducer with `inverse_transform`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from .._data.array_api import ArrayLike
from .._data.messages import described
from .._data.rows import validate_codes
from .._data.table_columns import has_categorical_columns
from .._data.validation import StrOptions, check_value
from .protocols import Reducer


def make_reconstruction_scorer(metric: str = "explained_variance") -> "_ReconstructionScorer":
    """Make a scorer that measures how well a transformer reconstructs rows.

    Most transformers of scikit-learn have no method `score`, so `GridSearchCV` needs a scorer. This
    scorer calls `transform` and `inverse_transform`, and compares the result with `X` by `metric`.
    Missing values (NaN) are left out.

    Parameters
    ----------
    metric : {"explained_variance", "neg_mean_squared_error", "neg_mean_absolute_error"}, \
            default="explained_variance"
        The score; higher is better. ``"explained_variance"`` is the share of the variance of the
        scored rows that the reconstructions explain, 1 at best. The other two are the mean squared
        and the mean absolute error of an entry, with a negative sign.

    Returns
    -------
    scorer : callable
        A function ``scorer(estimator, X, y=None)`` that returns a float and ignores `y`. It raises
        a TypeError if the estimator has no `inverse_transform`, and a ValueError if `X` has columns
        of categories. For these, use ``scoring=None``: the method `score` of the autoencoders.

    Raises
    ------
    ValueError
        If there is no such `metric`.

    See Also
    --------
    compare_reducers : Compares reducers by more than their reconstruction.

    Notes
    -----
    The scorer computes the variance about the mean of the scored rows, as R² does.
    :func:`compare_reducers` uses the mean of the training rows instead, so its values differ.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import TruncatedSVD
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skae import make_reconstruction_scorer
    >>> X, _ = load_iris(return_X_y=True)
    >>> grid = {"n_components": [1, 2, 3]}
    >>> scorer = make_reconstruction_scorer()
    >>> search = GridSearchCV(TruncatedSVD(random_state=0), grid, scoring=scorer).fit(X)
    >>> search.best_params_
    {'n_components': 3}
    """
    check_value("metric", metric, (StrOptions(_RECONSTRUCTION_METRICS),))
    return _ReconstructionScorer(metric)


make_reconstruction_scorer.__module__ = "skae"  # where users import it


@dataclass(frozen=True)
class _ReconstructionScorer:
    """A class, not a closure: a scorer must be picklable."""

    metric: str

    def __call__(self, estimator: Reducer, X: ArrayLike, y: ArrayLike = None) -> float:
        if not hasattr(estimator, "inverse_transform"):
            raise TypeError(
                "`estimator` must have `inverse_transform` to be scored by its reconstruction, "
                f"got {described(estimator)}."
            )
        refuse_categories(X, "`scoring=None` uses the method `score` of an autoencoder")
        rows = dense(as_numbers(X))
        reconstruction = estimator.inverse_transform(dense(estimator.transform(X)))
        metric = _RECONSTRUCTION_METRICS[self.metric]
        return metric(rows, as_reconstruction(reconstruction, rows.shape))


def explained_variance(rows: np.ndarray, reconstruction: np.ndarray, mean: np.ndarray) -> float:
    """Share of the observed entries' sum of squares about `mean` that is reconstructed."""
    observed = ~np.isnan(rows)
    error = np.sum((rows - reconstruction) ** 2, where=observed)
    total = np.sum((rows - mean) ** 2, where=observed)
    if total == 0:  # no variance: 1 or 0, as scikit-learn's r2_score
        return float(error == 0)
    return float(1 - error / total)


def _explained_variance_about_own_mean(rows: np.ndarray, reconstruction: np.ndarray) -> float:
    return explained_variance(rows, reconstruction, observed_mean(rows))


def _neg_mean_squared_error(rows: np.ndarray, reconstruction: np.ndarray) -> float:
    return -float(np.mean((rows - reconstruction) ** 2, where=~np.isnan(rows)))


def _neg_mean_absolute_error(rows: np.ndarray, reconstruction: np.ndarray) -> float:
    return -float(np.mean(np.abs(rows - reconstruction), where=~np.isnan(rows)))


_RECONSTRUCTION_METRICS = {
    "explained_variance": _explained_variance_about_own_mean,
    "neg_mean_squared_error": _neg_mean_squared_error,
    "neg_mean_absolute_error": _neg_mean_absolute_error,
}


def as_reconstruction(reconstruction: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Return a dense array, or raise if its shape is not that of `X`."""
    check_reconstruction(reconstruction, shape)
    return dense(reconstruction)


def check_reconstruction(reconstruction: ArrayLike, shape: tuple[int, ...]) -> None:
    """Raise an error if the shape of a reconstruction, which might be broadcast, is another one."""
    given = tuple(np.shape(reconstruction))
    if given != shape:
        raise ValueError(f"`inverse_transform` must return the shape of `X`, {shape}, got {given}.")


def as_numbers(X: ArrayLike) -> np.ndarray | sparse.csr_array:
    """Return `X` as float64, dense or CSR."""
    return validate_codes(X, dtype=[np.float64], ensure_all_finite="allow-nan", input_name="X")


def refuse_categories(X: ArrayLike, remedy: str) -> None:
    """Raise an error if `X` is a frame with columns of categories or text."""
    if has_categorical_columns(X):
        raise ValueError(f"X must have columns of numbers only, got categories or text: {remedy}.")


def dense(X: ArrayLike) -> np.ndarray:
    """Return a dense array, for any container that a transformer returns."""
    return X.toarray() if sparse.issparse(X) else np.asarray(X)


def observed_mean(X: np.ndarray | sparse.csr_array) -> np.ndarray:
    """Mean of the observed entries of each column, 0 for a column without observed entries."""
    if sparse.issparse(X):
        return np.asarray(X.mean(axis=0)).ravel()
    observed = ~np.isnan(X)
    return np.sum(X, axis=0, where=observed) / np.maximum(observed.sum(axis=0), 1)


def select_rows(X: ArrayLike, rows: np.ndarray) -> Any:
    """Some rows of an array, a CSR matrix or a DataFrame, in the same container."""
    rows = np.asarray(rows)
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]
